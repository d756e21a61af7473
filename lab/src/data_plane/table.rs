//! The account in the form in which a node routes by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::control_plane::model::arn::Family;
use crate::control_plane::model::shapes::{self, ActionType, FixedResponseConfig, RedirectConfig};
use crate::control_plane::model::targets::Target;
use crate::control_plane::model::{Account, ListenerProtocol, TargetGroup};
use crate::data_plane::conditions::{RequestHead, Test};
use crate::data_plane::rewrite::Rewrites;

/// `deregistration_delay.timeout_seconds` where it is not set (API reference, TargetGroupAttribute).
const DEREGISTRATION_DELAY: Duration = Duration::from_secs(300);

/// A target in a group: what requests go to, and what is checked and drained.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) group_arn: Arc<str>,
    pub(crate) target: Target,
}

/// Listeners and target groups by their ARNs.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) listeners: BTreeMap<String, Listener>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) protocol: ListenerProtocol,
    pub(super) port: u16,
    /// In the order of evaluation; the default rule, which has no conditions, is the last.
    rules: Vec<Rule>,
}

#[derive(Debug)]
pub(super) struct Rule {
    conditions: Vec<Test>,
    pub(super) action: Action,
    pub(super) rewrites: Rewrites,
}

/// Where a rule leads. Actions that authenticate or validate come before it and let everybody pass: the lab has no identity
/// provider to ask.
#[derive(Debug)]
pub(super) enum Action {
    Forward(Forward),
    Fixed(FixedResponseConfig),
    Redirect(RedirectConfig),
}

#[derive(Debug)]
pub(super) struct Forward {
    /// With weights of 0 to 999.
    pub(super) groups: Vec<(Arc<str>, u16)>,
    /// How long a client stays with its group; `None` if it does not.
    pub(super) sticks: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) settings: TargetGroup,
    /// A rule names it, with whatever weight. If none does, its targets are `unused`: not checked, and sent nothing.
    pub(super) in_use: bool,
    /// The targets that are registered, each with the time of its registration.
    pub(super) registered: BTreeMap<Target, SystemTime>,
    /// The targets that are being drained, each with the time at which that ends.
    pub(super) draining: BTreeMap<Target, SystemTime>,
}

impl Table {
    pub(super) fn of(account: &Account) -> Self {
        let groups: BTreeMap<Arc<str>, Group> = account
            .target_groups
            .iter()
            .map(|settings| (Arc::from(settings.arn.as_str()), Group::of(settings, account)))
            .collect();
        // Those of Network Load Balancers split connections, not requests.
        let served = account.listeners.iter().filter(|listener| listener.protocol.family() == Family::Application);
        let listeners = served.map(|listener| {
            let rules = account.rules_of(&listener.arn).into_iter().filter_map(|rule| {
                Some(Rule {
                    conditions: rule.conditions.iter().map(Test::of).collect(),
                    action: rule.actions.iter().find_map(|action| Action::of(action, &groups))?,
                    rewrites: Rewrites::of(&rule.transforms),
                })
            });
            let rules = rules.collect();
            (listener.arn.clone(), Listener { protocol: listener.protocol, port: listener.port, rules })
        });
        Self { listeners: listeners.collect(), groups }
    }

    /// Where the rules that forward lead.
    pub(super) fn forwards(&self) -> impl Iterator<Item = &Forward> {
        let rules = self.listeners.values().flat_map(|listener| &listener.rules);
        rules.filter_map(|rule| if let Action::Forward(forward) = &rule.action { Some(forward) } else { None })
    }

    /// A request may be sent to the group: a rule gives it weight, or lets cookies lead there.
    pub(super) fn leads_to(&self, group_arn: &str) -> bool {
        self.listeners.values().flat_map(|listener| &listener.rules).any(|rule| match &rule.action {
            Action::Forward(forward) => forward
                .groups
                .iter()
                .any(|(arn, weight)| **arn == *group_arn && (*weight > 0 || forward.sticks.is_some())),
            Action::Fixed(_) | Action::Redirect(_) => false,
        })
    }
}

impl Listener {
    /// The first rule whose conditions the request meets.
    pub(super) fn rule(&self, head: &RequestHead<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.conditions.iter().all(|condition| condition.passes(head)))
    }

    /// As in URLs.
    pub(super) fn scheme(&self) -> &'static str {
        if self.protocol.ends_tls() { "https" } else { "http" }
    }
}

impl Action {
    /// `None` for an action that only stands before another one.
    fn of(action: &shapes::Action, groups: &BTreeMap<Arc<str>, Group>) -> Option<Self> {
        match action.r#type {
            ActionType::Forward => {
                let stickiness =
                    action.forward_config.as_ref().and_then(|config| config.target_group_stickiness_config.as_ref());
                let sticks = stickiness.filter(|config| config.enabled == Some(true));
                let weighted = action.target_groups().iter().filter_map(|tuple| {
                    let (arn, _) = groups.get_key_value(tuple.target_group_arn.as_str())?;
                    Some((Arc::clone(arn), tuple.weight.unwrap_or(1)))
                });
                Some(Self::Forward(Forward {
                    groups: weighted.collect(),
                    sticks: sticks
                        .and_then(|config| config.duration_seconds)
                        .map(|seconds| Duration::from_secs(seconds.into())),
                }))
            }
            ActionType::FixedResponse => action.fixed_response_config.clone().map(Self::Fixed),
            ActionType::Redirect => action.redirect_config.clone().map(Self::Redirect),
            ActionType::AuthenticateOidc | ActionType::AuthenticateCognito | ActionType::JwtValidation => None,
        }
    }
}

impl Group {
    fn of(settings: &TargetGroup, account: &Account) -> Self {
        let delay = settings.attributes.get("deregistration_delay.timeout_seconds");
        let delay = delay.and_then(|seconds| seconds.parse().ok()).map_or(DEREGISTRATION_DELAY, Duration::from_secs);
        let mut registered = BTreeMap::new();
        let mut draining = BTreeMap::new();
        for registration in account.registrations.iter().filter(|found| found.group_arn == settings.arn) {
            let target = registration.target.clone();
            match registration.deregistered {
                None => registered.insert(target, registration.since),
                Some(since) => draining.insert(target, since + delay),
            };
        }
        // A target that was registered anew is not drained any more.
        draining.retain(|target, _| !registered.contains_key(target));
        Self {
            settings: settings.clone(),
            in_use: account.rules.iter().any(|rule| rule.names(&settings.arn)),
            registered,
            draining,
        }
    }
}
