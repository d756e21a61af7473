//! A load balancer that is asked by many, and by others than us: AWS counts the calls of an account in a region, whoever
//! makes them, and lets few through (user guide, "Request throttling for the Elastic Load Balancing API").
//!
//! So reads are shared and batched, and every call waits for a token of a bucket that mirrors AWS's own. A throttled call is
//! made again through the bucket, never around it: many callers that all try again at once are what keeps a bucket empty.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::future::try_join_all;
use tokio::time::Instant;

pub use bucket::BucketSize;

use self::accounts::{Account, Limits, Place, locked};
pub(super) use self::limiter::Token;
use self::reader::{Look, Reader, Rules};
use super::kept::Kept;
use super::{
    Error, LoadBalancer, NewRule, Observation, Role, Rule, RuleArn, Tags, Target, TargetGroupArn, Turn, Urgency,
    WeightedGroup,
};

mod accounts;
mod bucket;
mod ledger;
mod limiter;
mod reader;
#[cfg(test)]
pub(crate) mod tests;

/// The attempts of one call, the first included.
const ATTEMPTS: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A load balancer with manners.
#[derive(Debug)]
pub struct Shared {
    balancer: Arc<dyn LoadBalancer>,
    limits: Arc<Limits>,
    accounts: Mutex<Kept<Place, Account>>,
    /// The same in the name of roles.
    roles: Mutex<Kept<Role, Shared>>,
}

impl Shared {
    /// Calls of `balancer` itself, few enough for AWS. `writes` is what all writes of an account in a region may use.
    #[must_use]
    pub fn new(balancer: Arc<dyn LoadBalancer>, writes: BucketSize) -> Self {
        Self::with_limits(balancer, Arc::new(Limits::new(writes)))
    }

    fn with_limits(balancer: Arc<dyn LoadBalancer>, limits: Arc<Limits>) -> Self {
        Self { balancer, limits, accounts: Mutex::default(), roles: Mutex::default() }
    }

    /// The account of the resource of this ARN.
    fn account(&self, arn: &str) -> Arc<Account> {
        locked(&self.accounts).get_or_make(Place::of(arn), |place| Account::new(&self.balancer, &self.limits, place))
    }

    /// Looks at things of all accounts, and gives what was seen in the order asked for, with the oldest beginning.
    async fn read<L: Look>(
        &self,
        keys: &[L::Key],
        since: Option<Instant>,
        reader: impl Fn(&Account) -> &Arc<Reader<L>>,
    ) -> Result<(Instant, Vec<L::Seen>), Error>
    where
        L::Key: AsRef<str>,
    {
        let asked = Instant::now();
        let mut places: Vec<(Arc<Account>, Vec<usize>)> = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            let account = self.account(key.as_ref());
            match places.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &account)) {
                Some((_, numbers)) => numbers.push(number),
                None => places.push((account, vec![number])),
            }
        }
        let looks = places.into_iter().map(|(account, numbers)| {
            let of_account: Vec<_> = numbers.iter().filter_map(|number| keys.get(*number)).cloned().collect();
            let reader = Arc::clone(reader(&account));
            async move {
                let (began, seen) = reader.read(&of_account, since).await?;
                Ok((began, numbers.into_iter().zip(seen)))
            }
        });
        let mut began = None;
        let mut all = Vec::with_capacity(keys.len());
        for (one, seen) in try_join_all(looks).await? {
            began = Some(began.map_or(one, |oldest: Instant| oldest.min(one)));
            all.extend(seen);
        }
        all.sort_by_key(|(number, _)| *number);
        Ok((began.unwrap_or(asked), all.into_iter().map(|(_, seen)| seen).collect()))
    }
}

/// What we wrote to is no longer what was seen of it, however the write ended.
struct Written<'a>(&'a Reader<Rules>, &'a RuleArn);

impl Drop for Written<'_> {
    fn drop(&mut self) {
        self.0.spoil(self.1);
    }
}

#[async_trait]
impl LoadBalancer for Shared {
    async fn observe(&self, rules: &[RuleArn], since: Instant) -> Result<Observation, Error> {
        let (began, rules) = self.read(rules, Some(since), |account| &account.rules).await?;
        Ok(Observation { began, rules })
    }

    async fn rules_around(&self, group: &TargetGroupArn) -> Result<Observation, Error> {
        let account = self.account(group.as_str());
        let (began, rules) = account.around.read(std::slice::from_ref(group), None).await?;
        Ok(Observation { began, rules: rules.iter().flat_map(|rules| rules.iter().cloned()).collect() })
    }

    async fn turn(&self, rule: &RuleArn, urgency: Urgency) -> Turn {
        let limiter = Arc::clone(self.account(rule.as_str()).writes());
        Turn(Some(limiter.token(urgency).await))
    }

    /// Sends it once. Whoever was throttled reads the rule again, and waits for another turn: the next try is another write.
    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], turn: Turn) -> Result<(), Error> {
        let account = self.account(rule.arn().as_str());
        if let Some(token) = turn.0 {
            token.spend();
        }
        let _written = Written(&account.rules, rule.arn());
        let sent = self.balancer.set_weights(rule, groups, Turn::free()).await;
        if let Err(error) = &sent {
            account.writes().heed(error);
        }
        sent
    }

    async fn targets(&self, group: &TargetGroupArn, since: Instant) -> Result<Vec<Target>, Error> {
        let account = self.account(group.as_str());
        let (_, targets) = account.targets.read(std::slice::from_ref(group), Some(since)).await?;
        Ok(targets.into_iter().flatten().collect())
    }

    async fn tags(&self, arns: &[String]) -> Result<Vec<Tags>, Error> {
        let (_, tags) = self.read(arns, None, |account| &account.tags).await?;
        Ok(tags)
    }

    /// Sends it once: whoever tries again looks first what became of the last try, and which priority is free by then.
    async fn add_rule(&self, rule: &NewRule) -> Result<RuleArn, Error> {
        let account = self.account(rule.before.arn().as_str());
        Arc::clone(account.writes()).token(Urgency::Usual).await.spend();
        let added = self.balancer.add_rule(rule).await;
        added.inspect_err(|error| account.writes().heed(error))
    }

    /// Sends it once, like every write.
    async fn remove_rule(&self, rule: &RuleArn) -> Result<(), Error> {
        let account = self.account(rule.as_str());
        Arc::clone(account.writes()).token(Urgency::Usual).await.spend();
        let _written = Written(&account.rules, rule);
        let removed = self.balancer.remove_rule(rule).await;
        removed.inspect_err(|error| account.writes().heed(error))
    }

    fn assuming(self: Arc<Self>, role: &Role) -> Arc<dyn LoadBalancer> {
        let in_its_name =
            |role: &Role| Self::with_limits(Arc::clone(&self.balancer).assuming(role), Arc::clone(&self.limits));
        locked(&self.roles).get_or_make(role.clone(), in_its_name)
    }
}

/// The pauses between the attempts of one call.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(ATTEMPTS - 1)
        .with_jitter()
        .build()
}
