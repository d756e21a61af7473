//! Whoever sees everything: the writes, and what the rules showed when.

use std::sync::Arc;
use std::time::Duration;

use lab::JournalEntry;
use tokio::time::Instant;

use super::balancer::AGENT;
use super::world::{MAX, World};
use super::{invariants, rival};

/// Looks whenever something has changed.
pub(crate) async fn watch(world: Arc<World>) {
    let (mut changes, mut moved) = (world.changes(), world.balancer.moved());
    loop {
        invariants::look(&world);
        tokio::select! {
            biased;
            () = changes.changed() => {}
            _ = moved.changed() => {}
        }
    }
}

/// Reads the journal of the account as it is written.
pub(crate) async fn read(world: Arc<World>) {
    let mut journal = world.balancer.follow();
    loop {
        let entry = journal.next().await;
        if entry.operation != "ModifyRule" {
            continue;
        }
        world.story.tell(|| line(&entry));
        if entry.accepted() && entry.user_agent.as_deref() == Some(AGENT) {
            invariants::written(&world, &entry);
        } else if entry.accepted() && entry.user_agent.as_deref() == Some(rival::AGENT) {
            invariants::undone(&world, &entry);
        }
    }
}

fn line(entry: &JournalEntry) -> String {
    let agent = entry.user_agent.as_deref().unwrap_or_default();
    // The journal's own time stands at its beginning.
    let text = entry.to_string();
    format!("{agent}: {}", text.split_once(" s  ").map_or(text.as_str(), |(_, text)| text))
}

/// The canary's and both groups' weight in each rule.
type Shares = Vec<(u32, u32)>;

/// What the rules showed, Rollout by Rollout, each from a moment until the next.
#[derive(Debug)]
pub(crate) struct Past(Vec<Vec<(Instant, Shares)>>);

impl Past {
    pub(crate) fn new(apps: usize) -> Self {
        Self(vec![Vec::new(); apps])
    }

    /// Looks at the rules as they are now.
    pub(crate) fn look(&mut self, world: &World) {
        let shown = world.balancer.shown(&world.rules);
        let objects = world.open();
        for (app, past) in objects.apps.iter().zip(&mut self.0) {
            let of = |groups: &[(String, u16)], wanted: &str| {
                groups.iter().find(|(group, _)| group == wanted).map_or(0, |(_, weight)| u32::from(*weight))
            };
            let shares: Shares = shown
                .iter()
                .map(|rule| {
                    let (stable, canary) = (of(&rule.groups, &app.stable), of(&rule.groups, &app.canary));
                    (canary, stable + canary)
                })
                .collect();
            if past.last().is_none_or(|(_, last)| *last != shares) {
                past.push((Instant::now(), shares));
            }
        }
    }

    /// Every rule shows this weight of the canary now.
    pub(crate) fn shows(&self, app: usize, weight: u32) -> bool {
        self.0[app].last().is_some_and(|(_, shares)| is(shares, weight))
    }

    /// At some moment since then, every rule showed this weight of the canary at once.
    pub(crate) fn showed(&self, app: usize, weight: u32, since: Instant) -> bool {
        let past = &self.0[app];
        let ends = past.iter().skip(1).map(|(from, _)| *from).chain([Instant::now() + Duration::from_secs(1)]);
        past.iter().zip(ends).any(|((_, shares), until)| until >= since && is(shares, weight))
    }

    /// As it is now, for people.
    pub(crate) fn text(&self, app: usize) -> String {
        format!("{:?}", self.0[app].last().map(|(_, shares)| shares.as_slice()).unwrap_or_default())
    }
}

/// The weight, as near as whole numbers come to it.
fn is(shares: &[(u32, u32)], weight: u32) -> bool {
    shares.iter().all(|(canary, both)| {
        (canary * MAX).abs_diff(weight * both) * 2 <= MAX && *both > 0 && (weight > 0 || *canary == 0)
    })
}
