//! Decides what a host's calls mean, and answers only what is true.
//!
//! The decisions are pure: [`Router`] reads a call into a wish, plans each rule from what it shows, and leaves the
//! rest to a shift that carries the plan out. A host that asks for a weight gets "success" when DescribeRules has
//! shown that weight on every rule, and an error otherwise: SetWeight's error is the only answer that stops the
//! rollouts controller before it scales anything (`rollout/trafficrouting.go`). Where a "success" lets no pod go that
//! has traffic, a wish that still waits for its pods gets that and "not verified" ([`Router::verify_weight`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

use crate::alb::{LoadBalancer, RuleArn};
use crate::cluster::Cluster;
use crate::rollout::{HeaderRoute, MirrorRoute, Rollout, WeightDestination};
use hold::Hold;
use locks::RuleLocks;
use shift::{Means, Shift, Shown};
use wish::{Recorded, Wish};

pub use allow::{Allow, AllowError};
pub(crate) use entry::LONGEST_SETTLE;

mod allow;
mod entry;
mod gate;
mod hold;
mod locks;
mod passage;
mod plan;
mod rules;
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

/// A host runs one call for a Rollout at a time. Two come when it was restarted while we held a call.
const OTHER_CALL: &str = "an earlier call for the same Rollout is still under way";

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

/// The router. Calls for different Rollouts run side by side, calls for one Rollout one after the other.
#[derive(Debug)]
pub struct Router {
    settings: Result<Settings, String>,
    balancer: Arc<dyn LoadBalancer>,
    cluster: Arc<dyn Cluster>,
    held_calls: Arc<Semaphore>,
    locks: RuleLocks,
    /// What is known of each Rollout, by `namespace/name`.
    rollouts: Mutex<HashMap<String, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    found: Arc<AsyncMutex<Found>>,
    last_call: Instant,
}

/// What was found out about a Rollout's rules.
#[derive(Debug, Default)]
struct Found {
    confirmed: Option<Confirmed>,
    shown: Option<Shown>,
}

/// A wish that every rule showed.
#[derive(Clone, Debug)]
struct Confirmed {
    wish: Wish,
    rules: Vec<RuleArn>,
    seen: Instant,
}

impl Router {
    /// A router for `balancer` and `cluster`. Settings that could not be read are an error of every call, not of the start: a host
    /// before 1.9 never recovers from a plugin that did not start.
    #[must_use]
    pub fn new(settings: Result<Settings, String>, balancer: Arc<dyn LoadBalancer>, cluster: Arc<dyn Cluster>) -> Self {
        let max_held = settings.as_ref().map_or(0, |settings| settings.max_held);
        Self {
            settings,
            balancer,
            cluster,
            held_calls: Arc::new(Semaphore::new(max_held.min(Semaphore::MAX_PERMITS))),
            locks: RuleLocks::default(),
            rollouts: Mutex::default(),
        }
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
        let steps = rollout.canary_routing().map_or(0, |(canary, _)| canary.steps.len());
        let no = if steps == 0 { Verification::Unknown } else { Verification::NotVerified };
        let answer = match self.look(rollout, weight, further).await {
            Ok(true) => Verification::Verified,
            Ok(false) => no,
            Err(error) => {
                warn!(rollout = rollout.key(), weight, "the weight cannot be verified: {error}");
                no
            }
        };
        debug!(rollout = rollout.key(), weight, ?answer, "VerifyWeight");
        answer
    }

    /// Managed routes are not made by this version, so there are none to remove.
    pub fn remove_managed_routes(&self, rollout: &Rollout) {
        debug!(rollout = rollout.key(), "RemoveManagedRoutes");
    }

    /// Header routes are not made by this version. Removing one that cannot exist succeeds.
    ///
    /// # Errors
    /// [`CallError`] unless the route is to be removed.
    pub fn set_header_route(&self, rollout: &Rollout, route: &HeaderRoute) -> Result<(), CallError> {
        if route.matches.is_empty() {
            return Ok(());
        }
        let reason = format!("header route {}: header routes are not supported by this version yet", route.name);
        Err(CallError::Rollout { rollout: rollout.key(), reason })
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

    async fn shift(&self, rollout: &Rollout, weight: i64, further: &[WeightDestination]) -> Result<(), CallError> {
        let (settings, wish) = self.wish(rollout, weight, further)?;
        let mut hold = Hold::new(settings.block_budget, Arc::clone(&self.held_calls));
        let known = self.known(&rollout.key());
        let mut found = match timeout(SOONEST_ERROR, known.lock()).await {
            Ok(found) => found,
            // Now it is a held call like any other.
            Err(_) if hold.take_place() => {
                timeout_at(hold.deadline(), known.lock()).await.map_err(|_| refused(rollout, &OTHER_CALL))?
            }
            Err(_) => return Err(refused(rollout, &OTHER_CALL)),
        };
        if found.stands_for(&wish) {
            return Ok(());
        }
        let mut shift = self.resume(&mut found, rollout, &wish, hold.deadline());
        let carried_out = shift.carry_out(&mut hold).await;
        let yes_is_safe = shift.yes_is_safe();
        let (rules, shown) = shift.into_parts();
        found.shown = shown;
        match carried_out {
            Ok(seen) => {
                found.confirmed = Some(Confirmed { wish, rules, seen });
                Ok(())
            }
            // The softest way that is safe: VerifyWeight says that it is not true yet, and the host asks again.
            Err(unfinished) if unfinished.may_pass() && yes_is_safe => {
                info!(rollout = rollout.key(), weight, "{unfinished}");
                Ok(())
            }
            Err(unfinished) => Err(refused(rollout, &unfinished)),
        }
    }

    /// A shift that goes on from what is known. Whatever comes of it, an older confirmation says nothing any more, but
    /// its rules may still be the right ones.
    fn resume<'s>(&'s self, found: &mut Found, rollout: &Rollout, wish: &'s Wish, deadline: Instant) -> Shift<'s> {
        let rules = found.confirmed.take().filter(|confirmed| confirmed.wish == *wish).map(|confirmed| confirmed.rules);
        let means = Means { balancer: &*self.balancer, cluster: &*self.cluster, locks: &self.locks };
        let shift = Shift::new(means, &rollout.key(), wish, Recorded::of(rollout), deadline);
        shift.resume(rules, found.shown.take())
    }

    /// Looks, and changes nothing. False while a shift of the same Rollout is under way.
    async fn look(&self, rollout: &Rollout, weight: i64, further: &[WeightDestination]) -> Result<bool, CallError> {
        let (_, wish) = self.wish(rollout, weight, further)?;
        let known = self.known(&rollout.key());
        let Ok(mut found) = known.try_lock() else { return Ok(false) };
        if found.stands_for(&wish) {
            return Ok(true);
        }
        let mut shift = self.resume(&mut found, rollout, &wish, Instant::now() + LOOK_BUDGET);
        let seen = shift.look().await;
        let (rules, shown) = shift.into_parts();
        found.shown = shown;
        let seen = seen.map_err(|unfinished| refused(rollout, &unfinished))?;
        found.confirmed = seen.map(|seen| Confirmed { wish, rules, seen });
        Ok(found.confirmed.is_some())
    }

    fn wish(
        &self,
        rollout: &Rollout,
        weight: i64,
        further: &[WeightDestination],
    ) -> Result<(&Settings, Wish), CallError> {
        let settings = self.settings.as_ref().map_err(|problem| CallError::Arguments(problem.clone()))?;
        let wish = Wish::of(rollout, weight, further, settings);
        Ok((settings, wish.map_err(|error| refused(rollout, &error))?))
    }

    /// What is known of a Rollout. Forgets, in passing, those that nobody calls for any more.
    fn known(&self, key: &str) -> Arc<AsyncMutex<Found>> {
        let mut rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(known) = rollouts.get_mut(key) {
            known.last_call = now;
            return Arc::clone(&known.found);
        }
        rollouts.retain(|_, known| {
            now.duration_since(known.last_call) < FORGOTTEN_AFTER || Arc::strong_count(&known.found) > 1
        });
        let known = Known { found: Arc::default(), last_call: now };
        let found = Arc::clone(&known.found);
        rollouts.insert(key.to_owned(), known);
        found
    }
}

impl Found {
    /// The wish is the confirmed one, and was seen recently enough to say so again.
    fn stands_for(&self, wish: &Wish) -> bool {
        let stands = |confirmed: &Confirmed| confirmed.wish == *wish && confirmed.seen.elapsed() < OBSERVATION_STANDS;
        self.confirmed.as_ref().is_some_and(stands)
    }
}

fn refused(rollout: &Rollout, reason: &dyn std::fmt::Display) -> CallError {
    CallError::Rollout { rollout: rollout.key(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
