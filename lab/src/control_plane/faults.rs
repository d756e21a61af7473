//! Bad days, switched on from outside: errors, delays, cut connections, stale reads, late writes.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::Account;
use crate::control_plane::operations::{self, Handler};
use crate::control_plane::tokens;

/// A fault: which calls it meets, how many of them and for how long, and what happens to them.
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
    /// Milliseconds after which it is over, whatever it has met until then; none if left out.
    #[serde(default)]
    pub for_ms: Option<u64>,
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
    /// The connection is closed before it takes effect. The journal has it as refused, with the code `ConnectionCut`.
    CutBeforeEffect,
    /// It takes effect, but the connection is closed before any byte of the answer is sent.
    CutAfterEffect,
    /// A read is answered from the state at the moment when the fault was set. Writes pass it by and do not use it up.
    StaleReads,
    /// A write is accepted, and its answer shows the new state; reads and load balancer nodes see it later. Writes are shown in the
    /// order in which they were accepted, so one behind a late one is late too. Reads pass it by and do not use it up.
    LateWrites {
        /// Milliseconds.
        ms: u64,
    },
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
    #[error("a fault for 0 calls or 0 milliseconds does nothing")]
    NoCalls,
    /// An operation that does not change anything cannot be late, and one that does cannot be stale.
    #[error("'{0}' can never meet this fault: only reads can be stale, and only writes late")]
    WrongKind(String),
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
    /// When it is over, since the lab's start.
    until: Option<Duration>,
}

/// What a call does with the account, for the faults that concern some calls only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    /// It is for the token service and leaves the account alone.
    Token,
}

/// What a call meets when it arrives.
#[derive(Debug, Default)]
pub(crate) struct Met {
    /// It does nothing.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) delay_before: Duration,
    pub(crate) delay_after: Duration,
    /// It gets no answer.
    pub(crate) cut: bool,
    /// What it reads instead of the account.
    pub(crate) stale: Option<Arc<Account>>,
    /// How much later others see what it writes.
    pub(crate) late: Duration,
}

/// Why a call does nothing.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: ApiError,
    /// Someone switched it on; it is not the answer to the request.
    pub(crate) injected: bool,
}

impl Fault {
    /// A fault that meets every call of the operation until it is cleared; `*` stands for every operation.
    pub fn new(operation: &str, effect: Effect) -> Self {
        Self { operation: operation.to_owned(), times: None, for_ms: None, effect }
    }

    /// An error answer.
    pub fn error(operation: &str, status: u16, code: &str, message: &str) -> Self {
        Self::new(operation, Effect::Error { status, code: code.to_owned(), message: message.to_owned() })
    }

    /// The answer of a throttled call, as ELBv2 gives it in practice (kubernetes-sigs/aws-load-balancer-controller#1871).
    pub fn throttling(operation: &str) -> Self {
        Self::error(operation, 400, "Throttling", "Rate exceeded")
    }

    /// The answer to a call whose credentials have expired.
    pub fn expired_token(operation: &str) -> Self {
        let ApiError { status, code, message } = ApiError::expired_token();
        Self::error(operation, status, &code, &message)
    }

    /// Refuses what could never do what it says.
    fn check(&self) -> Result<(), InvalidFault> {
        let handler = operations::find(&self.operation);
        let is_known = self.operation == "*" || handler.is_some() || tokens::find(&self.operation).is_some();
        if !is_known {
            return Err(InvalidFault::UnknownOperation(self.operation.clone()));
        }
        if self.times == Some(0) || self.for_ms == Some(0) {
            return Err(InvalidFault::NoCalls);
        }
        let never = || Err(InvalidFault::WrongKind(self.operation.clone()));
        match (&self.effect, handler) {
            (Effect::Error { status, .. }, _) if !(400..=599).contains(status) => {
                Err(InvalidFault::NotAnError(*status))
            }
            (Effect::StaleReads, Some(Handler::Write(_))) | (Effect::LateWrites { .. }, Some(Handler::Read(_))) => {
                never()
            }
            (Effect::StaleReads | Effect::LateWrites { .. }, None) if self.operation != "*" => never(),
            _ => Ok(()),
        }
    }

    /// Limits the fault to the next calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Limits the fault to a time from the moment when it is switched on.
    #[must_use]
    pub fn for_ms(self, ms: u64) -> Self {
        Self { for_ms: Some(ms), ..self }
    }
}

impl Faults {
    /// Switches a fault on. `shown` is the state that stale reads will show.
    pub(crate) fn add(&mut self, fault: Fault, shown: &Arc<Account>, now: Duration) -> Result<(), InvalidFault> {
        fault.check()?;
        let frozen = (fault.effect == Effect::StaleReads).then(|| Arc::clone(shown));
        let until = fault.for_ms.map(|ms| now + Duration::from_millis(ms));
        self.armed.push(Armed { fault, frozen, until });
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    /// What is still switched on, with the number of calls that are left.
    pub(crate) fn list(&self, now: Duration) -> Vec<Fault> {
        self.armed.iter().filter(|armed| !armed.is_over(now)).map(|armed| armed.fault.clone()).collect()
    }

    /// Collects what meets this call, and counts it.
    pub(crate) fn meet(&mut self, operation: &str, kind: Kind, now: Duration) -> Met {
        self.armed.retain(|armed| !armed.is_over(now));
        let mut met = Met::default();
        for armed in self.armed.iter_mut().filter(|armed| armed.meets(operation, kind)) {
            armed.add_to(&mut met);
            if let Some(left) = &mut armed.fault.times {
                *left = left.saturating_sub(1);
            }
        }
        self.armed.retain(|armed| !armed.is_over(now));
        met
    }
}

impl Armed {
    fn is_over(&self, now: Duration) -> bool {
        self.fault.times == Some(0) || self.until.is_some_and(|until| now >= until)
    }

    fn meets(&self, operation: &str, kind: Kind) -> bool {
        let concerns = match self.fault.effect {
            Effect::StaleReads => kind == Kind::Read,
            Effect::LateWrites { .. } => kind == Kind::Write,
            _ => true,
        };
        concerns && (self.fault.operation == "*" || self.fault.operation == operation)
    }

    fn add_to(&self, met: &mut Met) {
        match &self.fault.effect {
            Effect::Error { status, code, message } => {
                let error = ApiError { status: *status, code: code.clone().into(), message: message.clone() };
                met.refusal.get_or_insert(Refusal { error, injected: true });
            }
            Effect::DelayBefore { ms } => met.delay_before += Duration::from_millis(*ms),
            Effect::DelayAfter { ms } => met.delay_after += Duration::from_millis(*ms),
            Effect::CutBeforeEffect => {
                let error = ApiError::new("ConnectionCut", "The connection was cut before the call took effect");
                met.refusal.get_or_insert(Refusal { error, injected: true });
                met.cut = true;
            }
            Effect::CutAfterEffect => met.cut = true,
            Effect::StaleReads => met.stale.clone_from(&self.frozen),
            Effect::LateWrites { ms } => met.late += Duration::from_millis(*ms),
        }
    }
}

impl Met {
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }
}
