//! What must hold when a rule has been written, by us or by somebody else.

use lab::{JournalEntry, Weights};

use super::super::world::{MAX, Objects, Pod, World, name};
use super::{Invariant, LOOK_STANDS, UNAWARE, short, violated};

/// A write of the plugin took effect.
pub(crate) fn written(world: &World, entry: &JournalEntry) {
    for change in &entry.changes {
        let (Some(before), Some(after)) = (&change.weights_before, &change.weights_after) else { continue };
        let objects = world.open();
        let mut harms = Vec::new();
        for app in 0..objects.apps.len() {
            let owner = &objects.apps[app];
            let (stable, canary) =
                (share(before, &owner.stable, &owner.canary), share(after, &owner.stable, &owner.canary));
            let rises = match (canary.0 * stable.1).cmp(&(stable.0 * canary.1)) {
                std::cmp::Ordering::Equal => continue,
                std::cmp::Ordering::Less => "stable",
                std::cmp::Ordering::Greater => "canary",
            };
            harms.extend(hands_on(world, &objects, app).map(|text| (Invariant::HandsOff, text)));
            harms.extend(closed(world, &objects, app, rises).map(|text| (Invariant::Gate, text)));
        }
        let ours: Vec<[&str; 2]> = objects.apps.iter().map(|app| [app.stable.as_str(), app.canary.as_str()]).collect();
        harms.extend(touched(before, after, &ours).map(|text| (Invariant::Untouched, text)));
        drop(objects);
        for (invariant, text) in harms {
            violated(world, invariant, text);
        }
    }
}

/// A write of the other writer took effect. What the host recorded as verified, so that pods went, must not be undone by an older one.
pub(crate) fn undone(world: &World, entry: &JournalEntry) {
    for change in &entry.changes {
        let (Some(before), Some(after)) = (&change.weights_before, &change.weights_after) else { continue };
        let objects = world.open();
        let announced = objects.announced_by_group();
        if !objects.is_told {
            continue;
        }
        let harm = objects.apps.iter().enumerate().find_map(|(app, owner)| {
            let of = |weights: &Weights| {
                let (canary, both) = share(weights, &owner.stable, &owner.canary);
                canary as f64 / both as f64
            };
            let (was, is) = (of(before), of(after));
            let recorded = owner.rollout.status.canary.weights.as_ref().filter(|weights| {
                weights.verified == Some(true)
                    && weights.canary.pod_template_hash == owner.rollout.status.current_pod_hash
            })?;
            let was_recorded = (f64::from(recorded.canary.weight) / f64::from(MAX) - was).abs() < 0.01;
            if !was_recorded || (is - was).abs() < 0.01 || (is - of(&announced)).abs() < 0.01 {
                return None;
            }
            let (group, share) = if is > was { (&owner.canary, is) } else { (&owner.stable, 1.0 - is) };
            let (needs, targets) = (share * f64::from(owner.rollout.spec.replicas), world.balancer.healthy(group));
            let stays = |pod: &&Pod| pod.app == app && !pod.leaving && targets.contains(&pod.address);
            let staying = objects.pods.iter().filter(stays).count();
            let text =
                || format!("an older write sends to {} what needs {needs} pods; {staying} are left", short(group));
            (staying == 0).then(text)
        });
        drop(objects);
        if let Some(harm) = harm {
            violated(world, Invariant::LetGo, harm);
        }
    }
}

/// The canary's weight, and that of both.
fn share(weights: &Weights, stable: &str, canary: &str) -> (u64, u64) {
    let weight = |group: &str| weights.get(group).copied().map_or(0, u64::from);
    (weight(canary), weight(stable) + weight(canary))
}

/// Whether a write changed more than the division within one Rollout: its parts, each Rollout and each foreign group, must be
/// to each other as they were.
fn touched(before: &Weights, after: &Weights, ours: &[[&str; 2]]) -> Option<String> {
    let is_ours = |group: &str| ours.iter().flatten().any(|our| *our == group);
    let parts = |weights: &Weights| -> Vec<u64> {
        let of = |group: &str| weights.get(group).copied().map_or(0, u64::from);
        let of_rollouts = ours.iter().map(|[stable, canary]| of(stable) + of(canary));
        let foreign = weights.iter().filter(|(group, _)| !is_ours(group)).map(|(_, weight)| u64::from(*weight));
        of_rollouts.chain(foreign).collect()
    };
    let (was, is) = (parts(before), parts(after));
    let (sum_was, sum_is): (u64, u64) = (was.iter().sum(), is.iter().sum());
    let same = was.len() == is.len() && was.iter().zip(&is).all(|(was, is)| was * sum_is == is * sum_was);
    let divided = ours.iter().filter(|[stable, canary]| {
        let (was, is) = (share(before, stable, canary), share(after, stable, canary));
        was.0 * is.1 != is.0 * was.1
    });
    (!same || divided.count() > 1).then(|| format!("a write changed other shares too: {before:?} to {after:?}"))
}

/// Why a group's share must not rise now, if so.
fn closed(world: &World, objects: &Objects, app: usize, rises: &str) -> Option<String> {
    let owner = &objects.apps[app];
    let status = &owner.rollout.status;
    let way_back = !owner.rollout.canary().dynamic_stable_scale && status.stable_rs != status.current_pod_hash;
    let group = if rises == "stable" { &owner.stable } else { &owner.canary };
    if (way_back && rises == "stable") || is_open(world, objects, app, rises) {
        return None;
    }
    let opened = world.ledger.lock().unwrap().open.get(group).copied();
    let recently = opened.is_some_and(|open| open.elapsed() < LOOK_STANDS);
    (!recently).then(|| format!("the share of {} rises, but its pods are not healthy in it", short(group)))
}

/// The pods that a Service selects are healthy in its group, or the other group is worse off.
pub(super) fn is_open(world: &World, objects: &Objects, app: usize, role: &str) -> bool {
    let owner = &objects.apps[app];
    let (to, from) = if role == "stable" { (&owner.stable, &owner.canary) } else { (&owner.canary, &owner.stable) };
    let targets = world.balancer.healthy(to);
    let expected = objects.behind(app, role).count();
    let healthy = objects.behind(app, role).filter(|pod| targets.contains(&pod.address)).count();
    let open = if expected == 0 { owner.rollout.spec.replicas == 0 } else { healthy * 100 >= expected * 90 };
    open || world.balancer.healthy(from).len() < healthy
}

/// Whether nobody asked for a write that concerns this Rollout as it is now.
fn hands_on(world: &World, objects: &Objects, app: usize) -> Option<String> {
    let mut ledger = world.ledger.lock().unwrap();
    ledger.notice(objects);
    let known = &ledger.apps[app];
    let long_ago = known.other_since.is_some_and(|since| since.elapsed() > UNAWARE);
    (known.in_flight == 0 && long_ago).then(|| format!("{} has changed since its last call, and is written", name(app)))
}
