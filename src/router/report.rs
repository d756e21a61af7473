//! What people and waiting calls get to know of a shift.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::answer::Stage;
use super::find::Found;
use super::progress::{Ask, Progress, Sight, State};
use super::unfinished::Unfinished;
use crate::alb::RuleArn;
use crate::cluster::{Cluster, Event};

/// What was found for a Rollout, as an annotation on it.
const TARGETS: &str = "trafficrouter-alb/targets";

/// Tells one Rollout's calls how far its follower is, and people what they should know.
#[derive(Clone, Debug)]
pub(super) struct Report {
    progress: watch::Sender<Progress>,
    cluster: Arc<dyn Cluster>,
    current: Arc<Mutex<Current>>,
}

#[derive(Debug)]
struct Current {
    ask: Option<Arc<Ask>>,
    /// When the wish was asked for first.
    since: SystemTime,
}

impl Report {
    /// Nothing is known yet.
    pub(super) fn new(progress: watch::Sender<Progress>, cluster: Arc<dyn Cluster>) -> Self {
        let current = Current { ask: None, since: SystemTime::now() };
        Self { progress, cluster, current: Arc::new(Mutex::new(current)) }
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Another wish is followed from now on.
    pub(super) fn begin(&self, ask: &Arc<Ask>) {
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            *current = Current { ask: Some(Arc::clone(ask)), since: SystemTime::now() };
        }
        self.progress.send_replace(Progress { ask: Some(Arc::clone(ask)), ..Progress::default() });
    }

    /// What is said from now on was found out for this ask.
    pub(super) fn about(&self, ask: &Arc<Ask>) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).ask = Some(Arc::clone(ask));
    }

    /// A look at rules and Pods.
    pub(super) fn sight(&self, sight: Sight) {
        self.progress.send_modify(|progress| progress.sight = Some(sight));
    }

    /// The rules are not as they were seen.
    fn lose_sight(&self) {
        self.progress.send_modify(|progress| progress.sight = None);
    }

    /// The wish is true.
    pub(super) fn settled(&self, seen: Instant) {
        self.say(State::Settled { seen: Some(seen), unseen: None });
    }

    /// The wish was true when its rules were seen last; they cannot be seen now.
    pub(super) fn unseen(&self, seen: Option<Instant>, why: &Unfinished) {
        self.say(State::Settled { seen, unseen: Some(why.to_string().into()) });
    }

    /// The shift goes on, and this is what it waits for.
    pub(super) fn unfinished(&self, why: &Unfinished) {
        self.waits(why, Stage::Underway);
    }

    /// A pass ended so.
    pub(super) fn failed(&self, why: &Unfinished, never_true: bool) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).ask.clone();
        let at_rest = current.is_some_and(|ask| ask.wish.is_promoted());
        self.waits(why, why.stage(never_true, at_rest));
    }

    fn waits(&self, why: &Unfinished, stage: Stage) {
        // The same words each time: they become an event of the Rollout.
        let why = if stage == Stage::Refused {
            why.to_string()
        } else {
            let since = self.current.lock().unwrap_or_else(PoisonError::into_inner).since;
            format!("{why} (since {})", humantime::format_rfc3339_seconds(since))
        };
        self.say(State::Unfinished { why: why.into(), stage });
    }

    fn say(&self, state: State) {
        let ask = self.current.lock().unwrap_or_else(PoisonError::into_inner).ask.clone();
        self.progress.send_modify(|progress| {
            progress.ask = ask;
            progress.state = state;
        });
    }

    /// Somebody else changed the weights, and they are written again.
    pub(super) fn put_back(&self, ask: &Ask, rule: &RuleArn, shown: &str) {
        self.lose_sight();
        let wished = &ask.wish.division;
        let message = format!("somebody else set {rule} to {shown}; the weights {wished} are written again");
        self.tell(ask, true, "WeightsPutBack", message);
    }

    /// Somebody else changed the weights, and that is left so.
    pub(super) fn changed(&self, ask: &Ask, rule: &RuleArn, shown: &str) {
        self.lose_sight();
        let wished = &ask.wish.division;
        let message = format!(
            "somebody else set {rule} to {shown} while no update was under way; wished is {wished}, and the next call of the \
             rollouts controller writes it"
        );
        self.tell(ask, true, "WeightsChanged", message);
    }

    /// The other writer did not follow in time.
    pub(super) fn no_echo(&self, ask: &Ask, ingresses: &str, timeout: Duration) {
        let seconds = timeout.as_secs();
        let message = format!(
            "the load balancer controller has not followed Ingress {ingresses} within {seconds} s; the update goes on, and the \
             rules are watched. Look at the controller's log and at the Ingress's events"
        );
        self.tell(ask, true, "IngressNotFollowed", message);
    }

    /// The update was given up for the host.
    pub(super) fn aborted(&self, ask: &Ask, reason: &str) {
        let message = format!("the update is aborted while its weights are waited for: {reason} (abortWhileHeld)");
        self.tell(ask, true, "RolloutAborted", message);
    }

    /// Notes on the Rollout which target groups and rules it shifts, for whoever measures them: an AnalysisTemplate that asks
    /// CloudWatch, say. What the Rollout shows already is not written.
    pub(super) fn found(&self, ask: &Ask, found: &Found) {
        let value = found.note();
        let metadata = &ask.rollout.metadata;
        if ask.wish.writes_nothing() || metadata.annotations.get(TARGETS) == Some(&value) {
            return;
        }
        let (cluster, about) = (Arc::clone(&self.cluster), metadata.clone());
        tokio::spawn(async move {
            if let Err(error) = cluster.note(&about, TARGETS, &value).await {
                let rollout = format!("{}/{}", about.namespace, about.name);
                warn!(rollout, annotation = TARGETS, "what was found could not be noted: {error}");
            }
        });
    }

    fn tell(&self, ask: &Ask, warning: bool, reason: &'static str, message: String) {
        let rollout = ask.rollout.key();
        warn!(rollout, reason, "{message}");
        let (cluster, about) = (Arc::clone(&self.cluster), ask.rollout.metadata.clone());
        // An Event is worth nothing to the shift, so it does not wait for one.
        tokio::spawn(async move {
            if let Err(error) = cluster.tell(&about, &Event { warning, reason, message }).await {
                debug!(rollout, reason, "the Event could not be written: {error}");
            }
        });
    }
}
