//! What was paid for and what was served, by version.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The time of all Pods that there were, and the requests and health checks that they answered.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Of the Pods that are gone.
    paid: BTreeMap<String, Duration>,
    /// Of the Pods that are there, by namespace and name: the version, and since when.
    running: BTreeMap<(String, String), (String, Instant)>,
    answered: BTreeMap<String, u64>,
    checked: BTreeMap<String, u64>,
}

impl Ledger {
    pub(super) fn created(&mut self, namespace: &str, name: &str, version: &str, at: Instant) {
        self.running.insert((namespace.to_owned(), name.to_owned()), (version.to_owned(), at));
    }

    pub(super) fn removed(&mut self, namespace: &str, name: &str, at: Instant) {
        if let Some((version, since)) = self.running.remove(&(namespace.to_owned(), name.to_owned())) {
            *self.paid.entry(version).or_default() += at - since;
        }
    }

    /// A customer's request was answered.
    pub(super) fn answer(&mut self, version: &str) {
        count(&mut self.answered, version);
    }

    /// A health check was answered.
    pub(super) fn check(&mut self, version: &str) {
        count(&mut self.checked, version);
    }

    pub(super) fn pod_time(&self, now: Instant) -> BTreeMap<String, Duration> {
        let mut sums = self.paid.clone();
        for (version, since) in self.running.values() {
            *sums.entry(version.clone()).or_default() += now - *since;
        }
        sums
    }

    pub(super) fn answered(&self) -> BTreeMap<String, u64> {
        self.answered.clone()
    }

    pub(super) fn checked(&self) -> BTreeMap<String, u64> {
        self.checked.clone()
    }
}

fn count(counts: &mut BTreeMap<String, u64>, version: &str) {
    match counts.get_mut(version) {
        Some(count) => *count += 1,
        None => drop(counts.insert(version.to_owned(), 1)),
    }
}
