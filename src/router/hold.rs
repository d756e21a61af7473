//! One call, and how long it waits. Blocking is the cheapest way to make a host wait: it costs one of the host's workers
//! and nothing else, so both the time and the number of held calls are bounded.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::answer::{self, Answer};
use super::gate::HASH;
use super::progress::{Ask, Progress};
use super::{SOONEST_ERROR, Settings};
use crate::cluster::{Cluster, ErrorKind, Service};

/// How long after a failed watch the next one begins.
const WATCH_AGAIN: Duration = Duration::from_secs(5);

/// How long the last look before an answer may take.
const SERVICES_READ_WITHIN: Duration = Duration::from_secs(2);

const GONE: &str = "the router has stopped";
const SLOW: &str = "AWS or Kubernetes has not answered yet";
const OVERTAKEN: &str =
    "the Rollout was changed while its weights were waited for; the rollouts controller looks at it again now";

/// The calls of one Rollout that are under way.
#[derive(Clone, Debug)]
pub(super) struct Calls(Arc<Mutex<Count>>);

#[derive(Debug)]
struct Count {
    present: usize,
    ended: Instant,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Present(Calls);

impl Calls {
    pub(super) fn none() -> Self {
        Self(Arc::new(Mutex::new(Count { present: 0, ended: Instant::now() })))
    }

    /// A call has come. It is there until this is dropped.
    pub(super) fn enter(&self) -> Present {
        self.count().present += 1;
        Present(self.clone())
    }

    /// Nobody is there who would know if the Rollout had changed.
    pub(super) fn is_empty(&self) -> bool {
        self.count().present == 0
    }

    /// Ends when there has been no call for so long.
    pub(super) async fn are_over_for(&self, time: Duration) {
        loop {
            let left = time.saturating_sub(self.ended().elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// When the last call ended. Now, while there is one.
    pub(super) fn ended(&self) -> Instant {
        let count = self.count();
        if count.present == 0 { count.ended } else { Instant::now() }
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut count = self.0.count();
        count.present -= 1;
        count.ended = Instant::now();
    }
}

/// What a held call works with.
#[derive(Debug)]
pub(super) struct Held<'a> {
    pub(super) settings: &'a Settings,
    pub(super) cluster: &'a dyn Cluster,
    /// One place for each call that may be held.
    pub(super) places: &'a Arc<Semaphore>,
}

impl Held<'_> {
    /// Waits until `ask` can be answered, or must be. The error says why it is not done.
    pub(super) async fn answer(&self, ask: &Ask, mut progress: watch::Receiver<Progress>) -> Result<(), Arc<str>> {
        let began = Instant::now();
        let mut overtaken = pin!(self.overtaken(ask));
        let mut place: Option<OwnedSemaphorePermit> = None;
        // No error may come sooner, so that long nobody needs a place.
        let mut until = began + SOONEST_ERROR.min(self.settings.block_budget);
        let mut told = None;
        loop {
            let known = progress.borrow_and_update().clone();
            let decided = answer::set_weight(known.stage(ask), known.situation(ask));
            let why = || known.why(ask).unwrap_or_else(|| Arc::from(SLOW));
            match decided {
                Answer::Success => return Ok(()),
                Answer::Failure => return Err(why()),
                Answer::Soft => {
                    soft(ask, &why());
                    return Ok(());
                }
                Answer::BlockThenSoft | Answer::BlockThenHard => {}
            }
            if known.rests(ask) && self.soft_is_safe(ask, &known).await {
                soft(ask, &why());
                return Ok(());
            }
            if place.is_some() && told != Some(why()) {
                told = Some(why());
                held(ask, &why());
            }
            tokio::select! {
                biased;
                changed = progress.changed() => if changed.is_err() {
                    return Err(Arc::from(GONE));
                },
                why = &mut overtaken, if place.is_some() => return Err(why),
                () = tokio::time::sleep_until(until) => {
                    if place.is_none() {
                        place = Arc::clone(self.places).try_acquire_owned().ok();
                        until = began + self.settings.block_budget;
                        if place.is_some() && Instant::now() < until {
                            continue;
                        }
                    }
                    // AWS cannot say now whether it still is so. That is no reason to stop a host that wishes nothing new.
                    if known.was_settled(ask) {
                        return Ok(());
                    }
                    if decided == Answer::BlockThenHard && !self.soft_is_safe(ask, &known).await {
                        return Err(why());
                    }
                    soft(ask, &why());
                    return Ok(());
                }
            }
        }
    }

    /// After a promotion, and at rest: each group with weight stands behind a Service that selects the stable version. The host may
    /// have moved their selectors just before it called, so they are read now.
    async fn soft_is_safe(&self, ask: &Ask, known: &Progress) -> bool {
        let Some(carrying) = known.carrying(ask).filter(|_| ask.wish.is_promoted()) else { return false };
        let services = &ask.wish.services;
        let selects_stable = async |service: &str| {
            let read = self.cluster.service(&services.namespace, service);
            let read = timeout(SERVICES_READ_WITHIN, read).await;
            let Ok(Ok(Service { selector, .. })) = read else { return false };
            selector.get(HASH).is_some_and(|hash| hash == ask.wish.stable_hash())
        };
        let mut situation = known.situation(ask);
        situation.stable_serves_all = (!carrying.stable || selects_stable(&services.stable).await)
            && (!carrying.canary || selects_stable(&services.canary).await);
        answer::set_weight(known.stage(ask), situation) == Answer::BlockThenSoft
    }

    /// Ends when the host should look at the Rollout again before anything else: it blocks on us, and sees nothing meanwhile.
    async fn overtaken(&self, ask: &Ask) -> Arc<str> {
        let metadata = &ask.rollout.metadata;
        let mut version = metadata.resource_version.clone();
        loop {
            match self.cluster.next_rollout(&metadata.namespace, &metadata.name, &version).await {
                Ok(now) if ask.is_overtaken_by(&now, self.settings) => return Arc::from(OVERTAKEN),
                Ok(now) => version = now.metadata.resource_version,
                Err(error) if error.kind() == ErrorKind::Missing => return Arc::from(OVERTAKEN),
                Err(error) => {
                    debug!(rollout = ask.rollout.key(), "the Rollout cannot be watched: {error}");
                    tokio::time::sleep(WATCH_AGAIN).await;
                }
            }
        }
    }
}

/// People who read the log need not wait for the answer.
fn held(ask: &Ask, why: &str) {
    info!(rollout = ask.rollout.key(), weight = ask.wish.division.canary, "the call is held: {why}");
}

/// The softest way that is safe: VerifyWeight says that it is not true yet, and the host asks again.
fn soft(ask: &Ask, why: &str) {
    info!(rollout = ask.rollout.key(), weight = ask.wish.division.canary, "{why}");
}
