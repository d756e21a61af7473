//! What is tried. To add one: write a function over a [`World`], and name it in [`ALL`].

use std::future::Future;
use std::pin::Pin;

mod host_calls;
mod two_listeners;

use crate::world::World;

/// Tries something, and says what was wrong.
type Run = for<'a> fn(&'a World<'a>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// One scenario. Its namespace is called after it.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// All scenarios. They run side by side.
pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "update_and_back", run: |world| Box::pin(two_listeners::update_and_back(world)) },
    Scenario { name: "abort_in_the_middle", run: |world| Box::pin(two_listeners::abort_in_the_middle(world)) },
    Scenario { name: "abort_after_a_step", run: |world| Box::pin(two_listeners::abort_after_a_step(world)) },
    Scenario { name: "promotion_waits", run: |world| Box::pin(two_listeners::promotion_waits(world)) },
    Scenario { name: "calls_update", run: |world| Box::pin(host_calls::update(world)) },
    Scenario { name: "calls_abort", run: |world| Box::pin(host_calls::abort(world)) },
    Scenario { name: "calls_interrupted", run: |world| Box::pin(host_calls::interrupted(world)) },
    Scenario { name: "calls_back_to_stable", run: |world| Box::pin(host_calls::back_to_stable(world)) },
    Scenario { name: "calls_promoted", run: |world| Box::pin(host_calls::promoted(world)) },
    Scenario { name: "calls_resized", run: |world| Box::pin(host_calls::resized(world)) },
];
