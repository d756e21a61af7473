//! Reads that everyone shares: the ledger says what to look at, this looks.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::select;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::ledger::{Asked, Call, Ledger, is_its_own_fault};
use super::limiter::Limiter;
use super::pauses;
use crate::alb::aws::{RULES_PER_CALL, TAGS_PER_CALL};
use crate::alb::{Error, ErrorKind, LoadBalancer, Rule, RuleArn, Tags, Target, TargetGroupArn, Urgency};

/// Those who come while a call is under way share the next one. A call that hangs holds them up no longer than this.
const GATHERING: Duration = Duration::from_millis(25);

/// A kind of call that sees things of one kind.
#[async_trait]
pub(super) trait Look: fmt::Debug + Send + Sync + 'static {
    /// Names a thing.
    type Key: Clone + Ord + fmt::Debug + fmt::Display + Send + Sync;
    /// What can be seen of it.
    type Seen: Clone + fmt::Debug + Send + Sync;

    /// What people call it.
    const OPERATION: &'static str;
    /// How many things one call can look at.
    const ROOM: usize;
    /// The tokens of AWS's bucket that one call takes.
    const COST: u32;

    /// Looks at these things. It may see others too, but not less.
    async fn look(balancer: &dyn LoadBalancer, keys: &[Self::Key]) -> Result<Vec<(Self::Key, Self::Seen)>, Error>;
}

/// DescribeRules by name.
#[derive(Debug)]
pub(super) enum Rules {}

/// DescribeTargetHealth.
#[derive(Debug)]
pub(super) enum Targets {}

/// DescribeTargetGroups, DescribeListeners and DescribeRules around a target group.
#[derive(Debug)]
pub(super) enum Around {}

/// DescribeTags.
#[derive(Debug)]
pub(super) enum TagsOf {}

#[async_trait]
impl Look for Rules {
    type Key = RuleArn;
    type Seen = Rule;

    const OPERATION: &'static str = "DescribeRules";
    const ROOM: usize = RULES_PER_CALL;
    const COST: u32 = 1;

    async fn look(balancer: &dyn LoadBalancer, rules: &[RuleArn]) -> Result<Vec<(RuleArn, Rule)>, Error> {
        let observation = balancer.observe(rules, Instant::now()).await?;
        Ok(observation.rules.into_iter().map(|rule| (rule.arn().clone(), rule)).collect())
    }
}

#[async_trait]
impl Look for Targets {
    type Key = TargetGroupArn;
    type Seen = Vec<Target>;

    const OPERATION: &'static str = "DescribeTargetHealth";
    const ROOM: usize = 1;
    const COST: u32 = 1;

    async fn look(
        balancer: &dyn LoadBalancer,
        groups: &[TargetGroupArn],
    ) -> Result<Vec<(TargetGroupArn, Vec<Target>)>, Error> {
        let mut seen = Vec::with_capacity(groups.len());
        for group in groups {
            seen.push((group.clone(), balancer.targets(group, Instant::now()).await?));
        }
        Ok(seen)
    }
}

#[async_trait]
impl Look for Around {
    type Key = TargetGroupArn;
    type Seen = Arc<Vec<Rule>>;

    const OPERATION: &'static str = "DescribeListeners";
    const ROOM: usize = 1;
    /// The group, the listeners, and the rules of two of them: 80 and 443.
    const COST: u32 = 4;

    async fn look(
        balancer: &dyn LoadBalancer,
        groups: &[TargetGroupArn],
    ) -> Result<Vec<(TargetGroupArn, Arc<Vec<Rule>>)>, Error> {
        let mut seen = Vec::new();
        for group in groups {
            let rules = Arc::new(balancer.rules_around(group).await?.rules);
            // A target group belongs to one load balancer (`TargetGroupAssociationLimit`), so this was a look around all
            // groups that its rules hold.
            let mut held: Vec<_> = rules.iter().flat_map(Rule::groups).map(|held| held.group).collect();
            held.push(group.clone());
            held.sort();
            held.dedup();
            seen.extend(held.into_iter().map(|group| (group, Arc::clone(&rules))));
        }
        Ok(seen)
    }
}

#[async_trait]
impl Look for TagsOf {
    type Key = String;
    type Seen = Tags;

    const OPERATION: &'static str = "DescribeTags";
    const ROOM: usize = TAGS_PER_CALL;
    const COST: u32 = 1;

    async fn look(balancer: &dyn LoadBalancer, arns: &[String]) -> Result<Vec<(String, Tags)>, Error> {
        Ok(arns.iter().cloned().zip(balancer.tags(arns).await?).collect())
    }
}

/// Everybody's reads of one kind, in one account and region.
#[derive(Debug)]
pub(super) struct Reader<L: Look> {
    balancer: Arc<dyn LoadBalancer>,
    limiter: Arc<Limiter>,
    desk: Mutex<Desk<L>>,
    /// Signalled when no call is under way any more.
    idle: Notify,
}

#[derive(Debug)]
struct Desk<L: Look> {
    ledger: Ledger<L::Key, L::Seen>,
    under_way: usize,
    /// A task begins calls for those who wait.
    served: bool,
}

impl<L: Look> Reader<L> {
    /// Nothing seen yet. Calls take their tokens from `limiter`.
    pub(super) fn new(balancer: Arc<dyn LoadBalancer>, limiter: Arc<Limiter>) -> Self {
        let desk = Desk { ledger: Ledger::default(), under_way: 0, served: false };
        Self { balancer, limiter, desk: Mutex::new(desk), idle: Notify::new() }
    }

    /// Looks that began at `since` or later, and when the oldest of them began. Without a time, only a call that has not
    /// begun will do.
    pub(super) async fn read(
        self: &Arc<Self>,
        keys: &[L::Key],
        since: Option<Instant>,
    ) -> Result<(Instant, Vec<L::Seen>), Error> {
        let now = Instant::now();
        let asked: Vec<_> = {
            let mut desk = self.desk();
            let asked = keys.iter().map(|key| desk.ledger.ask(key, since, now)).collect();
            if desk.ledger.is_wanted() && !desk.served {
                desk.served = true;
                tokio::spawn(Arc::clone(self).serve());
            }
            asked
        };
        let mut oldest = None;
        let mut all = Vec::with_capacity(keys.len());
        for (key, asked) in keys.iter().zip(asked) {
            let (began, seen) = match asked {
                Asked::Known(began, seen) => (began, seen),
                Asked::Wait(answer) => answer.await.unwrap_or_else(|_| {
                    Err(Error::transient(
                        L::OPERATION,
                        key.to_string(),
                        "the call broke off before there was an answer",
                    ))
                })?,
            };
            oldest = Some(oldest.map_or(began, |oldest: Instant| oldest.min(began)));
            all.push(seen);
        }
        Ok((oldest.unwrap_or(now), all))
    }

    /// We changed this: what was seen of it before is worthless.
    pub(super) fn spoil(&self, key: &L::Key) {
        self.desk().ledger.spoil(key);
    }

    /// Begins calls as long as somebody waits for one.
    async fn serve(self: Arc<Self>) {
        loop {
            {
                let mut desk = self.desk();
                if !desk.ledger.is_wanted() {
                    desk.served = false;
                    return;
                }
            }
            self.limiter.tokens(self.limiter.turn(Urgency::Usual), L::COST).await;
            // Whoever came while we waited for the token comes along.
            let more = {
                let mut desk = self.desk();
                let Some(call) = desk.ledger.begin(L::ROOM, Instant::now()) else {
                    drop(desk);
                    self.limiter.give_back(L::COST);
                    continue;
                };
                desk.under_way += 1;
                tokio::spawn(UnderWay { reader: Arc::clone(&self), call }.finish());
                desk.ledger.is_wanted()
            };
            if !more {
                select! {
                    () = sleep(GATHERING) => {}
                    () = self.idle.notified() => {}
                }
            }
        }
    }

    /// Looks, more than once if need be. `paid` when the token of the first attempt is taken already.
    async fn look(&self, keys: &[L::Key], mut paid: bool) -> Result<(Instant, Vec<(L::Key, L::Seen)>), Error> {
        let turn = self.limiter.turn(Urgency::Usual);
        let mut pauses = pauses();
        loop {
            if !paid {
                self.limiter.tokens(turn, L::COST).await;
            }
            paid = false;
            let began = Instant::now();
            let error = match L::look(self.balancer.as_ref(), keys).await {
                Ok(seen) => return Ok((began, seen)),
                Err(error) => error,
            };
            self.limiter.heed(&error);
            let Some(pause) = pauses.next().filter(|_| error.kind() == ErrorKind::Transient) else { return Err(error) };
            debug!("{error}; trying again");
            sleep(pause).await;
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk<L>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. However it ends, nobody waits for it afterwards.
struct UnderWay<L: Look> {
    reader: Arc<Reader<L>>,
    call: Call<L::Key>,
}

impl<L: Look> UnderWay<L> {
    async fn finish(self) {
        let mut parts = vec![self.call.keys.clone()];
        let mut paid = true;
        while let Some(mut keys) = parts.pop() {
            match self.reader.look(&keys, std::mem::take(&mut paid)).await {
                Ok((began, seen)) => {
                    let mut desk = self.reader.desk();
                    for (key, seen) in seen {
                        desk.ledger.answer(self.call.number, &key, &Ok((began, seen)));
                    }
                }
                // One thing that AWS will not show fails the call for all of them. Halves find it in few calls.
                Err(error) if keys.len() > 1 && is_its_own_fault(&error) => {
                    parts.push(keys.split_off(keys.len() / 2));
                    parts.push(keys);
                }
                Err(error) => {
                    let mut desk = self.reader.desk();
                    for key in keys {
                        let error = error.clone().about(key.to_string());
                        desk.ledger.answer(self.call.number, &key, &Err(error));
                    }
                }
            }
        }
    }
}

impl<L: Look> Drop for UnderWay<L> {
    fn drop(&mut self) {
        let mut desk = self.reader.desk();
        desk.ledger.end(&self.call);
        desk.under_way -= 1;
        if desk.under_way == 0 {
            self.reader.idle.notify_one();
        }
    }
}
