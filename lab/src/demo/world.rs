//! What was seen of a world: one cluster with one load balancer, and one way to shift weights.

use std::time::Duration;

use super::load::{BUCKET, Traffic};

/// All that was seen of one world, from the start to the end of its load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// What sets it apart, such as `plugin`.
    pub name: String,
    /// What its customers saw. Its start is the zero of all times here.
    pub traffic: Traffic,
    /// The time of all Pods from creation to removal, summed up: what was paid for.
    pub pod_time: Duration,
    /// The changes of weight, in order.
    pub steps: Vec<Step>,
    /// What was seen from time to time, in order. A sample holds until the next one.
    pub samples: Vec<Sample>,
    /// What else is worth telling, in order.
    pub events: Vec<Event>,
}

/// One change of weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was asked for, in a few characters, such as `60 %`.
    pub label: String,
    /// When the rollouts controller asked for it.
    pub asked: Duration,
    /// When it had become true on every rule, if ever.
    pub settled: Option<Duration>,
}

/// A world at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Duration,
    /// The canary's share of the weight that the rollouts controller asks for; per cent, 0 to 100.
    pub wished: u16,
    /// The canary's share of the weight in each rule, always in the same order; per cent, 0 to 100.
    pub actual: Vec<u16>,
    /// Pods of the stable version, as long as their objects exist.
    pub stable_pods: u32,
    /// Pods of the canary.
    pub canary_pods: u32,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What, in one line.
    pub text: String,
}

impl World {
    /// When the last thing was seen.
    #[must_use]
    pub fn end(&self) -> Duration {
        let buckets = u32::try_from(self.traffic.buckets.len()).unwrap_or(u32::MAX);
        let sampled = self.samples.last().map_or(Duration::ZERO, |sample| sample.at);
        let stepped = self.steps.iter().map(|step| step.settled.unwrap_or_default().max(step.asked)).max();
        sampled.max(stepped.unwrap_or_default()).max(BUCKET.saturating_mul(buckets))
    }
}

impl Step {
    /// From the question until the answer was true on every rule.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        self.settled.map(|settled| settled.saturating_sub(self.asked))
    }
}

impl Sample {
    /// The rule that is farthest from the wish: what is not yet true there is not yet true.
    #[must_use]
    pub fn farthest(&self) -> Option<u16> {
        self.actual.iter().copied().max_by_key(|actual| actual.abs_diff(self.wished))
    }
}
