use std::collections::BTreeSet;

use fastrand::Rng;

use super::*;
use crate::control_plane::model::shapes::{
    ActionType, ForwardConfig, OidcConfig, PatternConfig, RedirectConfig, StickinessConfig, TargetGroupTuple,
};

fn forward(groups: &[(&str, u16)]) -> Action {
    let tuple =
        |(arn, weight): &(&str, u16)| TargetGroupTuple { target_group_arn: (*arn).to_owned(), weight: Some(*weight) };
    Action {
        r#type: ActionType::Forward,
        forward_config: Some(ForwardConfig {
            target_groups: groups.iter().map(tuple).collect(),
            target_group_stickiness_config: None,
        }),
        ..Action::default()
    }
}

fn sticky(mut action: Action, enabled: bool) -> Action {
    if let Some(config) = &mut action.forward_config {
        let stickiness = StickinessConfig { enabled: Some(enabled), duration_seconds: enabled.then_some(60) };
        config.target_group_stickiness_config = Some(stickiness);
    }
    action
}

fn path(pattern: &str) -> Condition {
    let config = PatternConfig { values: Some(vec![pattern.to_owned()]), regex_values: None };
    Condition { field: "path-pattern".to_owned(), path_pattern_config: Some(config), ..Condition::default() }
}

fn desired(priority: u16, pattern: &str, action: Action) -> DesiredRule {
    let tags = Tags::from([("ingress.k8s.aws/resource".to_owned(), format!("80:{priority}"))]);
    let action = Action { order: Some(1), ..action };
    DesiredRule { priority, conditions: vec![path(pattern)], actions: vec![action], transforms: Vec::new(), tags }
}

/// The rule as AWS keeps it when it is made as wanted.
fn made(arn: &str, wanted: &DesiredRule) -> Rule {
    let mut actions = wanted.actions.clone();
    for config in actions.iter_mut().filter_map(|action| action.forward_config.as_mut()) {
        config
            .target_group_stickiness_config
            .get_or_insert(StickinessConfig { enabled: Some(false), duration_seconds: None });
    }
    Rule {
        arn: arn.to_owned(),
        priority: Priority::At(wanted.priority),
        conditions: wanted.conditions.clone(),
        actions,
        transforms: wanted.transforms.clone(),
        is_default: false,
        listener_arn: "listener".to_owned(),
        tags: wanted.tags.clone(),
    }
}

/// What becomes of the rules when the plan is carried out.
fn carried_out(plan: &Plan<'_>, observed: &[Rule]) -> Vec<Rule> {
    let mut rules = observed.to_vec();
    for rule in &mut rules {
        if let Some((_, priority)) = plan.reprioritise.iter().find(|(arn, _)| *arn == rule.arn) {
            rule.priority = Priority::At(*priority);
        }
        if let Some((_, wanted)) = plan.modify.iter().find(|(old, _)| old.arn == rule.arn) {
            *rule = Rule { tags: rule.tags.clone(), priority: rule.priority, ..made(&rule.arn, wanted) };
        }
        if let Some((_, tags)) = plan.retag.iter().find(|(old, _)| old.arn == rule.arn) {
            rule.tags = Tags::clone(tags);
        }
    }
    rules.retain(|rule| !plan.delete.iter().any(|gone| gone.arn == rule.arn));
    rules.extend((0..).zip(&plan.create).map(|(number, wanted)| made(&format!("new {number}"), wanted)));
    rules.sort_by_key(|rule| rule.priority);
    rules
}

fn modified(wanted: &DesiredRule, observed: &Rule) -> bool {
    let (wanted, observed) = ([wanted.clone()], [observed.clone()]);
    let plan = plan(&wanted, &observed);
    assert!(plan.create.is_empty() && plan.delete.is_empty() && plan.reprioritise.is_empty(), "{plan:?}");
    !plan.modify.is_empty()
}

#[test]
fn what_is_as_wanted_is_left_alone() {
    let wanted = [desired(1, "/*", forward(&[("stable", 90), ("canary", 10)]))];
    let mut observed = made("rule", &desired(1, "/*", forward(&[("canary", 10), ("stable", 90)])));
    observed.actions[0].order = Some(7);
    observed.conditions[0].values = Some(vec!["/*".to_owned()]);
    let default = Rule { is_default: true, priority: Priority::Default, ..observed.clone() };
    assert!(plan(&wanted, &[observed, default]).is_empty());
}

#[test]
fn weights_are_compared_as_numbers() {
    let wanted = desired(1, "/*", forward(&[("stable", 90), ("canary", 10)]));
    let with = |stable, canary| made("rule", &desired(1, "/*", forward(&[("stable", stable), ("canary", canary)])));
    assert!(!modified(&wanted, &with(90, 10)));
    assert!(modified(&wanted, &with(9, 1)));
    assert!(modified(&wanted, &with(180, 20)));
}

#[test]
fn the_weight_of_a_single_group_and_its_arn_beside_do_not_count() {
    let mut observed = made("rule", &desired(1, "/*", forward(&[("stable", 1)])));
    observed.actions[0].target_group_arn = Some("stable".to_owned());
    assert!(!modified(&desired(1, "/*", forward(&[("stable", 100)])), &observed));
    assert!(modified(&desired(1, "/*", forward(&[("other", 100)])), &observed));
}

#[test]
fn stickiness_counts_only_if_it_is_wanted() {
    let action = forward(&[("stable", 90), ("canary", 10)]);
    let with = |enabled| made("rule", &desired(1, "/*", sticky(action.clone(), enabled)));
    assert!(!modified(&desired(1, "/*", action.clone()), &with(true)));
    assert!(!modified(&desired(1, "/*", sticky(action.clone(), true)), &with(true)));
    assert!(modified(&desired(1, "/*", sticky(action.clone(), false)), &with(true)));
}

#[test]
fn a_rule_with_oidc_is_written_every_time() {
    let mut wanted = desired(1, "/*", forward(&[("stable", 100), ("canary", 0)]));
    let config = OidcConfig { client_secret: Some("secret".to_owned()), ..OidcConfig::default() };
    let oidc = Action {
        r#type: ActionType::AuthenticateOidc,
        order: Some(1),
        authenticate_oidc_config: Some(config),
        ..Action::default()
    };
    wanted.actions[0].order = Some(2);
    wanted.actions.insert(0, oidc);
    assert!(modified(&wanted, &made("rule", &wanted)));
}

#[test]
fn the_defaults_of_a_redirect_are_filled_in() {
    let redirect = |config| {
        desired(1, "/*", Action { r#type: ActionType::Redirect, redirect_config: Some(config), ..Action::default() })
    };
    let wanted = RedirectConfig {
        protocol: Some("HTTPS".to_owned()),
        status_code: "HTTP_301".to_owned(),
        ..RedirectConfig::default()
    };
    let told = RedirectConfig {
        port: Some("#{port}".to_owned()),
        host: Some("#{host}".to_owned()),
        path: Some("/#{path}".to_owned()),
        query: Some("#{query}".to_owned()),
        ..wanted.clone()
    };
    assert!(!modified(&redirect(wanted), &made("rule", &redirect(told))));
}

#[test]
fn unknown_rules_are_deleted_whoever_made_them() {
    let wanted = [desired(1, "/*", forward(&[("stable", 1)]))];
    let mut header = made("header", &desired(7, "/canary", forward(&[("canary", 1)])));
    header.tags = Tags::from([("made-by".to_owned(), "somebody else".to_owned())]);
    let observed = [made("rule", &wanted[0]), header];
    let plan = plan(&wanted, &observed);
    assert_eq!(plan.delete.iter().map(|rule| &*rule.arn).collect::<Vec<_>>(), ["header"]);
    assert!(plan.create.is_empty() && plan.modify.is_empty() && plan.reprioritise.is_empty());
}

#[test]
fn moved_rules_keep_their_arn_and_unknown_ones_make_way() {
    let old = [desired(1, "/a", forward(&[("a", 1)])), desired(2, "/b", forward(&[("b", 1)]))];
    let observed = [made("a", &old[0]), made("b", &old[1]), made("x", &desired(3, "/x", forward(&[("x", 1)])))];
    let wanted = [
        desired(1, "/new", forward(&[("n", 1)])),
        desired(2, "/a", forward(&[("a", 1)])),
        desired(3, "/b", forward(&[("b", 1)])),
    ];
    let plan = plan(&wanted, &observed);
    assert_eq!(plan.reprioritise, [("x", 50_000), ("a", 2), ("b", 3)]);
    assert_eq!(plan.create.iter().map(|wanted| wanted.priority).collect::<Vec<_>>(), [1]);
    assert_eq!(plan.delete.iter().map(|rule| &*rule.arn).collect::<Vec<_>>(), ["x"]);
    // The tag holds the priority, so it moves too.
    assert_eq!(plan.retag.iter().map(|(rule, _)| &*rule.arn).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn foreign_weights_while_priorities_shift_change_another_rule() {
    let old = [desired(1, "/a", forward(&[("a", 100), ("b", 0)])), desired(2, "/z", forward(&[("z", 1)]))];
    let mut observed = [made("shop", &old[0]), made("z", &old[1])];
    observed[0].actions = vec![forward(&[("a", 50), ("b", 50)])];
    let wanted = [
        desired(1, "/new", forward(&[("n", 1)])),
        desired(2, "/a", forward(&[("a", 100), ("b", 0)])),
        desired(3, "/z", forward(&[("z", 1)])),
    ];
    let plan = plan(&wanted, &observed);
    // The shop's rule no longer looks like itself, so it becomes /new, and /a gets a rule with another ARN.
    assert_eq!(
        plan.modify.iter().map(|(rule, wanted)| (&*rule.arn, wanted.priority)).collect::<Vec<_>>(),
        [("shop", 1)]
    );
    assert_eq!(plan.create.iter().map(|wanted| wanted.priority).collect::<Vec<_>>(), [2]);
    assert_eq!(plan.reprioritise, [("z", 3)]);
}

#[test]
fn a_plan_that_is_carried_out_leaves_what_was_wanted_and_nothing_to_do() {
    for seed in 0..500 {
        let mut rng = Rng::with_seed(seed);
        let mut some = |at_most: u16| -> Vec<DesiredRule> {
            let mut patterns: Vec<u16> = (0..6).collect();
            rng.shuffle(&mut patterns);
            let rules = (1..=rng.u16(0..=at_most)).zip(patterns);
            rules
                .map(|(priority, pattern)| {
                    let canary = rng.u16(0..3) * 50;
                    desired(priority, &format!("/{pattern}"), forward(&[("stable", 100 - canary), ("canary", canary)]))
                })
                .collect()
        };
        let wanted = some(5);
        let observed: Vec<Rule> =
            (0..).zip(some(6)).map(|(number, rule)| made(&format!("old {number}"), &rule)).collect();
        let first = plan(&wanted, &observed);
        let after = carried_out(&first, &observed);
        let priorities: BTreeSet<Priority> = after.iter().map(|rule| rule.priority).collect();
        assert_eq!(priorities.len(), after.len(), "seed {seed}: two rules with one priority");
        assert!(plan(&wanted, &after).is_empty(), "seed {seed}: {:?}", plan(&wanted, &after));
        assert_eq!(after.len(), wanted.len(), "seed {seed}");
    }
}
