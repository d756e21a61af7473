//! What a ReplicaSet needs next, decided from its Pods alone.

use std::cmp::Reverse;

use tokio::time::Instant;

/// A Pod, as far as its ReplicaSet cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) name: String,
    /// In the order of creation.
    pub(super) number: u64,
    /// Since when it is ready, if it is.
    pub(super) ready_since: Option<Instant>,
    /// It has been deleted and is on its way out.
    pub(super) terminating: bool,
}

/// What to do, and what the status says. The counts are of what was there before anything is done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) create: usize,
    pub(super) delete: Vec<String>,
    pub(super) replicas: usize,
    pub(super) ready: usize,
}

/// Compares the Pods of one ReplicaSet with the number that it wants.
///
/// Pods on their way out count for nothing, so they are replaced at once. Of those too many, the ones that are not ready go
/// first, then those that became ready last, then the newest (Kubernetes, `ActivePodsWithRanks` in pkg/controller).
pub(super) fn plan(wanted: usize, replicas: &[Replica]) -> Plan {
    let mut active: Vec<&Replica> = replicas.iter().filter(|replica| !replica.terminating).collect();
    active.sort_by_key(|replica| (replica.ready_since.is_some(), Reverse((replica.ready_since, replica.number))));
    let surplus = active.len().saturating_sub(wanted);
    Plan {
        create: wanted.saturating_sub(active.len()),
        delete: active.iter().take(surplus).map(|replica| replica.name.clone()).collect(),
        replicas: active.len(),
        ready: active.iter().filter(|replica| replica.ready_since.is_some()).count(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn replicas(start: Instant, states: &[(Option<u64>, bool)]) -> Vec<Replica> {
        let replica = |(number, (ready, terminating)): (u64, &(Option<u64>, bool))| Replica {
            name: format!("web-{number}"),
            number,
            ready_since: ready.map(|second| start + Duration::from_secs(second)),
            terminating: *terminating,
        };
        (0..).zip(states).map(replica).collect()
    }

    #[test]
    fn those_that_are_not_ready_go_first_and_then_the_newest() {
        let pods = replicas(
            Instant::now(),
            &[(Some(1), false), (Some(3), false), (None, false), (Some(3), false), (None, false)],
        );
        let order = |wanted| plan(wanted, &pods).delete;
        assert_eq!(order(4), ["web-4"]);
        assert_eq!(order(2), ["web-4", "web-2", "web-3"]);
        assert_eq!(order(0), ["web-4", "web-2", "web-3", "web-1", "web-0"]);
    }

    #[test]
    fn a_pod_on_its_way_out_is_replaced_and_not_counted() {
        let pods = replicas(Instant::now(), &[(Some(1), true), (Some(1), false)]);
        assert_eq!(plan(2, &pods), Plan { create: 1, delete: vec![], replicas: 1, ready: 1 });
    }

    proptest! {
        #[test]
        fn a_plan_ends_at_the_wanted_number(
            wanted in 0usize..20,
            states in prop::collection::vec((prop::option::of(0u64..5), any::<bool>()), 0..20),
        ) {
            let pods = replicas(Instant::now(), &states);
            let plan = plan(wanted, &pods);
            prop_assert_eq!(plan.replicas + plan.create - plan.delete.len(), wanted);
            prop_assert!(plan.create == 0 || plan.delete.is_empty());
            let deleted: BTreeSet<&String> = plan.delete.iter().collect();
            prop_assert_eq!(deleted.len(), plan.delete.len());
            let (gone, kept): (Vec<_>, Vec<_>) =
                pods.iter().filter(|pod| !pod.terminating).partition(|pod| deleted.contains(&pod.name));
            // Nobody who is ready goes while somebody who is not stays.
            prop_assert!(!(gone.iter().any(|pod| pod.ready_since.is_some()) && kept.iter().any(|pod| pod.ready_since.is_none())));
        }
    }
}
