//! What the fuzz targets share: a load balancer in memory, a door to it, and a clock that never waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trafficrouter_alb::alb::{
    Error, LoadBalancer, NewRule, Observation, Role, Rule, RuleArn, Tags, Target, TargetGroupArn, Turn, Urgency,
    WeightedGroup,
};
use trafficrouter_alb::cluster::{
    self, Announcement, Backends, Binding, Cluster, ErrorKind, Event, Ingress, Maker, Pod, Route, Service, ServicePort,
};
use trafficrouter_alb::goplugin::netrpc::{self, Offer};
use trafficrouter_alb::rollout::{Metadata, Rollout};
use trafficrouter_alb::router::{Router, Settings};

/// The groups that every rule holds.
pub const GROUPS: [&str; 2] = [
    "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/stable/a",
    "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/canary/b",
];

/// The Services whose Pods are bound to the groups.
pub const SERVICES: [&str; 2] = ["web-stable", "web-canary"];

/// The namespace that may name anything.
pub const NAMESPACE: &str = "shop";

/// The rule that is always there.
const RULE: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/c";

/// The one Pod behind every Service, healthy in every group.
const POD: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Longer than any wait in the plugin. The clock jumps there once nobody has anything left to do.
const IDLE: Duration = Duration::from_secs(300);

/// A load balancer that does what it is told, and a cluster in which nothing happens.
#[derive(Debug, Default)]
struct Obedient(Mutex<HashMap<String, Kept>>);

/// What was written of a rule.
#[derive(Clone, Debug, Default)]
struct Kept {
    groups: Vec<WeightedGroup>,
    tags: Tags,
}

impl Obedient {
    fn rules(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self, arn: &RuleArn) -> Rule {
        let fresh = || GROUPS.map(|arn| WeightedGroup { group: arn.parse().expect("an ARN"), weight: 50 }).to_vec();
        let written = self.rules().get(arn.as_str()).map(|kept| kept.groups.clone());
        Rule::forwarding(arn.clone(), &written.unwrap_or_else(fresh))
    }
}

#[async_trait]
impl LoadBalancer for Obedient {
    async fn observe(&self, rules: &[RuleArn], _: Instant) -> Result<Observation, Error> {
        Ok(Observation { began: Instant::now(), rules: rules.iter().map(|arn| self.rule(arn)).collect() })
    }

    async fn rules_around(&self, _: &TargetGroupArn) -> Result<Observation, Error> {
        let mut arns: BTreeSet<String> = self.rules().keys().cloned().collect();
        arns.insert(RULE.to_owned());
        let rules = arns.iter().map(|arn| self.rule(&arn.parse().expect("an ARN"))).collect();
        Ok(Observation { began: Instant::now(), rules })
    }

    async fn turn(&self, _: &RuleArn, _: Urgency) -> Turn {
        Turn::free()
    }

    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], _: Turn) -> Result<(), Error> {
        self.rules().entry(rule.arn().as_str().to_owned()).or_default().groups = groups.to_vec();
        Ok(())
    }

    async fn targets(&self, _: &TargetGroupArn, _: Instant) -> Result<Vec<Target>, Error> {
        Ok(vec![Target { id: POD.to_string(), port: None, healthy: true }])
    }

    async fn tags(&self, arns: &[String]) -> Result<Vec<Tags>, Error> {
        let rules = self.rules();
        Ok(arns.iter().map(|arn| rules.get(arn).map(|kept| kept.tags.clone()).unwrap_or_default()).collect())
    }

    async fn add_rule(&self, rule: &NewRule) -> Result<RuleArn, Error> {
        let arn: RuleArn = format!("{RULE}{}", rule.priority).parse().expect("an ARN");
        let groups = vec![WeightedGroup { group: rule.group.clone(), weight: 1 }];
        self.rules().insert(arn.as_str().to_owned(), Kept { groups, tags: rule.tags.clone() });
        Ok(arn)
    }

    async fn remove_rule(&self, rule: &RuleArn) -> Result<(), Error> {
        self.rules().remove(rule.as_str());
        Ok(())
    }

    fn assuming(self: Arc<Self>, _: &Role) -> Arc<dyn LoadBalancer> {
        self
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

    /// Only the host has Rollouts: what goes on without its call ends.
    async fn rollout(&self, namespace: &str, name: &str) -> Result<Rollout, cluster::Error> {
        let subject = format!("rollouts {namespace}/{name}");
        Err(cluster::Error::new(ErrorKind::Missing, "get", subject, "it does not exist"))
    }

    async fn next_rollout(&self, _: &str, _: &str, _: &str) -> Result<Rollout, cluster::Error> {
        std::future::pending().await
    }

    async fn reason_to_abort(&self, _: &str, _: &str) -> Result<Option<String>, cluster::Error> {
        Ok(None)
    }

    async fn abort(&self, _: &str, _: &str, _: &str) -> Result<(), cluster::Error> {
        Ok(())
    }

    async fn tell(&self, _: &Metadata, _: &Event) -> Result<(), cluster::Error> {
        Ok(())
    }

    async fn service(&self, _: &str, _: &str) -> Result<Service, cluster::Error> {
        Ok(Service { selector: BTreeMap::new(), ports: vec![(None, 80)] })
    }

    async fn bindings(&self, _: Option<&str>) -> Result<Vec<Binding>, cluster::Error> {
        let binding = |(service, group): (&str, &str)| Binding {
            namespace: NAMESPACE.to_owned(),
            name: service.to_owned(),
            service: service.to_owned(),
            port: ServicePort("80".to_owned()),
            group: group.to_owned(),
            maker: Maker::Somebody,
        };
        Ok(SERVICES.into_iter().zip(GROUPS).map(binding).collect())
    }

    async fn ingresses(&self, _: &str, _: &str) -> Result<Vec<Ingress>, cluster::Error> {
        Ok(Vec::new())
    }

    async fn announce(&self, _: &str, _: &str, _: &Announcement) -> Result<bool, cluster::Error> {
        Ok(true)
    }

    async fn add_route(&self, _: &str, _: &str, _: &str, _: &[String; 2], _: &Route) -> Result<(), cluster::Error> {
        Ok(())
    }

    async fn remove_routes(&self, _: &str, _: &str, _: &str, _: &[String]) -> Result<(), cluster::Error> {
        Ok(())
    }

    async fn note(&self, _: &Metadata, _: &str, _: &str) -> Result<(), cluster::Error> {
        Ok(())
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
        echo_timeout: Duration::from_secs(120),
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
