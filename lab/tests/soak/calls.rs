//! Calls: what the callers know of their calls is what the lab's counters and journal say.

use std::collections::BTreeMap;

use lab::load_balancer_controller::{CallEnd, Wrote};
use lab::{JournalEntry, Outcome, Weights};

use crate::world::World;
use crate::writer::Called;

/// What the journal calls the load balancer controller.
const CONTROLLER: &str = "aws-load-balancer-controller";

/// By operation and end.
type Tally = BTreeMap<(String, CallEnd), u64>;

/// Compares, and tells the numbers.
pub(crate) fn compare(world: &World, written: &[Called]) -> String {
    let journal = world.lab.journal();
    let controller = world.load_balancer_controller.calls();
    let mut writer = Tally::new();
    for called in written {
        *writer.entry((called.operation.to_owned(), called.end.clone())).or_default() += 1;
    }
    let (by_controller, by_writer): (Vec<&JournalEntry>, Vec<&JournalEntry>) =
        journal.iter().partition(|entry| entry.user_agent.as_deref() == Some(CONTROLLER));

    is_in_order(&journal, &world.rule);
    counters_agree(world, &journal, &controller, &writer);
    each_shift_is_there_once(&by_writer, written, &world.rule);
    controller_agrees(&by_controller, &controller);
    records_agree(world, &by_controller);
    let behind = reads_show_what_was(&journal, written, &world.rule);

    let accepted = journal.iter().filter(|entry| entry.accepted()).count();
    let calls: u64 = world.lab.counts().values().map(|count| count.calls).sum();
    format!(
        "calls: {calls}, of which {} writes, {accepted} of them accepted; {behind} reads were behind; {} put-backs\n\
         writer: {}\ncontroller: {}",
        journal.len(),
        world.load_balancer_controller.put_backs(),
        lines(&writer),
        lines(&controller),
    )
}

/// No gaps, and each change of the rule begins where the last one ended: none is missing, none is there twice.
fn is_in_order(journal: &[JournalEntry], rule: &str) {
    let mut now: Option<&Weights> = None;
    for (number, entry) in (1..).zip(journal) {
        assert_eq!(entry.sequence, number);
        if let Some(change) = entry.change(rule) {
            assert!(entry.accepted(), "a refused write changes nothing");
            assert_eq!(change.weights_before.as_ref(), now, "before write {number}");
            now = change.weights_after.as_ref();
        }
    }
    assert!(journal.is_sorted_by_key(|entry| entry.ms));
}

/// Calls and refusals by operation. Of a call that was cut only the lab knows whether it was refused, of one that was abandoned
/// only the lab knows whether it was carried out.
fn counters_agree(world: &World, journal: &[JournalEntry], controller: &Tally, writer: &Tally) {
    let counts = world.lab.counts();
    let called = controller.keys().chain(writer.keys()).map(|(operation, _)| operation);
    for operation in called.chain(counts.keys()) {
        let known = |wanted: fn(&CallEnd) -> bool| -> u64 {
            let both = controller.iter().chain(writer);
            both.filter(|((of, end), _)| of == operation && wanted(end)).map(|(_, calls)| calls).sum()
        };
        let (calls, refused) = counts.get(operation).map_or((0, 0), |count| (count.calls, count.refused));
        let ended = known(|end| *end != CallEnd::Abandoned);
        let abandoned = known(|end| *end == CallEnd::Abandoned);
        assert!(
            (ended..=ended + abandoned).contains(&calls),
            "{operation}: {calls} counted, {ended} + {abandoned} made"
        );
        let told = known(|end| matches!(end, CallEnd::Refused(_)));
        let unknown = abandoned + known(|end| *end == CallEnd::Cut);
        assert!((told..=told + unknown).contains(&refused), "{operation}: {refused} refused, {told} + {unknown} told");
        if !operation.starts_with("Describe") {
            let entries = || journal.iter().filter(|entry| entry.operation == *operation);
            let refusals = entries().filter(|entry| !entry.accepted()).count();
            assert_eq!((calls, refused), (number(entries().count()), number(refusals)), "{operation}");
        }
    }
}

/// The writer makes one call at a time, so its journal is its own book, line by line.
fn each_shift_is_there_once(by_writer: &[&JournalEntry], written: &[Called], rule: &str) {
    let shifts: Vec<&Called> = written.iter().filter(|called| called.operation == "ModifyRule").collect();
    assert_eq!(by_writer.len(), shifts.len());
    for (entry, shift) in by_writer.iter().zip(shifts) {
        assert_eq!((entry.operation.as_str(), entry.subject.as_deref()), ("ModifyRule", Some(rule)));
        let after = entry.change(rule).and_then(|change| change.weights_after.as_ref());
        match (&shift.end, &entry.outcome) {
            (CallEnd::Answered | CallEnd::Cut, Outcome::Accepted) => assert_eq!(after, Some(&shift.weights)),
            // Faults add up, so the answer that was cut may have been the error of another one.
            (CallEnd::Cut, Outcome::Refused { injected, .. }) => assert!(injected, "{entry}"),
            (CallEnd::Refused(told), Outcome::Refused { code, .. }) => assert_eq!(told, code),
            (end, outcome) => panic!("the writer saw {end:?}, the journal has {outcome:?} at {}", entry.sequence),
        }
    }
}

/// The controller makes several calls at a time, so its writes are compared by number: the journal has every answer that it was
/// given, and besides as many entries as it had calls without an answer.
fn controller_agrees(by_controller: &[&JournalEntry], controller: &Tally) {
    let mut journal = Tally::new();
    for entry in by_controller {
        let end = match &entry.outcome {
            Outcome::Accepted => CallEnd::Answered,
            Outcome::Refused { code, .. } => CallEnd::Refused(code.clone()),
        };
        *journal.entry((entry.operation.clone(), end)).or_default() += 1;
    }
    let of = |tally: &Tally, key: &(String, CallEnd)| tally.get(key).copied().unwrap_or_default();
    for key @ (operation, end) in controller.keys().filter(|(operation, _)| !operation.starts_with("Describe")) {
        if matches!(end, CallEnd::Answered | CallEnd::Refused(_)) {
            assert!(of(&journal, key) >= of(controller, key), "{operation} {end:?}: an answer without an entry");
        }
        let sum = |tally: &Tally| -> u64 {
            tally.iter().filter(|((of, _), _)| of == operation).map(|(_, calls)| calls).sum()
        };
        let abandoned = of(controller, &(operation.clone(), CallEnd::Abandoned));
        let (entries, made) = (sum(&journal), sum(controller));
        assert!((made - abandoned..=made).contains(&entries), "{operation}: {entries} entries, {made} calls");
    }
    assert!(journal.keys().all(|(operation, _)| controller.keys().any(|(called, _)| called == operation)));
}

/// What the controller's runs say they wrote to the rule is in the journal, in the same order.
fn records_agree(world: &World, by_controller: &[&JournalEntry]) {
    let records = world.load_balancer_controller.records();
    let listeners = records.iter().flat_map(|record| &record.listeners);
    let mut wrote: Vec<&Wrote> = listeners.flat_map(|listener| &listener.wrote).collect();
    wrote.sort_by_key(|wrote| wrote.ms);
    let mut entries = by_controller.iter();
    for wrote in wrote.into_iter().filter(|wrote| wrote.operation == "ModifyRule" && wrote.rule_arn == world.rule) {
        let found = entries.any(|entry| {
            let change = entry.change(&world.rule).filter(|_| entry.operation == wrote.operation);
            change.and_then(|change| change.weights_after.as_ref()) == Some(&wrote.weights)
        });
        assert!(found, "the journal does not have {wrote:?}, or not in this order");
    }
}

/// A read shows weights that the rule has or had. Tells how many of them were older than what it had when the read began.
fn reads_show_what_was(journal: &[JournalEntry], written: &[Called], rule: &str) -> usize {
    let weights = |entry: &JournalEntry| entry.change(rule).and_then(|change| change.weights_after.clone());
    let read = |called: &&Called| called.operation == "DescribeRules" && called.end == CallEnd::Answered;
    let mut behind = 0;
    for read in written.iter().filter(read) {
        let (before, since) = journal.split_at(read.after);
        let shown = |entry: &JournalEntry| weights(entry).as_ref() == Some(&read.weights);
        let newest = before.iter().rev().find(|entry| weights(entry).is_some());
        let is_new = newest.is_some_and(shown) || since.iter().any(shown);
        assert!(is_new || before.iter().any(shown), "the rule never had {:?}", read.weights);
        behind += usize::from(!is_new);
    }
    behind
}

fn lines(tally: &Tally) -> String {
    let line = |((operation, end), calls): (&(String, CallEnd), &u64)| format!("\n  {operation} {end:?}: {calls}");
    tally.iter().map(line).collect()
}

fn number(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
