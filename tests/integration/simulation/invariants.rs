//! What must hold after every event, whatever happened. The checks are pure; around each stands what collects the facts for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lab::rollouts_controller::{Phase, Status};
use lab::simulated::Route;
use tokio::time::Instant;
use trafficrouter_alb::rollout::Rollout;

pub(crate) use writes::{undone, written};

use super::plugin::BLOCK_BUDGET;
use super::world::{App, MAX, Objects, World, name, service};

mod writes;

/// A call takes its block budget, and what one operation of AWS may take that is under way then.
const LONGEST_CALL: Duration = BLOCK_BUDGET.saturating_add(Duration::from_secs(30));

/// A gate is looked at every few seconds, and what is written on the strength of a look may be slow.
const LOOK_STANDS: Duration = Duration::from_secs(15);

/// From a change of the Rollout to the last write that did not know of it yet.
const UNAWARE: Duration = Duration::from_secs(10);

/// A node without a target for so long is no accident of two changes that pass each other.
const EMPTY_FOR: Duration = Duration::from_millis(1_500);

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// A weight is confirmed only if every rule showed it.
    Confirmed,
    /// A write changes nobody else's share.
    Untouched,
    /// No group's share rises while its pods are not healthy in it.
    Gate,
    /// No pod is let go that a node's requests need.
    LetGo,
    /// No node sends requests to a group that has no pod to answer them.
    Served,
    /// The weights end at the last wish.
    LastWish,
    /// No call takes longer than it may.
    Budget,
    /// Every update ends.
    Ends,
    /// Nothing is written for a Rollout that has changed since its last call.
    HandsOff,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) text: String,
}

/// What the checks remember.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    apps: [Known; 2],
    /// Groups whose Service was moved while they had weight: no router is asked before that.
    moved: BTreeSet<String>,
    /// When a group's gate was last open.
    open: BTreeMap<String, Instant>,
    /// Since when a node sends requests for a rule to a group without targets.
    empty: BTreeMap<(usize, usize, String), Instant>,
}

/// What is remembered of one Rollout.
#[derive(Debug, Default)]
struct Known {
    /// The last wish.
    wish: Option<u32>,
    /// This reconcile has asked for a weight.
    has_asked: bool,
    in_flight: usize,
    /// What the last call was about, and since when the Rollout is something else.
    fingerprint: Fingerprint,
    other_since: Option<Instant>,
}

/// A call of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) app: usize,
    /// As the host read it.
    pub(crate) rollout: &'a Rollout,
    pub(crate) weight: u32,
    pub(crate) began: Instant,
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct InFlight {
    world: Arc<World>,
    app: usize,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.world.ledger.lock().unwrap().apps[self.app].in_flight -= 1;
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.invariant, self.text)
    }
}

impl Call<'_> {
    /// The weights that the host recorded are these, and were verified.
    fn is_recorded(&self) -> bool {
        let weights = self.rollout.status.canary.weights.as_ref();
        weights.is_some_and(|weights| weights.verified == Some(true) && self.is(weights.canary.weight))
    }

    fn is(&self, weight: i32) -> bool {
        u32::try_from(weight) == Ok(self.weight)
    }

    /// A success lets pods go, or the update end.
    fn lets_go(&self) -> bool {
        let (status, canary) = (&self.rollout.status, self.rollout.canary_routing().map(|(canary, _)| canary));
        let recorded = status.canary.weights.as_ref().map_or(0, |weights| weights.canary.weight);
        let lowered = i32::try_from(self.weight).is_ok_and(|weight| weight < recorded);
        let dynamic = canary.is_some_and(|canary| canary.dynamic_stable_scale);
        status.stable_rs != status.current_pod_hash && (dynamic || status.abort || lowered || self.weight == MAX)
    }
}

/// A call begins. It ends when the answer is dropped.
pub(crate) fn calling(world: &Arc<World>, app: usize, rollout: &Rollout) -> InFlight {
    let mut ledger = world.ledger.lock().unwrap();
    let known = &mut ledger.apps[app];
    known.in_flight += 1;
    known.fingerprint = Fingerprint::of(rollout);
    known.other_since = None;
    InFlight { world: Arc::clone(world), app }
}

/// The host asks for a weight.
pub(crate) fn asked(world: &World, call: &Call<'_>) {
    let known = &mut world.ledger.lock().unwrap().apps[call.app];
    known.wish = Some(call.weight);
    known.has_asked = true;
}

/// A reconcile begins.
pub(crate) fn reconciles(world: &World, app: usize) {
    world.ledger.lock().unwrap().apps[app].has_asked = false;
}

/// SetWeight was answered.
pub(crate) fn answered(world: &World, call: &Call<'_>, done: bool) {
    if call.began.elapsed() > LONGEST_CALL {
        violated(world, Invariant::Budget, format!("SetWeight of {} took {:?}", name(call.app), call.began.elapsed()));
    }
    if done && call.lets_go() && !call.is_recorded() {
        confirmed(world, call, "SetWeight");
    }
}

/// VerifyWeight was answered.
pub(crate) fn verified(world: &World, call: &Call<'_>, yes: bool) {
    if call.began.elapsed() > LONGEST_CALL {
        violated(
            world,
            Invariant::Budget,
            format!("VerifyWeight of {} took {:?}", name(call.app), call.began.elapsed()),
        );
    }
    // An unchanged weight that was verified may stand for a while without a look.
    if yes && !call.is_recorded() {
        // SetWeight of the same reconcile may have looked for it.
        confirmed(world, &Call { began: call.began - BLOCK_BUDGET, ..*call }, "VerifyWeight");
    }
}

fn confirmed(world: &World, call: &Call<'_>, by: &str) {
    let mut past = world.past.lock().unwrap();
    past.look(world);
    // A host that has more canary pods than replicas wishes for more than all; nobody can have that.
    if !past.showed(call.app, call.weight.min(MAX), call.began) {
        let text = format!(
            "{by} {} of {} succeeded, but no rule showed it since: {}",
            call.weight,
            name(call.app),
            past.text(call.app)
        );
        violated(world, Invariant::Confirmed, text);
    }
}

/// A ReplicaSet is about to be scaled down.
pub(crate) fn let_go(world: &World, app: usize, hash: &str, replicas: u32) {
    let routes = world.routes();
    let objects = world.open();
    let pods = objects.pods.iter().filter(|pod| pod.app == app && !pod.leaving);
    let (going, others): (Vec<_>, Vec<_>) = pods.partition(|pod| pod.hash == hash);
    let mut of_set: Vec<(bool, &str)> = going.iter().map(|pod| (pod.ready, pod.address.as_str())).collect();
    of_set.sort_by_key(|(ready, _)| !*ready);
    let others = others.iter().map(|pod| pod.address.as_str());
    let before: BTreeSet<&str> = of_set.iter().map(|(_, address)| *address).chain(others.clone()).collect();
    let after: BTreeSet<&str> =
        of_set.iter().map(|(_, address)| *address).take(replicas as usize).chain(others).collect();
    let owner = &objects.apps[app];
    let groups = [owner.stable.as_str(), owner.canary.as_str()];
    let all = owner.rollout.spec.replicas;
    let bound = {
        let known = &world.ledger.lock().unwrap().apps[app];
        // Where stable is short of Pods the host skips the router and goes on scaling. Who is not asked can hold nobody.
        if !known.has_asked {
            return;
        }
        known.sized_by_older_weights(owner)
    };
    let harm = routes.iter().flatten().find_map(|rule| needed(rule, groups, bound, all, &before, &after));
    drop(objects);
    if let Some(harm) = harm {
        violated(world, Invariant::LetGo, format!("{hash} is scaled to {replicas} while {harm}"));
    }
}

/// Whether a rule's requests, as a node sends them, need pods that are about to go: each group needs pods in proportion to its
/// share among the Rollout's groups, as far as it has them. `bound`: no more than so many are needed for stable.
fn needed(
    rule: &[Route],
    groups: [&str; 2],
    bound: Option<f64>,
    all: u32,
    before: &BTreeSet<&str>,
    after: &BTreeSet<&str>,
) -> Option<String> {
    let ours = || rule.iter().filter(|route| groups.contains(&route.group.as_str()));
    let total: u32 = ours().map(|route| u32::from(route.weight)).sum();
    ours().filter(|route| route.weight > 0).find_map(|route| {
        let count =
            |pods: &BTreeSet<&str>| route.targets.iter().filter(|target| pods.contains(target.as_str())).count();
        // Weights are whole numbers: half of one more or less is nobody's fault.
        let needs = f64::from(all) * (f64::from(route.weight) - 0.5) / f64::from(total);
        let needs = bound.filter(|_| route.group == groups[0]).map_or(needs, |bound| needs.min(bound));
        let (had, keeps) = (count(before), count(after));
        // Nobody can choose which pods the host lets go, and one may not be a healthy target yet: a part of a pod is let pass.
        let harm = keeps == 0 || (keeps as f64) + 1.0 <= needs.min(had as f64);
        harm.then(|| {
            let Route { group, weight, .. } = route;
            format!(
                "a node sends {weight} of {total} to {}: that needs {needs} pods, it has {had} and keeps {keeps}",
                short(group)
            )
        })
    })
}

/// A Service is about to select another version.
pub(crate) fn selected(world: &World, app: usize, wanted: &str) {
    let group = {
        let objects = world.open();
        let owner = &objects.apps[app];
        if service(app, "stable") == wanted { owner.stable.clone() } else { owner.canary.clone() }
    };
    let has_weight = world.routes().iter().flatten().flatten().any(|route| route.group == group && route.weight > 0);
    if has_weight {
        world.ledger.lock().unwrap().moved.insert(group);
    }
}

impl Known {
    /// A host that has just brought the canary's weight down sizes stable once more by the weights that it recorded before, and no answer
    /// to any call prevents that (`reconcileStableRS` looks at the old status). It is no plugin's fault as long as somebody is left.
    fn sized_by_older_weights(&self, owner: &App) -> Option<f64> {
        let recorded = owner.rollout.status.canary.weights.as_ref()?.canary.weight;
        let lowered = self.wish.is_some_and(|wish| wish < recorded);
        lowered.then(|| {
            (f64::from(owner.rollout.spec.replicas) * f64::from(MAX - recorded.min(MAX)) / f64::from(MAX)).max(1.0)
        })
    }
}

impl Ledger {
    /// Notices since when Rollouts are not what their last call was about.
    fn notice(&mut self, objects: &Objects) {
        for (app, known) in objects.apps.iter().zip(&mut self.apps) {
            if known.fingerprint.is_of(&app.rollout.status) {
                known.other_since = None;
            } else {
                known.other_since.get_or_insert_with(Instant::now);
            }
        }
    }
}

/// Something has changed: what can be seen at any time is looked at.
pub(crate) fn look(world: &World) {
    world.past.lock().unwrap().look(world);
    let routes = world.routes();
    let mut harms = Vec::new();
    {
        let objects = world.open();
        let mut ledger = world.ledger.lock().unwrap();
        ledger.notice(&objects);
        for app in 0..objects.apps.len() {
            for role in ["stable", "canary"] {
                let owner = &objects.apps[app];
                let group = if role == "stable" { &owner.stable } else { &owner.canary };
                let expected: Vec<&str> = objects.behind(app, role).map(|pod| pod.address.as_str()).collect();
                if writes::is_open(world, &objects, app, role) {
                    ledger.open.insert(group.clone(), Instant::now());
                }
                if owner.rollout.spec.replicas > 0 {
                    harms.extend(ledger.served(&routes, group, &expected, &world.up()));
                }
            }
        }
    }
    for harm in harms {
        violated(world, Invariant::Served, harm);
    }
}

impl Ledger {
    /// Whether a node sends requests to this group that nobody can answer.
    fn served(
        &mut self,
        routes: &[Vec<Vec<Route>>],
        group: &str,
        expected: &[&str],
        up: &BTreeSet<String>,
    ) -> Option<String> {
        let (mut harm, mut weighted, mut complete) = (None, false, true);
        for (node, rules) in routes.iter().enumerate() {
            for (rule, routes) in rules.iter().enumerate() {
                let Some(route) = routes.iter().find(|route| route.group == group) else { continue };
                weighted |= route.weight > 0;
                complete &= expected.iter().all(|pod| route.targets.iter().any(|target| target == pod));
                let key = (node, rule, group.to_owned());
                let since = self.empty.get(&key).copied();
                if since.is_some_and(|since| since.elapsed() > EMPTY_FOR) && !self.moved.contains(group) {
                    harm = Some(format!(
                        "node {} sends requests to {}, which has no target: {:?}",
                        node + 1,
                        short(group),
                        route.targets
                    ));
                }
                if route.weight > 0 && !route.targets.iter().any(|target| up.contains(target)) {
                    self.empty.entry(key).or_insert_with(Instant::now);
                } else {
                    self.empty.remove(&key);
                }
            }
        }
        if !weighted || complete {
            self.moved.remove(group);
        }
        harm
    }
}

/// Why a Rollout is not at rest, if it is not: its update has ended, and the rules show its last wish.
pub(crate) fn at_rest(world: &World, app: usize) -> Result<(), Violation> {
    let wish = world.ledger.lock().unwrap().apps[app].wish;
    let mut past = world.past.lock().unwrap();
    past.look(world);
    let objects = world.open();
    let owner = &objects.apps[app];
    let status = &owner.rollout.status;
    let hash = &owner.pod_hash;
    let promoted =
        status.current_pod_hash == *hash && status.stable_rs == *hash && status.phase == Some(Phase::Healthy);
    if !(promoted || status.abort && status.current_pod_hash == *hash) {
        let text = format!("{} does not end: {:?}, {:?} is stable", name(app), status.phase, status.stable_rs);
        return Err(Violation { invariant: Invariant::Ends, text });
    }
    if wish != Some(0) || !past.shows(app, 0) {
        let text = format!("{} ends at {}, the last wish was {wish:?}", name(app), past.text(app));
        return Err(Violation { invariant: Invariant::LastWish, text });
    }
    Ok(())
}

/// What makes another wish of the same weight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fingerprint {
    stable: String,
    current: String,
    abort: bool,
    promote_full: bool,
}

impl Fingerprint {
    fn of(rollout: &Rollout) -> Self {
        let status = &rollout.status;
        let (stable, current) = (status.stable_rs.clone(), status.current_pod_hash.clone());
        Self { stable, current, abort: status.abort, promote_full: status.promote_full }
    }

    fn is_of(&self, status: &Status) -> bool {
        self.stable == status.stable_rs
            && self.current == status.current_pod_hash
            && (self.abort, self.promote_full) == (status.abort, status.promote_full)
    }
}

fn violated(world: &World, invariant: Invariant, text: String) {
    world.violated(Violation { invariant, text });
}

/// A group's name.
fn short(group: &str) -> &str {
    group.split('/').nth(1).unwrap_or(group)
}
