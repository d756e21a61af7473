//! The one place where calls take effect: the account, its journal and its bad days, changed together.

use std::sync::Arc;
use std::time::Duration;

use crate::control_plane::buckets::Buckets;
use crate::control_plane::calls::{Arrived, Work};
use crate::control_plane::error::ApiError;
use crate::control_plane::faults::{Faults, Kind, Met, Refusal};
use crate::control_plane::journal::{self, Caller, Journal};
use crate::control_plane::late::Late;
use crate::control_plane::model::Account;
use crate::control_plane::operations::Written;
use crate::control_plane::tokens::Tokens;

/// Everything that a lab remembers. It is a plain state machine; whoever holds it brings the time.
#[derive(Debug)]
pub(crate) struct State {
    /// With every write that was accepted. A write makes another one, so those who hold it keep what they saw.
    pub(crate) account: Arc<Account>,
    pub(crate) late: Late,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    pub(crate) buckets: Option<Buckets>,
    pub(crate) tokens: Tokens,
}

impl State {
    pub(crate) fn new(account: Arc<Account>, tokens: Tokens) -> Self {
        Self {
            account,
            late: Late::default(),
            journal: Journal::default(),
            faults: Faults::default(),
            buckets: None,
            tokens,
        }
    }

    /// The account as reads and load balancer nodes see it: without the writes that are still late.
    pub(crate) fn shown(&self) -> &Arc<Account> {
        self.late.shown().unwrap_or(&self.account)
    }

    /// What happens to a call that arrives. Who is not let in or is throttled meets no fault.
    pub(crate) fn meet(&mut self, arrived: &Arrived<'_>, kind: Kind, caller: &Caller) -> Met {
        if let Some(error) = self.tokens.expired(arrived.access_key, caller.at) {
            return Met::refused(Refusal { error, injected: false });
        }
        let throttled = self.buckets.as_mut().map(|buckets| buckets.take(arrived.operation, caller.elapsed));
        if let Some(Err(error)) = throttled {
            return Met::refused(Refusal { error, injected: true });
        }
        self.faults.meet(arrived.operation, kind, caller.elapsed)
    }

    /// Carries out a call, unless what it met refuses it.
    pub(crate) fn call<T>(
        &mut self,
        arrived: &Arrived<'_>,
        work: Work<'_, T>,
        met: &Met,
        caller: &Caller,
    ) -> Result<T, ApiError> {
        let Arrived { operation, subject, access_key: _, agent: _ } = *arrived;
        if let Some(Refusal { error, injected }) = &met.refusal {
            self.journal.count(operation, caller, true);
            if let Work::Write(_) = work {
                self.journal.refused(operation, subject, caller, error, *injected);
            }
            return Err(error.clone());
        }
        let result = match work {
            Work::Write(write) => return self.write(operation, subject, caller, met.late, write),
            Work::Read(read) => read(met.stale.as_ref().unwrap_or_else(|| self.shown()), caller.at),
            Work::Tokens(work) => work(&mut self.tokens, caller.at),
        };
        self.journal.count(operation, caller, result.is_err());
        result
    }

    /// Changes the account by `change`, or leaves it as it is, and writes down which of the two happened. What is accepted is
    /// shown after `late`.
    pub(crate) fn write<T>(
        &mut self,
        operation: &str,
        subject: Option<&str>,
        caller: &Caller,
        late: Duration,
        change: impl FnOnce(&mut Account) -> Result<Written<T>, ApiError>,
    ) -> Result<T, ApiError> {
        let mut after = Account::clone(&self.account);
        after.now = caller.at;
        after.forget_gone_targets();
        let result = change(&mut after);
        self.journal.count(operation, caller, result.is_err());
        match result {
            Ok(Written { output, touched }) => {
                let after = Arc::new(after);
                let changes = journal::changes(&self.account, &after, &touched);
                let shown = self.late.accept(&self.account, &after, caller.elapsed, caller.elapsed + late);
                self.journal.accepted(operation, subject, caller, shown, changes);
                self.account = after;
                Ok(output)
            }
            Err(error) => {
                self.journal.refused(operation, subject, caller, &error, false);
                Err(error)
            }
        }
    }

    /// Changes what is not configuration, and so is never late: in every account that is, is shown or is to come.
    pub(crate) fn change_all(&mut self, mut change: impl FnMut(&mut Account)) {
        change(Arc::make_mut(&mut self.account));
        self.late.accounts_mut().for_each(change);
    }
}
