//! What is tried. To add something: a line in one of the tables of [`stories`], [`sources`],
//! [`installs`], [`races`] and [`away`], or a function over a [`World`] of its own in [`OTHERS`].

use std::future::Future;
use std::pin::Pin;

mod away;
mod experiments;
mod host_calls;
mod installs;
mod races;
mod routes;
mod side_by_side;
mod sources;
mod stories;
mod two_listeners;
mod updates;

use crate::world::World;
use away::{AWAY, Away};
use installs::{INSTALLS, Install};
use races::{RACES, Race};
use sources::{SOURCES, Source};
use stories::{STORIES, Story};

/// It runs on the thread of its trial.
type Running<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// One scenario. Its namespace is called after it.
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// Only if it is asked for: it shows something, and proves nothing that others do not.
    pub(crate) on_demand: bool,
    what: What,
}

/// Tries something, and says what was wrong.
type Try = for<'a> fn(&'a World<'a>) -> Running<'a>;

#[derive(Clone, Copy)]
enum What {
    /// Something of its own.
    Other(Try),
    /// Users and customers at the same time.
    Story { story: &'static Story, dynamic: bool },
    /// An update, by where the rules come from.
    Source(&'static Source),
    /// A first install.
    Install(&'static Install),
    /// An update beside another writer.
    Race(&'static Race),
    /// An update without the API server for a while.
    Away(&'static Away),
}

/// Scenarios that are no stories.
const OTHERS: &[(&str, Try)] = &[
    ("update_and_back", |world| Box::pin(two_listeners::update_and_back(world))),
    ("abort_in_the_middle", |world| Box::pin(two_listeners::abort_in_the_middle(world))),
    ("abort_after_a_step", |world| Box::pin(two_listeners::abort_after_a_step(world))),
    ("promotion_waits", |world| Box::pin(two_listeners::promotion_waits(world))),
    ("calls_update", |world| Box::pin(host_calls::update(world))),
    ("calls_abort", |world| Box::pin(host_calls::abort(world))),
    ("calls_interrupted", |world| Box::pin(host_calls::interrupted(world))),
    ("calls_back_to_stable", |world| Box::pin(host_calls::back_to_stable(world))),
    ("calls_promoted", |world| Box::pin(host_calls::promoted(world))),
    ("calls_resized", |world| Box::pin(host_calls::resized(world))),
    ("route_ingress", |world| Box::pin(routes::through_an_ingress(world))),
    ("route_of_our_own", |world| Box::pin(routes::of_our_own(world))),
    ("experiment_ingress", |world| Box::pin(experiments::through_an_ingress(world))),
    ("experiment_gone_at_once", |world| Box::pin(experiments::gone_at_once(world))),
    ("experiment_bindings", |world| Box::pin(experiments::through_a_binding(world))),
    ("race_stopped", |world| Box::pin(races::rival_stopped(world))),
];

/// Scenarios that are played only if they are asked for.
const ON_DEMAND: &[(&str, Try)] = &[("side_by_side", |world| Box::pin(side_by_side::play(world)))];

/// All scenarios. They run side by side. Each story is told twice: with stable pods that stay, and with `dynamicStableScale`.
pub(crate) fn all() -> impl Iterator<Item = Scenario> {
    // The longest come first, so that nobody waits for them alone at the end.
    let races = RACES.iter().map(|race| Scenario::new(race.name, What::Race(race)));
    let others = OTHERS.iter().map(|(name, run)| Scenario::new(*name, What::Other(*run)));
    let sources = SOURCES.iter().map(|source| Scenario::new(source.name, What::Source(source)));
    let installs = INSTALLS.iter().map(|install| Scenario::new(install.name, What::Install(install)));
    let stories = STORIES.iter().flat_map(|story| {
        [(false, ""), (true, "_dynamic")]
            .map(|(dynamic, suffix)| Scenario::new(format!("{}{suffix}", story.name), What::Story { story, dynamic }))
    });
    let on_demand = ON_DEMAND.iter();
    let on_demand =
        on_demand.map(|(name, run)| Scenario { on_demand: true, ..Scenario::new(*name, What::Other(*run)) });
    let away = AWAY.iter().map(|away| Scenario::new(away.name, What::Away(away)));
    races.chain(away).chain(others).chain(stories).chain(sources).chain(installs).chain(on_demand)
}

impl Scenario {
    fn new(name: impl Into<String>, what: What) -> Self {
        Self { name: name.into(), on_demand: false, what }
    }

    /// Runs it.
    pub(crate) fn run<'a>(&self, world: &'a World<'a>) -> Running<'a> {
        match self.what {
            What::Other(run) => run(world),
            What::Story { story, dynamic } => Box::pin(story.tell(world, dynamic)),
            What::Source(source) => Box::pin(source.play(world)),
            What::Install(install) => Box::pin(install.play(world)),
            What::Race(race) => Box::pin(race.play(world)),
            What::Away(away) => Box::pin(away.play(world)),
        }
    }
}
