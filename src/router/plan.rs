//! From the weights a rule shows to the weights it shall have. Pure.

use std::fmt;

use crate::alb::{MAX_GROUP_WEIGHT, TargetGroupArn, WeightedGroup};

/// How a wish divides the traffic of the two groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// The stable group.
    pub(super) stable: TargetGroupArn,
    /// The canary group.
    pub(super) canary: TargetGroupArn,
    /// The canary's part of `max`.
    pub(super) canary_weight: u32,
    /// The weight that stands for all traffic, 1 to [`MAX_GROUP_WEIGHT`].
    pub(super) max: u32,
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
    /// The canary gets more, stable less.
    ToCanary,
    /// Stable gets more, the canary less.
    ToStable,
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
        "the two target groups share the weight {sum} beside other groups, which cannot be divided {stable}:{canary}; \
         multiply all weights of the rule"
    )]
    TooSmall {
        /// The weight that ours have together.
        sum: u32,
        /// The wish for stable.
        stable: u32,
        /// The wish for canary.
        canary: u32,
    },
    /// One group would need more than AWS allows.
    #[error(
        "the two target groups share the weight {sum} beside other groups, and one group can have {MAX_GROUP_WEIGHT} \
         at most; divide all weights of the rule"
    )]
    TooLarge {
        /// The weight that ours have together.
        sum: u32,
    },
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.stable_weight(), self.canary_weight)
    }
}

impl Split {
    /// The stable group's part of `max`.
    pub(super) fn stable_weight(&self) -> u32 {
        self.max.saturating_sub(self.canary_weight)
    }

    /// Plans one rule from what it shows.
    ///
    /// Groups that are not ours keep their weight, and ours together keep the weight they had: we divide our share of
    /// the traffic, we do not change it. Where no other group has weight, the wish is written as it is.
    pub(super) fn plan(&self, observed: &[WeightedGroup]) -> Result<Plan, Refusal> {
        let stable = weight_of(observed, &self.stable, "stable")?;
        let canary = weight_of(observed, &self.canary, "canary")?;
        if self.is_alone_in(observed) && self.same_share(stable, canary) {
            return Ok(Plan::AlreadyTrue);
        }
        let groups = self.divide(observed)?;
        Ok(if groups == observed { Plan::AlreadyTrue } else { Plan::Write(groups) })
    }

    /// The numbers that a writer who follows an announcement of this split comes to: as [`Split::plan`] writes them, from
    /// what a rule showed before anything was doubled.
    pub(super) fn announced(&self, observed: &[WeightedGroup]) -> Result<Vec<WeightedGroup>, Refusal> {
        let stable = weight_of(observed, &self.stable, "stable")?;
        let canary = weight_of(observed, &self.canary, "canary")?;
        let doubled = stable + canary == 2 * self.max && observed.iter().all(|held| held.weight.is_multiple_of(2));
        if !doubled || self.is_alone_in(observed) {
            return self.divide(observed);
        }
        let halved: Vec<WeightedGroup> =
            observed.iter().map(|held| WeightedGroup { group: held.group.clone(), weight: held.weight / 2 }).collect();
        self.divide(&halved)
    }

    /// Our groups' weights among these.
    pub(super) fn ours(&self, groups: &[WeightedGroup]) -> Option<(u32, u32)> {
        let of = |group| weight_of(groups, group, "").ok();
        Some((of(&self.stable)?, of(&self.canary)?))
    }

    fn divide(&self, observed: &[WeightedGroup]) -> Result<Vec<WeightedGroup>, Refusal> {
        let stable = weight_of(observed, &self.stable, "stable")?;
        let canary = weight_of(observed, &self.canary, "canary")?;
        let alone = self.is_alone_in(observed);
        let (stable, canary) =
            if alone { (self.stable_weight(), self.canary_weight) } else { self.divided(stable + canary)? };
        let groups = observed.iter().cloned().map(|mut held| {
            if held.group == self.stable {
                held.weight = stable;
            } else if held.group == self.canary {
                held.weight = canary;
            }
            held
        });
        Ok(groups.collect())
    }

    /// No other group has weight.
    pub(super) fn is_alone_in(&self, observed: &[WeightedGroup]) -> bool {
        observed.iter().all(|held| self.is_ours(&held.group) || held.weight == 0)
    }

    /// Which way the traffic moves when a rule that shows this is brought to the wish. `None` when it does not, or when
    /// the rule cannot carry the wish.
    pub(super) fn direction(&self, observed: &[WeightedGroup]) -> Option<Direction> {
        let Ok(Plan::Write(_)) = self.plan(observed) else { return None };
        let weight = |group| weight_of(observed, group, "").map_or(0, u64::from);
        let (stable, canary) = (weight(&self.stable), weight(&self.canary));
        // Two zeros have no traffic: whoever gets it now, gets more.
        let (before, of) =
            if stable + canary == 0 { (u64::from(self.canary_weight == 0), 1) } else { (canary, stable + canary) };
        let rises = before * u64::from(self.max) < of * u64::from(self.canary_weight);
        Some(if rises { Direction::ToCanary } else { Direction::ToStable })
    }

    fn is_ours(&self, group: &TargetGroupArn) -> bool {
        *group == self.stable || *group == self.canary
    }

    /// `stable:canary` is the same division as the wish. Two zeros divide nothing.
    fn same_share(&self, stable: u32, canary: u32) -> bool {
        let (stable, canary) = (u64::from(stable), u64::from(canary));
        stable + canary > 0 && stable * u64::from(self.canary_weight) == canary * u64::from(self.stable_weight())
    }

    /// Divides `sum` as wished, to the nearest whole weight. A group that shall have traffic gets some, a group that
    /// shall have none gets none: pods may be let go on a zero.
    fn divided(&self, sum: u32) -> Result<(u32, u32), Refusal> {
        if sum == 0 {
            return Err(Refusal::NoShare);
        }
        let (wished, max) = (u64::from(self.canary_weight), u64::from(self.max.max(1)));
        let nearest = (u64::from(sum) * wished * 2 + max) / (max * 2);
        let nearest = u32::try_from(nearest).unwrap_or(sum);
        let canary = match (self.stable_weight(), self.canary_weight) {
            (_, 0) => 0,
            (0, _) => sum,
            (stable, canary) if sum < 2 => return Err(Refusal::TooSmall { sum, stable, canary }),
            _ => nearest.clamp(1, sum - 1),
        };
        let stable = sum - canary;
        if stable.max(canary) > MAX_GROUP_WEIGHT {
            return Err(Refusal::TooLarge { sum });
        }
        Ok((stable, canary))
    }
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

fn weight_of(observed: &[WeightedGroup], group: &TargetGroupArn, role: &'static str) -> Result<u32, Refusal> {
    let held = observed.iter().find(|held| held.group == *group);
    held.map(|held| held.weight).ok_or_else(|| Refusal::GroupNotInRule { role, group: group.clone() })
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

    fn wish(canary_weight: u32, max: u32) -> Split {
        Split { stable: arn("stable"), canary: arn("canary"), canary_weight, max }
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
            ((100, 0), 10, Some(Direction::ToCanary)),
            ((1, 0), 10, Some(Direction::ToCanary)),
            ((1, 1), 60, Some(Direction::ToCanary)),
            ((1, 1), 40, Some(Direction::ToStable)),
            ((0, 7), 0, Some(Direction::ToStable)),
            ((0, 0), 10, Some(Direction::ToCanary)),
            ((0, 0), 0, Some(Direction::ToStable)),
            ((180, 20), 10, None),
        ] {
            let observed = groups(&[("stable", observed.0), ("canary", observed.1)]);
            assert_eq!(wish(canary, 100).direction(&observed), direction, "{observed:?} to {canary}");
        }
        assert_eq!(wish(10, 100).direction(&groups(&[("stable", 1)])), None);
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
        assert_eq!(small, Refusal::TooSmall { sum: 1, stable: 90, canary: 10 });
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
            prop_assert_eq!(u64::from(shown[0].weight) * u64::from(max), all * u64::from(split.canary_weight));
        }
    }
}
