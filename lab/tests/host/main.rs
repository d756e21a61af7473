//! The model of the rollouts controller, held to what the real one did.

mod answers;
mod pods;
mod recorded;
mod router;
mod shop;
