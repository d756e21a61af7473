//! A token bucket that mirrors one of AWS's, and gives way when AWS says that others draw from it too.
//!
//! Pure: the time is handed in.

use std::time::Duration;

use tokio::time::Instant;

/// The size of one of AWS's token buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketSize {
    /// Calls a second that it lets through for long.
    pub per_second: f64,
    /// Calls that it lets through at once when nobody has called for a while.
    pub burst: u32,
}

impl BucketSize {
    /// AWS's own for all Modify operations of an account in a region (aws-load-balancer-controller,
    /// `pkg/aws/throttle/defaults.go`, which mirrors the user guide's table).
    pub const MODIFY: Self = Self { per_second: 3.0, burst: 20 };

    /// For all Describe operations: half of what AWS lets through since March 2026 (50 a second, burst 200; same file), since
    /// the load balancer controller reads from the same account.
    pub(super) const DESCRIBE: Self = Self { per_second: 25.0, burst: 100 };

    /// What we use of the burst. Calls do not travel equally fast: without a reserve a quick call finds AWS's bucket
    /// empty where a slow one before it would have found a token.
    fn usable(self) -> f64 {
        f64::from((self.burst - self.burst / 10).max(1))
    }
}

/// How much slower it gets at most.
const FLOOR: f64 = 1.0 / 8.0;
/// How long it would take from a standstill to its full rate, when nothing is throttled.
const RECOVERY: Duration = Duration::from_secs(60);
/// Calls that were under way together are throttled together: that is one sign, not many.
const ONE_SIGN: Duration = Duration::from_secs(1);
/// Sums of fractions are not exact.
const NEARLY: f64 = 1e-6;

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    size: BucketSize,
    tokens: f64,
    /// Tokens a second, as of `updated`.
    rate: f64,
    updated: Instant,
    slowed: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(size: BucketSize, now: Instant) -> Self {
        Self { size, tokens: size.usable(), rate: size.per_second, updated: now, slowed: None }
    }

    /// Takes tokens, or says for how long there will not be enough. Never more than a full bucket holds.
    pub(super) fn take(&mut self, cost: u32, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        let cost = f64::from(cost).min(self.size.usable());
        let lacking = cost - self.tokens;
        if lacking > NEARLY {
            // The rate may rise meanwhile. What that earns stays in the bucket.
            return Err(Duration::from_secs_f64(lacking / self.rate));
        }
        self.tokens -= cost;
        Ok(())
    }

    /// Puts back what was taken and not used.
    pub(super) fn give_back(&mut self, cost: u32) {
        self.tokens = (self.tokens + f64::from(cost)).min(self.size.usable());
    }

    /// AWS throttled a call: somebody else uses the account's bucket too, and it is empty. Returns the new rate, tokens a
    /// second, if this changed it.
    pub(super) fn slow_down(&mut self, now: Instant) -> Option<f64> {
        self.refill(now);
        self.tokens = 0.0;
        if self.slowed.is_some_and(|slowed| now.saturating_duration_since(slowed) < ONE_SIGN) {
            return None;
        }
        self.slowed = Some(now);
        self.rate = (self.rate / 2.0).max(self.size.per_second * FLOOR);
        Some(self.rate)
    }

    /// Adds what was earned since the last time, while the rate grew steadily up to the full one.
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        self.updated = self.updated.max(now);
        let full = self.size.per_second;
        let growth = full / RECOVERY.as_secs_f64();
        let growing = elapsed.min((full - self.rate) / growth);
        let rate = (self.rate + growth * growing).min(full);
        let earned = f64::midpoint(self.rate, rate) * growing + full * (elapsed - growing);
        self.rate = rate;
        self.tokens = (self.tokens + earned).min(self.size.usable());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// How many single tokens there are.
    fn drain(bucket: &mut Bucket, now: Instant) -> u32 {
        std::iter::repeat_with(|| bucket.take(1, now)).take_while(Result::is_ok).map(|_| 1).sum()
    }

    #[test]
    fn a_rested_bucket_gives_its_burst_less_a_reserve_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(BucketSize::MODIFY, start);
        assert_eq!(drain(&mut bucket, start), 18);
        let wait = bucket.take(1, start).unwrap_err();
        assert!((wait.as_secs_f64() - 1.0 / 3.0).abs() < 1e-6, "{wait:?}");
        assert_eq!(drain(&mut bucket, start + wait), 1);
        assert_eq!(drain(&mut bucket, start + seconds(2.0)), 5);
        assert_eq!(drain(&mut bucket, start + seconds(1000.0)), 18);
    }

    #[test]
    fn what_costs_more_than_a_bucket_holds_costs_all_of_it() {
        let start = Instant::now();
        let mut bucket = Bucket::new(BucketSize { per_second: 1.0, burst: 2 }, start);
        bucket.take(5, start).unwrap();
        assert_eq!(bucket.take(5, start).unwrap_err(), seconds(2.0));
        bucket.give_back(1);
        assert_eq!(drain(&mut bucket, start), 1);
    }

    #[test]
    fn a_throttle_empties_it_and_halves_the_rate_once_a_second_down_to_an_eighth() {
        let start = Instant::now();
        let mut bucket = Bucket::new(BucketSize { per_second: 8.0, burst: 40 }, start);
        assert_eq!(bucket.slow_down(start), Some(4.0));
        assert_eq!(bucket.slow_down(start + seconds(0.5)), None);
        assert_eq!(drain(&mut bucket, start + seconds(0.5)), 0);
        for second in 1..10 {
            bucket.slow_down(start + seconds(f64::from(second)));
        }
        assert!((bucket.rate - 1.0).abs() < 0.2, "{}", bucket.rate);
    }

    #[test]
    fn it_is_back_at_its_full_rate_within_a_minute() {
        let start = Instant::now();
        let size = BucketSize { per_second: 8.0, burst: 4000 };
        let mut bucket = Bucket::new(size, start);
        bucket.rate = 1.0;
        bucket.tokens = 0.0;
        // 52.5 s from 1 to 8 a second, and 7.5 s at 8.
        let earned = 4.5 * 52.5 + 8.0 * 7.5;
        bucket.refill(start + RECOVERY);
        assert!((bucket.tokens - earned).abs() < 1e-6 && bucket.rate >= 8.0, "{bucket:?}");
        // In small steps it earns the same.
        let mut steps = Bucket::new(size, start);
        steps.rate = 1.0;
        steps.tokens = 0.0;
        for step in 1..=600 {
            steps.refill(start + Duration::from_millis(100) * step);
        }
        assert!((steps.tokens - earned).abs() < 1e-6, "{steps:?}");
    }

    #[test]
    fn waiting_as_long_as_it_says_is_enough_at_any_rate() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut now = Instant::now();
        let mut bucket = Bucket::new(BucketSize::MODIFY, now);
        for _ in 0..2000 {
            if rng.u8(..20) == 0 {
                bucket.slow_down(now);
            }
            if let Err(wait) = bucket.take(rng.u32(1..4), now) {
                // Timers are never early.
                now += wait + Duration::from_micros(1);
                assert!(wait < seconds(20.0), "{wait:?}");
                bucket.refill(now);
                assert!(bucket.take(0, now).is_ok());
            }
        }
    }
}
