//! Managed routes: requests with certain headers go to the canary, whatever the weights say.
//!
//! Where a load balancer controller follows an Ingress, a route goes through it: rules that the controller does not know are
//! deleted. Elsewhere it is a rule of our own before each rule that is shifted, known again by its tags. A route is there
//! when DescribeRules shows it on every listener, and gone when no rule of it leads to the canary any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::alb::{ConditionError, HeaderCondition, Rule};
use crate::cluster;
use crate::rollout::{HeaderMatch, HeaderRoute, Rollout};

mod clear;
mod make;
mod own;

pub(super) use make::Maker;

/// A route that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) name: String,
    /// All of them must hold.
    headers: Vec<HeaderCondition>,
    /// The names of all managed routes; the first is to be tried first.
    all: Vec<String>,
}

/// A route that cannot be understood, or cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error(
        "it is not among the Rollout's trafficRouting.managedRoutes, so the rollouts controller would never ask for its removal; \
         add it there"
    )]
    NotManaged,
    #[error("header {header}: {value}")]
    Value { header: String, value: &'static str },
    #[error(transparent)]
    Condition(#[from] ConditionError),
}

impl Route {
    /// Understands what a host asks for.
    pub(super) fn of(rollout: &Rollout, asked: &HeaderRoute) -> Result<Self, RouteError> {
        let managed = rollout.canary_routing().is_some_and(|(_, routing)| routing.manages(&asked.name));
        if !managed {
            return Err(RouteError::NotManaged);
        }
        let headers = asked.matches.iter().map(condition).collect::<Result<_, _>>()?;
        Ok(Self { name: asked.name.clone(), headers, all: names(rollout) })
    }

    /// The rule lets only requests with these headers through.
    fn is_in(&self, rule: &Rule) -> bool {
        rule.includes(&self.headers)
    }

    /// The rule is this route before another: it asks for the route's headers and the other's, and for no more.
    fn is_before(&self, before: &Rule, rule: &Rule) -> bool {
        let headers: Vec<HeaderCondition> = self.headers.iter().cloned().chain(before.headers()).collect();
        rule.requires(&headers)
    }

    /// As an Ingress has it.
    fn through_an_ingress(&self, service: &str) -> cluster::Route {
        let condition = |header: &HeaderCondition| cluster::HeaderCondition {
            header: header.header.clone(),
            values: header.values.clone(),
            regex_values: header.regex_values.clone(),
        };
        let conditions = self.headers.iter().map(condition).collect();
        cluster::Route { name: self.name.clone(), conditions, service: service.to_owned() }
    }
}

/// The names of a Rollout's managed routes.
pub(super) fn names(rollout: &Rollout) -> Vec<String> {
    let routing = rollout.canary_routing().map(|(_, routing)| routing);
    routing.iter().flat_map(|routing| &routing.managed_routes).map(|route| route.name.clone()).collect()
}

fn condition(asked: &HeaderMatch) -> Result<HeaderCondition, RouteError> {
    let header = &asked.header_name;
    let value = asked.header_value.clone().unwrap_or_default();
    let said = [&value.exact, &value.prefix, &value.regex].map(|text| !text.is_empty());
    Ok(match said {
        [true, false, false] => HeaderCondition::exact(header, &value.exact)?,
        [false, true, false] => HeaderCondition::prefix(header, &value.prefix)?,
        [false, false, true] => HeaderCondition::regex(header, &value.regex)?,
        _ => {
            return Err(RouteError::Value {
                header: header.clone(),
                value: "one of exact, prefix and regex must be given",
            });
        }
    })
}

/// What is known of one Rollout's routes, between its calls and its follower.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed {
    known: Arc<Mutex<Known>>,
    /// One at a time makes or removes routes.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Routes that this process made, or found.
    made: Vec<Route>,
    /// Routes that nobody wishes any more. An earlier process may have made them.
    unwished: Vec<String>,
    /// Routes that are known to be gone.
    gone: Vec<String>,
}

impl Managed {
    /// Somebody wishes the route.
    fn wish(&self, route: &Route) {
        let mut known = self.known();
        known.unwished.retain(|name| *name != route.name);
        known.gone.retain(|name| *name != route.name);
        known.made.retain(|made| made.name != route.name);
        known.made.push(route.clone());
    }

    /// These are there, whoever made them.
    fn found(&self, routes: &[Route]) {
        let mut known = self.known();
        for route in routes {
            if known.made.iter().all(|made| made.name != route.name) {
                known.made.push(route.clone());
            }
        }
    }

    /// Nobody wishes these any more. What is known to be gone costs nothing.
    pub(super) fn unwish(&self, names: Vec<String>) {
        let mut known = self.known();
        for name in names {
            if !known.gone.contains(&name) && !known.unwished.contains(&name) {
                known.unwished.push(name);
            }
        }
    }

    /// Some route is to go.
    pub(super) fn has_unwished(&self) -> bool {
        !self.known().unwished.is_empty()
    }

    /// The rule is a route that this process made. It divides no traffic.
    pub(super) fn has(&self, rule: &Rule) -> bool {
        self.known().made.iter().any(|route| route.is_in(rule))
    }

    fn unwished(&self) -> (Vec<String>, Vec<Route>) {
        let known = self.known();
        let made = known.made.iter().filter(|route| known.unwished.contains(&route.name)).cloned().collect();
        (known.unwished.clone(), made)
    }

    fn is_gone(&self, names: &[String]) {
        let mut known = self.known();
        known.unwished.retain(|name| !names.contains(name));
        for name in names {
            if !known.gone.contains(name) {
                known.gone.push(name.clone());
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
