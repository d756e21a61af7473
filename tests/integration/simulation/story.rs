//! What happened in a simulated story, a line each. It is told only when somebody wants to read it: a seed that fails is played
//! again, and tells.

use std::sync::Mutex;

use tokio::time::Instant;

/// As many lines as a reader wants.
const LAST: usize = 60;

/// The lines so far.
#[derive(Debug)]
pub(crate) struct Story {
    began: Instant,
    lines: Option<Mutex<Vec<String>>>,
}

impl Story {
    /// A story that begins now.
    pub(crate) fn begin(told: bool) -> Self {
        Self { began: Instant::now(), lines: told.then(Mutex::default) }
    }

    /// Something happened, now.
    pub(crate) fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let at = self.began.elapsed().as_millis();
            lines.lock().unwrap().push(format!("{:>4}.{:03} s  {}", at / 1000, at % 1000, line()));
        }
    }

    /// All of it.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.as_ref().map(|lines| lines.lock().unwrap().clone()).unwrap_or_default()
    }
}

/// The end of a story, for people.
pub(crate) fn end_of(lines: &[String]) -> String {
    let skipped = lines.len().saturating_sub(LAST);
    let dots = if skipped > 0 { format!("… {skipped} lines before\n") } else { String::new() };
    format!("{dots}{}", lines[skipped..].join("\n"))
}
