//! The live view: worlds side by side, redrawn in place on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::figures::{grouped, shortened};
use super::load::Outcome;
use super::world::Sample;

/// How often a terminal is redrawn: five times a second.
const REDRAW: Duration = Duration::from_millis(200);
/// How often plain lines are written.
const LINES: Duration = Duration::from_secs(2);

const NAME_WIDTH: usize = 12;
/// Characters of the bar, for 0 to 100 per cent.
const BAR_WIDTH: u16 = 16;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const CANARY: Style = AnsiColor::Blue.on_default();
const LATE: Style = AnsiColor::Yellow.on_default();
const FAILED: Style = AnsiColor::Red.on_default().bold();

/// All worlds at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Since the start.
    pub elapsed: Duration,
    /// Always the same ones, in the same order.
    pub worlds: Vec<WorldFrame>,
}

/// One world at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorldFrame {
    /// What sets it apart; more than 12 characters are cut.
    pub name: String,
    /// Weights and pods.
    pub now: Sample,
    /// Requests that have ended.
    pub requests: u64,
    /// Those of them that failed, by how.
    pub failures: BTreeMap<Outcome, u64>,
}

/// How frames are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In place, by terminal escapes.
    Redraw {
        /// With colours.
        colour: bool,
    },
    /// One line for each world, without escapes.
    Lines,
}

/// Shows frames, as often as is good for the reader.
#[derive(Debug)]
pub struct LiveView<W> {
    out: W,
    mode: Mode,
    /// When the frame that is shown was made.
    shown: Option<Duration>,
    /// Lines that the next frame overwrites.
    height: usize,
}

impl Mode {
    /// What fits the standard output of this process.
    #[must_use]
    pub fn of_stdout() -> Self {
        Self::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok())
    }

    /// In place on a terminal that understands escapes; with colours unless `NO_COLOR` has a value (no-color.org).
    fn choose(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        if !terminal || variable("TERM").is_some_and(|term| term == "dumb") {
            return Self::Lines;
        }
        Self::Redraw { colour: variable("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn interval(self) -> Duration {
        match self {
            Self::Redraw { .. } => REDRAW,
            Self::Lines => LINES,
        }
    }

    fn paint(self, style: Style, text: impl Display) -> String {
        match self {
            Self::Redraw { colour: true } => format!("{style}{text}{style:#}"),
            Self::Redraw { colour: false } | Self::Lines => text.to_string(),
        }
    }
}

impl<W: Write> LiveView<W> {
    /// Nothing is shown yet.
    pub fn new(out: W, mode: Mode) -> Self {
        Self { out, mode, shown: None, height: 0 }
    }

    /// Shows the frame, unless the one before is too fresh. Fails if it cannot be written.
    pub fn show(&mut self, frame: &Frame) -> io::Result<()> {
        if self.shown.is_some_and(|shown| frame.elapsed < shown + self.mode.interval()) {
            return Ok(());
        }
        self.draw(frame)
    }

    /// Shows the last frame, whatever was shown before.
    pub fn finish(mut self, frame: &Frame) -> io::Result<()> {
        if self.shown == Some(frame.elapsed) { Ok(()) } else { self.draw(frame) }
    }

    fn draw(&mut self, frame: &Frame) -> io::Result<()> {
        let text = match self.mode {
            Mode::Lines => frame.worlds.iter().map(|world| sentence(frame.elapsed, world)).collect(),
            Mode::Redraw { .. } => self.redraw(&lines(self.mode, frame)),
        };
        self.shown = Some(frame.elapsed);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Goes up to the first line of the last frame and writes over it. A line that is too long is cut, not wrapped: else the
    /// way up would be too short.
    fn redraw(&mut self, lines: &[String]) -> String {
        let up = if self.height > 0 { format!("\x1b[{}A", self.height) } else { String::new() };
        self.height = lines.len();
        let body: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        format!("\x1b[?7l\r{up}{body}\x1b[J\x1b[?7h")
    }
}

/// A frame as a table.
fn lines(mode: Mode, frame: &Frame) -> Vec<String> {
    let clock = format!("{:.1} s", frame.elapsed.as_secs_f64());
    let bar = "canary weight";
    let first = format!(
        "{clock:<NAME_WIDTH$}  {bar:<bar_width$}  {:>6}  {:>7}  {:>6} {:>6}  {:>8}  {:>7}",
        "wished",
        "true",
        "stable",
        "canary",
        "requests",
        "failed",
        bar_width = usize::from(BAR_WIDTH),
    );
    let mut lines = vec![mode.paint(DIM, first)];
    lines.extend(frame.worlds.iter().map(|world| row(mode, world)));
    lines
}

fn row(mode: Mode, world: &WorldFrame) -> String {
    let now = &world.now;
    let failed: u64 = world.failures.values().sum();
    let late = if now.farthest() == Some(now.wished) { Style::new() } else { LATE };
    let (of_failed, causes) = match failed {
        0 => (Style::new(), String::new()),
        _ => (FAILED, format!("  {}", causes(&world.failures))),
    };
    [
        mode.paint(BOLD, format_args!("{:<NAME_WIDTH$}", shortened(&world.name, NAME_WIDTH))),
        bar(mode, now),
        format!("{:>4} %", now.wished),
        mode.paint(late, format_args!("{:>7}", actual(now))),
        format!("{:>6} {:>6}", now.stable_pods, now.canary_pods),
        format!("{:>8}", grouped(world.requests)),
        mode.paint(of_failed, format_args!("{:>7}", grouped(failed))) + &mode.paint(DIM, causes),
    ]
    .join("  ")
}

/// Filled as far as the canary's weight is true; a mark where it should be.
fn bar(mode: Mode, now: &Sample) -> String {
    let cells = |percent: u16| (percent.min(100) * BAR_WIDTH + 50) / 100;
    let (filled, wished) = (now.farthest().map_or(0, cells), cells(now.wished));
    let cell = |index: u16| {
        if filled != wished && index + 1 == wished {
            mode.paint(LATE, '▕')
        } else if index < filled {
            mode.paint(CANARY, '█')
        } else {
            mode.paint(DIM, '·')
        }
    };
    (0..BAR_WIDTH).map(cell).collect()
}

/// The weight in the rules: one figure, or the lowest and the highest.
fn actual(now: &Sample) -> String {
    match (now.actual.iter().min(), now.actual.iter().max()) {
        (Some(low), Some(high)) if low == high => format!("{low} %"),
        (Some(low), Some(high)) => format!("{low}-{high} %"),
        _ => "none".to_owned(),
    }
}

fn causes(failures: &BTreeMap<Outcome, u64>) -> String {
    let causes = failures.iter().map(|(outcome, count)| format!("{outcome} ×{}", grouped(*count)));
    causes.collect::<Vec<_>>().join(", ")
}

/// A world as one plain line.
fn sentence(elapsed: Duration, world: &WorldFrame) -> String {
    let now = &world.now;
    let failed: u64 = world.failures.values().sum();
    let causes = if failed > 0 { format!(" ({})", causes(&world.failures)) } else { String::new() };
    format!(
        "{:>7.1} s  {}: canary weight {}, wished {} %, pods {} stable {} canary, {} requests, {} failed{causes}\n",
        elapsed.as_secs_f64(),
        world.name,
        actual(now),
        now.wished,
        now.stable_pods,
        now.canary_pods,
        grouped(world.requests),
        grouped(failed),
    )
}

#[cfg(test)]
mod tests;
