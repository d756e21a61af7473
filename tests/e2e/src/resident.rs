//! The plugin processes of a controller, from `/proc`.

use std::fs;
use std::path::PathBuf;

use rustix::process::Pid;

/// A child of a process.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) id: Pid,
    pub(crate) name: String,
    /// Its memory in bytes (`VmRSS` of proc(5), which counts in KiB).
    pub(crate) resident: f64,
}

/// The children of a process.
pub(crate) fn children(host: Pid) -> Vec<Child> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| child(process.path(), host)).collect()
}

fn child(process: PathBuf, host: Pid) -> Option<Child> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let field = |name| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim());
    (field("PPid:")? == host.to_string()).then_some(())?;
    let id = Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?)?;
    let name = fs::read_link(process.join("exe")).ok()?.file_name()?.to_string_lossy().into_owned();
    let resident: f64 = field("VmRSS:")?.split_whitespace().next()?.parse().ok()?;
    Some(Child { id, name, resident: resident * 1024.0 })
}
