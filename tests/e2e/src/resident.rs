//! Memory of the plugin processes, from `/proc`.

use std::fs;
use std::path::PathBuf;

use rustix::process::Pid;

/// The children of a process, each with its resident memory in bytes (`VmRSS` of proc(5), which counts in KiB).
pub(crate) fn children(host: Pid) -> Vec<(String, f64)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| child(process.path(), host)).collect()
}

fn child(process: PathBuf, host: Pid) -> Option<(String, f64)> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let field = |name| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim());
    (field("PPid:")? == host.to_string()).then_some(())?;
    let program = fs::read_link(process.join("exe")).ok()?;
    let resident: f64 = field("VmRSS:")?.split_whitespace().next()?.parse().ok()?;
    Some((program.file_name()?.to_string_lossy().into_owned(), resident * 1024.0))
}
