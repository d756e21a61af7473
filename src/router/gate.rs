//! Whether a target group may get more traffic than it has: only when the Pods that are meant to serve it are healthy
//! targets in it. Pure.
//!
//! Looked at is inclusion: other targets may be in the group too. "At least one is healthy" would pass right after a
//! host has moved a Service's selector, when the group still holds the old Pods, all of them healthy.

use std::net::IpAddr;

use crate::alb::{Target, TargetGroupArn};
use crate::cluster::{Backends, Pod};

/// The label by which a host tells the Pods of one version from another's (`DefaultRolloutUniqueLabelKey` of Argo
/// Rollouts), in Pods and in the selectors of its Services.
pub(super) const HASH: &str = "rollouts-pod-template-hash";

/// Which gates there are, and how wide they open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gates {
    /// A raise of a group's weight waits for its Pods.
    pub(super) rising: bool,
    /// A promotion keeps the weight on the canary group until the stable group has its Pods.
    pub(super) promotion: bool,
    /// How many of the expected Pods must be healthy, 1 to 100 percent.
    pub(super) min_healthy_percent: u32,
}

/// A target group, held against the Pods behind its Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Side {
    /// The group.
    pub(super) group: TargetGroupArn,
    /// Pods that should serve it.
    pub(super) expected: usize,
    /// How many of them are healthy targets of the group.
    pub(super) healthy: usize,
    /// The version that the Service selects.
    hash: Option<String>,
}

/// What a group's share of the traffic needs, where Pods go as it falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// So many Pods are in proportion to it.
    pub(super) pods: usize,
    /// So many are to stay.
    pub(super) staying: usize,
}

/// Where a promotion's traffic belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promotion {
    /// The stable group is ready for it, or the canary group is no better.
    Stable,
    /// The same version, in the canary group, until the stable group has its Pods.
    Canary,
    /// Neither group has its Pods: all stays where it is.
    AsItIs,
}

impl Default for Gates {
    fn default() -> Self {
        Self { rising: true, promotion: true, min_healthy_percent: 90 }
    }
}

impl Gates {
    /// No gate is in use, so nobody needs to look at Pods.
    pub(super) fn are_off(self) -> bool {
        !self.rising && !self.promotion
    }

    /// Enough of the expected Pods are healthy targets. `none_wished`: the Rollout is scaled to zero, so that no Pod can
    /// be waited for.
    pub(super) fn is_open(self, side: &Side, none_wished: bool) -> bool {
        if side.expected == 0 {
            return none_wished;
        }
        side.healthy * 100 >= side.expected * usize::try_from(self.min_healthy_percent).unwrap_or(100)
    }

    /// Traffic may move from one group to the other. No gate holds it where fewer healthy Pods are than would wait for it.
    /// Targets that the Service does not select any more do not count: they are deregistered within moments, however
    /// healthy they are.
    pub(super) fn may_rise(self, to: &Side, from: &Side, none_wished: bool) -> bool {
        !self.rising || self.is_open(to, none_wished) || from.healthy < to.healthy
    }

    /// The group has enough healthy Pods for its share. As with [`Gates::may_rise`], traffic is not held where fewer are.
    pub(super) fn may_carry(self, to: &Side, from: &Side, share: Share) -> bool {
        let percent = usize::try_from(self.min_healthy_percent).unwrap_or(100);
        let healthy = to.healthy.min(share.staying);
        !self.rising || healthy * 100 >= share.pods * percent || from.healthy < healthy
    }

    /// The group can carry all traffic of a Rollout with so many Pods.
    pub(super) fn may_take_over(self, side: &Side, replicas: usize) -> bool {
        let percent = usize::try_from(self.min_healthy_percent).unwrap_or(100);
        !self.promotion || side.healthy * 100 >= replicas * percent
    }

    /// After a promotion without ping-pong the same version stands behind both Services, but its Pods are not in the
    /// stable group yet (argo-rollouts#4433): the host moves the stable Service's selector and asks for weight 0 in one
    /// reconcile.
    pub(super) fn promotion(self, stable: &Side, canary: &Side, stable_hash: &str, none_wished: bool) -> Promotion {
        let same_version = canary.hash.as_deref() == Some(stable_hash);
        if !self.promotion || self.is_open(stable, none_wished) || !same_version || canary.healthy < stable.healthy {
            Promotion::Stable
        } else if self.is_open(canary, false) {
            Promotion::Canary
        } else {
            Promotion::AsItIs
        }
    }
}

impl Side {
    /// Holds the targets of a group against the Pods of its Service.
    pub(super) fn of(backends: &Backends, group: &TargetGroupArn, targets: &[Target]) -> Self {
        let healthy = if targets.iter().any(is_instance) {
            // Instances say nothing of single Pods. Old Pods behind the Service would be reached through any of them.
            let one_version = backends.pods.windows(2).all(|pods| match pods {
                [one, other] => one.labels.get(HASH) == other.labels.get(HASH),
                _ => true,
            });
            if one_version && targets.iter().any(|target| target.healthy) { backends.pods.len() } else { 0 }
        } else {
            let serves = |pod: &&Pod| targets.iter().any(|target| target.healthy && is_target(pod, target));
            backends.pods.iter().filter(serves).count()
        };
        let hash = backends.selector.get(HASH).cloned();
        Self { group: group.clone(), expected: backends.pods.len(), healthy, hash }
    }
}

fn is_instance(target: &Target) -> bool {
    target.id.parse::<IpAddr>().is_err()
}

fn is_target(pod: &Pod, target: &Target) -> bool {
    let address = target.id.parse::<IpAddr>();
    address.is_ok_and(|address| pod.addresses.contains(&address))
        && target.port.is_none_or(|port| pod.ports.contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATES: Gates = Gates { rising: true, promotion: true, min_healthy_percent: 90 };

    fn pod(number: u8, hash: &str) -> Pod {
        Pod {
            name: format!("web-{number}"),
            labels: [(HASH.to_owned(), hash.to_owned())].into(),
            addresses: vec![IpAddr::from([10, 0, 0, number])],
            ports: vec![8080],
        }
    }

    fn backends(hash: &str, pods: impl IntoIterator<Item = u8>) -> Backends {
        let selector = [(HASH.to_owned(), hash.to_owned())].into();
        Backends { selector, pods: pods.into_iter().map(|number| pod(number, hash)).collect() }
    }

    fn targets(numbers: impl IntoIterator<Item = u8>, healthy: bool) -> Vec<Target> {
        let target = |number| Target { id: format!("10.0.0.{number}"), port: Some(8080), healthy };
        numbers.into_iter().map(target).collect()
    }

    fn held(backends: &Backends, targets: &[Target]) -> Side {
        let group = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/web/1".parse().unwrap();
        Side::of(backends, &group, targets)
    }

    fn side(hash: &str, pods: std::ops::Range<u8>, healthy: std::ops::Range<u8>) -> Side {
        held(&backends(hash, pods), &targets(healthy, true))
    }

    #[test]
    fn a_gate_opens_when_enough_of_the_expected_pods_are_healthy_targets() {
        for (pods, healthy, open) in [
            (10, 0..10, true),
            (10, 0..9, true),
            (10, 0..8, false),
            (1, 0..1, true),
            (1, 0..0, false),
            // Old Pods, all healthy, are not the expected ones.
            (10, 100..110, false),
        ] {
            assert_eq!(GATES.is_open(&side("a", 0..pods, healthy.clone()), false), open, "{pods} {healthy:?}");
        }
        let unhealthy = held(&backends("a", 0..4), &targets(0..4, false));
        assert!(!GATES.is_open(&unhealthy, false));
    }

    #[test]
    fn nobody_expected_is_closed_unless_nobody_is_wished() {
        let nobody = side("a", 0..0, 100..110);
        assert!(!GATES.is_open(&nobody, false));
        assert!(GATES.is_open(&nobody, true));
    }

    #[test]
    fn another_port_of_the_same_pod_is_another_target() {
        let mut elsewhere = targets(0..2, true);
        for target in &mut elsewhere {
            target.port = Some(9090);
        }
        assert_eq!(held(&backends("a", 0..2), &elsewhere).healthy, 0);
    }

    #[test]
    fn instances_stand_for_all_pods_of_one_version() {
        let node = Target { id: "i-0123456789abcdef0".to_owned(), port: Some(30080), healthy: true };
        assert_eq!(held(&backends("a", 0..3), std::slice::from_ref(&node)).healthy, 3);
        let mut mixed = backends("a", 0..2);
        mixed.pods.push(pod(7, "b"));
        assert_eq!(held(&mixed, std::slice::from_ref(&node)).healthy, 0);
        assert_eq!(held(&backends("a", 0..3), &[Target { healthy: false, ..node }]).healthy, 0);
    }

    #[test]
    fn no_gate_holds_traffic_on_the_group_that_is_worse_off() {
        let half_ready = side("b", 0..10, 0..5);
        assert!(!GATES.may_rise(&half_ready, &side("a", 20..30, 20..30), false));
        assert!(!GATES.may_rise(&half_ready, &side("a", 20..25, 20..25), false));
        assert!(GATES.may_rise(&half_ready, &side("a", 20..30, 20..24), false));
        // The Service has moved on, so its old targets, healthy as they are, are about to go.
        assert!(GATES.may_rise(&half_ready, &side("c", 40..50, 20..30), false));
        assert!(Gates { rising: false, ..GATES }.may_rise(&side("b", 0..10, 0..0), &half_ready, false));
    }

    #[test]
    fn a_promotion_keeps_traffic_where_the_version_has_its_pods() {
        let ready = side("new", 0..10, 0..10);
        let not_yet = side("new", 0..10, 0..3);
        let old_pods_only = side("new", 0..10, 100..110);
        for (stable, canary, place) in [
            (&ready, &ready, Promotion::Stable),
            (&not_yet, &ready, Promotion::Canary),
            (&old_pods_only, &ready, Promotion::Canary),
            (&not_yet, &not_yet, Promotion::AsItIs),
            // The canary group is worse off, or is about another version by now.
            (&not_yet, &side("new", 0..10, 0..2), Promotion::Stable),
            (&not_yet, &side("newest", 0..10, 0..10), Promotion::Stable),
        ] {
            assert_eq!(GATES.promotion(stable, canary, "new", false), place, "{stable:?} {canary:?}");
        }
        assert_eq!(Gates { promotion: false, ..GATES }.promotion(&not_yet, &ready, "new", false), Promotion::Stable);
    }
}
