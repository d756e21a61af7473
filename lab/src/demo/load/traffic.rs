//! What became of the requests: pure arithmetic on one record each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The width of a bucket of [`Traffic::buckets`].
pub const BUCKET: Duration = Duration::from_millis(100);

/// Buckets in a second.
const BUCKETS_PER_SECOND: usize = 10;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was answered with this HTTP status.
    Status(u16),
    /// Nobody listened.
    Refused,
    /// The connection broke before the answer was whole.
    Closed,
    /// There was no answer in time.
    TimedOut,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was due, from the start of the load.
    pub at: Duration,
    /// From then until its end.
    pub latency: Duration,
    /// Its end.
    pub outcome: Outcome,
    /// Who answered, if the answer says so.
    pub version: Option<String>,
}

/// What became of all requests that have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many there were.
    pub requests: u64,
    /// The same, by their end.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Those that a pod answered, by its version.
    pub versions: BTreeMap<String, u64>,
    /// The same over time, by when the requests were due: 100 ms each, from the start of the load and without gaps.
    pub buckets: Vec<Bucket>,
    /// The longest time in which every request failed: from the first of them to the next success, or to the last failure.
    pub longest_failure: Duration,
    /// The second with the largest share of failures; `None` if there was no failure.
    pub worst_second: Option<WorstSecond>,
    /// Of the requests that did not fail.
    pub latencies: Latencies,
}

/// The requests that were due within 100 ms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// How many there were.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Who answered.
    pub versions: BTreeMap<String, u64>,
}

/// A second, and how bad it was. Seconds may begin at any bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorstSecond {
    /// When it begins, from the start of the load.
    pub from: Duration,
    /// Requests that were due in it; at least one.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
}

/// How long answers took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Half of them took no longer.
    pub median: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// None took longer.
    pub max: Duration,
}

impl Outcome {
    /// Whether the customer saw an error: no answer, or one that says that the server could not (5xx).
    #[must_use]
    pub fn failed(self) -> bool {
        !matches!(self, Self::Status(..=499))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Refused => f.write_str("refused"),
            Self::Closed => f.write_str("closed"),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

impl WorstSecond {
    /// The share of failures, above 0 and up to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.failed as f64 / self.requests as f64
    }
}

impl Traffic {
    /// Sums up records in the order in which the requests were due. Those that have not ended (`None`) do not count.
    #[must_use]
    pub fn of(records: &[Option<Record>]) -> Self {
        let mut traffic = Self::default();
        let mut latencies = Vec::new();
        let mut failing: Option<Duration> = None;
        for record in records.iter().flatten() {
            let failed = record.outcome.failed();
            traffic.count(record, failed);
            if let Some(since) = failing {
                traffic.longest_failure = traffic.longest_failure.max(record.at.saturating_sub(since));
            }
            failing = failed.then(|| failing.unwrap_or(record.at));
            if !failed {
                latencies.push(record.latency);
            }
        }
        traffic.worst_second = worst_second(&traffic.buckets);
        traffic.latencies = Latencies::of(latencies);
        traffic
    }

    /// Requests that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures().values().sum()
    }

    /// Requests that failed, by how.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<Outcome, u64> {
        let failures = self.outcomes.iter().filter(|(outcome, _)| outcome.failed());
        failures.map(|(outcome, count)| (*outcome, *count)).collect()
    }

    /// Failures in each second from the start of the load; the last second may be a part of one.
    #[must_use]
    pub fn failed_per_second(&self) -> Vec<u64> {
        let seconds = self.buckets.chunks(BUCKETS_PER_SECOND);
        seconds.map(|buckets| buckets.iter().map(|bucket| bucket.failed).sum()).collect()
    }

    fn count(&mut self, record: &Record, failed: bool) {
        self.requests += 1;
        *self.outcomes.entry(record.outcome).or_default() += 1;
        let index = usize::try_from(record.at.as_millis() / BUCKET.as_millis()).unwrap_or(usize::MAX);
        if index >= self.buckets.len() {
            self.buckets.resize(index.saturating_add(1), Bucket::default());
        }
        let Some(bucket) = self.buckets.get_mut(index) else { return };
        bucket.requests += 1;
        bucket.failed += u64::from(failed);
        if let Some(version) = &record.version {
            *bucket.versions.entry(version.clone()).or_default() += 1;
            *self.versions.entry(version.clone()).or_default() += 1;
        }
    }
}

impl Latencies {
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let rank = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
            latencies.get(rank).copied().unwrap_or_default()
        };
        Self { median: rank(50), p99: rank(99), max: rank(100) }
    }
}

/// The first of the worst. A load that is shorter than a second is one second.
fn worst_second(buckets: &[Bucket]) -> Option<WorstSecond> {
    let mut worst: Option<WorstSecond> = None;
    let width = BUCKETS_PER_SECOND.min(buckets.len()).max(1);
    for (first, window) in (0u32..).zip(buckets.windows(width)) {
        let second = WorstSecond {
            from: BUCKET * first,
            requests: window.iter().map(|bucket| bucket.requests).sum(),
            failed: window.iter().map(|bucket| bucket.failed).sum(),
        };
        if second.failed > 0 && worst.is_none_or(|worst| second.share() > worst.share()) {
            worst = Some(second);
        }
    }
    worst
}

#[cfg(test)]
mod tests;
