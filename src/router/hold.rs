//! How long a call may be held. Blocking is the cheapest way to make a host wait: it costs one of the host's workers
//! and nothing else, so both the time and the number of held calls are bounded.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// One call's right to wait.
#[derive(Debug)]
pub(super) struct Hold {
    deadline: Instant,
    held_calls: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    delays: ExponentialBackoff,
}

impl Hold {
    /// A call that began now may be held for `budget`, once it finds a place among `held_calls`.
    pub(super) fn new(budget: Duration, held_calls: Arc<Semaphore>) -> Self {
        Self { deadline: Instant::now() + budget, held_calls, place: None, delays: delays() }
    }

    /// When the call must be answered. A request to AWS that is under way then is still awaited.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes a place among the held calls, and keeps it until the call ends. False when all are taken.
    pub(super) fn take_place(&mut self) -> bool {
        if self.place.is_none() {
            self.place = Arc::clone(&self.held_calls).try_acquire_owned().ok();
        }
        self.place.is_some()
    }

    /// Waits a little longer than the last time. False at once when the call must be answered instead: its budget is
    /// used up, or too many calls are held.
    pub(super) async fn wait(&mut self) -> bool {
        let delay = self.delays.next().unwrap_or(LONGEST_DELAY);
        if !self.take_place() || Instant::now() + delay > self.deadline {
            return false;
        }
        tokio::time::sleep(delay).await;
        true
    }

    /// Waits for `delay`, or less if the call must be answered before: then false, as [`Hold::wait`].
    pub(super) async fn wait_for(&mut self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        if !self.take_place() {
            return false;
        }
        tokio::time::sleep_until(until.min(self.deadline)).await;
        until <= self.deadline
    }

    /// The next wait is a short one again: something has changed.
    pub(super) fn restart(&mut self) {
        self.delays = delays();
    }
}

/// Doubling delays with jitter, so that held calls do not ask in step.
fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_within_its_budget_and_no_longer() {
        let began = Instant::now();
        let budget = Duration::from_secs(45);
        let mut hold = Hold::new(budget, Arc::new(Semaphore::new(1)));
        let mut waits = 0;
        while hold.wait().await {
            waits += 1;
        }
        assert!(began.elapsed() <= budget && began.elapsed() > budget - 2 * LONGEST_DELAY, "{:?}", began.elapsed());
        assert!(waits > 10, "{waits}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_of_a_known_length_ends_with_the_budget() {
        let began = Instant::now();
        let mut hold = Hold::new(Duration::from_secs(45), Arc::new(Semaphore::new(1)));
        assert!(hold.wait_for(Duration::from_secs(30)).await);
        assert_eq!(began.elapsed(), Duration::from_secs(30));
        assert!(!hold.wait_for(Duration::from_secs(30)).await);
        assert_eq!(began.elapsed(), Duration::from_secs(45));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_are_held_than_places_and_a_place_is_given_back() {
        let places = Arc::new(Semaphore::new(1));
        let mut first = Hold::new(Duration::from_secs(45), Arc::clone(&places));
        let mut second = Hold::new(Duration::from_secs(45), places);
        assert!(first.wait().await);
        assert!(!second.wait().await);
        drop(first);
        assert!(second.wait().await);
    }
}
