//! The report: what each world's customers saw and what it cost, as a table of text.

use std::time::Duration;

use super::figures::{grouped, share, shortened, time};
use super::load::Outcome;
use super::world::{Event, World};

/// No line is longer: it fits a terminal, an e-mail and a code block.
const WIDTH: usize = 100;
/// Longer names of worlds and labels of rows are cut.
const NAME_WIDTH: usize = 24;
const LABEL_WIDTH: usize = 34;
/// Between columns.
const GAP: usize = 3;

/// One line of the table.
#[derive(Debug)]
struct Row {
    label: String,
    /// One for each world.
    cells: Vec<String>,
}

/// The report on some worlds: a column for each, as many side by side as fit, and then the events of all of them.
#[must_use]
pub fn table(worlds: &[World]) -> String {
    let headings = Row { label: String::new(), cells: worlds.iter().map(heading).collect() };
    let rows: Vec<Row> = [headings].into_iter().chain(rows(worlds)).collect();
    let label_width = rows.iter().map(|row| width(&row.label)).max().unwrap_or_default();
    let cells = |column: usize| rows.iter().filter_map(move |row| row.cells.get(column));
    let columns = (0..worlds.len()).map(|column| cells(column).map(|cell| width(cell)).max().unwrap_or_default());
    let columns: Vec<usize> = columns.collect();
    let mut parts: Vec<String> =
        side_by_side(label_width, &columns).map(|columns| part(&rows, label_width, columns)).collect();
    parts.push(events(worlds));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// Which columns, by number and width, stand together without a line becoming too long; at least one at a time.
fn side_by_side(label_width: usize, columns: &[usize]) -> impl Iterator<Item = Vec<(usize, usize)>> {
    let mut columns = columns.iter().copied().enumerate().peekable();
    std::iter::from_fn(move || {
        let mut taken: Vec<(usize, usize)> = columns.next().into_iter().collect();
        let mut used = label_width + taken.first()?.1 + GAP;
        while let Some(next) = columns.next_if(|(_, width)| used + GAP + width <= WIDTH) {
            used += GAP + next.1;
            taken.push(next);
        }
        Some(taken)
    })
}

/// All rows, with some of the columns.
fn part(rows: &[Row], label_width: usize, columns: Vec<(usize, usize)>) -> String {
    let cell = |row: &Row, (column, width): (usize, usize)| {
        let cell = row.cells.get(column).map_or("", String::as_str);
        format!("{:GAP$}{cell:>width$}", "")
    };
    let line = |row: &Row| {
        let cells: String = columns.iter().map(|column| cell(row, *column)).collect();
        format!("{:<label_width$}{cells}", row.label).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn heading(world: &World) -> String {
    shortened(&world.name, NAME_WIDTH)
}

fn rows(worlds: &[World]) -> Vec<Row> {
    let row = |label: &str, cell: &dyn Fn(&World) -> String| Row {
        label: shortened(label, LABEL_WIDTH),
        cells: worlds.iter().map(cell).collect(),
    };
    let mut rows = vec![
        row("requests", &|world| grouped(world.traffic.requests)),
        row("failed", &|world| match world.traffic.failed() {
            0 => "0".to_owned(),
            failed => format!("{} ({})", grouped(failed), share(failed, world.traffic.requests)),
        }),
    ];
    let mut failures: Vec<Outcome> = worlds.iter().flat_map(|world| world.traffic.failures().into_keys()).collect();
    failures.sort_unstable();
    failures.dedup();
    for failure in failures {
        let count = |world: &World| world.traffic.outcomes.get(&failure).copied().unwrap_or_default();
        rows.push(row(&format!("  {failure}"), &|world| grouped(count(world))));
    }
    rows.extend([
        row("worst second", &|world| match world.traffic.worst_second {
            Some(second) => format!("{} failed", share(second.failed, second.requests)),
            None => "0".to_owned(),
        }),
        row("longest time without a success", &|world| time(world.traffic.longest_failure)),
        row("answer time, median and p99", &|world| {
            let latencies = world.traffic.latencies;
            format!("{}, {}", time(latencies.median), time(latencies.p99))
        }),
        row("pod-seconds paid", &|world| grouped(world.pod_time.as_secs())),
        row("pods at most", &|world| grouped(most_pods(world))),
    ]);
    let steps = step_labels(worlds);
    if !steps.is_empty() {
        rows.push(Row { label: "asked → true on every rule".to_owned(), cells: Vec::new() });
    }
    for label in steps {
        rows.push(row(&format!("  {label}"), &|world| lags(world, label)));
    }
    rows
}

fn most_pods(world: &World) -> u64 {
    let pods = world.samples.iter().map(|sample| u64::from(sample.stable_pods) + u64::from(sample.canary_pods));
    pods.max().unwrap_or_default()
}

/// The labels of all worlds' steps, each once. A label that only some worlds have stands after the one that it follows there.
fn step_labels(worlds: &[World]) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for world in worlds {
        let mut next = 0;
        for step in &world.steps {
            let known = labels.iter().position(|label| *label == step.label);
            let place = known.unwrap_or_else(|| {
                labels.insert(next, &step.label);
                next
            });
            next = place + 1;
        }
    }
    labels
}

/// How long the step took; all of them if it was asked for several times.
fn lags(world: &World, label: &str) -> String {
    let lag = |lag: Option<Duration>| lag.map_or_else(|| "never".to_owned(), time);
    let steps = world.steps.iter().filter(|step| step.label == label);
    let lags: Vec<String> = steps.map(|step| lag(step.lag())).collect();
    match lags.as_slice() {
        [] => "-".to_owned(),
        [one] => one.clone(),
        [first, .., last] => format!("{first} … {last}"),
    }
}

/// In the order in which they happened.
fn events(worlds: &[World]) -> String {
    let mut events: Vec<_> =
        worlds.iter().flat_map(|world| world.events.iter().map(move |event| (world, event))).collect();
    events.sort_by_key(|(_, event)| event.at);
    let names = worlds.iter().map(|world| width(&heading(world))).max().unwrap_or_default();
    let line = |(world, event): &(&World, &Event)| {
        let line = format!("{:>8.1} s  {:<names$}  {}", event.at.as_secs_f64(), heading(world), event.text);
        shortened(line.trim_end(), WIDTH) + "\n"
    };
    events.iter().map(line).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests;
