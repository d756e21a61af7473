//! From the weights a rule shows to the weights it shall have. Pure.

use std::fmt;
use std::sync::Arc;

use crate::alb::{MAX_GROUP_WEIGHT, TargetGroupArn, WeightedGroup};

/// How a wish divides the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Division {
    /// The canary's part of `max`.
    pub(super) canary: u32,
    /// The parts of further Services, an experiment's. One that ended has 0.
    pub(super) further: Vec<Further>,
    /// The weight that stands for all traffic, 1 to [`MAX_GROUP_WEIGHT`]. All parts together are no more.
    pub(super) max: u32,
}

/// A further Service's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Further {
    /// The Service.
    pub(super) service: String,
    /// Its part of the maximum.
    pub(super) weight: u32,
}

/// The target groups that share the traffic of one rule or of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Groups {
    /// The stable Service's.
    pub(super) stable: TargetGroupArn,
    /// The canary Service's.
    pub(super) canary: TargetGroupArn,
    /// Those of the division's further Services, in its order. None where there is none of them.
    pub(super) further: Vec<Option<TargetGroupArn>>,
}

/// A division, and the groups between which it divides. Each load balancer and each port of the Services has groups of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) division: Division,
    /// At least one.
    pub(super) groups: Arc<[Groups]>,
}

/// What to do with one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The rule divides the traffic as wished.
    AlreadyTrue,
    /// The rule's forward action shall have these groups and weights.
    Write(Vec<WeightedGroup>),
}

/// Which way a write moves traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    /// A further group gets more.
    Further,
    /// The canary gets more.
    Canary,
    /// Stable gets more.
    Stable,
}

/// Why a rule cannot carry a wish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The rule redirects, answers by itself, or forwards elsewhere.
    #[error(
        "its forward action does not hold the {role} target group {group}; add it with weight 0, or leave the rule out"
    )]
    GroupNotInRule {
        /// Stable or canary.
        role: &'static str,
        /// The group.
        group: TargetGroupArn,
    },
    /// Other groups have all the weight, so that the part of ours is unknown.
    #[error("both target groups have weight 0 beside other groups; give one of them the weight that both shall share")]
    NoShare,
    /// The sum of our groups is too small to divide.
    #[error(
        "the target groups share the weight {sum} beside other groups, which cannot be divided {division}; multiply all weights \
         of the rule"
    )]
    TooSmall {
        /// The weight that ours have together.
        sum: u32,
        /// The wish.
        division: Division,
    },
    /// One group would need more than AWS allows.
    #[error(
        "the target groups share the weight {sum} beside other groups, and one group can have {MAX_GROUP_WEIGHT} at most; \
         divide all weights of the rule"
    )]
    TooLarge {
        /// The weight that ours have together.
        sum: u32,
    },
}

impl Division {
    /// Stable's part of `max`.
    pub(super) fn stable(&self) -> u32 {
        let others: u32 = self.further.iter().map(|further| further.weight).sum();
        self.max.saturating_sub(self.canary).saturating_sub(others)
    }

    /// All parts: stable's, the canary's, and those of the further Services.
    pub(super) fn parts(&self) -> Vec<u32> {
        [self.stable(), self.canary].into_iter().chain(self.further.iter().map(|further| further.weight)).collect()
    }

    /// `weights` are this division in other numbers. Zeros divide nothing.
    fn is_shown_by(&self, weights: &[u32]) -> bool {
        let (of, max) = (sum(weights), u64::from(self.max));
        let same = |(weight, part): (&u32, u32)| u64::from(*weight) * max == u64::from(part) * of;
        of > 0 && weights.iter().zip(self.parts()).all(same)
    }

    /// Divides `sum` as wished, to the nearest whole weights. A group that shall have traffic gets some, a group that
    /// shall have none gets none: pods may be let go on a zero.
    fn divide(&self, sum: u32) -> Result<Vec<u32>, Refusal> {
        if sum == 0 {
            return Err(Refusal::NoShare);
        }
        let parts = self.parts();
        let wished = parts.iter().filter(|part| **part > 0).count();
        if u32::try_from(wished).is_ok_and(|wished| sum < wished) {
            return Err(Refusal::TooSmall { sum, division: self.clone() });
        }
        let max = u64::from(self.max.max(1));
        let exact = |part: u32| u64::from(sum) * u64::from(part);
        let mut weights: Vec<u32> = parts
            .iter()
            .map(|part| u32::try_from(exact(*part) / max).unwrap_or(sum).max(u32::from(*part > 0)))
            .collect();
        // What is left goes where most was cut off; what is too much, because nobody may have nothing, comes from who has most.
        while weights.iter().sum::<u32>() < sum {
            let cut = |at: usize| {
                exact(parts.get(at).copied().unwrap_or_default())
                    .saturating_sub(u64::from(weights.get(at).copied().unwrap_or_default()) * max)
            };
            let Some(at) = (0..parts.len()).max_by_key(|at| cut(*at)) else { break };
            weights.iter_mut().skip(at).take(1).for_each(|weight| *weight += 1);
        }
        while weights.iter().sum::<u32>() > sum {
            let Some(most) = weights.iter_mut().max() else { break };
            *most -= 1;
        }
        if weights.iter().any(|weight| *weight > MAX_GROUP_WEIGHT) {
            return Err(Refusal::TooLarge { sum });
        }
        Ok(weights)
    }
}

/// Stable, canary, and what further ones there are.
impl fmt::Display for Division {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&ratio(&self.parts()))
    }
}

impl Groups {
    /// All of them, in the order of a division's parts.
    fn all(&self) -> impl Iterator<Item = Option<&TargetGroupArn>> {
        [Some(&self.stable), Some(&self.canary)].into_iter().chain(self.further.iter().map(Option::as_ref))
    }

    fn place(&self, group: &TargetGroupArn) -> Option<usize> {
        self.all().position(|ours| ours == Some(group))
    }

    /// What each of them has among these. One that is not there has nothing.
    fn weights(&self, observed: &[WeightedGroup]) -> Vec<u32> {
        self.all().map(|group| group.and_then(|group| weight_of(observed, group)).unwrap_or_default()).collect()
    }

    /// No other group has weight.
    fn are_alone_in(&self, observed: &[WeightedGroup]) -> bool {
        observed.iter().all(|held| self.place(&held.group).is_some() || held.weight == 0)
    }

    /// `observed` with these weights. A group of ours that is to have some and is not there comes last.
    fn with(&self, observed: &[WeightedGroup], weights: &[u32]) -> Vec<WeightedGroup> {
        let new = |group| self.place(group).and_then(|at| weights.get(at).copied());
        let mut groups: Vec<WeightedGroup> = observed.to_vec();
        for held in &mut groups {
            held.weight = new(&held.group).unwrap_or(held.weight);
        }
        let added = self.all().zip(weights).filter_map(|(group, weight)| Some((group?.clone(), *weight)));
        let added = added.filter(|(group, weight)| *weight > 0 && weight_of(observed, group).is_none());
        groups.extend(added.map(|(group, weight)| WeightedGroup { group, weight }));
        groups
    }
}

impl Split {
    /// The same, but the canary has this much, and stable the rest.
    pub(super) fn with_canary(&self, canary: u32) -> Self {
        let division = Division { canary, ..self.division.clone() };
        Self { division, groups: Arc::clone(&self.groups) }
    }

    /// Plans one rule from what it shows.
    ///
    /// Groups that are not ours keep their weight, and ours together keep the weight they had: we divide our share of
    /// the traffic, we do not change it. Where no other group has weight, the wish is written as it is.
    pub(super) fn plan(&self, observed: &[WeightedGroup]) -> Result<Plan, Refusal> {
        let ours = self.groups_in(observed)?;
        if ours.are_alone_in(observed) && self.division.is_shown_by(&ours.weights(observed)) {
            return Ok(Plan::AlreadyTrue);
        }
        let groups = self.divide(observed)?;
        Ok(if groups == observed { Plan::AlreadyTrue } else { Plan::Write(groups) })
    }

    /// These, and behind them the further groups that are to have traffic and are not among them: with nothing yet. None where
    /// none is missing.
    pub(super) fn with_missing(&self, observed: &[WeightedGroup]) -> Option<Vec<WeightedGroup>> {
        let ours = self.groups_in(observed).ok()?;
        let wished = ours.further.iter().zip(&self.division.further).filter(|(_, part)| part.weight > 0);
        let missing =
            wished.filter_map(|(group, _)| group.clone()).filter(|group| weight_of(observed, group).is_none());
        let groups: Vec<_> =
            observed.iter().cloned().chain(missing.map(|group| WeightedGroup { group, weight: 0 })).collect();
        (groups.len() > observed.len()).then_some(groups)
    }

    /// The numbers that a writer who follows an announcement of this split comes to: as [`Split::plan`] writes them, from
    /// what a rule showed before anything was doubled.
    pub(super) fn announced(&self, observed: &[WeightedGroup]) -> Result<Vec<WeightedGroup>, Refusal> {
        let ours = self.groups_in(observed)?;
        let doubled = sum(&ours.weights(observed)) == 2 * u64::from(self.division.max)
            && observed.iter().all(|held| held.weight.is_multiple_of(2));
        if !doubled || ours.are_alone_in(observed) {
            return self.divide(observed);
        }
        let halved: Vec<WeightedGroup> =
            observed.iter().map(|held| WeightedGroup { group: held.group.clone(), weight: held.weight / 2 }).collect();
        self.divide(&halved)
    }

    /// What our groups have among these, in the order of the division's parts.
    pub(super) fn ours(&self, groups: &[WeightedGroup]) -> Option<Vec<u32>> {
        Some(self.groups_in(groups).ok()?.weights(groups))
    }

    fn divide(&self, observed: &[WeightedGroup]) -> Result<Vec<WeightedGroup>, Refusal> {
        let ours = self.groups_in(observed)?;
        let shown = ours.weights(observed);
        let weights = if ours.are_alone_in(observed) {
            self.division.parts()
        } else {
            self.division.divide(shown.iter().sum())?
        };
        Ok(ours.with(observed, &weights))
    }

    /// No other group has weight.
    pub(super) fn is_alone_in(&self, observed: &[WeightedGroup]) -> bool {
        self.groups_in(observed).is_ok_and(|ours| ours.are_alone_in(observed))
    }

    /// Which ways the traffic moves when a rule that shows this is brought to the wish. None when it does not move, or when
    /// the rule cannot carry the wish.
    pub(super) fn directions(&self, observed: &[WeightedGroup]) -> Vec<Direction> {
        let (Ok(Plan::Write(_)), Ok(ours)) = (self.plan(observed), self.groups_in(observed)) else { return Vec::new() };
        let (before, parts) = (ours.weights(observed), self.division.parts());
        // Zeros have no traffic: whoever gets it now, gets more.
        let (of, max) = (sum(&before).max(1), u64::from(self.division.max));
        let rises = |at: usize| {
            let (before, part) =
                (before.get(at).copied().unwrap_or_default(), parts.get(at).copied().unwrap_or_default());
            u64::from(before) * max < u64::from(part) * of
        };
        let nobody_had_any = sum(&before) == 0;
        let mut directions = Vec::new();
        if (2..parts.len()).any(rises) {
            directions.push(Direction::Further);
        }
        if rises(1) {
            directions.push(Direction::Canary);
        }
        if rises(0) && !(nobody_had_any && self.division.canary > 0) {
            directions.push(Direction::Stable);
        }
        directions
    }

    /// What stable would gain comes from further groups that are to have nothing any more, and the canary loses nothing.
    pub(super) fn only_ends_further(&self, observed: &[WeightedGroup]) -> bool {
        let Some(before) = self.ours(observed) else { return false };
        let (of, parts) = (sum(&before), self.division.parts());
        let falls = |at: usize| {
            let (before, part) =
                (before.get(at).copied().unwrap_or_default(), parts.get(at).copied().unwrap_or_default());
            u64::from(before) * u64::from(self.division.max) > u64::from(part) * of
        };
        let ended = |at: usize| parts.get(at) == Some(&0);
        !falls(0) && !falls(1) && (2..parts.len()).any(falls) && (2..parts.len()).all(|at| !falls(at) || ended(at))
    }

    /// Those of our groups that a rule with these divides its traffic between.
    pub(super) fn groups_in(&self, observed: &[WeightedGroup]) -> Result<&Groups, Refusal> {
        let holds = |group: &TargetGroupArn| weight_of(observed, group).is_some();
        if let Some(both) = self.groups.iter().find(|ours| holds(&ours.stable) && holds(&ours.canary)) {
            return Ok(both);
        }
        let half = self.groups.iter().find(|ours| holds(&ours.stable));
        let (role, group) = match (half, self.groups.first()) {
            (Some(half), _) => ("canary", &half.canary),
            (None, Some(first)) => ("stable", &first.stable),
            (None, None) => return Err(Refusal::NoShare),
        };
        Err(Refusal::GroupNotInRule { role, group: group.clone() })
    }
}

/// Weights side by side, as people read them.
pub(super) fn ratio(weights: &[u32]) -> String {
    weights.iter().map(u32::to_string).collect::<Vec<_>>().join(":")
}

/// The same division in other numbers: twice each, for all groups alike. None where a number would be larger than AWS allows.
///
/// A load balancer controller compares numbers and not shares, so it writes the announced ones over these as soon as it
/// follows: the echo. Nobody else would
/// (`pkg/equality/elbv2/compare_option_for_actions.go` of the AWS Load Balancer Controller).
pub(super) fn doubled(groups: &[WeightedGroup]) -> Option<Vec<WeightedGroup>> {
    let twice = |held: &WeightedGroup| {
        let weight = held.weight * 2;
        (weight <= MAX_GROUP_WEIGHT).then(|| WeightedGroup { group: held.group.clone(), weight })
    };
    groups.iter().map(twice).collect()
}

fn sum(weights: &[u32]) -> u64 {
    weights.iter().copied().map(u64::from).sum()
}

fn weight_of(observed: &[WeightedGroup], group: &TargetGroupArn) -> Option<u32> {
    observed.iter().find(|held| held.group == *group).map(|held| held.weight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arn(name: &str) -> TargetGroupArn {
        format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{name}/1").parse().unwrap()
    }

    fn groups(weights: &[(&str, u32)]) -> Vec<WeightedGroup> {
        weights.iter().map(|(name, weight)| WeightedGroup { group: arn(name), weight: *weight }).collect()
    }

    fn wish(canary: u32, max: u32) -> Split {
        let groups = Groups { stable: arn("stable"), canary: arn("canary"), further: Vec::new() };
        Split { division: Division { canary, max, further: Vec::new() }, groups: [groups].into() }
    }

    #[test]
    fn alone_in_a_rule_the_wish_is_written_as_it_is() {
        for (observed, canary, written) in [
            ((100, 0), 10, Some((90, 10))),
            ((1, 0), 10, Some((90, 10))),
            ((0, 0), 0, Some((100, 0))),
            ((90, 10), 10, None),
            ((9, 1), 10, None),
            ((180, 20), 10, None),
            ((7, 0), 0, None),
            ((0, 3), 100, None),
        ] {
            let plan = wish(canary, 100).plan(&groups(&[("stable", observed.0), ("canary", observed.1)])).unwrap();
            let expected = written.map_or(Plan::AlreadyTrue, |(stable, canary)| {
                Plan::Write(groups(&[("stable", stable), ("canary", canary)]))
            });
            assert_eq!(plan, expected, "{observed:?} wished {canary}");
        }
    }

    #[test]
    fn a_write_moves_traffic_one_way_or_the_other() {
        for (observed, canary, direction) in [
            ((100, 0), 10, Some(Direction::Canary)),
            ((1, 0), 10, Some(Direction::Canary)),
            ((1, 1), 60, Some(Direction::Canary)),
            ((1, 1), 40, Some(Direction::Stable)),
            ((0, 7), 0, Some(Direction::Stable)),
            ((0, 0), 10, Some(Direction::Canary)),
            ((0, 0), 0, Some(Direction::Stable)),
            ((180, 20), 10, None),
        ] {
            let observed = groups(&[("stable", observed.0), ("canary", observed.1)]);
            assert_eq!(wish(canary, 100).directions(&observed), Vec::from_iter(direction), "{observed:?} to {canary}");
        }
        assert_eq!(wish(10, 100).directions(&groups(&[("stable", 1)])), []);
    }

    #[test]
    fn a_group_at_zero_beside_ours_changes_nothing_and_stays() {
        let plan = wish(10, 100).plan(&groups(&[("old", 0), ("stable", 1), ("canary", 0)])).unwrap();
        assert_eq!(plan, Plan::Write(groups(&[("old", 0), ("stable", 90), ("canary", 10)])));
    }

    #[test]
    fn what_cannot_be_divided_is_refused_with_a_way_out() {
        let split = wish(10, 100);
        let refusal = |weights| split.plan(&groups(weights)).unwrap_err();
        assert!(matches!(refusal(&[("stable", 1)]), Refusal::GroupNotInRule { role: "canary", .. }));
        assert!(matches!(refusal(&[("other", 1)]), Refusal::GroupNotInRule { role: "stable", .. }));
        assert_eq!(refusal(&[("stable", 0), ("canary", 0), ("other", 1)]), Refusal::NoShare);
        let small = refusal(&[("stable", 1), ("canary", 0), ("other", 1)]);
        assert_eq!(small, Refusal::TooSmall { sum: 1, division: split.division.clone() });
        let large = refusal(&[("stable", 999), ("canary", 999), ("other", 1)]);
        assert_eq!(large, Refusal::TooLarge { sum: 1998 });
    }

    proptest! {
        #[test]
        fn other_groups_stay_and_ours_divide_what_they_had(
            stable in 0..=999u32, canary in 0..=999u32, others in prop::collection::vec(1..=999u32, 1..=3),
            wished in 0..=100u32,
        ) {
            let mut observed = groups(&[("stable", stable), ("canary", canary)]);
            observed.extend(others.iter().zip(["a", "b", "c"]).map(|(weight, name)| {
                WeightedGroup { group: arn(name), weight: *weight }
            }));
            let split = wish(wished, 100);
            if let Ok(Plan::Write(planned)) = split.plan(&observed) {
                prop_assert_eq!(&planned[2..], &observed[2..]);
                let (new_stable, new_canary) = (planned[0].weight, planned[1].weight);
                prop_assert_eq!(new_stable + new_canary, stable + canary);
                prop_assert!(new_stable <= MAX_GROUP_WEIGHT && new_canary <= MAX_GROUP_WEIGHT);
                prop_assert_eq!(new_canary == 0, wished == 0);
                prop_assert_eq!(new_stable == 0, wished == 100);
                let exact = f64::from(stable + canary) * f64::from(wished) / 100.0;
                prop_assert!((f64::from(new_canary) - exact).abs() <= 1.0, "{new_canary} for {exact}");
                prop_assert_eq!(split.plan(&planned), Ok(Plan::AlreadyTrue));
            }
        }

        #[test]
        fn a_written_plan_is_true(stable in 0..=999u32, canary in 0..=999u32, max in 1..=999u32, part in 0.0..=1.0f64) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 and max")]
            let split = wish((f64::from(max) * part) as u32, max);
            let observed = groups(&[("canary", canary), ("stable", stable)]);
            let shown = match split.plan(&observed).unwrap() {
                Plan::Write(planned) => planned,
                Plan::AlreadyTrue => observed,
            };
            prop_assert_eq!(split.plan(&shown), Ok(Plan::AlreadyTrue));
            let all = u64::from(shown[0].weight + shown[1].weight);
            prop_assert_eq!(u64::from(shown[0].weight) * u64::from(max), all * u64::from(split.division.canary));
        }
    }
}
