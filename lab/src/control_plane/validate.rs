//! What AWS checks before it accepts a change, and the defaults that it fills in.
//!
//! Each function takes what a request says and gives back what is kept, which is also what is described later. Where AWS's
//! documents say that something is refused but not with which code, `ValidationError` is used.

mod actions;
mod conditions;
mod names;
mod transforms;

pub(crate) use actions::{actions, suits, target_groups};
pub(crate) use conditions::conditions;
pub(crate) use names::{name, priority, tags, within};
pub(crate) use transforms::transforms;
