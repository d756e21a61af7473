//! Decides what a host's calls mean, and answers only what is true.
//!
//! A call is read into a wish (`wish`, pure) and handed to the Rollout's follower (`follow`), which makes it true in passes
//! (`shift`, `settle`) and then guards it, call or no call. What a pass may write is decided by pure parts: the plan of a rule
//! (`plan`), the gates (`gate`), the echo of another writer (`echo`). The call waits for what comes of it (`hold`), and what
//! it is answered is one pure function of the stage and the situation (`answer`).
//!
//! SetWeight's error is the only answer that stops the rollouts controller before it scales anything
//! (`rollout/trafficrouting.go`). Where a success lets no pod go that has traffic, a wish that still waits gets that, and "not
//! verified" from [`Router::verify_weight`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::alb::LoadBalancer;
use crate::cluster::Cluster;
use crate::rollout::{HeaderRoute, MirrorRoute, Rollout, WeightDestination};
use answer::{Situation, Stage};
use find::Finder;
use follow::Follower;
use hold::{Calls, Held};
use means::Means;
use progress::{Ask, Progress};
use report::Report;
use routes::{Managed, Route};
use shift::{Shift, Track};
use unfinished::Unfinished;
use wish::Wish;

pub use allow::{Allow, AllowError};
pub(crate) use entry::LONGEST_SETTLE;

mod abort;
mod allow;
mod answer;
mod echo;
mod entry;
mod find;
mod follow;
mod gate;
mod guard;
mod hold;
mod let_in;
mod locks;
mod means;
mod passage;
mod plan;
mod progress;
mod report;
mod routes;
mod settle;
mod shift;
mod unfinished;
mod wish;

/// The name of this router in the host's log.
pub const TYPE: &str = "alb";

/// An error never comes sooner after its call than this: a host asks again after 1 ms, 2 ms, 4 ms and so on
/// (`utils/queue/queue.go` of Argo Rollouts), with a Warning event each time.
const SOONEST_ERROR: Duration = Duration::from_secs(2);

/// How long VerifyWeight may look.
const LOOK_BUDGET: Duration = Duration::from_secs(10);

/// How long an observation stands for a wish that has not changed.
const OBSERVATION_STANDS: Duration = Duration::from_secs(30);

/// A Rollout that was not heard of for so long is forgotten. Hosts call at least every 15 minutes.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// The operator's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which namespaces may name which ARNs.
    pub allow: Vec<Allow>,
    /// What `argo-rollouts-config` calls this plugin, if that is known.
    pub plugin_name: Option<String>,
    /// How long one call may be held.
    pub block_budget: Duration,
    /// How many calls may be held at a time. Each costs the host one of its workers (10 by default).
    pub max_held: usize,
    /// How long new weights must stay true before pods may go on the strength of them.
    pub settle: Duration,
    /// How long to wait, before pods may go, for another writer of the rules to follow an announcement.
    pub echo_timeout: Duration,
}

/// The answer to VerifyWeight. It has no error: a host takes an error as leave to promote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Every rule shows the weight.
    Verified,
    /// Not every rule shows it, or that could not be seen.
    NotVerified,
    /// Nothing can be said, and the host would not survive a "no": without steps it dereferences a nil step index.
    Unknown,
}

/// Why a call failed, in words for whoever reads the Rollout's events.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The router was started with arguments it cannot use.
    #[error("the plugin's arguments in argo-rollouts-config cannot be used: {0}")]
    Arguments(String),
    /// The wish could not be carried out.
    #[error("Rollout {rollout}: {reason}")]
    Rollout {
        /// `namespace/name`.
        rollout: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

/// The router. Calls for different Rollouts run side by side.
#[derive(Debug)]
pub struct Router {
    /// None: the settings cannot be used, for this reason.
    means: Result<Means, String>,
    held_calls: Arc<Semaphore>,
    /// The Rollouts that are followed, by `namespace/name`.
    rollouts: Mutex<HashMap<String, Followed>>,
}

/// A Rollout with a follower.
#[derive(Clone, Debug)]
struct Followed {
    asks: watch::Sender<Option<Arc<Ask>>>,
    progress: watch::Receiver<Progress>,
    calls: Calls,
    managed: Managed,
}

impl Router {
    /// A router for `balancer` and `cluster`. Settings that could not be read are an error of every call, not of the start: a host
    /// before 1.9 never recovers from a plugin that did not start.
    #[must_use]
    pub fn new(settings: Result<Settings, String>, balancer: Arc<dyn LoadBalancer>, cluster: Arc<dyn Cluster>) -> Self {
        let max_held = settings.as_ref().map_or(0, |settings| settings.max_held);
        let means =
            settings.map(|settings| Means { settings: Arc::new(settings), balancer, cluster, locks: Arc::default() });
        let held_calls = Arc::new(Semaphore::new(max_held.min(Semaphore::MAX_PERMITS)));
        Self { means, held_calls, rollouts: Mutex::default() }
    }

    /// Remembers nothing: the hashes come after a SetWeight of the same reconcile, so no decision may depend on them.
    pub fn update_hash(&self, rollout: &Rollout, canary: &str, stable: &str) {
        debug!(rollout = rollout.key(), canary, stable, "UpdateHash");
    }

    /// Brings the canary's weight to `weight` of the Rollout's maximum, and returns when every rule shows it and it has
    /// settled; or, when its time is used up and going on lets no pod go that has traffic, while it waits for pods.
    ///
    /// # Errors
    /// [`CallError`] when it is not so, never sooner than 2 s after the call.
    pub async fn set_weight(
        &self,
        rollout: &Rollout,
        weight: i64,
        further: &[WeightDestination],
    ) -> Result<(), CallError> {
        let began = Instant::now();
        let result = self.shift(rollout, weight, further).await;
        debug!(rollout = rollout.key(), weight, success = result.is_ok(), "SetWeight");
        if let Err(error) = &result {
            warn!(rollout = rollout.key(), weight, "{error}");
            tokio::time::sleep_until(began + SOONEST_ERROR).await;
        }
        result
    }

    /// Whether every rule shows the weight.
    pub async fn verify_weight(&self, rollout: &Rollout, weight: i64, further: &[WeightDestination]) -> Verification {
        let answer = self.look(rollout, weight, further).await.unwrap_or_else(|error| {
            warn!(rollout = rollout.key(), weight, "the weight cannot be verified: {error}");
            let steps = rollout.canary_routing().map_or(0, |(canary, _)| canary.steps.len());
            if steps == 0 { Verification::Unknown } else { Verification::NotVerified }
        });
        debug!(rollout = rollout.key(), weight, ?answer, "VerifyWeight");
        answer
    }

    /// Asks for the removal of the Rollout's managed routes. The SetWeight that follows is not settled while one of them still
    /// leads to the canary. A host calls it in every reconcile of a promoted Rollout: without managed routes, and once they are
    /// known to be gone, it costs nothing.
    pub fn remove_managed_routes(&self, rollout: &Rollout) {
        debug!(rollout = rollout.key(), "RemoveManagedRoutes");
        self.unwish(rollout, routes::names(rollout));
    }

    /// Brings a managed route into being, and returns when DescribeRules shows it before every rule that is shifted. One
    /// without matches is removed, as by [`Router::remove_managed_routes`].
    ///
    /// # Errors
    /// [`CallError`] when it is not there within the block budget, never sooner than 2 s after the call.
    pub async fn set_header_route(&self, rollout: &Rollout, route: &HeaderRoute) -> Result<(), CallError> {
        if route.matches.is_empty() {
            self.unwish(rollout, vec![route.name.clone()]);
            return Ok(());
        }
        let began = Instant::now();
        let result = self.route(rollout, route).await;
        debug!(rollout = rollout.key(), route = route.name, success = result.is_ok(), "SetHeaderRoute");
        if let Err(error) = &result {
            warn!(rollout = rollout.key(), route = route.name, "{error}");
            tokio::time::sleep_until(began + SOONEST_ERROR).await;
        }
        result
    }

    /// An ALB cannot mirror.
    ///
    /// # Errors
    /// [`CallError`] unless the route is to be removed.
    pub fn set_mirror_route(&self, rollout: &Rollout, route: &MirrorRoute) -> Result<(), CallError> {
        if route.matches.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "mirror route {}: an Application Load Balancer cannot mirror requests; remove the setMirrorRoute step",
            route.name
        );
        Err(CallError::Rollout { rollout: rollout.key(), reason })
    }

    fn unwish(&self, rollout: &Rollout, routes: Vec<String>) {
        if let (Ok(means), false) = (&self.means, routes.is_empty()) {
            self.follow(means, &rollout.key()).managed.unwish(routes);
        }
    }

    async fn route(&self, rollout: &Rollout, asked: &HeaderRoute) -> Result<(), CallError> {
        let (means, ask) = self.ask(rollout, 0, &[])?;
        // The built-in router makes it.
        if ask.wish.observes {
            return Ok(());
        }
        let about = |why: &dyn std::fmt::Display| refused(rollout, &format!("header route {}: {why}", asked.name));
        let route = Route::of(rollout, asked).map_err(|error| about(&error))?;
        let followed = self.follow(means, &rollout.key());
        let _present = followed.calls.enter();
        let balancer = means.balancer_for(&ask.wish);
        let (wish, managed) = (&ask.wish, &followed.managed);
        let finder = Finder { means, balancer: &*balancer, wish, managed, rollout: &rollout.metadata.name };
        let maker = routes::Maker { finder, managed, rollout: rollout.key() };
        let place = Arc::clone(&self.held_calls).try_acquire_owned().ok();
        let budget = means.settings.block_budget;
        let budget = if place.is_some() { budget } else { budget.min(SOONEST_ERROR) };
        let why = Mutex::new(None);
        let report = |unfinished: &Unfinished| {
            *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(unfinished.to_string());
        };
        match timeout(budget, maker.make(&route, report)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(unfinished)) => return Err(about(&unfinished)),
            Err(_) => {}
        }
        let why = why.into_inner().unwrap_or_else(PoisonError::into_inner);
        Err(about(&why.unwrap_or_else(|| "AWS has not answered in time".to_owned())))
    }

    async fn shift(&self, rollout: &Rollout, weight: i64, further: &[WeightDestination]) -> Result<(), CallError> {
        let (means, ask) = self.ask(rollout, weight, further)?;
        let followed = self.follow(means, &rollout.key());
        let present = followed.calls.enter();
        let ask = followed.ask(ask);
        let held = Held { settings: &means.settings, cluster: &*means.cluster, places: &self.held_calls };
        let answer = held.answer(&ask, followed.progress.clone()).await;
        drop(present);
        answer.map_err(|why| refused(rollout, &why))
    }

    /// What is known of the wish. Looks where nobody has, and changes nothing.
    async fn look(
        &self,
        rollout: &Rollout,
        weight: i64,
        further: &[WeightDestination],
    ) -> Result<Verification, CallError> {
        let (means, mut ask) = self.ask(rollout, weight, further)?;
        let known = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner).get(&rollout.key()).cloned();
        if let Some(known) = known {
            let progress = known.progress.borrow();
            if let Some(found_for) = progress.ask.as_ref().filter(|found_for| found_for.wish == ask.wish) {
                ask.number = found_for.number;
                let stage = progress.stage(&ask);
                return Ok(answer::verify_weight(stage, progress.situation(&ask)));
            }
        }
        let mut track = Track { was_true: ask.is_recorded(), ..Track::default() };
        let report = Report::new(watch::Sender::default(), Arc::clone(&means.cluster));
        let calls = Calls::none();
        let balancer = means.balancer_for(&ask.wish);
        let managed = Managed::default();
        let mut shift =
            Shift { means, balancer, ask: &ask, calls: &calls, managed: &managed, track: &mut track, report: &report };
        let seen = timeout(LOOK_BUDGET, shift.look()).await;
        let stage = match seen {
            Ok(Ok(Some(_))) => Stage::Settled,
            Ok(Ok(None)) | Err(_) => Stage::Underway,
            Ok(Err(unfinished)) => {
                warn!(rollout = rollout.key(), weight, "the weight cannot be verified: {unfinished}");
                Stage::Underway
            }
        };
        Ok(answer::verify_weight(stage, Situation::of(&ask.wish)))
    }

    fn ask(&self, rollout: &Rollout, weight: i64, further: &[WeightDestination]) -> Result<(&Means, Ask), CallError> {
        let means = self.means.as_ref().map_err(|problem| CallError::Arguments(problem.clone()))?;
        let wish = Wish::of(rollout, weight, further, &means.settings).map_err(|error| refused(rollout, &error))?;
        Ok((means, Ask::new(wish, rollout, weight, further)))
    }

    /// The Rollout's follower, a new one if need be. Forgets, in passing, Rollouts that nobody calls for any more.
    fn follow(&self, means: &Means, key: &str) -> Followed {
        let mut rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        // A follower that is gone has panicked. The next one begins anew.
        if let Some(followed) = rollouts.get(key).filter(|followed| followed.asks.receiver_count() > 0) {
            return followed.clone();
        }
        rollouts.retain(|_, followed| followed.calls.ended().elapsed() < FORGOTTEN_AFTER);
        let (asks, asked) = watch::channel(None);
        let (told, progress) = watch::channel(Progress::default());
        let followed = Followed { asks, progress, calls: Calls::none(), managed: Managed::default() };
        let follower = Follower {
            means: means.clone(),
            asks: asked,
            calls: followed.calls.clone(),
            managed: followed.managed.clone(),
            report: Report::new(told, Arc::clone(&means.cluster)),
            track: Track::default(),
        };
        tokio::spawn(follower.run());
        rollouts.insert(key.to_owned(), followed.clone());
        followed
    }
}

impl Followed {
    /// Hands an ask on, under the next number.
    fn ask(&self, ask: Ask) -> Arc<Ask> {
        let mut ask = Arc::new(ask);
        self.asks.send_modify(|newest| {
            if let Some(ask) = Arc::get_mut(&mut ask) {
                ask.number = newest.as_ref().map_or(1, |newest| newest.number + 1);
            }
            *newest = Some(Arc::clone(&ask));
        });
        ask
    }
}

fn refused(rollout: &Rollout, reason: &dyn std::fmt::Display) -> CallError {
    CallError::Rollout { rollout: rollout.key(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
