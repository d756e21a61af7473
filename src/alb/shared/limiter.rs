//! Who may call next: one queue before one bucket, urgent calls first, then first come, first served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::bucket::{Bucket, BucketSize};
use crate::alb::{Error, Urgency};

/// A place in the queue. Smaller ones are served first. Who has to call again keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(Urgency, u64);

/// A token of a bucket. Unless it is spent, it goes back.
#[derive(Debug)]
pub(in crate::alb) struct Token {
    limiter: Arc<Limiter>,
    spent: bool,
}

impl Token {
    /// A call is made with it.
    pub(super) fn spend(mut self) {
        self.spent = true;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if !self.spent {
            self.limiter.give_back(1);
        }
    }
}

/// A bucket, and those who wait for its tokens.
#[derive(Debug)]
pub(super) struct Limiter {
    /// Whose calls they are, for people.
    name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    waiting: BTreeMap<Rank, Arc<Notify>>,
    turns: u64,
}

impl Limiter {
    /// Full, and nobody waits.
    pub(super) fn new(name: String, size: BucketSize) -> Self {
        let state = State { bucket: Bucket::new(size, Instant::now()), waiting: BTreeMap::new(), turns: 0 };
        Self { name, state: Mutex::new(state) }
    }

    /// The next place in the queue.
    pub(super) fn turn(&self, urgency: Urgency) -> Rank {
        let mut state = self.state();
        state.turns += 1;
        Rank(urgency, state.turns)
    }

    /// Waits until it is this turn's time and there are enough tokens, and takes them. Whoever stops waiting makes room; a
    /// token is taken only by returning.
    pub(super) async fn tokens(&self, turn: Rank, cost: u32) {
        let place = Place::take(self, turn);
        loop {
            let wait = {
                let mut state = self.state();
                if state.waiting.keys().next() == Some(&turn) {
                    match state.bucket.take(cost, Instant::now()) {
                        Ok(()) => return,
                        Err(wait) => Some(wait),
                    }
                } else {
                    None
                }
            };
            match wait {
                Some(wait) => sleep(wait).await,
                None => place.moved_up.notified().await,
            }
        }
    }

    /// Waits for a token, to be spent later.
    pub(super) async fn token(self: Arc<Self>, urgency: Urgency) -> Token {
        self.tokens(self.turn(urgency), 1).await;
        Token { limiter: self, spent: false }
    }

    /// Tokens that were taken for a call that was not made.
    pub(super) fn give_back(&self, cost: u32) {
        self.state().bucket.give_back(cost);
    }

    /// Slows down if this error of a call says so.
    pub(super) fn heed(&self, error: &Error) {
        if !error.is_throttling() {
            return;
        }
        let slower = self.state().bucket.slow_down(Instant::now());
        if let Some(rate) = slower {
            warn!("AWS throttles {}: others use its limit too; going on with {rate:.2} a second", self.name);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits; gone from the queue when it is dropped.
struct Place<'a> {
    limiter: &'a Limiter,
    turn: Rank,
    moved_up: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn take(limiter: &'a Limiter, turn: Rank) -> Self {
        let moved_up = Arc::new(Notify::new());
        limiter.state().waiting.insert(turn, Arc::clone(&moved_up));
        Self { limiter, turn, moved_up }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        state.waiting.remove(&self.turn);
        if let Some((_, next)) = state.waiting.first_key_value() {
            next.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;
    use crate::alb::ErrorKind;

    const SLOW: BucketSize = BucketSize { per_second: 1.0, burst: 1 };

    fn limiter() -> Limiter {
        Limiter::new("calls".to_owned(), SLOW)
    }

    /// Starts to wait for one token, and notes its name when it has it.
    async fn queue(
        limiter: &Arc<Limiter>,
        served: &Arc<Mutex<Vec<&'static str>>>,
        name: &'static str,
        urgency: Urgency,
    ) -> tokio::task::JoinHandle<()> {
        let (limiter, served) = (Arc::clone(limiter), Arc::clone(served));
        let waiter = tokio::spawn(async move {
            limiter.tokens(limiter.turn(urgency), 1).await;
            served.lock().unwrap().push(name);
        });
        yield_now().await;
        waiter
    }

    #[tokio::test(start_paused = true)]
    async fn the_urgent_are_served_first_and_each_in_the_order_they_came() {
        let (limiter, served) = (Arc::new(limiter()), Arc::default());
        for (name, urgency) in [
            ("quick", Urgency::Usual),
            ("third", Urgency::Usual),
            ("fourth", Urgency::Usual),
            ("first", Urgency::First),
            ("second", Urgency::First),
        ] {
            queue(&limiter, &served, name, urgency).await;
        }
        sleep(Duration::from_millis(4001)).await;
        assert_eq!(*served.lock().unwrap(), ["quick", "first", "second", "third", "fourth"]);
        assert!(limiter.state().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_no_gap_and_loses_no_token() {
        let (limiter, served) = (Arc::new(limiter()), Arc::default());
        let mut waiters = Vec::new();
        for name in ["quick", "goes", "goes too", "stays"] {
            waiters.push(queue(&limiter, &served, name, Urgency::Usual).await);
        }
        waiters[1].abort();
        waiters[2].abort();
        sleep(Duration::from_millis(1001)).await;
        assert_eq!(*served.lock().unwrap(), ["quick", "stays"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_must_call_again_keeps_its_place_and_unused_tokens_come_back() {
        let limiter = Arc::new(limiter());
        let (early, late) = (limiter.turn(Urgency::Usual), limiter.turn(Urgency::Usual));
        limiter.tokens(early, 1).await;
        assert!(timeout(Duration::from_millis(900), limiter.tokens(late, 1)).await.is_err());
        let mut late = Box::pin(limiter.tokens(late, 1));
        assert!(timeout(Duration::ZERO, &mut late).await.is_err());
        timeout(Duration::from_millis(110), limiter.tokens(early, 1)).await.unwrap();
        limiter.give_back(1);
        // `late` had looked before: its own timer wakes it.
        timeout(Duration::from_millis(1001), late).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_slows_everyone_down_who_waits() {
        let limiter = limiter();
        let start = Instant::now();
        limiter.heed(&Error::fake(ErrorKind::Transient, "a rule", "InternalFailure"));
        limiter.heed(&Error::fake(ErrorKind::Transient, "a rule", "Throttling"));
        limiter.tokens(limiter.turn(Urgency::First), 1).await;
        assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
    }
}
