//! A load balancer and a cluster in memory: rules, targets, Pods, a list of the calls, and what goes wrong next.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::alb::{
    Error, ErrorKind, LoadBalancer, Observation, Rule, RuleArn, Target, TargetGroupArn, Turn, Urgency, WeightedGroup,
};
use crate::cluster::{self, Backends, Cluster, Event, Pod};
use crate::rollout::{Metadata, Rollout};

type Weights<'a> = &'a [(&'a str, u32)];

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Transient,
    Access,
}

#[derive(Debug, Default)]
pub(super) struct Fake {
    state: Mutex<State>,
    /// The Rollout as the cluster has it now.
    pub(super) rollout: watch::Sender<Option<Rollout>>,
}

#[derive(Debug, Default)]
struct State {
    rules: BTreeMap<String, Vec<WeightedGroup>>,
    /// When a rule got which groups, whoever wrote them. The oldest comes first.
    changes: Vec<(Instant, String, Vec<WeightedGroup>)>,
    /// The rules of the largest observation.
    most_at_once: usize,
    /// What observations show instead, and how many more of them.
    stale: Option<(BTreeMap<String, Vec<WeightedGroup>>, usize)>,
    put_back: HashMap<String, Vec<WeightedGroup>>,
    /// Weights that a rule gets before one of the next observations.
    meddle: Option<(usize, String, Vec<WeightedGroup>)>,
    once: HashMap<String, VecDeque<Fault>>,
    always: HashMap<String, Fault>,
    hangs: Option<(String, usize)>,
    calls: Vec<String>,
    /// Healthy targets by group, and the Pods behind each Service with the version that it selects.
    targets: HashMap<String, Vec<u8>>,
    services: HashMap<String, (String, Vec<u8>)>,
    /// How many Pods of a version are to stay, where not all of them are.
    desired: HashMap<String, usize>,
    reason_to_abort: Option<String>,
    events: Vec<&'static str>,
    announced: Vec<Vec<u32>>,
}

pub(super) fn group(name: &str) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{name}/1").parse().unwrap()
}

pub(super) fn arn(rule: &str) -> RuleArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/{rule}").parse().unwrap()
}

fn name(arn: &RuleArn) -> String {
    arn.as_str().rsplit('/').next().unwrap().to_owned()
}

fn weighted(weights: Weights<'_>) -> Vec<WeightedGroup> {
    weights.iter().map(|(name, weight)| WeightedGroup { group: group(name), weight: *weight }).collect()
}

impl Fake {
    pub(super) fn new(rules: &[(&str, Weights<'_>)]) -> Arc<Self> {
        let fake = Self::default();
        for (rule, weights) in rules {
            fake.set(rule, weights);
        }
        Arc::new(fake)
    }

    /// The Service selects this version, whose Pods have these numbers.
    pub(super) fn select(&self, service: &str, hash: &str, pods: impl IntoIterator<Item = u8>) {
        let pods = pods.into_iter().collect();
        self.state().services.insert(service.to_owned(), (hash.to_owned(), pods));
    }

    /// The version is scaled to so many Pods; those beyond do not know it yet.
    pub(super) fn scale(&self, hash: &str, pods: usize) {
        self.state().desired.insert(hash.to_owned(), pods);
    }

    /// The Pods with these numbers, and no others, are healthy targets of the group.
    pub(super) fn register(&self, group: &str, pods: impl IntoIterator<Item = u8>) {
        self.state().targets.insert(group.to_owned(), pods.into_iter().collect());
    }

    /// The next call of this name fails.
    pub(super) fn fail(&self, call: &str, fault: Fault) {
        self.state().once.entry(call.to_owned()).or_default().push_back(fault);
    }

    pub(super) fn fail_always(&self, call: &str, fault: Fault) {
        self.state().always.insert(call.to_owned(), fault);
    }

    /// Calls of this name never end, once so many more have.
    pub(super) fn hang_after(&self, call: &str, calls: usize) {
        self.state().hangs = Some((call.to_owned(), calls));
    }

    pub(super) fn heal(&self) {
        self.state().always.clear();
    }

    /// The next observations show the rules as they are now.
    pub(super) fn be_stale(&self, observations: usize) {
        let mut state = self.state();
        state.stale = Some((state.rules.clone(), observations));
    }

    /// Somebody else puts these weights back right after the next write.
    pub(super) fn put_back_after_write(&self, rule: &str, weights: Weights<'_>) {
        self.state().put_back.insert(rule.to_owned(), weighted(weights));
    }

    /// Somebody else writes.
    pub(super) fn set(&self, rule: &str, weights: Weights<'_>) {
        self.state().change(rule.to_owned(), weighted(weights));
    }

    /// Somebody else writes right before the observation of this number, counted from 1.
    pub(super) fn change_before_observation(&self, number: usize, rule: &str, weights: Weights<'_>) {
        self.state().meddle = Some((number, rule.to_owned(), weighted(weights)));
    }

    pub(super) fn replace(&self, old: &str, new: &str, weights: Weights<'_>) {
        let mut state = self.state();
        state.rules.remove(old).unwrap();
        state.change(new.to_owned(), weighted(weights));
    }

    /// What the host would give the update up for.
    pub(super) fn give_reason_to_abort(&self, reason: &str) {
        self.state().reason_to_abort = Some(reason.to_owned());
    }

    /// The reasons of all Events.
    pub(super) fn events(&self) -> Vec<&'static str> {
        self.state().events.clone()
    }

    /// What was announced, stable first.
    pub(super) fn announced(&self) -> Vec<Vec<u32>> {
        self.state().announced.clone()
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    pub(super) fn forget_calls(&self) {
        self.state().calls.clear();
    }

    pub(super) fn weights(&self, rule: &str) -> Vec<u32> {
        self.state().rules[rule].iter().map(|held| held.weight).collect()
    }

    /// The weights by which a node of the load balancer that learns of each change so late still divides the traffic.
    pub(super) fn weights_at_a_node(&self, rule: &str, lag: Duration) -> Vec<u32> {
        let state = self.state();
        let mut changes = state.changes.iter().filter(|(_, changed, _)| changed == rule);
        let first = changes.next();
        let last = changes.rfind(|(at, ..)| at.elapsed() >= lag).or(first).unwrap();
        last.2.iter().map(|held| held.weight).collect()
    }

    /// How many rules were asked for in one call, at most.
    pub(super) fn most_rules_at_once(&self) -> usize {
        self.state().most_at_once
    }

    /// The weights of stable and canary, rule by rule.
    pub(super) fn shares(&self) -> Vec<(&'static str, u32, u32)> {
        let state = self.state();
        let of = |groups: &[WeightedGroup], wanted: &str| {
            groups.iter().find(|held| held.group == group(wanted)).map_or(0, |held| held.weight)
        };
        let share = |(name, groups): (&String, &Vec<WeightedGroup>)| {
            let name: &'static str =
                ["http", "https", "a", "b", "c", "new"].into_iter().find(|known| known == name).unwrap();
            (name, of(groups, "stable"), of(groups, "canary"))
        };
        state.rules.iter().map(share).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn begin(&self, call: &str) -> Result<(), Error> {
        let hangs = match &mut self.state().hangs {
            Some((name, 0)) if name == call => true,
            Some((name, left)) if name == call => {
                *left -= 1;
                false
            }
            _ => false,
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        let mut state = self.state();
        state.calls.push(call.to_owned());
        let once = state.once.get_mut(call).and_then(VecDeque::pop_front);
        match once.or_else(|| state.always.get(call).copied()) {
            None => Ok(()),
            Some(Fault::Transient) => Err(Error::fake(ErrorKind::Transient, call, "Throttling")),
            Some(Fault::Access) => Err(Error::fake(ErrorKind::Access, call, "AccessDenied")),
        }
    }
}

impl State {
    fn change(&mut self, rule: String, groups: Vec<WeightedGroup>) {
        self.changes.push((Instant::now(), rule.clone(), groups.clone()));
        self.rules.insert(rule, groups);
    }
}

#[async_trait]
impl LoadBalancer for Fake {
    async fn observe(&self, rules: &[RuleArn], _: Instant) -> Result<Observation, Error> {
        let began = Instant::now();
        self.begin("observe").await?;
        let mut state = self.state();
        state.most_at_once = state.most_at_once.max(rules.len());
        if let Some((left, rule, groups)) = state.meddle.take() {
            if left == 1 {
                state.change(rule, groups);
            } else {
                state.meddle = Some((left - 1, rule, groups));
            }
        }
        let shown = match &mut state.stale {
            Some((shown, left)) if *left > 0 => {
                *left -= 1;
                shown.clone()
            }
            _ => state.rules.clone(),
        };
        let rules = rules.iter().map(|arn| match shown.get(&name(arn)) {
            Some(groups) => Ok(Rule::forwarding(arn.clone(), groups)),
            None => Err(Error::fake(ErrorKind::Missing, arn.as_str(), "RuleNotFound")),
        });
        Ok(Observation { began, rules: rules.collect::<Result<_, _>>()? })
    }

    async fn rules_around(&self, _: &TargetGroupArn) -> Result<Observation, Error> {
        let began = Instant::now();
        self.begin("look around").await?;
        let state = self.state();
        let rules = state.rules.iter().map(|(name, groups)| Rule::forwarding(arn(name), groups)).collect();
        Ok(Observation { began, rules })
    }

    async fn turn(&self, _: &RuleArn, _: Urgency) -> Turn {
        Turn::free()
    }

    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], _: Turn) -> Result<(), Error> {
        let name = name(rule.arn());
        self.begin(&format!("write {name}")).await?;
        let mut state = self.state();
        let groups = state.put_back.remove(&name).unwrap_or_else(|| groups.to_vec());
        state.change(name, groups);
        Ok(())
    }

    async fn targets(&self, wanted: &TargetGroupArn, _: Instant) -> Result<Vec<Target>, Error> {
        self.begin("targets").await?;
        let state = self.state();
        let numbers = state.targets.iter().filter(|(name, _)| group(name) == *wanted).flat_map(|(_, numbers)| numbers);
        let target = |number: &u8| Target { id: format!("10.0.0.{number}"), port: Some(8080), healthy: true };
        Ok(numbers.map(target).collect())
    }
}

#[async_trait]
impl Cluster for Fake {
    async fn backends(&self, _: &str, service: &str) -> Result<Backends, cluster::Error> {
        let state = self.state();
        let missing = || cluster::Error::fake(cluster::ErrorKind::Missing, service);
        let (hash, pods) = state.services.get(service).ok_or_else(missing)?;
        let labels: BTreeMap<String, String> = [("rollouts-pod-template-hash".to_owned(), hash.clone())].into();
        let pod = |number: &u8| Pod {
            name: format!("web-{number}"),
            labels: labels.clone(),
            addresses: vec![[10, 0, 0, *number].into()],
            ports: vec![8080],
        };
        Ok(Backends { selector: labels.clone(), pods: pods.iter().map(pod).collect() })
    }

    async fn desired_pods(&self, _: &str, _: &str, hash: &str) -> Result<usize, cluster::Error> {
        let state = self.state();
        let all = state.services.values().find(|(of, _)| of == hash).map_or(0, |(_, pods)| pods.len());
        Ok(state.desired.get(hash).copied().unwrap_or(all))
    }

    async fn rollout(&self, _: &str, name: &str) -> Result<Rollout, cluster::Error> {
        let missing = || cluster::Error::fake(cluster::ErrorKind::Missing, name);
        self.rollout.borrow().clone().ok_or_else(missing)
    }

    async fn next_rollout(&self, _: &str, _: &str, version: &str) -> Result<Rollout, cluster::Error> {
        let mut watched = self.rollout.subscribe();
        let other = |now: &Option<Rollout>| now.as_ref().is_some_and(|now| now.metadata.resource_version != version);
        Ok(watched.wait_for(other).await.unwrap().clone().unwrap())
    }

    async fn reason_to_abort(&self, _: &str, _: &str) -> Result<Option<String>, cluster::Error> {
        Ok(self.state().reason_to_abort.clone())
    }

    async fn abort(&self, _: &str, _: &str, uid: &str) -> Result<(), cluster::Error> {
        self.state().calls.push(format!("abort {uid}"));
        Ok(())
    }

    async fn tell(&self, _: &Metadata, event: &Event) -> Result<(), cluster::Error> {
        self.state().events.push(event.reason);
        Ok(())
    }

    async fn announce(&self, _: &str, _: &str, weights: &[(String, u32)]) -> Result<(), cluster::Error> {
        self.begin("announce").await.map_err(|_| cluster::Error::fake(cluster::ErrorKind::Transient, "web"))?;
        self.state().announced.push(weights.iter().map(|(_, weight)| *weight).collect());
        Ok(())
    }
}
