//! The plugin's process: a router over this world, calls through a connection that breaks when it is killed, and what the
//! invariants want to know of each call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lab::rollouts_controller::{CallError, TrafficRouter};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use trafficrouter_alb::alb::{BucketSize, LoadBalancer, Shared};
use trafficrouter_alb::rollout::Rollout;
use trafficrouter_alb::router::{Router, Settings, Verification};

use super::balancer::Balancer;
use super::case::Without;
use super::cluster::Cluster;
use super::invariants::{self, Call};
use super::world::{NAMESPACE, PLUGIN, World, name};

/// How long a call may be held.
pub(crate) const BLOCK_BUDGET: Duration = Duration::from_secs(45);

/// The plugin as its hosts know it.
#[derive(Debug)]
pub(crate) struct Plugin {
    world: Arc<World>,
    /// One process for all Rollouts, unless the story wants one for each.
    processes: Mutex<Vec<Process>>,
}

/// One process. It is dead as soon as this is dropped.
#[derive(Debug)]
struct Process {
    router: Arc<Router>,
    life: Life,
    _end: DropGuard,
}

/// Whether a process lives. What it still does after its death has no effect.
#[derive(Clone, Debug)]
pub(crate) struct Life(CancellationToken);

impl Plugin {
    pub(crate) fn start(world: Arc<World>) -> Arc<Self> {
        let processes = if world.case.without == Without::Lock { world.case.apps.len() } else { 1 };
        let processes = Mutex::new((0..processes).map(|_| Process::start(&world)).collect());
        Arc::new(Self { world, processes })
    }

    /// Kills all processes. Hosts start new ones at once.
    pub(crate) fn kill(&self) {
        for process in self.processes.lock().unwrap().iter_mut() {
            *process = Process::start(&self.world);
        }
    }

    /// The router for a Rollout, and the life of its process.
    fn router(&self, app: usize) -> (Arc<Router>, Life) {
        let processes = self.processes.lock().unwrap();
        let process = &processes[app % processes.len()];
        (Arc::clone(&process.router), process.life.clone())
    }
}

impl Process {
    fn start(world: &Arc<World>) -> Self {
        let settings = Settings {
            allow: vec![format!("{NAMESPACE}=*").parse().expect("a namespace and a pattern")],
            plugin_name: Some(PLUGIN.to_owned()),
            block_budget: BLOCK_BUDGET,
            max_held: 5,
            settle: Duration::from_secs(10),
            echo_timeout: if world.case.without == Without::Echo { Duration::ZERO } else { Duration::from_secs(120) },
        };
        let life = Life(CancellationToken::new());
        let mut balancer: Arc<dyn LoadBalancer> = Arc::new(Balancer::new(Arc::clone(world), life.clone()));
        if world.case.shared {
            balancer = Arc::new(Shared::new(balancer, BucketSize::MODIFY));
        }
        let cluster = Arc::new(Cluster::new(Arc::clone(world), life.clone()));
        Self { router: Arc::new(Router::new(Ok(settings), balancer, cluster)), _end: life.0.clone().drop_guard(), life }
    }
}

impl Life {
    /// Goes on if the process lives, and never if it is dead.
    pub(crate) async fn goes_on(&self) {
        if self.0.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}

/// One reconcile's way to the plugin.
#[derive(Debug)]
pub(crate) struct Caller {
    world: Arc<World>,
    plugin: Arc<Plugin>,
    app: usize,
    /// As the host read it.
    rollout: Rollout,
}

impl Caller {
    pub(crate) fn new(world: Arc<World>, plugin: Arc<Plugin>, app: usize, rollout: Rollout) -> Self {
        Self { world, plugin, app, rollout }
    }

    /// Makes a call. It fails when the process dies meanwhile.
    async fn call<T>(&self, call: impl AsyncFnOnce(&Router) -> T) -> Result<T, CallError> {
        let (router, life) = self.plugin.router(self.app);
        let _in_flight = invariants::calling(&self.world, self.app, &self.rollout);
        tokio::select! {
            biased;
            () = life.0.cancelled() => Err(CallError("connection is shut down".to_owned())),
            answer = call(&router) => Ok(answer),
        }
    }

    fn described(&self, weight: u32, began: Instant) -> Call<'_> {
        Call { app: self.app, rollout: &self.rollout, weight, began }
    }
}

#[async_trait]
impl TrafficRouter for Caller {
    async fn r#type(&self) -> Result<String, CallError> {
        Ok("alb".to_owned())
    }

    async fn update_hash(&self, _: &Value, canary: &str, stable: &str) -> Result<(), CallError> {
        self.call(async |router: &Router| router.update_hash(&self.rollout, canary, stable)).await
    }

    async fn set_weight(&self, _: &Value, weight: u32) -> Result<(), CallError> {
        let call = self.described(weight, Instant::now());
        invariants::asked(&self.world, &call);
        let answer =
            self.call(async |router: &Router| router.set_weight(&self.rollout, weight.into(), &[]).await).await;
        let answer = answer.and_then(|answer| answer.map_err(|error| CallError(error.to_string())));
        self.world.story.tell(|| {
            let (app, after) = (name(self.app), call.began.elapsed());
            let answer = answer.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
            format!("SetWeight {weight} of {app} after {after:?}: {answer}")
        });
        invariants::answered(&self.world, &call, answer.is_ok());
        self.world.open().is_told |= answer.is_ok();
        answer
    }

    async fn verify_weight(&self, _: &Value, weight: u32) -> Result<Option<bool>, CallError> {
        let call = self.described(weight, Instant::now());
        let answer =
            self.call(async |router: &Router| router.verify_weight(&self.rollout, weight.into(), &[]).await).await?;
        invariants::verified(&self.world, &call, answer == Verification::Verified);
        if answer != Verification::Verified {
            self.world.story.tell(|| format!("VerifyWeight {weight} of {}: {answer:?}", name(self.app)));
        }
        Ok(match answer {
            Verification::Verified => Some(true),
            Verification::NotVerified => Some(false),
            Verification::Unknown => None,
        })
    }

    async fn remove_managed_routes(&self, _: &Value) -> Result<(), CallError> {
        self.call(async |router: &Router| router.remove_managed_routes(&self.rollout)).await
    }
}
