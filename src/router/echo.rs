//! The sign in a rule that another writer has followed our announcement, so that no older write of its is still to come. Pure.
//!
//! A load balancer controller reads an Ingress, works for seconds or minutes, and then writes what it read. So weights that were
//! confirmed can be put back by a run that began before they were announced. What we write is the announced division in other
//! numbers, twice as large. The controller compares numbers, not shares, and writes the announced ones over them as soon as a
//! run of it has read them. One group of Ingresses has one worker, so no older run is left then.

use std::time::Duration;

use tokio::time::Instant;

use super::plan::{Refusal, Split, doubled};
use crate::alb::{Rule, RuleArn, WeightedGroup};

/// An announcement, and whether it was followed.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    split: Split,
    announced: Instant,
    heard: bool,
    given_up: bool,
}

impl Echo {
    /// This split was announced now.
    pub(super) fn of(split: &Split) -> Self {
        Self { split: split.clone(), announced: Instant::now(), heard: false, given_up: false }
    }

    /// It is about this split.
    pub(super) fn is_about(&self, split: &Split) -> bool {
        self.split == *split
    }

    /// How long ago it was announced.
    pub(super) fn waited(&self) -> Duration {
        self.announced.elapsed()
    }

    /// Nobody followed in time.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
    }

    /// Nobody has a reason to follow this split.
    pub(super) fn of_nobody(split: &Split) -> Self {
        Self { heard: true, given_up: true, ..Self::of(split) }
    }

    /// Nobody is waited for.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Looks for the announced numbers. True when every rule shows them for the first time.
    pub(super) fn is_heard(&mut self, rules: &[Rule]) -> bool {
        if self.heard || !rules.iter().all(|rule| self.split.is_announced_in(rule)) {
            return false;
        }
        self.heard = true;
        true
    }

    /// It is still to come. Where no other numbers are left to write, the announced ones would prove nothing.
    pub(super) fn is_awaited(&self, rules: &[Rule]) -> bool {
        let room = |rule: &Rule| self.split.announced(&rule.groups()).is_ok_and(|groups| self.split.has_room(&groups));
        !self.heard && !self.given_up && rules.iter().all(room)
    }
}

impl Split {
    /// The rule shows the very numbers that are announced, where others would do as well.
    pub(super) fn is_announced_in(&self, rule: &Rule) -> bool {
        let groups = rule.groups();
        self.announced(&groups).is_ok_and(|announced| announced == groups && self.has_room(&announced))
    }

    /// The rule shows this division in numbers of ours, which nobody has followed yet.
    pub(super) fn awaits_echo_in(&self, rule: &Rule) -> bool {
        let groups = rule.groups();
        self.announced(&groups).is_ok_and(|announced| announced != groups && self.written_beside(announced) == groups)
    }

    /// What to write where `announced` is announced: the same division in other numbers, if there are any.
    pub(super) fn written_beside(&self, announced: Vec<WeightedGroup>) -> Vec<WeightedGroup> {
        if self.has_room(&announced) { doubled(&announced).unwrap_or(announced) } else { announced }
    }

    /// Our groups' numbers to announce for these rules, in the order of the division's parts. None when one announcement cannot
    /// say what all of them need.
    pub(super) fn numbers(&self, rules: &[Rule]) -> Result<Option<Vec<u32>>, (RuleArn, Refusal)> {
        let mut numbers = None;
        for rule in rules {
            let announced = self.announced(&rule.groups()).map_err(|refusal| (rule.arn().clone(), refusal))?;
            let ours = self.ours(&announced);
            if numbers.is_some() && numbers != ours {
                return Ok(None);
            }
            numbers = ours;
        }
        Ok(numbers)
    }

    /// Twice these numbers are within AWS's limits, and can be told from once.
    fn has_room(&self, announced: &[WeightedGroup]) -> bool {
        let sum = self.ours(announced).map(|weights| weights.iter().sum());
        // Beside other groups with weight only a sum that is the maximum can be told from a doubled one.
        (self.is_alone_in(announced) || sum == Some(self.division.max)) && doubled(announced).is_some()
    }
}
