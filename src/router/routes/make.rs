//! Brings a managed route into being, and confirms it.

use tokio::time::Instant;
use tracing::{debug, info};

use super::own::{self, Own};
use super::{Managed, Route};
use crate::alb::{ErrorKind, NewRule, Rule, Tags};
use crate::router::find::{Finder, Found, KnownTags};
use crate::router::plan::Groups;
use crate::router::unfinished::{Cause, Retry, Unfinished, delays};

/// Makes the routes of one Rollout, and removes them.
#[derive(Debug)]
pub(in crate::router) struct Maker<'a> {
    pub(in crate::router) finder: Finder<'a>,
    pub(in crate::router) managed: &'a Managed,
    /// `namespace/name`.
    pub(in crate::router) rollout: String,
}

/// The rules around those that are shifted.
pub(super) struct Around {
    pub(super) rules: Vec<Rule>,
    /// Those of them that are shifted, each with its target groups.
    pub(super) shifted: Vec<(Rule, Groups)>,
    /// Those that are ours, where nobody else deletes them.
    pub(super) own: Vec<Own>,
}

impl Maker<'_> {
    /// Works until the route is there, or until somebody has to correct something first.
    pub(in crate::router) async fn make(&self, route: &Route, report: impl Fn(&Unfinished)) -> Result<(), Unfinished> {
        let began = Instant::now();
        let mut waits = delays();
        self.managed.wish(route);
        while let Err(cause) = self.try_to_make(route).await {
            let unfinished = Unfinished::from(cause);
            debug!(rollout = self.rollout, route = route.name, "{unfinished}");
            if unfinished.retry() == Retry::NextCall {
                return Err(unfinished);
            }
            report(&unfinished);
            tokio::time::sleep(waits.next().unwrap_or_default()).await;
        }
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        debug!(rollout = self.rollout, route = route.name, milliseconds, "the header route is there");
        Ok(())
    }

    async fn try_to_make(&self, route: &Route) -> Result<(), Cause> {
        let _turn = self.managed.turn.lock().await;
        let found = self.finder.find(&mut KnownTags::default()).await?;
        let around = self.around(&found).await?;
        if missing(&around, route, found.is_followed()).is_empty() {
            return Ok(());
        }
        if self.finder.wish.writes_nothing() {
            return Err(Cause::AwaitsRoute("nothing is written for this Rollout".to_owned()));
        }
        if found.is_followed() {
            self.tell(&found, route).await?;
        } else {
            self.add(&around, route).await?;
        }
        let around = self.around(&found).await?;
        match missing(&around, route, found.is_followed()).first() {
            None => {
                info!(rollout = self.rollout, route = route.name, "the header route is on every listener");
                Ok(())
            }
            Some(rule) => {
                let waits_for = if found.is_followed() { "the load balancer controller" } else { "DescribeRules" };
                let why = format!("{waits_for} does not show it yet before rule {}", rule.arn());
                Err(Cause::AwaitsRoute(why))
            }
        }
    }

    /// Through the Ingresses that somebody follows.
    async fn tell(&self, found: &Found, route: &Route) -> Result<(), Cause> {
        let wish = self.finder.wish;
        let services = &wish.services;
        let ours = [services.stable.clone(), services.canary.clone()];
        let through = route.through_an_ingress(&services.canary);
        for ingress in &found.ingresses {
            let cluster = &self.finder.means.cluster;
            cluster.add_route(&services.namespace, ingress, &wish.narrowing.prefix, &ours, &through).await?;
        }
        Ok(())
    }

    /// As rules of our own: all of them, or none.
    async fn add(&self, around: &Around, route: &Route) -> Result<(), Cause> {
        let mut all = Vec::new();
        for before in missing(around, route, false) {
            let Some((_, groups)) = around.shifted.iter().find(|(rule, _)| rule.arn() == before.arn()) else {
                continue;
            };
            let priority = own::priority(route, before, &around.rules, &around.own)
                .map_err(|no_room| Cause::NoRoute { before: before.arn().clone(), why: no_room.to_string() })?;
            let new = NewRule {
                before: before.clone(),
                priority,
                headers: route.headers.clone(),
                group: groups.canary.clone(),
                tags: own::tags(&self.rollout, &route.name, before),
            };
            new.check()?;
            all.push(new);
        }
        for new in all {
            if let Some(wrong) = own::made(&around.own, route, &new.before) {
                self.finder.balancer.remove_rule(wrong.rule.arn()).await?;
            }
            let rule = self.finder.balancer.add_rule(&new).await?;
            info!(rollout = self.rollout, route = route.name, rule = %rule, before = %new.before.arn(), "a rule was added");
        }
        Ok(())
    }

    /// Reads the rules around those that are shifted.
    pub(super) async fn around(&self, found: &Found) -> Result<Around, Cause> {
        let rules = self.finder.all_rules_around(found.split.groups.iter().map(|groups| &groups.stable)).await?;
        let shifted = rules.iter().filter(|rule| found.rules.contains(rule.arn())).filter_map(|rule| {
            let groups = found.split.groups_in(&rule.groups()).ok()?;
            Some((rule.clone(), groups.clone()))
        });
        let shifted: Vec<(Rule, Groups)> = shifted.collect();
        let own = if found.is_followed() { Vec::new() } else { self.own(&rules).await? };
        Ok(Around { rules, shifted, own })
    }

    async fn own(&self, rules: &[Rule]) -> Result<Vec<Own>, Cause> {
        // Rules without header conditions are no routes, and nobody has to ask for their tags.
        let candidates: Vec<Rule> = rules.iter().filter(|rule| rule.has_header_conditions()).cloned().collect();
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let arns: Vec<String> = candidates.iter().map(|rule| rule.arn().as_str().to_owned()).collect();
        let tags: Vec<Tags> = match self.finder.balancer.tags(&arns).await {
            Ok(tags) => tags,
            // Somebody removed one of them meanwhile.
            Err(error) if error.kind() == ErrorKind::Missing => return Err(Cause::Changing),
            Err(error) => return Err(error.into()),
        };
        Ok(own::known(candidates.into_iter().zip(tags).collect(), &self.rollout))
    }
}

/// The shifted rules that the route does not stand before.
fn missing<'a>(around: &'a Around, route: &Route, followed: bool) -> Vec<&'a Rule> {
    if !followed {
        let is_made = |(rule, groups): &&(Rule, Groups)| {
            own::made(&around.own, route, rule).is_some_and(|own| own::is_right(&own.rule, route, rule, &groups.canary))
        };
        return around.shifted.iter().filter(|shifted| !is_made(shifted)).map(|(rule, _)| rule).collect();
    }
    // The controller makes one for each path, right before the path's own.
    let listeners = around.shifted.iter().map(|(rule, _)| rule.arn().listener());
    let mut listeners: Vec<String> = listeners.collect();
    listeners.sort();
    listeners.dedup();
    let lacking = listeners.iter().filter_map(|listener| {
        let here = |rule: &Rule| rule.arn().listener() == *listener;
        let shifted: Vec<&(Rule, Groups)> = around.shifted.iter().filter(|(rule, _)| here(rule)).collect();
        let is_route =
            |rule: &&Rule| shifted.iter().any(|(before, groups)| own::is_right(rule, route, before, &groups.canary));
        let routes = around.rules.iter().filter(|rule| here(rule)).filter(is_route).count();
        // No path leads to the default rule.
        let paths: Vec<&Rule> = shifted.iter().map(|(rule, _)| rule).filter(|rule| !rule.is_default()).collect();
        if routes < paths.len() { paths.first().copied() } else { None }
    });
    lacking.collect()
}
