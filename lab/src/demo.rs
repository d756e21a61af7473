//! The demo: weight shifts on the lab, asked for by Argo's own client code and carried out by the real plugin.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail, ensure};
use lab::scenario::{TwoListeners, two_listeners};
use lab::{Lab, LabConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::say;

/// The canary steps of the story that the plugin exists for.
const WEIGHTS: [u16; 5] = [10, 60, 80, 90, 100];

/// A step takes milliseconds. Whoever waits longer than this wants to be told.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the demo runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// The plugin's binary.
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// The Go program that plays the rollouts controller.
    #[arg(long, value_name = "FILE")]
    host: PathBuf,
}

/// Shows five shifts, one line each.
pub(crate) async fn run(demo: Demo) -> anyhow::Result<()> {
    let lab = Lab::start(LabConfig::default()).await?;
    let shop = two_listeners(&lab)?;
    let mut host = Host::start(&demo, lab.endpoint())?;
    let connected = host.ask("connect", json!({})).await?;
    let handshake =
        connected.result.get("handshakeMicros").and_then(Value::as_f64).context("no time of the handshake")?;
    say(
        "A load balancer in memory: `shop`, one rule for port 80 and one for port 443 that also logs people in and shares",
    );
    say(
        "its traffic with a target group of somebody else. Argo Rollouts' own client (1.10.2) starts the plugin and asks",
    );
    say(&format!("for five canary weights. From start to handshake: {}.", milliseconds(handshake)));
    say("");
    say("canary    port 80  port 443    both written    SetWeight answered    VerifyWeight");
    say("               stable:canary           after                 after");
    for weight in WEIGHTS {
        say(&step(&lab, &shop, &mut host, weight).await?);
    }
    host.ask("kill", json!({})).await?;
    say("");
    say(
        "SetWeight answered only after DescribeRules had shown the new weights on both rules; a rollouts controller scales",
    );
    say(
        "nothing before that answer. Real here: the plugin, Argo's client code, AWS's SDK and API. Not here: AWS, pods,",
    );
    say("requests.");
    lab.shutdown().await;
    Ok(())
}

/// Asks for one weight, and reports what the journal and the host measured.
async fn step(lab: &Lab, shop: &TwoListeners, host: &mut Host, weight: u16) -> anyhow::Result<String> {
    let before = lab.journal().len();
    let asked = SystemTime::now();
    let fields = |method: &str| json!({"method": method, "weight": weight, "rollout": rollout(shop)});
    let answer = host.ask("call", fields("SetWeight")).await?;
    let mut written_after = Duration::ZERO;
    let mut shown = Vec::new();
    for rule in [&shop.http_rule, &shop.https_rule] {
        let journal = lab.journal();
        let written = journal.iter().skip(before).rfind(|entry| entry.accepted() && entry.change(rule).is_some());
        let written = written.with_context(|| format!("the plugin answered without writing rule {rule}"))?;
        written_after = written_after.max(written.at.duration_since(asked).unwrap_or_default());
        let weights = written.change(rule).and_then(|change| change.weights_after.clone()).unwrap_or_default();
        let of = |group: &str| weights.get(group).copied().unwrap_or_default();
        ensure!(of(&shop.canary) == weight, "rule {rule} has the canary weight {}, not {weight}", of(&shop.canary));
        shown.push(format!("{}:{}", of(&shop.stable), of(&shop.canary)));
    }
    let verified = host.ask("call", fields("VerifyWeight")).await?;
    ensure!(verified.result.get("verified") == Some(&json!(true)), "VerifyWeight did not verify {weight}");
    let [http, https] = shown.as_slice() else { bail!("two rules were looked at") };
    let written = milliseconds(written_after.as_secs_f64() * 1e6);
    let answered = milliseconds(answer.micros);
    Ok(format!("{weight:>4} %  {http:>10}{https:>10}{written:>16}{answered:>22}    verified"))
}

fn milliseconds(micros: f64) -> String {
    format!("{:.1} ms", micros / 1e3)
}

fn rollout(shop: &TwoListeners) -> Value {
    let entry = json!({
        "stableTargetGroupArn": shop.stable,
        "canaryTargetGroupArn": shop.canary,
        "ruleArns": [shop.http_rule, shop.https_rule],
    });
    let canary = json!({
        "dynamicStableScale": true,
        "steps": WEIGHTS.map(|weight| json!({"setWeight": weight})),
        "trafficRouting": {"plugins": {"argoproj-labs/alb": entry}},
    });
    json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "00000000-0000-0000-0000-000000000001"},
        "spec": {"replicas": 10, "strategy": {"canary": canary}},
        "status": {"stableRS": "5f6d7c8b9", "currentPodHash": "7d9c6b5f4"},
    })
}

/// The Go program, asked line by line.
struct Host {
    // Held so that the process ends with the demo, also when the demo fails.
    _process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
    asked: u64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<String>,
    micros: f64,
}

impl Host {
    fn start(demo: &Demo, endpoint: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no folder for the host")?;
        let mut process = Command::new(absolute(&demo.host)?)
            .arg(absolute(&demo.plugin)?)
            .args(["--allow", "shop=arn:aws:elasticloadbalancing:us-east-1:000000000000:*"])
            .current_dir(folder.path())
            .env("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", endpoint)
            .env("AWS_ACCESS_KEY_ID", "lab")
            .env("AWS_SECRET_ACCESS_KEY", "lab")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the host {}", demo.host.display()))?;
        let commands = process.stdin.take().context("the host has no stdin")?;
        let answers = BufReader::new(process.stdout.take().context("the host has no stdout")?).lines();
        Ok(Self { _process: process, commands, answers, _folder: folder, asked: 0 })
    }

    /// Sends one command and waits for its answer.
    async fn ask(&mut self, command: &str, mut fields: Value) -> anyhow::Result<Answer> {
        self.asked += 1;
        let object = fields.as_object_mut().context("a command's fields are an object")?;
        object.extend([("id".to_owned(), self.asked.into()), ("cmd".to_owned(), command.into())]);
        self.commands.write_all(format!("{fields}\n").as_bytes()).await.context("the host is gone")?;
        let line = timeout(PATIENCE, self.answers.next_line()).await;
        let line = line.map_err(|_| anyhow!("no answer to {command} within {PATIENCE:?}"))?;
        let answer: Answer = serde_json::from_str(&line?.context("the host ended")?)?;
        match answer.error {
            Some(error) => bail!("{command}: {error}"),
            None => Ok(answer),
        }
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| format!("{} cannot be found", path.display()))
}
