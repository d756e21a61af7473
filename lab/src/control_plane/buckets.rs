//! AWS's token buckets: how many calls an account may make before it is throttled.
//!
//! All callers of the account share them, whoever they are (user guide, "Request throttling for the Elastic Load Balancing API").

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;

/// The size of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketSize {
    /// Calls that a rested bucket lets through at once.
    pub burst: u32,
    /// Calls that it regains in a second, up to `burst`.
    pub per_second: u32,
}

/// The sizes of all buckets. The default is AWS's, as aws-load-balancer-controller's own limiter mirrors it
/// (`pkg/aws/throttle/defaults.go`, since v3.2.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketSizes {
    /// For every Describe operation.
    pub describe: BucketSize,
    /// For every Modify operation. The lab counts Create, Delete, Set, AddTags and RemoveTags here too; where AWS counts them is
    /// not documented.
    pub modify: BucketSize,
    /// For RegisterTargets and DeregisterTargets.
    pub register: BucketSize,
}

/// A bucket as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BucketLevel {
    /// See [`BucketSize::burst`].
    pub burst: u32,
    /// See [`BucketSize::per_second`].
    pub per_second: u32,
    /// Calls that it would let through at once now.
    pub tokens: u32,
}

/// All buckets as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BucketLevels {
    /// See [`BucketSizes::describe`].
    pub describe: BucketLevel,
    /// See [`BucketSizes::modify`].
    pub modify: BucketLevel,
    /// See [`BucketSizes::register`].
    pub register: BucketLevel,
}

/// The buckets of an account. Times are those since its start.
#[derive(Debug)]
pub(crate) struct Buckets {
    describe: Bucket,
    modify: Bucket,
    register: Bucket,
}

#[derive(Debug)]
struct Bucket {
    size: BucketSize,
    /// In billionths, so that a nanosecond at one call per second is one.
    tokens: u128,
    filled_at: Duration,
}

/// One call.
const TOKEN: u128 = 1_000_000_000;

impl Default for BucketSizes {
    fn default() -> Self {
        Self {
            describe: BucketSize { burst: 200, per_second: 50 },
            modify: BucketSize { burst: 20, per_second: 3 },
            register: BucketSize { burst: 20, per_second: 4 },
        }
    }
}

impl Buckets {
    /// Rested buckets.
    pub(crate) fn new(sizes: BucketSizes, now: Duration) -> Self {
        let bucket = |size: BucketSize| Bucket { size, tokens: u128::from(size.burst) * TOKEN, filled_at: now };
        Self { describe: bucket(sizes.describe), modify: bucket(sizes.modify), register: bucket(sizes.register) }
    }

    /// Lets a call through or throttles it, as AWS does in practice: `Throttling`, 400
    /// (kubernetes-sigs/aws-load-balancer-controller#1871).
    pub(crate) fn take(&mut self, operation: &str, now: Duration) -> Result<(), ApiError> {
        let bucket = match operation {
            "RegisterTargets" | "DeregisterTargets" => &mut self.register,
            // The token service is another service, with buckets of its own.
            "AssumeRole" | "GetCallerIdentity" => return Ok(()),
            describe if describe.starts_with("Describe") => &mut self.describe,
            _ => &mut self.modify,
        };
        if bucket.take(now) { Ok(()) } else { Err(ApiError::new("Throttling", "Rate exceeded")) }
    }

    pub(crate) fn levels(&mut self, now: Duration) -> BucketLevels {
        BucketLevels {
            describe: self.describe.level(now),
            modify: self.modify.level(now),
            register: self.register.level(now),
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Duration) -> bool {
        self.fill(now);
        match self.tokens.checked_sub(TOKEN) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    fn level(&mut self, now: Duration) -> BucketLevel {
        self.fill(now);
        let BucketSize { burst, per_second } = self.size;
        // Never more than the burst, which is a u32.
        BucketLevel { burst, per_second, tokens: u32::try_from(self.tokens / TOKEN).unwrap_or(burst) }
    }

    fn fill(&mut self, now: Duration) {
        let gained = now.saturating_sub(self.filled_at).as_nanos() * u128::from(self.size.per_second);
        self.tokens = (self.tokens + gained).min(u128::from(self.size.burst) * TOKEN);
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(buckets: &mut Buckets, operation: &str, calls: usize, now: Duration) -> usize {
        (0..calls).filter(|_| buckets.take(operation, now).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut buckets = Buckets::new(BucketSizes::default(), Duration::ZERO);
        assert_eq!(passed(&mut buckets, "ModifyRule", 50, Duration::ZERO), 20);
        assert_eq!(
            passed(&mut buckets, "ModifyListener", 50, Duration::from_millis(999)),
            2,
            "one bucket for all of them"
        );
        assert_eq!(passed(&mut buckets, "ModifyRule", 50, Duration::from_secs(2)), 4);
        assert_eq!(passed(&mut buckets, "ModifyRule", 50, Duration::from_secs(3600)), 20, "no more than a burst");
        let error = buckets.take("ModifyRule", Duration::from_secs(3600)).expect_err("throttled");
        assert_eq!((error.status, &*error.code, &*error.message), (400, "Throttling", "Rate exceeded"));
    }

    #[test]
    fn families_do_not_take_from_each_other() {
        let mut buckets = Buckets::new(BucketSizes::default(), Duration::ZERO);
        assert_eq!(passed(&mut buckets, "DescribeRules", 300, Duration::ZERO), 200);
        assert_eq!(passed(&mut buckets, "RegisterTargets", 30, Duration::ZERO), 20);
        assert_eq!(passed(&mut buckets, "DeregisterTargets", 30, Duration::ZERO), 0);
        assert_eq!(passed(&mut buckets, "SetRulePriorities", 30, Duration::ZERO), 20);
        assert_eq!(passed(&mut buckets, "AssumeRole", 30, Duration::ZERO), 30);
        let levels = buckets.levels(Duration::from_secs(1));
        assert_eq!((levels.describe.tokens, levels.modify.tokens, levels.register.tokens), (50, 3, 4));
    }
}
