//! A child process with a log file, in a process group of its own, that does not outlive the harness.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// A running program and its children. Dropping it kills them all.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    log: PathBuf,
    group: Pid,
    ended: watch::Receiver<Option<String>>,
    /// We told it to end.
    told: AtomicBool,
}

impl Process {
    /// Starts `program`, with only `environment` in its environment, in the folder `home`, which also gets the log.
    pub(crate) fn start<A: AsRef<OsStr>>(
        name: &'static str,
        program: &Path,
        home: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &OsStr)],
    ) -> anyhow::Result<Self> {
        let log = home.join(format!("{name}.log"));
        let start = || -> io::Result<(Pid, watch::Receiver<Option<String>>)> {
            std::fs::create_dir_all(home)?;
            let output = File::create(&log)?;
            let mut command = Command::new(program);
            // A group of its own: the terminal's ^C does not reach it, and its children can be found again.
            command.args(arguments).current_dir(home).process_group(0).kill_on_drop(true);
            command.env_clear().envs(environment.iter().copied()).env("HOME", home).env("TMPDIR", home);
            command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
            let mut child = command.spawn()?;
            let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
            let group = id.ok_or_else(|| io::Error::other("it has no process id"))?;
            let (tell, ended) = watch::channel(None);
            tokio::spawn(async move {
                let end = child.wait().await;
                tell.send_replace(Some(end.as_ref().map_or_else(io::Error::to_string, ExitStatus::to_string)));
            });
            Ok((group, ended))
        };
        let (group, ended) = start().with_context(|| format!("cannot start {name} ({})", program.display()))?;
        Ok(Self { name, log, group, ended, told: AtomicBool::new(false) })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Pid {
        self.group
    }

    /// Its output so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns when it has ended without being told to, with how it ended and the last it said.
    pub(crate) async fn ended(&self) -> anyhow::Error {
        let mut ended = self.ended.clone();
        let how = match ended.wait_for(Option::is_some).await {
            Ok(how) if !self.told.load(Ordering::Relaxed) => how.clone().unwrap_or_default(),
            _ => std::future::pending().await,
        };
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
        anyhow::anyhow!("{} ended by itself: {how}. Its last lines:\n{last}", self.name)
    }

    /// Asks it to end as a kubelet would, gives it some time, and kills what is left of its group.
    pub(crate) async fn stop(&self, patience: Duration) {
        self.told.store(true, Ordering::Relaxed);
        // Not the group: its children are its own to end.
        let _ = kill_process(self.group, Signal::TERM);
        let _ = tokio::time::timeout(patience, self.gone()).await;
        self.kill();
        self.gone().await;
    }

    /// Returns when it has ended and was reaped. Its files then do not change any more.
    pub(crate) async fn gone(&self) {
        let _ = self.ended.clone().wait_for(Option::is_some).await;
    }

    /// Kills the process at once, and leaves its children alone.
    pub(crate) fn kill_alone(&self) {
        self.told.store(true, Ordering::Relaxed);
        let _ = kill_process(self.group, Signal::KILL);
    }

    /// Returns when nobody of its group is left.
    pub(crate) async fn group_gone(&self) {
        let mut ticks = interval(Duration::from_millis(50));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Nobody tells of a process that is not a child of ours.
        while test_kill_process_group(self.group).is_ok() {
            ticks.tick().await;
        }
    }

    /// Kills the whole group at once. Also what the process itself left behind.
    pub(crate) fn kill(&self) {
        self.told.store(true, Ordering::Relaxed);
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
