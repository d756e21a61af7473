//! Drives a Go host that plays the rollouts controller: `tests/hosts/README.md` describes the host and its commands.
//!
//! Every wait has an end, far above what a working host and plugin need, so that a hang fails one test and not the run.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};

/// The plugin's name in a Rollout, as the host's ConfigMap has it.
pub(crate) const PLUGIN: &str = "argoproj-labs/alb";

/// Longer than any wait that is meant to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Go program that plays the controller, by its name in `target/hosts`, with flags of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    flags: &'static [&'static str],
}

/// A running host with, once connected, its plugin. Dropping it kills the host with SIGKILL.
pub(crate) struct Host {
    child: Child,
    requests: mpsc::UnboundedSender<Request>,
    log: watch::Receiver<Vec<String>>,
    folder: TempDir,
}

/// The plugin's process, as the host knows it after a connect.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connection {
    pub(crate) pid: i32,
    /// The negotiated app version.
    pub(crate) version: u32,
    handshake_micros: u64,
}

/// How the plugin's process ended.
#[derive(Debug, Deserialize)]
pub(crate) struct Exit {
    /// None after exit status 0; `signal: killed` after SIGKILL.
    pub(crate) failure: Option<String>,
}

/// How the plugin's process ended when the host told it to.
#[derive(Debug, Deserialize)]
pub(crate) struct Killed {
    /// As in [`Exit`].
    pub(crate) failure: Option<String>,
    /// It answered Quit and went within go-plugin's grace. A process may end without failure and yet not be clean.
    pub(crate) clean: bool,
}

/// What many runs of one call took.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spread {
    pub(crate) runs: usize,
    pub(crate) p50_micros: u64,
    pub(crate) p99_micros: u64,
    pub(crate) max_micros: u64,
    /// How many runs failed, by error text.
    pub(crate) errors: HashMap<String, usize>,
}

/// A command that succeeded.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) result: T,
    /// The time that the host measured.
    pub(crate) took: Duration,
}

struct Request {
    command: Value,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    id: u64,
    #[serde(default)]
    result: Value,
    error: Option<String>,
    micros: u64,
}

/// The Rollout of most tests: ten pods in the middle of an update from the hash `stable` to the hash `canary`, which
/// take the steps 10-60-80-90-100 with `dynamicStableScale`. `entry` is what it says to the plugin.
pub(crate) fn rollout(namespace: &str, name: &str, entry: &Value) -> Value {
    let labels = json!({"app": name});
    let steps: Vec<Value> = [10, 60, 80, 90, 100].map(|weight| json!({"setWeight": weight})).into();
    json!({
        "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-of-{namespace}-{name}"), "generation": 2},
        "spec": {
            "replicas": 10,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "web:2", "ports": [{"containerPort": 8080}]}]},
            },
            "strategy": {"canary": {
                "stableService": format!("{name}-stable"),
                "canaryService": format!("{name}-canary"),
                "dynamicStableScale": true,
                "trafficRouting": {"plugins": {PLUGIN: entry}},
                "steps": steps,
            }},
        },
        "status": {
            "stableRS": "stable",
            "currentPodHash": "canary",
            "replicas": 10,
            "readyReplicas": 10,
            "availableReplicas": 10,
            "observedGeneration": "2",
        },
    })
}

/// Waits until a process has ended that is no child of ours, such as the plugin of a killed host. Nothing reports that,
/// so `/proc` is asked again and again.
pub(crate) async fn ended(pid: i32) -> Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let gone = async {
        while is_running(pid) {
            ticks.tick().await;
        }
    };
    within("the process still runs", gone).await
}

impl Program {
    /// The controller of the newest release of Argo Rollouts.
    pub(crate) const NEWEST: Self = Self::argo("argo-1.10.2");

    /// The controller of a release.
    pub(crate) const fn argo(name: &'static str) -> Self {
        Self { name, flags: &[] }
    }

    /// The host that offers both doors, unless its flags say otherwise.
    pub(crate) const fn both_doors(flags: &'static [&'static str]) -> Self {
        Self { name: "grpc", flags }
    }

    /// Where the program is: the environment says, or it is where `make hosts` puts it.
    fn path(self) -> Result<PathBuf> {
        let variable = format!("HOST_{}", self.name.to_uppercase().replace(['-', '.'], "_"));
        let path = std::env::var_os(&variable).map_or_else(|| built(self.name), PathBuf::from);
        if !path.is_file() {
            bail!("the Go host {} is missing: run `make hosts`, or set {variable}", path.display());
        }
        Ok(path)
    }
}

impl Host {
    /// Starts the newest release's host for this plugin, as [`Host::start_as`] does.
    pub(crate) fn start(plugin: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        Self::start_as(Program::NEWEST, plugin, args, env)
    }

    /// Starts a host for this plugin; [`Host::connect`] starts the plugin itself. Of the environment, host and plugin
    /// see only `env` and a TMPDIR of their own, so that nobody's credentials or region leak into a test.
    pub(crate) fn start_as(program: Program, plugin: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        let path = program.path()?;
        let folder = tempfile::tempdir().context("cannot make a folder for the host")?;
        let sockets = folder.path().join("tmp");
        std::fs::create_dir(&sockets)?;

        let mut child = Command::new(&path)
            .args(program.flags)
            .arg(std::path::absolute(plugin)?)
            .args(args)
            .env_clear()
            .env("TMPDIR", &sockets)
            .envs(env.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the host {}", path.display()))?;
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");

        let (requests, received) = mpsc::unbounded_channel();
        let (lines, log) = watch::channel(Vec::new());
        tokio::spawn(converse(received, stdin, stdout));
        tokio::spawn(collect(stderr, lines));
        Ok(Self { child, requests, log, folder })
    }

    /// Does what each reconcile begins with: start the plugin and InitPlugin, if none runs, then Ping.
    ///
    /// After a process that ended by itself Argo's client may fail here once, and start a new one the next time.
    pub(crate) async fn connect(&self) -> Result<Done<Connection>> {
        self.command("connect", json!({})).await
    }

    /// Calls a method of the plugin, with the fields that it takes. The plugin's error is the error.
    pub(crate) async fn call(&self, method: &str, fields: Value) -> Result<Done<Value>> {
        self.command("call", with(fields, "method", json!(method))).await
    }

    /// Calls `method` that many times, at most `parallel` at once.
    pub(crate) async fn load(&self, method: &str, fields: Value, runs: usize, parallel: usize) -> Result<Done<Spread>> {
        let fields = with(fields, "repeat", json!(runs));
        let fields = with(fields, "parallel", json!(parallel));
        self.command("call", with(fields, "method", json!(method))).await
    }

    /// Asks for the canary weight of a Rollout.
    pub(crate) async fn set_weight(&self, rollout: &Value, weight: u32) -> Result<Duration> {
        let fields = json!({"rollout": rollout, "weight": weight});
        Ok(self.call("SetWeight", fields).await?.took)
    }

    /// Asks whether the canary weight is true; None if the plugin does not verify.
    pub(crate) async fn verify_weight(&self, rollout: &Value, weight: u32) -> Result<Option<bool>> {
        let fields = json!({"rollout": rollout, "weight": weight});
        let done = self.call("VerifyWeight", fields).await?;
        let verified = done.result.get("verified").context("VerifyWeight did not say `verified`")?;
        Ok(verified.as_bool())
    }

    /// Calls a method of any name, such as `Plugin.NoSuchMethod`, on the plugin's connection.
    pub(crate) async fn raw(&self, method: &str, rollout: &Value) -> Result<Done<Value>> {
        self.command("raw", json!({"method": method, "rollout": rollout})).await
    }

    /// Ends the plugin as the controller does: Quit, two seconds of grace, then SIGKILL.
    pub(crate) async fn kill(&self) -> Result<Done<Killed>> {
        self.command("kill", json!({})).await
    }

    /// Waits until the plugin's process has ended by itself.
    pub(crate) async fn wait_exit(&self) -> Result<Exit> {
        Ok(self.command("waitExit", json!({})).await?.result)
    }

    /// Kills the host with SIGKILL, as a crash of the controller would, and waits until it is gone.
    pub(crate) async fn sigkill(&mut self) -> Result<()> {
        within("the killed host is still there", self.child.kill()).await?.context("cannot kill the host")
    }

    /// Waits for a line of the log that contains all of these words, and returns it. Lines from before count.
    pub(crate) async fn log_line(&self, words: &[&str]) -> Result<String> {
        let matches = |line: &&String| words.iter().all(|word| line.contains(word));
        let mut log = self.log.clone();
        let found = within("no such line came", log.wait_for(|lines| lines.iter().any(|line| matches(&line)))).await;
        match found {
            Ok(Ok(lines)) => lines.iter().find(matches).cloned().context("the line was there"),
            Ok(Err(_)) => Err(anyhow!("the host ended")),
            Err(error) => Err(error),
        }
        .with_context(|| format!("waiting for a log line with {words:?}; the log ends with:\n{}", self.log_tail()))
    }

    /// All lines of the log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// What lies in the plugin's folder for temporary files: its socket.
    pub(crate) fn sockets(&self) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(self.folder.path().join("tmp"))?.map(|entry| Ok(entry?.path())).collect()
    }

    async fn command<T: DeserializeOwned>(&self, name: &str, fields: Value) -> Result<Done<T>> {
        let (answer, answered) = oneshot::channel();
        let command = with(fields, "cmd", json!(name));
        // A host that is gone drops the sender, which the wait below reports.
        let _ = self.requests.send(Request { command, answer });
        let answer = within("no answer came", answered)
            .await
            .and_then(|answer| answer.map_err(|_| anyhow!("the host ended")))
            .with_context(|| format!("the host's `{name}`; its log ends with:\n{}", self.log_tail()))?;
        if let Some(error) = answer.error {
            bail!(error);
        }
        Ok(Done {
            result: serde_json::from_value(answer.result).with_context(|| format!("the host's answer to `{name}`"))?,
            took: Duration::from_micros(answer.micros),
        })
    }

    fn log_tail(&self) -> String {
        let lines = self.log.borrow();
        let skipped = lines.len().saturating_sub(20);
        lines.iter().skip(skipped).map(|line| format!("  {line}\n")).collect()
    }
}

impl Connection {
    /// From just before exec to the handshake line.
    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_micros(self.handshake_micros)
    }
}

/// Where `make hosts` puts the program of this name: Cargo gives tests a folder in its target folder.
pub(crate) fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("hosts").join(name)
}

/// A process that has ended stays in `/proc` as a zombie (state Z) until its parent asks.
fn is_running(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z')))
}

/// Sends requests to the host and its answers back, until either side ends. What is unanswered then is dropped.
async fn converse(mut requests: mpsc::UnboundedReceiver<Request>, mut stdin: ChildStdin, stdout: ChildStdout) {
    let mut answers = BufReader::new(stdout).lines();
    let mut waiting = HashMap::new();
    let mut next_id = 1_u64;
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(Request { command, answer }) = request else { return };
                let line = format!("{}\n", with(command, "id", json!(next_id)));
                waiting.insert(next_id, answer);
                next_id += 1;
                if stdin.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
            line = answers.next_line() => {
                let Ok(Some(line)) = line else { return };
                let answer: Answer = serde_json::from_str(&line).expect("the host answers with JSON");
                if let Some(waiter) = waiting.remove(&answer.id) {
                    // A test that gave up waiting has dropped the other end.
                    let _ = waiter.send(answer);
                }
            }
        }
    }
}

/// Keeps the lines of the log, until the host and everyone who shares its stderr ends.
async fn collect(stderr: ChildStderr, log: watch::Sender<Vec<String>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|lines| lines.push(line));
    }
}

async fn within<T>(failure: &str, wait: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, wait).await.map_err(|_| anyhow!("{failure} within {} s", PATIENCE.as_secs()))
}

/// The object `fields` with one more field.
fn with(mut fields: Value, name: &str, value: Value) -> Value {
    let object = fields.as_object_mut().expect("fields are an object");
    object.insert(name.to_owned(), value);
    fields
}
