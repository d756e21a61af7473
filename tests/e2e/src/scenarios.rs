//! What is tried. To add something: a line in the table of [`stories`], or a function over a [`World`] of its own in [`OTHERS`].

use std::future::Future;
use std::pin::Pin;

mod host_calls;
mod stories;
mod two_listeners;

use crate::world::World;
use stories::{STORIES, Story};

/// It runs on the thread of its trial.
type Running<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// One scenario. Its namespace is called after it.
pub(crate) struct Scenario {
    pub(crate) name: String,
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
];

/// All scenarios. They run side by side. Each story is told twice: with stable pods that stay, and with `dynamicStableScale`.
pub(crate) fn all() -> impl Iterator<Item = Scenario> {
    let others = OTHERS.iter().map(|(name, run)| Scenario { name: (*name).to_owned(), what: What::Other(*run) });
    let stories = STORIES.iter().flat_map(|story| {
        [(false, ""), (true, "_dynamic")].map(|(dynamic, suffix)| Scenario {
            name: format!("{}{suffix}", story.name),
            what: What::Story { story, dynamic },
        })
    });
    others.chain(stories)
}

impl Scenario {
    /// Runs it.
    pub(crate) fn run<'a>(&self, world: &'a World<'a>) -> Running<'a> {
        match self.what {
            What::Other(run) => run(world),
            What::Story { story, dynamic } => Box::pin(story.tell(world, dynamic)),
        }
    }
}
