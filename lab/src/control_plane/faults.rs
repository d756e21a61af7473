//! Bad days, switched on from outside: errors, delays, cut connections, stale reads.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::Account;
use crate::control_plane::operations;

/// A fault: which calls it meets, how many of them, and what happens to them.
///
/// As JSON: `{"operation": "ModifyRule", "times": 2, "effect": {"error": {"status": 400, "code": "Throttling", "message": "Rate exceeded"}}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Name of the operation, or `*` for every one.
    pub operation: String,
    /// How many calls it meets before it is over; all of them until the faults are cleared, if left out.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens.
    pub effect: Effect,
}

/// What happens to a call that meets a fault. Several faults may meet one call; the error set first wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// It is answered with an error and does nothing.
    Error {
        /// HTTP status, 400 to 599.
        status: u16,
        /// AWS's error code.
        code: String,
        /// The sentence for people.
        message: String,
    },
    /// It waits before it takes effect.
    DelayBefore {
        /// Milliseconds.
        ms: u64,
    },
    /// It waits after it has taken effect, before it is answered.
    DelayAfter {
        /// Milliseconds.
        ms: u64,
    },
    /// It takes effect, but the connection is closed before any byte of the answer is sent.
    CutAfterEffect,
    /// A read is answered from the state at the moment when the fault was set. Writes pass it by and do not use it up.
    StaleReads,
}

/// A fault that could never do what it says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// No call has this name, so the fault would never meet one.
    #[error("the lab has no operation '{0}'; name one, or '*' for all")]
    UnknownOperation(String),
    /// An answer with this status would not be an error.
    #[error("status {0} is not an error, 400 to 599")]
    NotAnError(u16),
    /// The fault would be over before it began.
    #[error("a fault for 0 calls does nothing")]
    NoCalls,
}

/// All faults that are switched on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// The state that stale reads show.
    frozen: Option<Arc<Account>>,
}

/// What the faults do to one call.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    pub(crate) error: Option<ApiError>,
    pub(crate) delay_before_ms: u64,
    pub(crate) delay_after_ms: u64,
    pub(crate) cut: bool,
    pub(crate) stale: Option<Arc<Account>>,
}

impl Fault {
    /// A fault that meets every call of the operation until it is cleared; `*` stands for every operation.
    pub fn new(operation: &str, effect: Effect) -> Self {
        Self { operation: operation.to_owned(), times: None, effect }
    }

    /// An error answer.
    pub fn error(operation: &str, status: u16, code: &str, message: &str) -> Self {
        Self::new(operation, Effect::Error { status, code: code.to_owned(), message: message.to_owned() })
    }

    /// The answer of a throttled call, as ELBv2 gives it in practice (kubernetes-sigs/aws-load-balancer-controller#1871).
    pub fn throttling(operation: &str) -> Self {
        Self::error(operation, 400, "Throttling", "Rate exceeded")
    }

    /// Refuses what could never do what it says.
    fn check(&self) -> Result<(), InvalidFault> {
        if self.operation != "*" && operations::find(&self.operation).is_none() {
            return Err(InvalidFault::UnknownOperation(self.operation.clone()));
        }
        if self.times == Some(0) {
            return Err(InvalidFault::NoCalls);
        }
        match self.effect {
            Effect::Error { status, .. } if !(400..=599).contains(&status) => Err(InvalidFault::NotAnError(status)),
            _ => Ok(()),
        }
    }

    /// Limits the fault to the next calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }
}

impl Faults {
    /// Switches a fault on. `now` is the state that stale reads will show.
    pub(crate) fn add(&mut self, fault: Fault, now: &Arc<Account>) -> Result<(), InvalidFault> {
        fault.check()?;
        let frozen = (fault.effect == Effect::StaleReads).then(|| Arc::clone(now));
        self.armed.push(Armed { fault, frozen });
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    /// What is still switched on, with the number of calls that are left.
    pub(crate) fn list(&self) -> Vec<Fault> {
        self.armed.iter().map(|armed| armed.fault.clone()).collect()
    }

    /// Collects what meets this call, and counts it.
    pub(crate) fn meet(&mut self, operation: &str, is_read: bool) -> Injected {
        let mut injected = Injected::default();
        for Armed { fault, frozen } in &mut self.armed {
            let matches = fault.operation == "*" || fault.operation == operation;
            if !matches || (fault.effect == Effect::StaleReads && !is_read) {
                continue;
            }
            match &fault.effect {
                Effect::Error { status, code, message } => {
                    injected.error.get_or_insert_with(|| ApiError {
                        status: *status,
                        code: code.clone().into(),
                        message: message.clone(),
                    });
                }
                Effect::DelayBefore { ms } => injected.delay_before_ms += ms,
                Effect::DelayAfter { ms } => injected.delay_after_ms += ms,
                Effect::CutAfterEffect => injected.cut = true,
                Effect::StaleReads => injected.stale.clone_from(frozen),
            }
            if let Some(left) = &mut fault.times {
                *left = left.saturating_sub(1);
            }
        }
        self.armed.retain(|armed| armed.fault.times != Some(0));
        injected
    }
}
