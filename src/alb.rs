//! A load balancer, seen through the few things a router does with it: find its rules, read them, change a rule's weights, add
//! a rule of its own.
//!
//! Nothing here knows of Rollouts. Weights are the forward action's own numbers, 0 to 999.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

pub use arn::{Arn, ArnError, ListenerRule, Resource, RuleArn, TargetGroup, TargetGroupArn};
pub use aws::Aws;
pub use condition::{ConditionError, HeaderCondition};
pub use error::{Error, ErrorKind};
pub use new_rule::NewRule;
pub use rule::{Rule, WeightedGroup};
use shared::Token;
#[cfg(test)]
pub(crate) use shared::tests::fake as fake_aws;
pub use shared::{BucketSize, Shared};

mod arn;
mod aws;
mod condition;
mod error;
mod kept;
mod new_rule;
mod rule;
mod shared;

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

/// Who writes first when an account's budget does not let everyone write at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Traffic leaves a version that was given up.
    First,
    /// All else.
    Usual,
}

/// Leave to write once. Dropped before it was used, it goes to somebody else.
#[derive(Debug, Default)]
pub struct Turn(Option<Token>);

impl Turn {
    /// Leave that nobody counts.
    #[must_use]
    pub fn free() -> Self {
        Self::default()
    }
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

/// The role in whose name a Rollout's load balancer is driven, where the controller's own credentials do not reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role {
    /// `arn:aws:iam::ACCOUNT:role/NAME`.
    pub arn: String,
    /// What the role's trust policy asks for, against a confused deputy (IAM user guide, "The confused deputy problem").
    pub external_id: Option<String>,
    /// Where STS is asked for it; none means the region of the load balancer.
    pub region: Option<String>,
}

/// A resource's tags.
pub type Tags = BTreeMap<String, String>;

/// Elastic Load Balancing v2, as the router needs it.
#[async_trait]
pub trait LoadBalancer: std::fmt::Debug + Send + Sync {
    /// Reads these rules. An observation that began at `since` or later will do, whoever asked for it; now means a new one.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] that names the rules which do not exist, or any other kind.
    async fn observe(&self, rules: &[RuleArn], since: Instant) -> Result<Observation, Error>;

    /// Reads every rule, default actions included, of every listener of the load balancers that `group` is attached to,
    /// Application and Network Load Balancers alike.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when the group does not exist, or any other kind.
    async fn rules_around(&self, group: &TargetGroupArn) -> Result<Observation, Error>;

    /// Waits for leave to write this rule once: an account can take only so many writes, and this is the place to wait for it.
    async fn turn(&self, rule: &RuleArn, urgency: Urgency) -> Turn;

    /// Gives the groups of the rule's forward action these weights. Its other actions, its stickiness and all else
    /// stay as `rule` shows them: a rule's actions can only be replaced as a whole, so `rule` must be freshly read.
    /// A rule's default action is changed through its listener.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Refused`] before anything is sent when the rule carries an action that this
    /// build does not know and could only damage; otherwise what AWS said.
    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], turn: Turn) -> Result<(), Error>;

    /// The targets of a group, in whatever state. A look that began at `since` or later will do, whoever asked for it.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when the group does not exist, or any other kind.
    async fn targets(&self, group: &TargetGroupArn, since: Instant) -> Result<Vec<Target>, Error>;

    /// The tags of these resources, of whatever kind, in the order they were asked for.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when one does not exist, or any other kind.
    async fn tags(&self, arns: &[String]) -> Result<Vec<Tags>, Error>;

    /// Adds a rule. It waits until the account may write.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] before anything is sent when the rule could not do what the one before which it comes does;
    /// [`ErrorKind::Transient`] when the priority was taken meanwhile; otherwise what AWS said.
    async fn add_rule(&self, rule: &NewRule) -> Result<RuleArn, Error>;

    /// Removes a rule. One that does not exist is as good as removed. It waits until the account may write.
    ///
    /// # Errors
    /// What AWS said.
    async fn remove_rule(&self, rule: &RuleArn) -> Result<(), Error>;

    /// The same, in the name of a role. It shares what AWS counts by account, and nothing that it has seen.
    fn assuming(self: Arc<Self>, role: &Role) -> Arc<dyn LoadBalancer>;
}
