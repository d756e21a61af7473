//! What AWS checks before it accepts a change, and the defaults that it fills in.
//!
//! Each function takes what a request says and gives back what is kept, which is also what is described later. Where AWS's
//! documents say that something is refused but not with which code, `ValidationError` is used.

mod actions;
mod conditions;
mod health_checks;
mod names;
mod placement;
mod targets;
mod transforms;

pub(crate) use actions::{actions, group_stickiness_needed, suits, target_groups};
pub(crate) use conditions::conditions;
pub(crate) use health_checks::HealthChecks;
pub(crate) use names::{name, priority, tags, within};
pub(crate) use placement::{ip_address_type, one_of, zones};
pub(crate) use targets::target_id;
pub(crate) use transforms::transforms;
