//! Lines for whoever waits. They go to stderr: stdout belongs to the report of the trials.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints one line.
pub(crate) fn say(line: impl Display) {
    // Nobody to read it is no reason to stop.
    let _ = writeln!(io::stderr(), "{line}");
}
