//! What is tried. To add one: write a function over a [`World`], and name it in [`ALL`].

use std::future::Future;
use std::pin::Pin;

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
];
