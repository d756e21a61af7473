//! A load balancer that is asked by many, and by others than us: AWS counts the calls of an account in a region, whoever
//! makes them, and lets few through (user guide, "Request throttling for the Elastic Load Balancing API").
//!
//! So reads are shared and batched, and every call waits for a token of a bucket that mirrors AWS's own. A throttled call is
//! made again through the bucket, never around it: many callers that all try again at once are what keeps a bucket empty.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::future::try_join_all;
use tokio::time::Instant;

pub use bucket::BucketSize;

use self::limiter::Limiter;
pub(super) use self::limiter::Token;
use self::reader::{Around, Reader, Rules, Targets};
use super::{
    Arn, Error, LoadBalancer, Observation, Rule, RuleArn, Target, TargetGroupArn, Turn, Urgency, WeightedGroup,
};

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
/// An account in a region that nobody calls is forgotten. Its buckets are long full by then.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// A load balancer with manners.
#[derive(Debug)]
pub struct Shared {
    balancer: Arc<dyn LoadBalancer>,
    writes: BucketSize,
    /// By region and account: AWS has buckets for each pair.
    accounts: Mutex<HashMap<(String, String), Known>>,
}

#[derive(Debug)]
struct Known {
    last_call: Instant,
    account: Arc<Account>,
}

/// What all calls to one account in one region share.
#[derive(Debug)]
struct Account {
    writes: Arc<Limiter>,
    rules: Arc<Reader<Rules>>,
    targets: Arc<Reader<Targets>>,
    around: Arc<Reader<Around>>,
}

impl Shared {
    /// Calls of `balancer` itself, few enough for AWS. `writes` is what all writes of an account in a region may use.
    #[must_use]
    pub fn new(balancer: Arc<dyn LoadBalancer>, writes: BucketSize) -> Self {
        Self { balancer, writes, accounts: Mutex::default() }
    }

    fn account<R>(&self, arn: &Arn<R>) -> Arc<Account> {
        let now = Instant::now();
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (arn.region().to_owned(), arn.account().to_owned());
        if !accounts.contains_key(&place) {
            accounts.retain(|_, known| {
                Arc::strong_count(&known.account) > 1 || now.saturating_duration_since(known.last_call) < FORGOTTEN
            });
        }
        let known = accounts.entry(place).or_insert_with_key(|(region, account)| {
            let named = |calls: &str| format!("{calls} calls of account {account} in {region}");
            Known { last_call: now, account: Arc::new(Account::new(&self.balancer, self.writes, named)) }
        });
        known.last_call = now;
        Arc::clone(&known.account)
    }
}

impl Account {
    fn new(balancer: &Arc<dyn LoadBalancer>, writes: BucketSize, named: impl Fn(&str) -> String) -> Self {
        let reads = Arc::new(Limiter::new(named("Describe"), BucketSize::DESCRIBE));
        Self {
            writes: Arc::new(Limiter::new(named("Modify"), writes)),
            rules: Arc::new(Reader::new(Arc::clone(balancer), Arc::clone(&reads))),
            targets: Arc::new(Reader::new(Arc::clone(balancer), Arc::clone(&reads))),
            around: Arc::new(Reader::new(Arc::clone(balancer), reads)),
        }
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
        let asked = Instant::now();
        let mut readers: Vec<(Arc<Account>, Vec<RuleArn>)> = Vec::new();
        for rule in rules {
            let account = self.account(rule);
            match readers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &account)) {
                Some((_, of_account)) => of_account.push(rule.clone()),
                None => readers.push((account, vec![rule.clone()])),
            }
        }
        let looks = readers.iter().map(|(account, rules)| account.rules.read(rules, Some(since)));
        let looks = try_join_all(looks).await?;
        let began = looks.iter().map(|(began, _)| *began).min().unwrap_or(asked);
        let seen: HashMap<RuleArn, Rule> =
            looks.into_iter().flat_map(|(_, rules)| rules).map(|rule| (rule.arn().clone(), rule)).collect();
        Ok(Observation { began, rules: rules.iter().filter_map(|rule| seen.get(rule).cloned()).collect() })
    }

    async fn rules_around(&self, group: &TargetGroupArn) -> Result<Observation, Error> {
        let account = self.account(group);
        let (began, rules) = account.around.read(std::slice::from_ref(group), None).await?;
        Ok(Observation { began, rules: rules.iter().flat_map(|rules| rules.iter().cloned()).collect() })
    }

    async fn turn(&self, rule: &RuleArn, urgency: Urgency) -> Turn {
        let limiter = Arc::clone(&self.account(rule).writes);
        Turn(Some(limiter.token(urgency).await))
    }

    /// Sends it once. Whoever was throttled reads the rule again, and waits for another turn: the next try is another write.
    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], turn: Turn) -> Result<(), Error> {
        let account = self.account(rule.arn());
        if let Some(token) = turn.0 {
            token.spend();
        }
        let _written = Written(&account.rules, rule.arn());
        let sent = self.balancer.set_weights(rule, groups, Turn::free()).await;
        if let Err(error) = &sent {
            account.writes.heed(error);
        }
        sent
    }

    async fn targets(&self, group: &TargetGroupArn, since: Instant) -> Result<Vec<Target>, Error> {
        let account = self.account(group);
        let (_, targets) = account.targets.read(std::slice::from_ref(group), Some(since)).await?;
        Ok(targets.into_iter().flatten().collect())
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
