//! The rules that a world's traffic goes by, and what they said when.

use std::collections::BTreeMap;

use crate::control_plane::ControlPlane;
use crate::control_plane::journal::{JournalEntry, Weights};
use crate::control_plane::model::Rule;
use crate::control_plane::model::shapes::Action;
use crate::kubernetes::{Cluster, Kind};

use super::objects;

/// The target groups behind the two Services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Groups {
    pub(super) stable: String,
    pub(super) canary: String,
}

/// The rules that forward to both groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) groups: Groups,
    arns: Vec<String>,
}

impl Groups {
    /// By the bindings of the Services, whoever made them.
    pub(super) fn find(cluster: &Cluster) -> Option<Self> {
        let (bindings, _) = cluster.list(Kind::TARGET_GROUP_BINDING, Some(objects::NAMESPACE));
        let group = |service: &str| {
            let of_service = |binding: &serde_json::Value| {
                binding.pointer("/spec/serviceRef/name").and_then(serde_json::Value::as_str) == Some(service)
            };
            let binding = bindings.iter().find(|binding| of_service(binding))?;
            binding.pointer("/spec/targetGroupARN")?.as_str().map(str::to_owned)
        };
        Some(Self { stable: group(objects::STABLE)?, canary: group(objects::CANARY)? })
    }

    /// The canary's part of what both have, in whole per cent.
    fn share(&self, weights: &Weights) -> u16 {
        let weight = |group: &str| weights.get(group).copied().map_or(0, u32::from);
        let (stable, canary) = (weight(&self.stable), weight(&self.canary));
        let share = (canary * 200 + stable + canary) / (2 * (stable + canary)).max(1);
        u16::try_from(share).unwrap_or(u16::MAX)
    }
}

impl Rules {
    pub(super) fn holding(control_plane: &ControlPlane, groups: Groups) -> Self {
        let account = control_plane.account();
        let both = |rule: &&Rule| rule.names(&groups.stable) && rule.names(&groups.canary);
        let arns = account.rules.iter().filter(both).map(|rule| rule.arn.clone()).collect();
        Self { groups, arns }
    }

    /// The canary's share in each rule, in whole per cent.
    pub(super) fn shares(&self, control_plane: &ControlPlane) -> Vec<u16> {
        let account = control_plane.account();
        let rules = self.arns.iter().filter_map(|arn| account.rule(arn).ok());
        rules.map(|rule| self.groups.share(&weights(rule))).collect()
    }

    /// The listener of the first rule.
    pub(super) fn listener(&self, control_plane: &ControlPlane) -> Option<String> {
        let account = control_plane.account();
        account.rule(self.arns.first()?).ok().map(|rule| rule.listener_arn.clone())
    }

    /// When, from `asked_ms` on, every rule had come to this share, in milliseconds of the journal. A rule that passes it on its way
    /// to a larger one, because its writer was behind, has come to it.
    pub(super) fn reached(&self, journal: &[JournalEntry], asked_ms: u64, share: u16) -> Option<u64> {
        let mut now: BTreeMap<&str, u16> = BTreeMap::new();
        let is_there = |now: &BTreeMap<&str, u16>| {
            let there = |seen: &u16| if share == 0 { *seen == 0 } else { *seen >= share };
            now.len() == self.arns.len() && now.values().all(there)
        };
        let changes = journal.iter().filter(|entry| entry.accepted());
        for (ms, change) in changes.flat_map(|entry| entry.changes.iter().map(move |change| (entry.ms, change))) {
            if ms >= asked_ms && is_there(&now) {
                return Some(asked_ms);
            }
            let (true, Some(after)) = (self.arns.contains(&change.arn), &change.weights_after) else { continue };
            now.insert(&change.arn, self.groups.share(after));
            if ms >= asked_ms && is_there(&now) {
                return Some(ms);
            }
        }
        is_there(&now).then_some(asked_ms)
    }
}

fn weights(rule: &Rule) -> Weights {
    let groups = rule.actions.iter().flat_map(Action::target_groups);
    groups.map(|group| (group.target_group_arn.clone(), group.weight.unwrap_or_default())).collect()
}
