//! One node of the load balancer: it routes requests by its own view of the account and its own checks of the targets.
//!
//! Pure: no sockets, and every call is told the time, which must not go back. What needs a socket is handed out as
//! [`Duties`]. A node serves every load balancer of the account. That makes no difference, because no target group belongs
//! to two of them. Round robin is the only way in which it chooses targets; stickiness to targets, slow start, zones and
//! thresholds of group health are not modelled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use crate::control_plane::model::Account;
use crate::control_plane::model::shapes::FixedResponseConfig;
use crate::control_plane::model::targets::{NodeHealth, Target};
use crate::data_plane::conditions::RequestHead;
use crate::data_plane::config::DataPlaneConfig;
use crate::data_plane::health::{Checks, Failure, Probe};
use crate::data_plane::redirect;
use crate::data_plane::rewrite::Rewritten;
use crate::data_plane::stickiness::{self, Cookie};
use crate::data_plane::table::{Action, Forward, Group, Listener, Member, Rule, Table};
use crate::data_plane::view::View;

#[cfg(test)]
mod tests;

/// A node, between its sockets.
#[derive(Debug)]
pub(crate) struct Node {
    view: View,
    table: Arc<Table>,
    choices: Rng,
    health_check_interval: Option<Duration>,
    registration_delay: Duration,
    /// Target groups that are in use.
    groups: BTreeMap<Arc<str>, Serving>,
    /// Deregistered members that may have requests in flight, each with the time at which these are cut.
    draining: BTreeMap<Member, SystemTime>,
    reports: Vec<(Member, NodeHealth)>,
    cuts: Vec<Member>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It goes to a target.
    Forward(Forwarding),
    /// The rule answers it.
    Fixed(FixedResponseConfig),
    /// The rule sends the client elsewhere; 301 or 302.
    Redirect { status: u16, location: String },
    /// 503: all weights are zero.
    NoWeight,
    /// 503: the group that was chosen has no target that may get requests. Another group does not step in.
    NoTargets(Arc<str>),
    /// 500: a transform matched, but led to nothing that could be sent.
    RewriteFailed,
    /// 503: this node does not know the listener (yet, or any more).
    NoListener,
}

/// A request on its way to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forwarding {
    pub(crate) member: Member,
    /// Given to a client that is to stay with the group.
    pub(crate) cookie: Option<Cookie>,
    pub(crate) rewritten: Rewritten,
    /// `http` or `https`, as the client is told to have used.
    pub(crate) scheme: &'static str,
    /// The listener's port in the account, which is not that of the socket.
    pub(crate) port: u16,
}

/// What a node has to do outside of itself.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    /// To be carried out; [`Node::probed`] wants to hear of each.
    pub(crate) probes: Vec<Probe>,
    /// News for the control plane.
    pub(crate) reports: Vec<(Member, NodeHealth)>,
    /// The deregistration delay is over: requests in flight to these are cut off (502).
    pub(crate) cuts: Vec<Member>,
}

/// The targets of a group in use.
#[derive(Debug, Default)]
struct Serving {
    checks: BTreeMap<Target, Checks>,
    /// Counts the requests of the round robin.
    turn: usize,
}

/// A group of a rule that forwards: its ARN, its weight, and the targets that a request would be sent to.
pub(crate) type Way = (Arc<str>, u16, Vec<Target>);

impl Node {
    /// Begins with an account that it knows from the start. The seed decides over lags and choices.
    pub(crate) fn new(seed: u64, config: &DataPlaneConfig, now: SystemTime, account: Arc<Account>) -> Self {
        let mut choices = Rng::with_seed(seed);
        let mut node = Self {
            // A stream of its own: how many requests there were does not change the lags.
            view: View::new(config.lag.clone(), choices.fork(), Arc::clone(&account)),
            table: Arc::default(),
            choices,
            health_check_interval: config.health_check_interval,
            registration_delay: config.registration_delay,
            groups: BTreeMap::new(),
            draining: BTreeMap::new(),
            reports: Vec::new(),
            cuts: Vec::new(),
        };
        node.apply(now, &account);
        node
    }

    /// Announces the account after a change. The node follows after its lag.
    pub(crate) fn announce(&mut self, now: SystemTime, account: Arc<Account>) {
        self.view.announce(now, account);
    }

    /// Decides where a request goes.
    pub(crate) fn route(&mut self, now: SystemTime, head: &RequestHead<'_>) -> Decision {
        self.follow(now);
        let table = Arc::clone(&self.table);
        let Some(listener) = table.listeners.get(head.listener_arn) else { return Decision::NoListener };
        let Some(rule) = listener.rule(head) else { return Decision::NoListener };
        match &rule.action {
            Action::Fixed(config) => Decision::Fixed(config.clone()),
            Action::Redirect(config) => Decision::Redirect {
                status: redirect::status(config),
                location: redirect::location(config, head, listener.scheme(), listener.port),
            },
            Action::Forward(forward) => self.forward(now, head, listener, rule, forward),
        }
    }

    /// The targets that a request to the group may still go to: none is an answer of 503, and `None` means that no request
    /// can be sent to the group at all. Requests already in flight are not meant.
    pub(crate) fn may_send_to(&mut self, now: SystemTime, group_arn: &str) -> Option<Vec<Target>> {
        self.follow(now);
        self.table
            .leads_to(group_arn)
            .then(|| self.groups.get(group_arn).map(|group| group.routable().cloned().collect()).unwrap_or_default())
    }

    /// Where requests may go now: for each rule that forwards, its groups with their weights and the targets that they would
    /// choose from.
    pub(crate) fn forwards(&mut self, now: SystemTime) -> Vec<Vec<Way>> {
        self.follow(now);
        let targets = |arn: &Arc<str>| self.groups.get(arn).map(|group| group.routable().cloned().collect());
        let forward = |forward: &Forward| {
            let groups = forward.groups.iter();
            groups.map(|(arn, weight)| (Arc::clone(arn), *weight, targets(arn).unwrap_or_default())).collect()
        };
        self.table.forwards().map(forward).collect()
    }

    /// What has to be done now. Nothing is handed out twice.
    pub(crate) fn duties(&mut self, now: SystemTime) -> Duties {
        self.follow(now);
        let mut cuts = std::mem::take(&mut self.cuts);
        cuts.extend(self.draining.extract_if(.., |_, ends| *ends <= now).map(|(member, _)| member));
        Duties { probes: self.begin_checks(now), reports: std::mem::take(&mut self.reports), cuts }
    }

    /// When there will be something to do that is not known yet; `None` if only a change or a probe can bring it.
    pub(crate) fn due(&self) -> Option<SystemTime> {
        let checks = self.groups.values().flat_map(|group| group.checks.values()).filter_map(Checks::due);
        checks.chain(self.draining.values().copied()).chain(self.view.due()).min()
    }

    /// Takes in how a probe went. [`Node::duties`] may have a report after it.
    pub(crate) fn probed(&mut self, probe: &Probe, result: Result<(), Failure>) {
        let Member { group_arn, target } = &probe.member;
        let Some(group) = self.table.groups.get(group_arn) else { return };
        let checks = self.groups.get_mut(group_arn).and_then(|serving| serving.checks.get_mut(target));
        // The target may be gone by now, or be another one in its place.
        let Some(checks) = checks.filter(|checks| checks.registered == probe.registered) else { return };
        if let Some(health) = checks.end(result, &group.settings) {
            self.reports.push((probe.member.clone(), health));
        }
    }

    /// The account in the form in which this node routes by it now.
    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    fn forward(
        &mut self,
        now: SystemTime,
        head: &RequestHead<'_>,
        listener: &Listener,
        rule: &Rule,
        forward: &Forward,
    ) -> Decision {
        let arns = forward.groups.iter().map(|(arn, _)| &**arn);
        let stuck = forward.sticks.and_then(|_| stickiness::named(head.headers, now, arns));
        let stuck = stuck.and_then(|named| forward.groups.iter().find(|(arn, _)| **arn == *named));
        let Some((group_arn, _)) = stuck.or_else(|| choose(&mut self.choices, &forward.groups)) else {
            return Decision::NoWeight;
        };
        let target = self.groups.get_mut(group_arn).and_then(Serving::next_target);
        let Some(target) = target else { return Decision::NoTargets(Arc::clone(group_arn)) };
        let Ok(rewritten) = rule.rewrites.apply(head) else { return Decision::RewriteFailed };
        let sticks = if stuck.is_some() { None } else { forward.sticks };
        Decision::Forward(Forwarding {
            cookie: sticks.map(|lasts| Cookie::new(group_arn, now, lasts)),
            member: Member { group_arn: Arc::clone(group_arn), target },
            rewritten,
            scheme: listener.scheme(),
            port: listener.port,
        })
    }

    fn follow(&mut self, now: SystemTime) {
        if let Some((since, account)) = self.view.follow(now) {
            self.apply(since, &account);
        }
    }

    fn apply(&mut self, since: SystemTime, account: &Account) {
        let before = std::mem::replace(&mut self.table, Arc::new(Table::of(account)));
        self.drain(&before);
        let Self { table, groups, reports, .. } = self;
        groups.retain(|arn, _| table.groups.get(arn).is_some_and(|group| group.in_use));
        for (group_arn, group) in table.groups.iter().filter(|(_, group)| group.in_use) {
            let checks = &mut groups.entry(Arc::clone(group_arn)).or_default().checks;
            checks.retain(|target, checks| group.registered.get(target) == Some(&checks.registered));
            for (target, registered) in &group.registered {
                if !checks.contains_key(target) {
                    checks.insert(target.clone(), Checks::new(*registered, since + self.registration_delay));
                    let member = Member { group_arn: Arc::clone(group_arn), target: target.clone() };
                    reports.push((member, NodeHealth::Initial));
                }
            }
        }
    }

    /// Finds out which members are to be drained, and whose requests are to be cut at once because the account has forgotten them.
    fn drain(&mut self, before: &Table) {
        let registered = before.groups.iter().flat_map(|(group_arn, group)| {
            group.registered.keys().map(|target| Member { group_arn: Arc::clone(group_arn), target: target.clone() })
        });
        let members: Vec<Member> = registered.chain(self.draining.keys().cloned()).collect();
        self.draining.clear();
        for member in members {
            let group: Option<&Group> = self.table.groups.get(&member.group_arn);
            if group.is_some_and(|group| group.registered.contains_key(&member.target)) {
                continue;
            }
            match group.and_then(|group| group.draining.get(&member.target)) {
                Some(ends) => drop(self.draining.insert(member, *ends)),
                None => self.cuts.push(member),
            }
        }
    }

    fn begin_checks(&mut self, now: SystemTime) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (group_arn, serving) in &mut self.groups {
            let Some(group) = self.table.groups.get(group_arn) else { continue };
            let settings = &group.settings;
            let interval = Duration::from_secs(settings.health_check_interval_seconds.into());
            let interval = self.health_check_interval.unwrap_or(interval);
            for (target, checks) in &mut serving.checks {
                if checks.due().is_some_and(|due| due <= now) {
                    checks.begin(now, interval);
                    let member = Member { group_arn: Arc::clone(group_arn), target: target.clone() };
                    probes.push(Probe::new(member, checks.registered, settings));
                }
            }
        }
        probes
    }
}

impl Serving {
    /// The targets in the order of the round robin: the healthy ones, or all unhealthy ones if none is healthy (the group fails
    /// open: "Health checks for target groups"). Not those still `initial`: AWS says of them that a target must pass the
    /// initial checks before it can get requests (knowledge center, "fix failing health checks"), so a group that has no
    /// others has none.
    fn routable(&self) -> impl Iterator<Item = &Target> {
        let any_healthy = self.checks.values().any(|checks| checks.health == NodeHealth::Healthy);
        self.checks.iter().filter_map(move |(target, checks)| match checks.health {
            NodeHealth::Healthy => Some(target),
            NodeHealth::Unhealthy(..) if !any_healthy => Some(target),
            NodeHealth::Unhealthy(..) | NodeHealth::Initial => None,
        })
    }

    fn next_target(&mut self) -> Option<Target> {
        let turn = self.turn.checked_rem(self.routable().count())?;
        let target = self.routable().nth(turn).cloned();
        self.turn = self.turn.wrapping_add(1);
        target
    }
}

/// A group with a probability in exact proportion to its weight; never one of weight 0, and `None` if all are.
fn choose<'a>(choices: &mut Rng, groups: &'a [(Arc<str>, u16)]) -> Option<&'a (Arc<str>, u16)> {
    let total: u32 = groups.iter().map(|(_, weight)| u32::from(*weight)).sum();
    if total == 0 {
        return None;
    }
    let mut rest = choices.u32(..total);
    groups.iter().find(|(_, weight)| match rest.checked_sub((*weight).into()) {
        Some(beyond) => {
            rest = beyond;
            false
        }
        None => true,
    })
}
