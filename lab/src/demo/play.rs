//! What is played: the user's story, with all its times made shorter by one factor.

use std::path::PathBuf;
use std::time::Duration;

/// The story, in the time that it took. `Play::default()` is the one that was reported: 15,000 requests a minute, ten pods,
/// the steps 10-60-80-90-100, and a load balancer controller that is 70 s behind.
#[derive(Debug, Clone)]
pub struct Play {
    /// So many seconds of the story go by in one second.
    pub lapse: f64,
    /// How long the load balancer controller takes from the reading of an annotation to its ModifyRule.
    pub lag: Duration,
    /// The canary weights that the update goes through, 0 to 100.
    pub steps: Vec<u16>,
    /// How long the update waits after each step.
    pub pause: Duration,
    /// Pods that the Rollout wants.
    pub pods: u32,
    /// Requests per second, not shortened: they are really sent.
    pub rate: u32,
    /// The same seed gives the same draws.
    pub seed: u64,
    /// The plugin's binary.
    pub plugin: PathBuf,
}

/// Who shifts the weights, and what happens to the stable pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The built-in router with `dynamicStableScale: true`: the report.
    BuiltIn,
    /// The plugin, likewise with `dynamicStableScale: true`.
    Plugin,
    /// The built-in router with `dynamicStableScale: false`: the way out that costs twice the pods.
    Workaround,
}

/// From a Pod's creation until it is ready.
const START_UP: Duration = Duration::from_secs(10);

/// A Pod that was told to go serves on for so long, as with a `preStop` sleep.
const GRACE: Duration = Duration::from_secs(20);

/// From a Pod that comes or goes until its target is registered or deregistered.
const REGISTRATION_LAG: Duration = Duration::from_secs(2);

/// Between two health checks of a target.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How far a node of the load balancer may be behind its API.
const NODE_LAG: Duration = Duration::from_secs(5);

/// How long the plugin has weights stay true before pods go: its default.
const SETTLE: Duration = Duration::from_secs(10);

/// How long old pods stay after an update: the controller's default.
const SCALE_DOWN_DELAY: Duration = Duration::from_secs(30);

impl Default for Play {
    fn default() -> Self {
        Self {
            lapse: 10.0,
            lag: Duration::from_secs(70),
            steps: vec![10, 60, 80, 90, 100],
            pause: Duration::from_secs(90),
            pods: 10,
            rate: 250,
            seed: 1,
            plugin: PathBuf::from("rollouts-plugin-trafficrouter-alb"),
        }
    }
}

impl Path {
    /// As tables and pictures call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Plugin => "plugin",
            Self::Workaround => "workaround",
        }
    }

    /// `dynamicStableScale` of the Rollout.
    #[must_use]
    pub fn dynamic_stable_scale(self) -> bool {
        self != Self::Workaround
    }
}

impl Play {
    /// A time of the story, as long as it takes here.
    #[must_use]
    pub fn here(&self, story: Duration) -> Duration {
        story.div_f64(self.lapse.max(f64::MIN_POSITIVE))
    }

    pub(super) fn start_up(&self) -> Duration {
        self.here(START_UP)
    }

    pub(super) fn grace(&self) -> Duration {
        self.here(GRACE)
    }

    pub(super) fn registration_lag(&self) -> Duration {
        self.here(REGISTRATION_LAG)
    }

    pub(super) fn health_check_interval(&self) -> Duration {
        self.here(HEALTH_CHECK_INTERVAL)
    }

    pub(super) fn node_lag(&self) -> Duration {
        self.here(NODE_LAG)
    }

    pub(super) fn settle(&self) -> Duration {
        self.here(SETTLE)
    }

    /// The API of Rollouts counts in whole seconds.
    pub(super) fn scale_down_delay_seconds(&self) -> u64 {
        self.here(SCALE_DOWN_DELAY).as_secs().max(1)
    }
}
