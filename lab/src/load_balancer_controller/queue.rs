//! The workqueue of a controller: which key is worked on next.
//!
//! As client-go's: a key waits at most once, is worked on by one worker at a time, and goes back into the queue if it was added
//! while it was being worked on. A key whose run failed comes back after 5 ms, doubled for each failure in a row, 1000 s at most.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(1000);

/// A plain state machine; whoever holds it brings the time.
#[derive(Debug)]
pub(super) struct WorkQueue<K> {
    waiting: BTreeMap<K, Waiting>,
    at_work: BTreeSet<K>,
    failures: BTreeMap<K, u32>,
    added: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    ready: Instant,
    /// Of keys that are ready at the same time the one added first goes first.
    turn: u64,
    /// The first time at which someone asked.
    asked: Instant,
}

impl<K: Ord + Clone> WorkQueue<K> {
    pub(super) fn new() -> Self {
        Self { waiting: BTreeMap::new(), at_work: BTreeSet::new(), failures: BTreeMap::new(), added: 0 }
    }

    /// Adds a key that is to be worked on from `ready` on. One that waits already keeps the earlier time.
    pub(super) fn add(&mut self, key: K, now: Instant, ready: Instant) {
        self.added += 1;
        let turn = self.added;
        let waiting = self.waiting.entry(key).or_insert(Waiting { ready, turn, asked: now });
        waiting.ready = waiting.ready.min(ready);
    }

    /// Takes the key whose turn it is, and when it was asked for.
    pub(super) fn take(&mut self, now: Instant) -> Option<(K, Instant)> {
        let (key, waiting) = self.free().filter(|(_, waiting)| waiting.ready <= now).min_by_key(order)?;
        let (key, asked) = (key.clone(), waiting.asked);
        self.waiting.remove(&key);
        self.at_work.insert(key.clone());
        Some((key, asked))
    }

    /// When the next key is ready that nobody is working on.
    pub(super) fn next_ready(&self) -> Option<Instant> {
        self.free().map(|(_, waiting)| waiting.ready).min()
    }

    /// A run of the key went well.
    pub(super) fn succeeded(&mut self, key: &K) {
        self.at_work.remove(key);
        self.failures.remove(key);
    }

    /// A run of the key failed: it comes back.
    pub(super) fn failed(&mut self, key: &K, now: Instant) {
        self.at_work.remove(key);
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*failures)).min(LAST_RETRY);
        *failures = failures.saturating_add(1);
        self.add(key.clone(), now, now + delay);
    }

    fn free(&self) -> impl Iterator<Item = (&K, &Waiting)> {
        self.waiting.iter().filter(|(key, _)| !self.at_work.contains(key))
    }
}

fn order<K>((_, waiting): &(&K, &Waiting)) -> (Instant, u64) {
    (waiting.ready, waiting.turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn keys_come_in_the_order_in_which_they_are_ready() {
        let start = Instant::now();
        let mut queue = WorkQueue::new();
        queue.add("late", start, after(start, 20));
        queue.add("first", start, start);
        queue.add("second", start, start);
        assert_eq!(queue.take(start).map(|(key, _)| key), Some("first"));
        assert_eq!(queue.take(start).map(|(key, _)| key), Some("second"));
        assert_eq!(queue.take(start), None);
        assert_eq!(queue.next_ready(), Some(after(start, 20)));
        assert_eq!(queue.take(after(start, 20)), Some(("late", start)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_is_worked_on_by_one() {
        let start = Instant::now();
        let mut queue = WorkQueue::new();
        queue.add("web", start, start);
        queue.add("web", after(start, 5), start);
        assert_eq!(queue.take(after(start, 5)), Some(("web", start)));
        assert_eq!(queue.take(after(start, 5)), None);

        // Changed while at work: it comes back, but only after that.
        queue.add("web", after(start, 6), after(start, 6));
        queue.add("web", after(start, 7), after(start, 7));
        assert_eq!((queue.take(after(start, 8)), queue.next_ready()), (None, None));
        queue.succeeded(&"web");
        assert_eq!(queue.take(after(start, 8)), Some(("web", after(start, 6))));
        queue.succeeded(&"web");
        assert_eq!(queue.next_ready(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_retried_ever_more_slowly_until_one_run_succeeds() {
        let mut now = Instant::now();
        let mut queue = WorkQueue::new();
        queue.add("web", now, now);
        let mut delays = Vec::new();
        for _ in 0..20 {
            let ready = queue.next_ready().expect("a key waits");
            delays.push((ready - now).as_millis());
            now = ready;
            queue.take(now).expect("it is ready");
            queue.failed(&"web", now);
        }
        assert_eq!(delays.get(..5), Some([0, 5, 10, 20, 40].as_slice()));
        assert_eq!(delays.last(), Some(&1_000_000));

        now = queue.next_ready().expect("a key waits");
        queue.take(now);
        queue.succeeded(&"web");
        queue.add("web", now, now);
        queue.take(now);
        queue.failed(&"web", now);
        assert_eq!(queue.next_ready(), Some(now + FIRST_RETRY));
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_does_not_wait_for_the_end_of_a_back_off() {
        let now = Instant::now();
        let mut queue = WorkQueue::new();
        queue.add("web", now, now);
        queue.take(now);
        queue.failed(&"web", now);
        queue.add("web", now, now);
        assert_eq!(queue.next_ready(), Some(now));
    }
}
