//! The model of the rollouts controller, held to what the real one did.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "all of this is tests, helpers too")]

mod answers;
mod pods;
mod recorded;
mod router;
mod shop;
