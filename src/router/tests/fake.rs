//! A load balancer and a cluster in memory: rules, targets, Pods, a list of the calls, and what goes wrong next.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::alb::{
    Error, ErrorKind, HeaderCondition, LoadBalancer, NewRule, Observation, Role, Rule, RuleArn, Tags, Target,
    TargetGroupArn, Turn, Urgency, WeightedGroup,
};
use crate::cluster::{
    self, Action, Announcement, Backends, Binding, Cluster, Event, Forward, Ingress, Maker, Pod, Port, Route, Service,
    ServicePort,
};
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
    announced: Vec<(String, Announcement)>,
    /// The Ingress shows already what is announced.
    shows_announcements: bool,
    bindings: Vec<Binding>,
    ingresses: Vec<Ingress>,
    tags: HashMap<String, Tags>,
    /// Rules that look at headers, with their priorities.
    routes: HashMap<String, (u32, Vec<HeaderCondition>)>,
    notes: Vec<(String, String)>,
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
        let weights = |(_, said): &(String, Announcement)| said.weights.iter().map(|(_, weight)| *weight).collect();
        self.state().announced.iter().map(weights).collect()
    }

    /// What was announced to which Ingress.
    pub(super) fn announcements(&self) -> Vec<(String, Announcement)> {
        self.state().announced.clone()
    }

    /// From now on the Ingress shows whatever is announced already.
    pub(super) fn shows_announcements(&self) {
        self.state().shows_announcements = true;
    }

    /// What was noted on the Rollout.
    pub(super) fn notes(&self) -> Vec<(String, String)> {
        self.state().notes.clone()
    }

    /// The Service's Pods are registered in the group, port 80, since this one made the binding.
    pub(super) fn bind(&self, place: &str, group_name: &str, maker: Maker) {
        self.bind_port(place, "80", group_name, maker);
    }

    pub(super) fn bind_port(&self, place: &str, port: &str, group_name: &str, maker: Maker) {
        let (namespace, service) = place.split_once('/').unwrap();
        self.state().bindings.push(Binding {
            namespace: namespace.to_owned(),
            name: format!("{group_name}-binding"),
            service: service.to_owned(),
            port: ServicePort(port.to_owned()),
            group: group(group_name).as_str().to_owned(),
            maker,
        });
    }

    /// The Ingress has one action; without Services there is only a backend that refers to it.
    pub(super) fn route_through(&self, ingress: &str, action: &str, services: &[(&str, u32)]) {
        let forward = |(service, weight): &(&str, u32)| Forward {
            service: (*service).to_owned(),
            port: ServicePort("80".to_owned()),
            weight: Some(*weight),
        };
        let forwards = (!services.is_empty()).then(|| services.iter().map(forward).collect());
        let mut state = self.state();
        state.ingresses.retain(|known| known.name != ingress);
        let actions = vec![Action { name: action.to_owned(), forwards, headers: Vec::new() }];
        state.ingresses.push(Ingress { name: ingress.to_owned(), actions });
    }

    /// A managed route is written in the Ingress, and leads to this Service.
    pub(super) fn write_route(&self, ingress: &str, name: &str, service: &str, header: &str) {
        let forward = Forward { service: service.to_owned(), port: ServicePort("80".to_owned()), weight: None };
        let condition = cluster::HeaderCondition {
            header: header.to_owned(),
            values: vec!["1".to_owned()],
            regex_values: Vec::new(),
        };
        let mut state = self.state();
        let found = state.ingresses.iter_mut().find(|known| known.name == ingress).unwrap();
        let (name, forwards) = (name.to_owned(), Some(vec![forward]));
        found.actions.push(Action { name, forwards, headers: vec![condition] });
    }

    /// Somebody makes a rule of this priority that looks at a header.
    pub(super) fn set_route(&self, rule: &str, priority: u32, headers: &[HeaderCondition], weights: Weights<'_>) {
        self.set(rule, weights);
        self.state().routes.insert(rule.to_owned(), (priority, headers.to_vec()));
    }

    /// The names of all rules.
    pub(super) fn rules(&self) -> Vec<String> {
        self.state().rules.keys().cloned().collect()
    }

    pub(super) fn tag(&self, arn: &str, key: &str, value: &str) {
        self.state().tags.entry(arn.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
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
        let rule = |(name, groups): (&String, &Vec<WeightedGroup>)| {
            let (priority, headers) = state.routes.get(name).cloned().unwrap_or((10, Vec::new()));
            Rule::forwarding(arn(name), groups).with_priority(priority).with_headers(&headers)
        };
        Ok(Observation { began, rules: state.rules.iter().map(rule).collect() })
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

    async fn tags(&self, arns: &[String]) -> Result<Vec<Tags>, Error> {
        self.begin("tags").await?;
        let state = self.state();
        Ok(arns.iter().map(|arn| state.tags.get(arn).cloned().unwrap_or_default()).collect())
    }

    async fn add_rule(&self, rule: &NewRule) -> Result<RuleArn, Error> {
        let name = format!("route-{}", rule.priority);
        self.begin(&format!("add {name}")).await?;
        let mut state = self.state();
        state.change(name.clone(), vec![WeightedGroup { group: rule.group.clone(), weight: 1 }]);
        state.routes.insert(name.clone(), (rule.priority, rule.headers.clone()));
        state.tags.insert(arn(&name).as_str().to_owned(), rule.tags.clone());
        Ok(arn(&name))
    }

    async fn remove_rule(&self, rule: &RuleArn) -> Result<(), Error> {
        let name = name(rule);
        self.begin(&format!("remove {name}")).await?;
        self.state().rules.remove(&name);
        Ok(())
    }

    fn assuming(self: Arc<Self>, _: &Role) -> Arc<dyn LoadBalancer> {
        self
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

    async fn announce(&self, _: &str, ingress: &str, announcement: &Announcement) -> Result<bool, cluster::Error> {
        self.begin("announce").await.map_err(|_| cluster::Error::fake(cluster::ErrorKind::Transient, "web"))?;
        let mut state = self.state();
        let last = state.announced.iter().rfind(|(to, _)| to == ingress);
        let is_news = !state.shows_announcements && last.is_none_or(|(_, said)| said != announcement);
        state.announced.push((ingress.to_owned(), announcement.clone()));
        Ok(is_news)
    }

    async fn service(&self, _: &str, name: &str) -> Result<Service, cluster::Error> {
        let state = self.state();
        let missing = || cluster::Error::fake(cluster::ErrorKind::Missing, name);
        let (hash, _) = state.services.get(name).ok_or_else(missing)?;
        let labels = [("app".to_owned(), "web".to_owned()), ("rollouts-pod-template-hash".to_owned(), hash.clone())];
        Ok(Service {
            selector: labels.into(),
            ports: vec![Port { name: Some("http".to_owned()), number: 80, target: "8080".to_owned() }],
        })
    }

    async fn bindings(&self, namespace: Option<&str>) -> Result<Vec<Binding>, cluster::Error> {
        let state = self.state();
        let is_there = |binding: &&Binding| namespace.is_none_or(|namespace| binding.namespace == namespace);
        Ok(state.bindings.iter().filter(is_there).cloned().collect())
    }

    async fn ingresses(&self, _: &str, _: &str) -> Result<Vec<Ingress>, cluster::Error> {
        Ok(self.state().ingresses.clone())
    }

    async fn add_route(
        &self,
        _: &str,
        ingress: &str,
        _: &str,
        _: &[String; 2],
        route: &Route,
    ) -> Result<(), cluster::Error> {
        let mut state = self.state();
        state.calls.push(format!("add route {}", route.name));
        let found = state.ingresses.iter_mut().find(|known| known.name == ingress).unwrap();
        if found.actions.iter().all(|action| action.name != route.name) {
            let forward = Forward { service: route.service.clone(), port: ServicePort("80".to_owned()), weight: None };
            let headers = route.conditions.clone();
            found.actions.push(Action { name: route.name.clone(), forwards: Some(vec![forward]), headers });
        }
        Ok(())
    }

    async fn remove_routes(&self, _: &str, ingress: &str, _: &str, names: &[String]) -> Result<(), cluster::Error> {
        let call = format!("remove routes {}", names.join(", "));
        self.begin(&call).await.map_err(|_| cluster::Error::fake(cluster::ErrorKind::Transient, ingress))?;
        let mut state = self.state();
        let found = state.ingresses.iter_mut().find(|known| known.name == ingress).unwrap();
        found.actions.retain(|action| !names.contains(&action.name));
        Ok(())
    }

    async fn note(&self, _: &Metadata, annotation: &str, value: &str) -> Result<(), cluster::Error> {
        self.state().notes.push((annotation.to_owned(), value.to_owned()));
        Ok(())
    }
}
