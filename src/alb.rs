//! A load balancer, seen through the few things a router does with it: read its rules, change a rule's weights.
//!
//! Nothing here knows of Rollouts. Weights are the forward action's own numbers, 0 to 999.

use async_trait::async_trait;
use tokio::time::Instant;

pub use arn::{Arn, ArnError, ListenerRule, Resource, RuleArn, TargetGroup, TargetGroupArn};
pub use aws::Aws;
pub use error::{Error, ErrorKind};
pub use rule::{Rule, WeightedGroup};

mod arn;
mod aws;
mod error;
mod rule;

/// The largest weight of a target group in a forward action (API reference, `TargetGroupTuple`).
pub const MAX_GROUP_WEIGHT: u32 = 999;

/// What rules looked like.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When the call that saw them began. What was written before this moment, the observation may be held against.
    pub began: Instant,
    /// The rules, in the order they were asked for.
    pub rules: Vec<Rule>,
}

/// A target of a group, as DescribeTargetHealth shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// An address, or an instance's id.
    pub id: String,
    /// Where it listens; a group of functions has none.
    pub port: Option<u16>,
    /// Its state is `healthy`. Any other one, `initial` and `draining` too, is not.
    pub healthy: bool,
}

/// Elastic Load Balancing v2, as the router needs it.
#[async_trait]
pub trait LoadBalancer: std::fmt::Debug + Send + Sync {
    /// Reads these rules, now.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] that names the rules which do not exist, or any other kind.
    async fn observe(&self, rules: &[RuleArn]) -> Result<Observation, Error>;

    /// Reads every rule, default actions included, of every listener of the load balancer that `group` is attached to.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when the group does not exist, or any other kind.
    async fn rules_around(&self, group: &TargetGroupArn) -> Result<Observation, Error>;

    /// Gives the groups of the rule's forward action these weights. Its other actions, its stickiness and all else
    /// stay as `rule` shows them: a rule's actions can only be replaced as a whole, so `rule` must be freshly read.
    /// A rule's default action is changed through its listener.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Refused`] before anything is sent when the rule carries an action that this
    /// build does not know and could only damage; otherwise what AWS said.
    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup]) -> Result<(), Error>;

    /// The targets of a group, in whatever state, now.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when the group does not exist, or any other kind.
    async fn targets(&self, group: &TargetGroupArn) -> Result<Vec<Target>, Error>;
}
