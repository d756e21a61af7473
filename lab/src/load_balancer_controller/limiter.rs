//! The controller's own brake: token buckets before every ELBv2 call, shared by all its workers.
//!
//! A call that finds no token waits for one; nothing is refused (LBC pkg/aws/throttle, `limiter.Wait`).

use std::time::Duration;

use tokio::time::Instant;

use crate::load_balancer_controller::config::ClientLimits;

/// All buckets. A call takes a token out of each that it falls into.
#[derive(Debug)]
pub(super) struct Limiter {
    buckets: Vec<Bucket>,
}

/// A bucket, kept as the moment at which it would be full again. Calls are served in the order in which they ask.
#[derive(Debug)]
struct Bucket {
    /// The calls that fall into it, by how their names begin; an empty one means every call.
    operations: &'static [&'static str],
    /// The time in which one token comes.
    interval: Duration,
    /// The time in which an empty bucket fills up.
    filling: Duration,
    full_at: Instant,
}

impl Limiter {
    /// Buckets that are full.
    pub(super) fn new(limits: ClientLimits, now: Instant) -> Self {
        let registrations = ["RegisterTargets", "DeregisterTargets"].as_slice();
        let bucket = |operations, per_second: u32, burst: u32| {
            let interval = Duration::from_secs(1) / per_second;
            Bucket { operations, interval, filling: interval * burst, full_at: now }
        };
        let buckets = match limits {
            ClientLimits::Off => Vec::new(),
            ClientLimits::UntilV3_1 => vec![bucket(&[""], 10, 40), bucket(registrations, 4, 20)],
            ClientLimits::SinceV3_2 => {
                vec![bucket(&["Describe"], 50, 200), bucket(&["Modify"], 3, 20), bucket(registrations, 4, 20)]
            }
        };
        Self { buckets }
    }

    /// Takes the tokens of a call, and says when it may be made.
    pub(super) fn take(&mut self, operation: &str, now: Instant) -> Instant {
        let concerned =
            self.buckets.iter_mut().filter(|bucket| bucket.operations.iter().any(|name| operation.starts_with(name)));
        concerned.map(|bucket| bucket.take(now)).max().unwrap_or(now)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Instant {
        self.full_at = self.full_at.max(now) + self.interval;
        // Fuller than empty: at once. Otherwise when the debt is paid.
        self.full_at.checked_sub(self.filling).map_or(now, |paid| paid.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(limiter: &mut Limiter, operation: &str, calls: usize, now: Instant) -> Vec<Duration> {
        (0..calls).map(|_| limiter.take(operation, now) - now).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_the_rest_is_paced() {
        let now = Instant::now();
        let mut limiter = Limiter::new(ClientLimits::UntilV3_1, now);
        let waits = waits(&mut limiter, "DescribeRules", 45, now);
        assert!(waits.iter().take(40).all(Duration::is_zero), "{waits:?}");
        let rest: Vec<u128> = waits.iter().skip(40).map(Duration::as_millis).collect();
        assert_eq!(rest, [100, 200, 300, 400, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_fills_up_to_its_burst_and_no_further() {
        let start = Instant::now();
        let mut limiter = Limiter::new(ClientLimits::SinceV3_2, start);
        waits(&mut limiter, "ModifyRule", 20, start);
        let much_later = start + Duration::from_secs(3600);
        let waits = waits(&mut limiter, "ModifyRule", 21, much_later);
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_of_calls_do_not_hold_each_other_up() {
        let now = Instant::now();
        let mut limiter = Limiter::new(ClientLimits::SinceV3_2, now);
        waits(&mut limiter, "ModifyRule", 30, now);
        assert_eq!(limiter.take("DescribeRules", now), now);
        assert_eq!(limiter.take("CreateRule", now), now, "no bucket is known for it");
        let mut off = Limiter::new(ClientLimits::Off, now);
        assert!(waits(&mut off, "ModifyRule", 1000, now).iter().all(Duration::is_zero));
    }
}
