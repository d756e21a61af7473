//! The controller's own tally of its calls: what it asked for, and how that ended. It outlives a stop.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::control_plane::calls::NoAnswer;

/// How a call ended, as its caller saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// It was answered as hoped.
    Answered,
    /// It was refused with this code of AWS's.
    Refused(String),
    /// The connection was cut: whether it took effect, the caller cannot know.
    Cut,
    /// The caller was stopped before the answer came, and cannot know either.
    Abandoned,
}

/// Calls that have ended, by operation and end.
#[derive(Debug, Default)]
pub(super) struct Calls {
    ended: Mutex<BTreeMap<(&'static str, CallEnd), u64>>,
}

/// A call under way. If it is dropped before [`Call::end`], its caller was stopped.
#[derive(Debug)]
pub(super) struct Call<'a> {
    calls: &'a Calls,
    operation: &'static str,
    end: CallEnd,
}

impl Calls {
    pub(super) fn begin(&self, operation: &'static str) -> Call<'_> {
        Call { calls: self, operation, end: CallEnd::Abandoned }
    }

    pub(super) fn ended(&self) -> BTreeMap<(String, CallEnd), u64> {
        let ended = self.open();
        ended.iter().map(|((operation, end), calls)| (((*operation).to_owned(), end.clone()), *calls)).collect()
    }

    /// A panic while it was held would have left it as it was, so it stays usable.
    fn open(&self) -> MutexGuard<'_, BTreeMap<(&'static str, CallEnd), u64>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// The answer, or what came instead of it.
    pub(super) fn end<T>(mut self, answer: &Result<T, NoAnswer>) {
        self.end = match answer {
            Ok(_) => CallEnd::Answered,
            Err(NoAnswer::Refused(error)) => CallEnd::Refused(error.code.to_string()),
            Err(NoAnswer::Cut) => CallEnd::Cut,
        };
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        *self.calls.open().entry((self.operation, self.end.clone())).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::error::ApiError;

    #[test]
    fn each_call_is_counted_once_by_its_end() {
        let calls = Calls::default();
        calls.begin("ModifyRule").end(&Ok(()));
        calls.begin("ModifyRule").end::<()>(&Err(NoAnswer::Refused(ApiError::validation("no"))));
        calls.begin("ModifyRule").end::<()>(&Err(NoAnswer::Cut));
        drop(calls.begin("DescribeRules"));
        let row = |operation: &str, end| ((operation.to_owned(), end), 1);
        let expected = BTreeMap::from([
            row("DescribeRules", CallEnd::Abandoned),
            row("ModifyRule", CallEnd::Answered),
            row("ModifyRule", CallEnd::Cut),
            row("ModifyRule", CallEnd::Refused("ValidationError".to_owned())),
        ]);
        assert_eq!(calls.ended(), expected);
    }
}
