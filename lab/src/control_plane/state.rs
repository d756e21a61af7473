//! The one place where calls take effect: the account, its journal and the faults, changed together.

use std::sync::Arc;

use crate::control_plane::error::ApiError;
use crate::control_plane::faults::{Faults, Injected};
use crate::control_plane::journal::{self, Caller, Journal};
use crate::control_plane::model::Account;
use crate::control_plane::operations::{self, Handler, Written};
use crate::control_plane::query::Request;

/// Everything that a lab remembers. It is a plain state machine; whoever holds it brings the time.
#[derive(Debug)]
pub(crate) struct State {
    /// A write makes another one, so those who hold it keep what they saw.
    pub(crate) account: Arc<Account>,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
}

impl State {
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self { account, journal: Journal::default(), faults: Faults::default() }
    }

    /// Carries out a request, unless a fault refuses it. The answer is the result element.
    pub(crate) fn call(
        &mut self,
        handler: Handler,
        request: &Request,
        injected: &Injected,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        let operation = request.action.as_str();
        let subject = operations::subject(&request.parameters);
        match (handler, &injected.error) {
            (Handler::Read(_), Some(error)) => {
                self.journal.count(operation, caller, true);
                Err(error.clone())
            }
            (Handler::Read(read), None) => {
                let account = injected.stale.as_ref().unwrap_or(&self.account);
                let result = read(operation, &request.parameters, account);
                self.journal.count(operation, caller, result.is_err());
                result
            }
            (Handler::Write(_), Some(error)) => {
                self.journal.count(operation, caller, true);
                self.journal.refused(operation, subject, caller, error, true);
                Err(error.clone())
            }
            (Handler::Write(write), None) => {
                self.write(operation, subject, caller, |account| write(operation, &request.parameters, account))
            }
        }
    }

    /// Changes the account by `change`, or leaves it as it is, and writes down which of the two happened.
    pub(crate) fn write<T>(
        &mut self,
        operation: &str,
        subject: Option<&str>,
        caller: &Caller,
        change: impl FnOnce(&mut Account) -> Result<Written<T>, ApiError>,
    ) -> Result<T, ApiError> {
        let mut after = Account::clone(&self.account);
        after.now = caller.at;
        let result = change(&mut after);
        self.journal.count(operation, caller, result.is_err());
        match result {
            Ok(Written { output, touched }) => {
                let changes = journal::changes(&self.account, &after, &touched);
                self.journal.accepted(operation, subject, caller, changes);
                self.account = Arc::new(after);
                Ok(output)
            }
            Err(error) => {
                self.journal.refused(operation, subject, caller, &error, false);
                Err(error)
            }
        }
    }
}
