//! What the controller did and when: the record of each run.
//!
//! Times are milliseconds from the start of the control plane, as in its journal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::control_plane::ControlPlane;
use crate::control_plane::journal::Weights;
use crate::control_plane::model::shapes::Action;

/// One run of one ingress group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The group: `namespace/name` of its only Ingress, or the name of an explicit group.
    pub group: String,
    /// When the first of the events came that led to this run.
    pub asked_ms: u64,
    /// When the Ingresses were read. Later changes of theirs are not in this run.
    pub read_ms: u64,
    /// The weights that the annotations named then.
    pub announced: Vec<Announced>,
    /// What it found and did, listener by listener.
    pub listeners: Vec<ListenerRecord>,
    /// When it ended; `None` while it is running, and for ever if the controller was stopped meanwhile.
    pub ended_ms: Option<u64>,
    /// Why it failed, if it did. It is tried again.
    pub failure: Option<String>,
}

/// The weights of one action of one Ingress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Announced {
    /// Namespace and name of the Ingress.
    pub ingress: String,
    /// The backend that the action belongs to: `actions.<this>`.
    pub action: String,
    /// By Service, or by what else names the target group.
    pub weights: BTreeMap<String, u16>,
}

/// What a run found and did on one listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListenerRecord {
    /// The listener.
    pub listener_arn: String,
    /// When DescribeRules was answered. What others write later is not seen by this run.
    pub described_ms: u64,
    /// The weights that the rules had then, by rule ARN.
    pub saw: BTreeMap<String, Weights>,
    /// The writes, in their order.
    pub wrote: Vec<Wrote>,
}

/// One write to a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrote {
    /// When it took effect.
    pub ms: u64,
    /// Such as `ModifyRule`.
    pub operation: &'static str,
    /// The rule.
    pub rule_arn: String,
    /// The weights that it has now; empty if the write did not concern them.
    pub weights: Weights,
    /// Whose weights were written over, if any.
    pub over: Over,
}

/// Whose weights a write replaced, by what this run had seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// There were none, they were the same, or the write did not concern them.
    Nothing,
    /// The controller's own.
    Own,
    /// Another writer's that split the traffic alike: the traffic did not change.
    SameSplit,
    /// Another writer's. The controller put its own back.
    Foreign,
}

/// What was done for one TargetGroupBinding, or why it could not be. A run that finds nothing to do leaves no record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BindingRecord {
    /// Namespace and name of the binding.
    pub binding: String,
    /// When it was done.
    pub ms: u64,
    /// The target group; empty if the binding names none that exists.
    pub group_arn: String,
    /// Addresses that were taken out, as `address:port`. That comes first.
    pub deregistered: Vec<String>,
    /// Addresses that were put in.
    pub registered: Vec<String>,
    /// Why it failed, if it did. It is tried again.
    pub failure: Option<String>,
}

/// All records, and the weights that the controller wrote last to each rule. It outlives a stop.
#[derive(Debug)]
pub(super) struct Book {
    control_plane: ControlPlane,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    records: Vec<Record>,
    bindings: Vec<BindingRecord>,
    written: BTreeMap<String, Weights>,
}

/// The record of a run that is going on.
#[derive(Debug)]
pub(super) struct Entry {
    book: Arc<Book>,
    index: usize,
}

impl Book {
    pub(super) fn new(control_plane: ControlPlane) -> Self {
        Self { control_plane, pages: Mutex::default() }
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.pages().records.clone()
    }

    pub(super) fn binding_records(&self) -> Vec<BindingRecord> {
        self.pages().bindings.clone()
    }

    pub(super) fn add_binding(&self, record: BindingRecord) {
        self.pages().bindings.push(record);
    }

    /// Milliseconds from the start of the control plane until now.
    pub(super) fn now_ms(&self) -> u64 {
        let since = self.control_plane.now().duration_since(self.control_plane.started_at()).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Begins the record of a run that reads its Ingresses now.
    pub(super) fn begin(self: &Arc<Self>, group: String, asked_ms: u64) -> Entry {
        let record = Record { group, asked_ms, read_ms: self.now_ms(), ..Record::default() };
        let mut pages = self.pages();
        pages.records.push(record);
        Entry { book: Arc::clone(self), index: pages.records.len() - 1 }
    }

    /// A panic while the pages were held would have left them as they were before, so they stay usable.
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    pub(super) fn announced(&self, announced: Vec<Announced>) {
        self.note(|_, record| record.announced = announced);
    }

    /// DescribeRules of a listener was answered just now.
    pub(super) fn described(&self, listener_arn: &str, saw: BTreeMap<String, Weights>) {
        let (listener_arn, described_ms) = (listener_arn.to_owned(), self.book.now_ms());
        let listener = ListenerRecord { listener_arn, described_ms, saw, wrote: Vec::new() };
        self.note(|_, record| record.listeners.push(listener));
    }

    /// A rule of the listener described last was written just now.
    pub(super) fn wrote(&self, operation: &'static str, rule_arn: &str, actions: &[Action]) {
        let (ms, weights, rule_arn) = (self.book.now_ms(), weights(actions), rule_arn.to_owned());
        self.note(|written, record| {
            let Some(listener) = record.listeners.last_mut() else { return };
            let over = match listener.saw.get(&rule_arn) {
                Some(saw) if !weights.is_empty() => over(saw, &weights, written.get(&rule_arn)),
                _ => Over::Nothing,
            };
            if !weights.is_empty() {
                written.insert(rule_arn.clone(), weights.clone());
            }
            listener.wrote.push(Wrote { ms, operation, rule_arn, weights, over });
        });
    }

    pub(super) fn end(&self, failure: Option<String>) {
        let ended_ms = Some(self.book.now_ms());
        self.note(|_, record| {
            record.ended_ms = ended_ms;
            record.failure = failure;
        });
    }

    fn note(&self, change: impl FnOnce(&mut BTreeMap<String, Weights>, &mut Record)) {
        let Pages { records, written, .. } = &mut *self.book.pages();
        if let Some(record) = records.get_mut(self.index) {
            change(written, record);
        }
    }
}

/// The weights of a forward action among these; empty if there is none.
pub(super) fn weights(actions: &[Action]) -> Weights {
    let groups = actions.iter().flat_map(Action::target_groups);
    groups.map(|group| (group.target_group_arn.clone(), group.weight.unwrap_or(1))).collect()
}

fn over(saw: &Weights, wrote: &Weights, own: Option<&Weights>) -> Over {
    if saw == wrote {
        Over::Nothing
    } else if own == Some(saw) {
        Over::Own
    } else if same_split(saw, wrote) {
        Over::SameSplit
    } else {
        Over::Foreign
    }
}

/// The same share for every group. A group that is not named has none.
fn same_split(one: &Weights, other: &Weights) -> bool {
    let sum = |weights: &Weights| weights.values().copied().map(u64::from).sum::<u64>();
    let weight = |weights: &Weights, group: &String| u64::from(weights.get(group).copied().unwrap_or_default());
    let (of_one, of_other) = (sum(one), sum(other));
    let both_flow = (of_one == 0) == (of_other == 0);
    both_flow
        && one.keys().chain(other.keys()).all(|group| weight(one, group) * of_other == weight(other, group) * of_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(stable: u16, canary: u16) -> Weights {
        Weights::from([("stable".to_owned(), stable), ("canary".to_owned(), canary)])
    }

    #[test]
    fn a_write_over_anothers_weights_is_told_from_the_echo_and_from_its_own() {
        let own = weights(100, 0);
        assert_eq!(over(&own, &own, Some(&own)), Over::Nothing);
        assert_eq!(over(&own, &weights(50, 50), Some(&own)), Over::Own);
        assert_eq!(over(&weights(100, 100), &weights(50, 50), Some(&own)), Over::SameSplit);
        assert_eq!(over(&weights(50, 50), &own, Some(&own)), Over::Foreign);
        assert_eq!(over(&weights(50, 50), &own, None), Over::Foreign);
    }

    #[test]
    fn splits_are_compared_as_shares_of_all_groups() {
        assert!(same_split(&weights(100, 0), &weights(999, 0)));
        assert!(same_split(&weights(90, 10), &weights(180, 20)));
        assert!(same_split(&weights(100, 0), &Weights::from([("stable".to_owned(), 1)])));
        assert!(!same_split(&weights(90, 10), &weights(10, 90)));
        assert!(!same_split(&weights(1, 1), &weights(0, 0)), "nothing gets through at all");
    }
}
