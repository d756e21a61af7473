//! When one Rollout is reconciled: a rate-limited work queue with a single key.
//!
//! Source: client-go `util/workqueue` (`rateLimitingType`, `delayingType`), and Argo Rollouts 1.10.2,
//! `utils/queue/queue.go`, `utils/controller/controller.go` (`processNextWorkItem`).

use std::time::Duration;

use tokio::time::Instant;

/// The back-off after the first event or failure. It doubles with each that follows.
const FIRST_BACK_OFF: Duration = Duration::from_millis(1);

/// The longest back-off.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);

/// The queue. Failures **and events** count as requeues, and only a reconcile that came to its end makes it forget them:
/// a key that has failed for long is late for events too.
#[derive(Debug, Default)]
pub struct Queue {
    requeues: u32,
    due: Option<Instant>,
}

impl Queue {
    /// When the next reconcile is due, if one is.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A reconcile begins. Whatever is added from now on is for the next one.
    pub fn begin(&mut self) {
        self.due = None;
    }

    /// Something happened, or a reconcile failed (`AddRateLimited`).
    pub fn add_rate_limited(&mut self) {
        let doubled = 2_u32.checked_pow(self.requeues).unwrap_or(u32::MAX);
        self.requeues = self.requeues.saturating_add(1);
        self.add_after(FIRST_BACK_OFF.saturating_mul(doubled).min(LONGEST_BACK_OFF));
    }

    /// Someone wants to look again (`AddAfter`). The soonest wish stands.
    pub fn add_after(&mut self, wait: Duration) {
        let due = Instant::now() + wait;
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// A reconcile came to its end (`Forget`).
    pub fn forget(&mut self) {
        self.requeues = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(queue: &Queue) -> Duration {
        queue.due().unwrap().duration_since(Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn the_back_off_doubles_up_to_ten_seconds_until_a_reconcile_succeeds() {
        let mut queue = Queue::default();
        for requeues in 0..14 {
            queue.begin();
            queue.add_rate_limited();
            assert_eq!(wait(&queue), Duration::from_millis(1 << requeues));
        }
        for _ in 0..40 {
            queue.begin();
            queue.add_rate_limited();
            assert_eq!(wait(&queue), LONGEST_BACK_OFF);
        }
        queue.begin();
        queue.forget();
        queue.add_rate_limited();
        assert_eq!(wait(&queue), FIRST_BACK_OFF);
    }

    #[tokio::test(start_paused = true)]
    async fn the_soonest_wish_stands() {
        let mut queue = Queue::default();
        assert_eq!(queue.due(), None);
        queue.add_after(Duration::from_secs(10));
        queue.add_after(Duration::from_secs(30));
        assert_eq!(wait(&queue), Duration::from_secs(10));
        queue.add_rate_limited();
        assert_eq!(wait(&queue), FIRST_BACK_OFF);
        queue.begin();
        assert_eq!(queue.due(), None);
    }
}
