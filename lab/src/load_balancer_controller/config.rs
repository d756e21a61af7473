//! How fast, how busy and how far behind the controller is.

use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

use crate::kubernetes::Kind;

/// A span of time that is drawn anew each time, evenly between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    least: Duration,
    most: Duration,
}

/// The settings of a [`super::LoadBalancerController`].
///
/// The delays of [`LbcConfig::idle`] are fitted to a measurement of the real controller (build of 2026-08-17): after a Service's
/// selector changed it wrote 0.05 to 0.08 s later, and a second run followed within the same time.
#[derive(Debug, Clone)]
pub struct LbcConfig {
    /// The same seed gives the same delays in the same order.
    pub seed: u64,
    /// What the cluster's tag says.
    pub cluster_name: String,
    /// Which of the two controllers it is.
    pub edition: Edition,
    /// Ingresses of this class are its own, and those without a class.
    pub ingress_class: String,
    /// Groups at work at the same time (`--ingress-max-concurrent-reconciles`, 3 by default), and likewise bindings.
    pub max_concurrent_reconciles: usize,
    /// From an event to the start of the run that it causes; on top of the wait for a worker.
    pub lag: Delay,
    /// From the reading of the annotations to the first DescribeRules, when the limiter lets every call through.
    pub before_rules: Delay,
    /// From DescribeRules to the write, for each listener.
    pub before_write: Delay,
    /// From the last write to the end of the run.
    pub after_rules: Delay,
    /// Calls of one run before its rules whose answers play no part here: attributes, tags, security groups, certificates.
    pub other_calls: u32,
    /// The limiter that it puts before its own calls.
    pub limits: ClientLimits,
    /// Other ingress groups of the same cluster, which compete for workers and for the limiter.
    pub neighbours: Option<Neighbours>,
    /// Everything is reconciled anew after this time (`--sync-period`, 10 h by default).
    pub resync: Duration,
    /// From an event to the registration of targets; on top of the wait for a worker.
    pub registration_lag: Delay,
}

/// Which controller it is: by that it marks what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// The one that people install: bindings of `elbv2.k8s.aws`, tags and labels that begin with `ingress.k8s.aws/`
    /// (LBC pkg/deploy/tracking/provider.go).
    StandAlone,
    /// That of EKS Auto Mode: bindings of `eks.amazonaws.com`, `ingress.eks.amazonaws.com/` (argo-rollouts#4334). The tag of the
    /// cluster, `eks:eks-cluster-name`, and the labels are not proven by any source.
    AutoMode,
}

/// The client-side limits of its ELBv2 calls (LBC pkg/aws/throttle/defaults.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientLimits {
    /// None; AWS's own remain.
    Off,
    /// From v2.4.4 to v3.1: 10 calls a second with a burst of 40; registrations 4 a second with a burst of 20.
    UntilV3_1,
    /// Since v3.2: Describe 50 a second with a burst of 200, Modify 3 and 20, registrations 4 and 20.
    SinceV3_2,
}

/// Other ingress groups that change all at once, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbours {
    /// How many.
    pub groups: u16,
    /// From one change of all of them to the next; not zero. The first comes at a moment drawn from it.
    pub period: Duration,
}

impl Edition {
    /// The kind of its TargetGroupBindings.
    #[must_use]
    pub const fn binding_kind(self) -> Kind {
        match self {
            Self::StandAlone => Kind::TARGET_GROUP_BINDING,
            Self::AutoMode => Kind::AUTO_MODE_BINDING,
        }
    }

    /// The key of the tag that names the cluster.
    pub(super) const fn cluster_tag(self) -> &'static str {
        match self {
            Self::StandAlone => "elbv2.k8s.aws/cluster",
            Self::AutoMode => "eks:eks-cluster-name",
        }
    }

    /// What the other keys of its tags and labels begin with.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::StandAlone => "ingress.k8s.aws",
            Self::AutoMode => "ingress.eks.amazonaws.com",
        }
    }
}

impl Delay {
    /// No delay.
    pub const ZERO: Self = Self { least: Duration::ZERO, most: Duration::ZERO };

    /// Always the same.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self { least: delay, most: delay }
    }

    /// Between two numbers of milliseconds.
    #[must_use]
    pub const fn millis(least: u64, most: u64) -> Self {
        Self { least: Duration::from_millis(least), most: Duration::from_millis(most) }
    }

    /// Draws one, in whole milliseconds, as tokio's clock has them. Bounds in the wrong order count as the first alone.
    pub(super) fn draw(self, rng: &mut Rng) -> Duration {
        let span = self.most.saturating_sub(self.least).as_millis();
        self.least + Duration::from_millis(rng.u64(0..=u64::try_from(span).unwrap_or(u64::MAX)))
    }
}

impl From<RangeInclusive<Duration>> for Delay {
    fn from(range: RangeInclusive<Duration>) -> Self {
        let (least, most) = range.into_inner();
        Self { least, most }
    }
}

impl Default for LbcConfig {
    /// [`LbcConfig::idle`] with seed 1.
    fn default() -> Self {
        Self::idle(1)
    }
}

impl LbcConfig {
    /// A controller that has nothing else to do: a run takes 50 to 90 ms.
    #[must_use]
    pub fn idle(seed: u64) -> Self {
        Self {
            seed,
            cluster_name: "lab".to_owned(),
            edition: Edition::StandAlone,
            ingress_class: "alb".to_owned(),
            max_concurrent_reconciles: 3,
            lag: Delay::millis(1, 5),
            before_rules: Delay::millis(40, 70),
            before_write: Delay::millis(5, 15),
            after_rules: Delay::millis(3, 8),
            other_calls: 7,
            limits: ClientLimits::SinceV3_2,
            neighbours: None,
            resync: Duration::from_secs(10 * 60 * 60),
            registration_lag: Delay::millis(20, 60),
        }
    }

    /// One of eight busy groups behind the old limiter: a run takes from 0.1 to some 10 s, most of it waiting.
    #[must_use]
    pub fn busy(seed: u64) -> Self {
        let neighbours = Neighbours { groups: 8, period: Duration::from_secs(10) };
        Self { limits: ClientLimits::UntilV3_1, neighbours: Some(neighbours), ..Self::idle(seed) }
    }

    /// A controller whose calls are throttled so much that each run takes this long from the reading of the annotations to its first
    /// rule: the user's story has 70 s.
    #[must_use]
    pub fn lagging(seed: u64, lag: Duration) -> Self {
        Self { before_rules: Delay::fixed(lag), ..Self::idle(seed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_their_bounds_and_repeat() {
        let delay = Delay::millis(40, 70);
        let draws = |seed| {
            let mut rng = Rng::with_seed(seed);
            std::iter::repeat_with(|| delay.draw(&mut rng)).take(1000).collect::<Vec<_>>()
        };
        let drawn = draws(7);
        assert_eq!(drawn, draws(7));
        assert_eq!(drawn.iter().min(), Some(&Duration::from_millis(40)));
        assert_eq!(drawn.iter().max(), Some(&Duration::from_millis(70)));
    }

    #[test]
    fn a_delay_without_room_is_always_the_same() {
        let mut rng = Rng::with_seed(1);
        let second = Duration::from_secs(1);
        assert_eq!(Delay::fixed(second).draw(&mut rng), second);
        assert_eq!(Delay::from(second..=Duration::ZERO).draw(&mut rng), second);
        assert_eq!(Delay::ZERO.draw(&mut rng), Duration::ZERO);
    }
}
