//! Requests: what the customers saw, what the nodes counted and what the pods answered are the same.

use std::collections::BTreeMap;

use lab::demo::load::{Outcome as Seen, Traffic};
use lab::{Count, TrafficOutcome as Ended};

use crate::world::World;

/// After these a pod may have answered, but the customer did not get the answer.
const LOST_ON_THE_WAY: [Ended; 5] =
    [Ended::ClosedEarly, Ended::BrokenOff, Ended::Drained, Ended::AnswerTimeout, Ended::ClientGone];

/// Compares, and tells the numbers. The last of the `addresses` that customers know is one where nobody listens.
pub(crate) fn compare(world: &World, seen: &Traffic, addresses: usize) -> String {
    let nodes = world.traffic();
    let rows = || nodes.nodes.iter().flat_map(|node| &node.counts);
    let seen_as = |outcome: Seen| seen.outcomes.get(&outcome).copied().unwrap_or_default();
    let ended_as = |outcome: Ended| nodes.ended(|count| count.outcome == outcome);

    // Requests that reached nobody are known to the customers alone: one in each round over all addresses.
    let refused = seen_as(Seen::Refused);
    assert_eq!(refused, seen.requests / u64::try_from(addresses).expect("a few"), "{:?}", seen.outcomes);
    assert_eq!(nodes.received(), seen.requests - refused, "all others were received");
    for node in &nodes.nodes {
        let ended: u64 = node.counts.iter().map(|count| count.requests).sum();
        assert_eq!((node.received, node.in_flight), (ended, 0), "{}", node.node);
    }

    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    let whole = |count: &&Count| !matches!(count.outcome, Ended::BrokenOff | Ended::ClientGone);
    for count in rows().filter(whole) {
        *statuses.entry(count.status.expect("whoever stayed got a status")).or_default() += count.requests;
    }
    let answered = |(outcome, requests): (&Seen, &u64)| match outcome {
        Seen::Status(status) => Some((*status, *requests)),
        _ => None,
    };
    assert_eq!(statuses, seen.outcomes.iter().filter_map(answered).collect(), "as nodes and customers have them");
    assert_eq!(
        seen_as(Seen::Closed),
        ended_as(Ended::BrokenOff),
        "an answer that broke off is a connection that closed"
    );
    assert_eq!((seen_as(Seen::TimedOut), ended_as(Ended::ClientGone)), (0, 0), "every customer waited");

    let (by_customers, by_pods) = (&seen.versions, world.workload.answered());
    let passed_on = ended_as(Ended::Forwarded);
    assert_eq!(by_customers.values().sum::<u64>(), passed_on, "what nodes passed on is what customers got");
    let lost: u64 = LOST_ON_THE_WAY.into_iter().map(ended_as).sum();
    let mut unseen = 0;
    for (version, got) in by_customers {
        let answered = by_pods.get(version).copied().unwrap_or_default();
        unseen += answered.checked_sub(*got).expect("no customer got an answer that no pod gave");
    }
    assert!(unseen <= lost, "pods gave {unseen} answers that nobody got, and only {lost} were lost on the way");
    assert!(by_pods.keys().all(|version| by_customers.contains_key(version)), "{by_customers:?} {by_pods:?}");

    let mut ends: BTreeMap<Ended, u64> = BTreeMap::new();
    for count in rows() {
        *ends.entry(count.outcome).or_default() += count.requests;
    }
    format!(
        "customers: {} requests, {:?}\nnodes: {} received, {ends:?}\n\
         pods: {by_pods:?} answered, {unseen} of these lost on the way; {:?} health checks",
        seen.requests,
        seen.outcomes,
        nodes.received(),
        world.workload.checked(),
    )
}
