use proptest::prelude::*;

use super::*;
use crate::demo::rehearsal;
use crate::demo::world::{Event, Step};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn world(name: &str, steps: &[(&str, u64, Option<u64>)]) -> World {
    let steps = steps.iter().map(|(label, asked, settled)| Step {
        label: (*label).to_owned(),
        asked: seconds(*asked),
        settled: settled.map(seconds),
    });
    World { name: name.to_owned(), steps: steps.collect(), ..World::default() }
}

#[test]
fn the_report_says_who_suffered_and_who_paid() {
    let text = table(&rehearsal::worlds());
    let line = |label: &str| text.lines().find(|line| line.starts_with(label)).unwrap_or_else(|| panic!("{label}"));
    let headings: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(headings, ["built-in", "plugin", "workaround"]);
    let cells = |label: &str| -> Vec<String> {
        let cells = line(label)[label.len()..].split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    assert_eq!(cells("requests"), ["37,500", "37,500", "37,500"]);
    assert_eq!(cells("failed")[1..], ["0", "0"]);
    assert!(cells("failed")[0].ends_with(" %)"));
    assert_eq!(cells("  502").len(), 3);
    assert_eq!(cells("longest time without a success")[1..], ["0", "0"]);
    assert_eq!(cells("  60 %"), ["38.0 s", "320 ms", "38.0 s"]);
    assert_eq!(cells("pod-seconds paid"), ["1,520", "1,520", "2,660"]);
    assert!(text.contains("\n    10.3 s  plugin      ModifyRule on both rules made 10 % true\n"));
}

#[test]
fn steps_of_all_worlds_stand_in_their_order() {
    let worlds = [
        world("a", &[("10 %", 0, Some(1)), ("60 %", 2, None), ("100 %", 4, Some(5))]),
        world("b", &[("10 %", 0, Some(2)), ("99 %", 3, Some(4)), ("100 %", 5, Some(9))]),
        world("c", &[("10 %", 0, Some(3)), ("60 %", 3, Some(4)), ("10 %", 5, Some(12))]),
    ];
    assert_eq!(step_labels(&worlds), ["10 %", "99 %", "60 %", "100 %"]);
    let lags = ["10 %", "60 %", "99 %"].map(|label| worlds.each_ref().map(|world| lags(world, label)));
    assert_eq!(
        lags,
        [["1.0 s", "2.0 s", "3.0 s … 7.0 s"], ["never", "-", "1.0 s"], ["-", "1.0 s", "-"]]
            .map(|row| row.map(str::to_owned))
    );
}

#[test]
fn worlds_that_do_not_fit_side_by_side_follow_below() {
    let names: Vec<String> = (0..7).map(|number| format!("a world of its own, {number}")).collect();
    let worlds: Vec<World> = names.iter().map(|name| world(name, &[])).collect();
    let text = table(&worlds);
    assert_eq!(text.lines().filter(|line| line.starts_with("requests")).count(), 4);
    for name in names {
        assert_eq!(text.matches(&name).count(), 1, "{text}");
    }
}

#[test]
fn no_world_is_no_table() {
    assert_eq!(table(&[]), "");
}

proptest! {
    #[test]
    fn every_line_fits_and_every_row_lines_up(
        names in prop::collection::vec("\\PC{0,60}", 0..6),
        label in "\\PC{0,60}",
        text in "\\PC{0,200}",
        asked in 0u64..1_000_000,
    ) {
        let event = Event { at: seconds(asked), text };
        let make = |name: &String| World { events: vec![event.clone()], ..world(name, &[(label.as_str(), asked, None)]) };
        let worlds: Vec<World> = names.iter().map(make).collect();
        let table = table(&worlds);
        for line in table.lines() {
            prop_assert!(width(line) <= WIDTH, "{} columns: {line}", width(line));
        }
        let ends: Vec<usize> = table.lines().filter(|line| line.starts_with("requests")).map(width).collect();
        let paid: Vec<usize> = table.lines().filter(|line| line.starts_with("pod-seconds paid")).map(width).collect();
        prop_assert_eq!(ends, paid);
    }
}
