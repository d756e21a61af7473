//! What the fuzz targets share: a load balancer in memory, a door to it, and a clock that never waits.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trafficrouter_alb::alb::{Error, LoadBalancer, Observation, Rule, RuleArn, Target, TargetGroupArn, WeightedGroup};
use trafficrouter_alb::cluster::{self, Backends, Cluster, Pod};
use trafficrouter_alb::goplugin::netrpc::{self, Offer};
use trafficrouter_alb::router::{Router, Settings};

/// The groups that every rule holds.
pub const GROUPS: [&str; 2] = [
    "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/stable/a",
    "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/canary/b",
];

/// The namespace that may name anything.
pub const NAMESPACE: &str = "shop";

/// The one Pod behind every Service, healthy in every group.
const POD: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Longer than any wait in the plugin. The clock jumps there once nobody has anything left to do.
const IDLE: Duration = Duration::from_secs(300);

/// A load balancer that does what it is told.
#[derive(Debug, Default)]
struct Obedient(Mutex<HashMap<String, Vec<WeightedGroup>>>);

impl Obedient {
    fn rule(&self, arn: &RuleArn) -> Rule {
        let rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || GROUPS.map(|arn| WeightedGroup { group: arn.parse().expect("an ARN"), weight: 50 }).to_vec();
        Rule::forwarding(arn.clone(), &rules.get(arn.as_str()).cloned().unwrap_or_else(fresh))
    }
}

#[async_trait]
impl LoadBalancer for Obedient {
    async fn observe(&self, rules: &[RuleArn]) -> Result<Observation, Error> {
        Ok(Observation { began: Instant::now(), rules: rules.iter().map(|arn| self.rule(arn)).collect() })
    }

    async fn rules_around(&self, _: &TargetGroupArn) -> Result<Observation, Error> {
        let arn = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/c".parse().expect("an ARN");
        Ok(Observation { began: Instant::now(), rules: vec![self.rule(&arn)] })
    }

    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup]) -> Result<(), Error> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rules.insert(rule.arn().as_str().to_owned(), groups.to_vec());
        Ok(())
    }

    async fn targets(&self, _: &TargetGroupArn) -> Result<Vec<Target>, Error> {
        Ok(vec![Target { id: POD.to_string(), port: None, healthy: true }])
    }
}

#[async_trait]
impl Cluster for Obedient {
    async fn backends(&self, _: &str, service: &str) -> Result<Backends, cluster::Error> {
        let pod = Pod { name: service.to_owned(), labels: BTreeMap::new(), addresses: vec![POD], ports: Vec::new() };
        Ok(Backends { selector: BTreeMap::new(), pods: vec![pod] })
    }

    async fn desired_pods(&self, _: &str, _: &str, _: &str) -> Result<usize, cluster::Error> {
        Ok(1)
    }
}

/// A router over a load balancer in memory.
pub fn router() -> Router {
    let settings = Settings {
        allow: vec![format!("{NAMESPACE}=*").parse().expect("a permission")],
        plugin_name: None,
        block_budget: Duration::from_secs(5),
        max_held: 5,
        settle: Duration::from_secs(10),
    };
    let world = Arc::new(Obedient::default());
    Router::new(Ok(settings), Arc::clone(&world) as Arc<dyn LoadBalancer>, world)
}

/// Runs on one thread, with a clock that jumps instead of waiting.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

/// Serves `bytes` as one connection, and returns what was answered once nothing more can come.
pub fn serve(bytes: &[u8]) -> Vec<u8> {
    run(async {
        let (mut host, plugin) = tokio::io::duplex(64 * 1024);
        let offer: Offer = trafficrouter_alb::door::netrpc::offer(Arc::new(router()));
        let serving = tokio::spawn(netrpc::serve(plugin, offer, CancellationToken::new()));
        let answers = converse(&mut host, bytes).await;
        drop(host);
        // How it ended is the peer's doing; that it ends is ours.
        let _ = tokio::time::timeout(IDLE, serving).await.expect("a closed connection ends").expect("nothing panics");
        answers
    })
}

/// Sends all, and reads until the other side is idle or gone.
async fn converse(host: &mut DuplexStream, bytes: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(host);
    let mut answers = Vec::new();
    let reading = async { while let Ok(Ok(1..)) = tokio::time::timeout(IDLE, reader.read_buf(&mut answers)).await {} };
    // A plugin that gave the connection up closes it, and the write fails.
    let writing = async { drop(writer.write_all(bytes).await) };
    tokio::join!(reading, writing);
    answers
}

/// Bytes in pieces, as `choice` has it: 0 leaves them whole.
pub fn pieces(bytes: &[u8], choice: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut state = u32::from(choice);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(if choice == 0 { 0 } else { 1_013_904_223 });
        let length = if choice == 0 { rest.len() } else { ((state >> 24) as usize % 64 + 1).min(rest.len()) };
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some(piece)
    })
}
