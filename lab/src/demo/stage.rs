//! One world: a cluster, a load balancer, who writes to both, and customers. Nothing in it is pretended but the parts that
//! the play names: the requests are sent, through load balancer nodes that really split them, to pods that really answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, timeout};

use super::asked::{Asked, Watched};
use super::live::WorldFrame;
use super::load::{Arrivals, Load, LoadConfig};
use super::objects;
use super::play::{Path, Play};
use super::rules::{Groups, Rules};
use super::world::{Event, Sample, Step, World};
use crate::data_plane::DataPlane;
use crate::data_plane::config::DataPlaneConfig;
use crate::kubernetes::{Cluster, Kind, KubernetesApi};
use crate::load_balancer_controller::{Delay, LbcConfig, LoadBalancerController};
use crate::rollouts_controller::{BuiltIn, Controller, POD_HASH, PluginProcess, TrafficRouter, Unreadable};
use crate::scenario;
use crate::server::{Lab, LabConfig};
use crate::workload::{Serve, Workload, WorkloadConfig};

/// The load balancer controller makes everything in its own time.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A request without an answer by then has failed. The story's clients gave up later; it makes no difference here.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that customers keep open.
const CONNECTIONS: usize = 32;

/// A world that is ready for its customers, or has them.
#[derive(Debug)]
pub struct Stage {
    play: Play,
    path: Path,
    cluster: Cluster,
    lab: Lab,
    kubernetes: KubernetesApi,
    load_balancer_controller: LoadBalancerController,
    workload: Workload,
    rollouts_controller: JoinHandle<Result<(), Unreadable>>,
    plugin: Option<Arc<PluginProcess>>,
    asked: Asked,
    rules: Rules,
    /// The version that is stable when customers come.
    first: String,
    /// The pods that were paid for before customers came.
    paid_before: Duration,
    began: Instant,
    load: Option<Load>,
    samples: Vec<Sample>,
    events: Vec<Event>,
    _folder: TempDir,
}

impl Stage {
    /// Sets a world up and waits until its first version serves. `network` is its own: pods have addresses 127.`network`.x.y.
    ///
    /// # Errors
    /// If something cannot be started, or is not ready within two minutes.
    pub async fn set(play: &Play, path: Path, network: u8) -> anyhow::Result<Self> {
        let config = LabConfig { seed: play.seed, ..LabConfig::default() };
        let lab = Lab::start_with_data_plane(config, data_plane_config(play)).await?;
        let cluster = Cluster::default();
        let kubernetes = KubernetesApi::start(cluster.clone())?;
        let folder = tempfile::tempdir()?;
        for name in [objects::STABLE, objects::CANARY] {
            cluster.create(Kind::SERVICE, objects::service(name))?;
        }
        let entry = match path {
            Path::BuiltIn | Path::Workaround => {
                cluster.create(Kind::INGRESS, objects::ingress())?;
                None
            }
            Path::Plugin => {
                let web = scenario::web(&lab)?;
                for (service, group) in [(objects::STABLE, &web.stable), (objects::CANARY, &web.canary)] {
                    cluster.create(Kind::TARGET_GROUP_BINDING, objects::binding(service, group))?;
                }
                Some(objects::entry(&web.stable, &web.canary))
            }
        };
        let load_balancer_controller =
            LoadBalancerController::start(cluster.clone(), lab.control_plane().clone(), lbc_config(play));
        let workload = Workload::start(cluster.clone(), workload_config(play, network));
        cluster.create(Kind::ROLLOUT, objects::rollout(play, path, entry))?;
        let plugin = match path {
            Path::Plugin => Some(Arc::new(start_plugin(play, &lab, &kubernetes, &folder).await?)),
            Path::BuiltIn | Path::Workaround => None,
        };
        let router: Arc<dyn TrafficRouter> = match &plugin {
            Some(plugin) => Arc::clone(plugin) as Arc<dyn TrafficRouter>,
            None => Arc::new(BuiltIn::new(cluster.clone())),
        };
        let asked = Asked::default();
        let router = Arc::new(Watched { router, asked: asked.clone() });
        let controller = Controller::new(cluster.clone(), objects::NAMESPACE, objects::NAME, router);
        let mut stage = Self {
            play: play.clone(),
            path,
            cluster,
            lab,
            kubernetes,
            load_balancer_controller,
            workload,
            rollouts_controller: tokio::spawn(controller.run()),
            plugin,
            asked,
            rules: Rules::default(),
            first: String::new(),
            paid_before: Duration::ZERO,
            began: Instant::now(),
            load: None,
            samples: Vec::new(),
            events: Vec::new(),
            _folder: folder,
        };
        let ready = timeout(READY_WITHIN, stage.until_ready()).await;
        ready.with_context(|| format!("{}: not ready within {READY_WITHIN:?}", path.name()))??;
        Ok(stage)
    }

    /// Waits until every node sends to every pod of the first version, and to nobody else.
    async fn until_ready(&mut self) -> anyhow::Result<()> {
        let mut ticks = interval(Duration::from_millis(50));
        let pods = usize::try_from(self.play.pods).unwrap_or(usize::MAX);
        loop {
            ticks.tick().await;
            if self.rollouts_controller.is_finished() {
                bail!("{}: the rollouts controller ended", self.path.name());
            }
            let Some(groups) = Groups::find(&self.cluster) else { continue };
            self.rules = Rules::holding(self.lab.control_plane(), groups);
            let nodes = self.data_plane()?.may_send_to(&self.rules.groups.stable);
            let all_serve = nodes.len() == data_plane_config(&self.play).nodes
                && nodes.iter().all(|node| node.targets.len() == pods);
            if all_serve && self.is_healthy() && self.rules.shares(self.lab.control_plane()) == [0] {
                self.first = self.status("/currentPodHash");
                return Ok(());
            }
        }
    }

    /// Lets customers in. Times of the world count from here.
    ///
    /// # Errors
    /// If the load cannot be made.
    pub fn open(&mut self, duration: Duration) -> anyhow::Result<()> {
        let listener = self.rules.listener(self.lab.control_plane()).context("no listener has the rule")?;
        let nodes = self.data_plane()?.addresses(&listener).into_iter().map(|node| node.address).collect();
        let load = LoadConfig {
            nodes,
            host: objects::HOST.to_owned(),
            path: "/".to_owned(),
            rate: self.play.rate,
            arrivals: Arrivals::Even,
            connections: CONNECTIONS,
            timeout: CLIENT_TIMEOUT,
            duration,
            seed: self.play.seed,
        };
        self.paid_before = self.pod_time();
        self.began = Instant::now();
        self.load = Some(Load::start(load)?);
        Ok(())
    }

    /// Pushes the new version.
    ///
    /// # Errors
    /// If the Rollout is gone.
    pub fn update(&mut self) -> anyhow::Result<()> {
        self.cluster.merge_patch(Kind::ROLLOUT, objects::NAMESPACE, objects::NAME, &objects::next_version())?;
        Ok(())
    }

    /// Looks at everything once, and remembers it.
    pub fn look(&mut self) -> WorldFrame {
        let (stable_pods, canary_pods) = self.pods();
        let wished = self.asked.last().unwrap_or_default();
        let now = Sample {
            at: self.began.elapsed(),
            wished: u16::try_from(wished).unwrap_or(u16::MAX),
            actual: self.rules.shares(self.lab.control_plane()),
            stable_pods,
            canary_pods,
        };
        self.tell_of(&now);
        self.samples.push(now.clone());
        let mut failures = self.load.as_ref().map(Load::outcomes).unwrap_or_default();
        let requests = failures.values().sum();
        failures.retain(|outcome, _| outcome.failed());
        WorldFrame { name: self.path.name().to_owned(), now, requests, failures }
    }

    /// The new version is stable, its last weight is true, and nothing is on its way any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let hash = self.status("/stableRS");
        let (old, _) = self.pods();
        hash != self.first
            && self.is_healthy()
            && old == 0
            && self.rules.shares(self.lab.control_plane()).iter().all(|share| *share == 0)
    }

    /// Ends the world and tells what was seen of it.
    ///
    /// # Errors
    /// If the plugin does not end.
    pub async fn strike(mut self) -> anyhow::Result<World> {
        let pod_time = self.pod_time().saturating_sub(self.paid_before);
        let traffic = match self.load.take() {
            Some(load) => load.stop().await,
            None => super::load::Traffic::default(),
        };
        let steps = self.steps();
        self.rollouts_controller.abort();
        if let Some(plugin) = &self.plugin {
            plugin.stop().await?;
        }
        self.load_balancer_controller.shutdown().await;
        self.workload.shutdown().await;
        self.kubernetes.shutdown().await;
        self.lab.shutdown().await;
        let Self { path, samples, events, .. } = self;
        Ok(World { name: path.name().to_owned(), traffic, pod_time, steps, samples, events })
    }

    /// What was asked for since customers came, and when the rules had got there.
    fn steps(&self) -> Vec<Step> {
        let asked = self.asked.all().into_iter().filter(|(at, _)| *at >= self.began);
        let journal = self.lab.journal();
        let reached = |at: Instant, weight: u32| {
            let asked_ms = self.lab.control_plane().millis_at(at);
            let reached = self.rules.reached(&journal, asked_ms, u16::try_from(weight).unwrap_or(u16::MAX))?;
            Some(at.duration_since(self.began) + Duration::from_millis(reached.saturating_sub(asked_ms)))
        };
        asked
            .map(|(at, weight)| Step {
                label: if weight == 0 { "end".to_owned() } else { format!("{weight} %") },
                asked: at.duration_since(self.began),
                settled: reached(at, weight),
            })
            .collect()
    }

    fn data_plane(&self) -> anyhow::Result<&DataPlane> {
        self.lab.data_plane().context("the lab has no load balancer nodes")
    }

    fn is_healthy(&self) -> bool {
        self.status("/phase") == "Healthy" && self.asked.last() == Some(0)
    }

    /// A text of the Rollout's status; empty if there is none.
    fn status(&self, path: &str) -> String {
        let rollout = self.cluster.get(Kind::ROLLOUT, objects::NAMESPACE, objects::NAME);
        let text = rollout.and_then(|rollout| rollout.pointer(&format!("/status{path}"))?.as_str().map(str::to_owned));
        text.unwrap_or_default()
    }

    /// Pods of the first version, and all others.
    fn pods(&self) -> (u32, u32) {
        let (pods, _) = self.cluster.list(Kind::POD, Some(objects::NAMESPACE));
        let hash = |pod: &Value| pod.pointer("/metadata/labels")?.get(POD_HASH)?.as_str().map(str::to_owned);
        let count = |old: bool| pods.iter().filter(|pod| (hash(pod).as_ref() == Some(&self.first)) == old).count();
        (u32::try_from(count(true)).unwrap_or(u32::MAX), u32::try_from(count(false)).unwrap_or(u32::MAX))
    }

    fn pod_time(&self) -> Duration {
        self.workload.pod_time().values().sum()
    }

    /// The moments that the story is about.
    fn tell_of(&mut self, now: &Sample) {
        let before = self.samples.last();
        let had_stable = before.is_some_and(|before| before.stable_pods > 0);
        let still_sent = 100 - now.farthest().unwrap_or(100).min(100);
        let text = if had_stable && now.stable_pods == 0 && now.wished > 0 {
            format!("the last stable pod is gone, its group still gets {still_sent} % of the requests")
        } else if before.is_some_and(|before| before.wished > 0) && now.wished == 0 {
            "the new version is promoted".to_owned()
        } else {
            return;
        };
        self.events.push(Event { at: now.at, text });
    }
}

fn data_plane_config(play: &Play) -> DataPlaneConfig {
    DataPlaneConfig {
        lag: Duration::ZERO..=play.node_lag(),
        seed: play.seed,
        health_check_interval: Some(play.health_check_interval()),
        ..DataPlaneConfig::default()
    }
}

fn lbc_config(play: &Play) -> LbcConfig {
    LbcConfig {
        registration_lag: Delay::fixed(play.registration_lag()),
        ..LbcConfig::lagging(play.seed, play.here(play.lag))
    }
}

fn workload_config(play: &Play, network: u8) -> WorkloadConfig {
    WorkloadConfig {
        network,
        start_up: play.start_up()..=play.start_up(),
        grace: play.grace(),
        serve: Serve::Http { port: objects::PORT, service_time: Duration::from_millis(5)..=Duration::from_millis(20) },
        seed: play.seed,
        ..WorkloadConfig::default()
    }
}

/// Starts the real plugin, with the lab as AWS and as Kubernetes.
async fn start_plugin(
    play: &Play,
    lab: &Lab,
    kubernetes: &KubernetesApi,
    folder: &TempDir,
) -> anyhow::Result<PluginProcess> {
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, kubernetes.kubeconfig())?;
    let kubeconfig = kubeconfig.to_str().context("the temporary folder has no name in UTF-8")?;
    let settle = format!("{}ms", play.settle().as_millis());
    let arguments = ["--allow", &format!("{}=*", objects::NAMESPACE), "--settle", &settle].map(str::to_owned);
    let environment = [
        ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", lab.endpoint()),
        ("AWS_ACCESS_KEY_ID", "demo"),
        ("AWS_SECRET_ACCESS_KEY", "demo"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("KUBECONFIG", kubeconfig),
        ("NO_PROXY", "127.0.0.1"),
    ];
    PluginProcess::start(&play.plugin, arguments, &environment).await
}
