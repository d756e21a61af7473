//! The objects of the simulated cluster, as typed data: JSON and watches would cost more time than all the rest, and say nothing
//! about routers. The rollouts controller's own decisions are the lab's ([`lab::rollouts_controller::reconcile`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use lab::rollouts_controller::{
    Canary, CanaryStatus, Destination, Metadata, Pause, Phase, ReplicaSet, Rollout, Service, Spec, Status, Step,
    Strategy, TrafficRouting, Weights,
};
use lab::simulated::{LoadBalancer, Route};
use lab::{ApiError, DataPlaneConfig};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::case::{AppCase, Case, Without};
use super::changes::{Changes, Changing};
use super::invariants::{Ledger, Violation};
use super::story::Story;
use super::watchman::Past;

/// Where everything is.
pub(crate) const NAMESPACE: &str = "shop";

/// What `argo-rollouts-config` calls the plugin.
pub(crate) const PLUGIN: &str = "argoproj-labs/alb";

/// Where pods listen.
pub(crate) const PORT: u16 = 8080;

/// The maximum weight.
pub(crate) const MAX: u32 = 100;

/// Stands for the steps; nobody changes them.
pub(crate) const STEPS: &str = "steps";

/// Everything that there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) case: Case,
    pub(crate) story: Story,
    pub(crate) balancer: LoadBalancer,
    pub(crate) rules: Vec<String>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) past: Mutex<Past>,
    objects: Mutex<Objects>,
    /// Addresses that answer.
    up: Arc<Mutex<BTreeSet<String>>>,
    changed: Changing,
    rng: Mutex<Rng>,
    violation: watch::Sender<Option<Violation>>,
    began: Instant,
}

/// The objects.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) apps: Vec<App>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) pods: Vec<Pod>,
    /// So many of the plugin's next requests fail.
    pub(crate) failing: u32,
    /// The weights that the Ingress says, by Service.
    pub(crate) announced: BTreeMap<String, u32>,
    /// The host was told that what was announced last is true.
    pub(crate) is_told: bool,
    /// The weight that the Ingress says for a group that is nobody's business.
    pub(crate) foreign: Option<(String, u16)>,
    /// Grows with every change that the Ingress's controller hears of.
    pub(crate) ingress_events: u64,
    made: u32,
}

/// One Rollout with its ReplicaSets.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) rollout: Rollout,
    /// The plugin's entry as JSON text.
    pub(crate) entry: Vec<u8>,
    /// The hash of its Pod template.
    pub(crate) pod_hash: String,
    pub(crate) sets: Vec<ReplicaSet>,
    /// Grows with every write of the Rollout.
    pub(crate) version: u64,
    /// Grows with every event that its controller hears of.
    pub(crate) events: u64,
    /// ARNs of the groups behind the stable and the canary Service.
    pub(crate) stable: String,
    pub(crate) canary: String,
}

/// One Pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) app: usize,
    pub(crate) hash: String,
    pub(crate) address: String,
    pub(crate) ready: bool,
    pub(crate) leaving: bool,
}

impl World {
    /// A world in which version 1 of every Rollout has been stable for long.
    pub(crate) fn begin(case: Case, told: bool) -> Result<Arc<Self>, ApiError> {
        let names: Vec<String> = (0..case.apps.len())
            .flat_map(|app| ["stable", "canary"].map(|role| service(app, role)))
            .chain(case.foreign.map(|_| "legacy".to_owned()))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut rule: Vec<(usize, u16)> =
            (0..case.apps.len()).flat_map(|app| [(2 * app, share(&case)), (2 * app + 1, 0)]).collect();
        rule.extend(case.foreign.map(|weight| (2 * case.apps.len(), weight)));
        let config = DataPlaneConfig {
            nodes: 2,
            lag: Duration::ZERO..=case.node_lag,
            seed: case.seed,
            health_check_interval: Some(Duration::from_secs(60)),
            ..DataPlaneConfig::default()
        };
        let up: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let answers = Arc::clone(&up);
        let is_up = move |address: &str| answers.lock().unwrap().contains(address);
        let (balancer, groups, rules) = LoadBalancer::start(&config, PORT, &names, &vec![rule; case.rules], is_up)?;
        let world = Self {
            story: Story::begin(told),
            balancer,
            ledger: Mutex::default(),
            past: Mutex::new(Past::new(case.apps.len())),
            objects: Mutex::default(),
            up,
            changed: Changing::default(),
            rng: Mutex::new(Rng::with_seed(case.seed ^ 0x5eed)),
            violation: watch::Sender::new(None),
            began: Instant::now(),
            rules: rules.clone(),
            case,
        };
        world.open().foreign = groups.last().cloned().zip(world.case.foreign);
        for (app, groups) in (0..world.case.apps.len()).zip(groups.chunks(2)) {
            world.open().add_app(app, &world.case, groups, &rules);
            for _ in 0..world.case.apps[app].replicas {
                let pod = world.open().add_pod(app, &hash(app, "v1"), true);
                world.up.lock().unwrap().insert(pod.address.clone());
                for group in groups {
                    world.balancer.register(group, &pod.address)?;
                }
            }
        }
        Ok(Arc::new(world))
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    /// Changes objects, and wakes everybody who watches.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Objects) -> T) -> T {
        let result = change(&mut self.open());
        self.changed.change();
        result
    }

    pub(crate) fn changes(&self) -> Changes {
        self.changed.subscribe()
    }

    /// The pods that answer.
    pub(crate) fn up(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.up.lock().unwrap()
    }

    /// A time from almost nothing to `longest`.
    pub(crate) fn draw(&self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(self.rng.lock().unwrap().u64(1..=longest))
    }

    /// Wall-clock time, in step with tokio's clock.
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.began.elapsed()
    }

    /// Something happened that must never happen. The first one ends the story.
    pub(crate) fn violated(&self, violation: Violation) {
        self.story.tell(|| format!("VIOLATED {violation}"));
        self.violation.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(violation);
            is_first
        });
    }

    pub(crate) fn violation(&self) -> watch::Receiver<Option<Violation>> {
        self.violation.subscribe()
    }

    /// Where every node sends requests now.
    pub(crate) fn routes(&self) -> Vec<Vec<Vec<Route>>> {
        self.balancer.routes()
    }
}

impl Objects {
    fn add_app(&mut self, app: usize, case: &Case, groups: &[String], rules: &[String]) {
        let (stable, canary) = (groups[0].clone(), groups[1].clone());
        let replicas = case.apps[app].replicas;
        for role in ["stable", "canary"] {
            let selected = Service { selects: hash(app, "v1"), is_managed: true };
            self.services.insert(service(app, role), selected);
            let weight = if role == "stable" { share(case).into() } else { 0 };
            self.announced.insert(service(app, role), weight);
        }
        let entry = entry(case, &stable, &canary, rules);
        self.apps.push(App {
            entry: entry.to_string().into_bytes(),
            rollout: rollout(app, case, entry),
            pod_hash: hash(app, "v1"),
            sets: vec![ReplicaSet {
                hash: hash(app, "v1"),
                replicas,
                desired_annotation: replicas,
                scale_down_deadline: None,
                created: replicas,
                available: replicas,
                version: "0".to_owned(),
            }],
            version: 1,
            events: 0,
            stable,
            canary,
        });
    }

    /// A new Pod with an address of its own.
    pub(crate) fn add_pod(&mut self, app: usize, hash: &str, ready: bool) -> Pod {
        self.made += 1;
        let address = format!("10.0.{}.{}", self.made / 250, self.made % 250 + 1);
        let pod = Pod { app, hash: hash.to_owned(), address, ready, leaving: false };
        self.pods.push(pod.clone());
        pod
    }

    /// The weights that the Ingress says, by the groups' ARNs.
    pub(crate) fn announced_by_group(&self) -> BTreeMap<String, u16> {
        let groups = |(place, app): (usize, &App)| {
            [("stable", app.stable.clone()), ("canary", app.canary.clone())].map(|(role, group)| {
                let weight = self.announced.get(&service(place, role)).copied().unwrap_or_default();
                (group, u16::try_from(weight).unwrap_or(u16::MAX))
            })
        };
        self.apps.iter().enumerate().flat_map(groups).chain(self.foreign.clone()).collect()
    }

    pub(crate) fn pod(&mut self, address: &str) -> Option<&mut Pod> {
        self.pods.iter_mut().find(|pod| pod.address == address)
    }

    /// The Pods that a Service selects and that could serve.
    pub(crate) fn behind(&self, app: usize, role: &str) -> impl Iterator<Item = &Pod> {
        let hash = self.services.get(&service(app, role)).map(|service| service.selects.as_str());
        self.pods
            .iter()
            .filter(move |pod| pod.app == app && Some(pod.hash.as_str()) == hash && pod.ready && !pod.leaving)
    }
}

impl App {
    /// The Rollout is written: another version, and an event.
    pub(crate) fn touch(&mut self) {
        self.version += 1;
        self.events += 1;
    }
}

/// The name of a Service, and of the group behind it.
pub(crate) fn service(app: usize, role: &str) -> String {
    format!("{}-{role}", name(app))
}

/// The name of a Rollout.
pub(crate) fn name(app: usize) -> &'static str {
    ["web", "api"][app]
}

/// What stands for a version of a Rollout's Pod template.
pub(crate) fn hash(app: usize, version: &str) -> String {
    format!("{}-{version}", name(app))
}

/// What the groups of one Rollout have together in a rule.
fn share(case: &Case) -> u16 {
    100 / u16::try_from(case.apps.len()).unwrap_or(1)
}

fn entry(case: &Case, stable: &str, canary: &str, rules: &[String]) -> Value {
    let mut entry = json!({ "stableTargetGroupArn": stable, "canaryTargetGroupArn": canary, "ruleArns": rules });
    match case.without {
        Without::RisingGate => entry["gates"] = json!({ "rising": false }),
        Without::PromotionGate => entry["gates"] = json!({ "promotion": false }),
        Without::Settle => entry["settleSeconds"] = json!(0),
        Without::Nothing | Without::Echo | Without::Lock | Without::Freshness => {}
    }
    if case.rival.is_some() {
        entry["ingress"] = json!("web");
    }
    entry
}

fn rollout(app: usize, case: &Case, entry: Value) -> Rollout {
    let AppCase { replicas, .. } = case.apps[app].clone();
    let steps: Vec<Step> = case.apps[app]
        .steps
        .iter()
        .flat_map(|weight| {
            let pause = Pause { duration: Some(Duration::from_secs(case.apps[app].pause)) };
            [Step::SetWeight(*weight), Step::Pause(pause)]
        })
        .collect();
    let destination = |weight, role: &str| Destination {
        weight,
        service_name: service(app, role),
        pod_template_hash: hash(app, "v1"),
    };
    let weights =
        Weights { canary: destination(0, "canary"), stable: destination(MAX, "stable"), verified: Some(true) };
    let status = Status {
        current_step_index: (!steps.is_empty()).then(|| u32::try_from(steps.len()).unwrap()),
        current_step_hash: STEPS.to_owned(),
        current_pod_hash: hash(app, "v1"),
        stable_rs: hash(app, "v1"),
        phase: Some(Phase::Healthy),
        replicas,
        updated_replicas: replicas,
        available_replicas: replicas,
        canary: CanaryStatus { weights: Some(weights), ..CanaryStatus::default() },
        ..Status::default()
    };
    let canary = Canary {
        stable_service: service(app, "stable"),
        canary_service: service(app, "canary"),
        ping_pong: None,
        steps,
        dynamic_stable_scale: case.apps[app].dynamic_stable_scale,
        scale_down_delay_seconds: None,
        abort_scale_down_delay_seconds: None,
        traffic_routing: TrafficRouting {
            max_traffic_weight: None,
            alb: None,
            plugins: [(PLUGIN.to_owned(), entry)].into(),
        },
    };
    Rollout {
        metadata: Metadata {
            name: name(app).to_owned(),
            namespace: NAMESPACE.to_owned(),
            uid: format!("uid-{app}"),
            generation: 1,
        },
        spec: Spec {
            replicas,
            paused: false,
            selector: Value::Null,
            template: Value::Null,
            strategy: Strategy { canary },
        },
        status,
    }
}
