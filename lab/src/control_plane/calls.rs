//! The way of every call, over HTTP or from this process: what bad days do to it before, while and after it takes effect.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::control_plane::ControlPlane;
use crate::control_plane::error::ApiError;
use crate::control_plane::faults::Kind;
use crate::control_plane::model::Account;
use crate::control_plane::operations::{Read, Write, Written};
use crate::control_plane::tokens::Tokens;

/// A call that has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) operation: &'a str,
    /// For the journal: the ARN or name that the call is about.
    pub(crate) subject: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
    /// Whose credentials the call is signed with.
    pub(crate) access_key: Option<&'a str>,
}

/// What a call does once it takes effect.
pub(crate) enum Work<'a, T> {
    Read(Reading<'a, T>),
    Write(Writing<'a, T>),
    Tokens(TokenWork<'a, T>),
}

type Reading<'a, T> = Box<dyn FnOnce(&Account, SystemTime) -> Result<T, ApiError> + Send + 'a>;
type Writing<'a, T> = Box<dyn FnOnce(&mut Account) -> Result<Written<T>, ApiError> + Send + 'a>;
type TokenWork<'a, T> = Box<dyn FnOnce(&mut Tokens, SystemTime) -> Result<T, ApiError> + Send + 'a>;

/// Why a call has no answer that it can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It was refused and changed nothing.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The connection was cut. Whether the call took effect, the caller cannot know.
    #[error("the connection was cut before the answer came; whether the call took effect is not known")]
    Cut,
}

impl ControlPlane {
    /// Carries out a write as if it had come over HTTP: throttled, delayed, refused and cut like any other.
    ///
    /// `agent` is the name of the caller in the journal, `subject` the ARN or name that the call is about.
    pub(crate) async fn call<I: Write>(
        &self,
        agent: &str,
        operation: &str,
        subject: &str,
        input: I,
    ) -> Result<I::Output, NoAnswer> {
        let arrived = Arrived { operation, subject: Some(subject), agent: Some(agent), access_key: None };
        self.perform(arrived, Work::Write(Box::new(|account| input.write(account)))).await
    }

    /// Answers a read as if it had come over HTTP: throttled, delayed, stale, refused and cut like any other.
    pub(crate) async fn read<I: Read>(&self, agent: &str, operation: &str, input: I) -> Result<I::Output, NoAnswer> {
        let arrived = Arrived { operation, subject: None, agent: Some(agent), access_key: None };
        self.perform(arrived, Work::Read(Box::new(|account, now| input.read(account, now)))).await
    }

    /// Faults and buckets are met when the call arrives; the state is held only while the call takes effect, never while it
    /// waits. A call that its caller gives up before that has not taken effect, and is not counted.
    pub(crate) async fn perform<T>(&self, arrived: Arrived<'_>, work: Work<'_, T>) -> Result<T, NoAnswer> {
        let met = self.change(|state, caller| state.meet(&arrived, work.kind(), &caller));
        wait(met.delay_before).await;
        let result = self.change(|state, mut caller| {
            caller.user_agent = arrived.agent.map(str::to_owned);
            caller.assumed_role = state.tokens.assumed_role(arrived.access_key).map(str::to_owned);
            state.call(&arrived, work, &met, &caller)
        });
        if result.is_ok() && !met.late.is_zero() {
            self.show_after(met.late);
        }
        wait(met.delay_after).await;
        if met.cut { Err(NoAnswer::Cut) } else { result.map_err(NoAnswer::Refused) }
    }

    /// Lets those who follow the account know when a late write is shown.
    fn show_after(&self, late: Duration) {
        let control_plane = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            control_plane.change(|_, _| ());
        });
    }
}

impl<T> Work<'_, T> {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(_) => Kind::Read,
            Self::Write(_) => Kind::Write,
            Self::Tokens(_) => Kind::Token,
        }
    }
}

impl<T> fmt::Debug for Work<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests;
