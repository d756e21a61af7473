//! How a data plane is set up.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How the load balancer's nodes behave. `DataPlaneConfig::default()` has AWS's numbers where AWS names any.
#[derive(Debug, Clone)]
pub struct DataPlaneConfig {
    /// How many nodes serve each listener; at least one does.
    pub nodes: usize,
    /// How long after a change in the account a node follows it. Drawn anew for each node and change; a change never
    /// overtakes an earlier one. AWS documents no figure: 0 to 2 s is a guess.
    pub lag: RangeInclusive<Duration>,
    /// The same seed gives the same lags and, for the same requests, the same choices.
    pub seed: u64,
    /// Instead of the target groups' own interval (5 to 300 s), to save time. Timeouts stay theirs; no check of a target begins
    /// before the last one has ended.
    pub health_check_interval: Option<Duration>,
    /// How long a node takes to begin with a target that it has just learnt of. Until then the target stays `initial`.
    pub registration_delay: Duration,
    /// How long a connection to a target may take to come about, or else 504. AWS: 10 s (troubleshooting guide, HTTP 504).
    pub connect_timeout: Duration,
    /// How long a target may be silent while an answer is awaited, or else 504, and how long a connection to it is kept without
    /// use. AWS's default is 60 s (`idle_timeout.timeout_seconds`).
    pub idle_timeout: Duration,
}

impl Default for DataPlaneConfig {
    fn default() -> Self {
        Self {
            nodes: 2,
            lag: Duration::ZERO..=Duration::from_secs(2),
            seed: 1,
            health_check_interval: None,
            registration_delay: Duration::ZERO,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}
