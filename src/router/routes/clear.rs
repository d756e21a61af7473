//! Removes managed routes that nobody wishes any more.

use tracing::info;

use super::make::Maker;
use super::{Route, own};
use crate::alb::{HeaderCondition, Rule, Urgency, WeightedGroup};
use crate::cluster::{self, Action, ErrorKind};
use crate::router::find::Found;
use crate::router::unfinished::Cause;

impl Maker<'_> {
    /// Ends when no rule of such a route leads to the canary any more. What is known to be gone costs no call.
    pub(in crate::router) async fn clear(&self, found: &Found) -> Result<(), Cause> {
        if self.finder.wish.writes_nothing() || !self.managed.has_unwished() {
            return Ok(());
        }
        let _turn = self.managed.turn.lock().await;
        let (names, mut routes) = self.managed.unwished();
        if names.is_empty() {
            return Ok(());
        }
        if found.is_followed() {
            routes.extend(self.untell(found, &names).await?);
        }
        let leading = self.leading(found, &names, &routes).await?;
        for (rule, stable) in &leading {
            match stable {
                Some(stable) => self.turn_to(rule, stable).await?,
                None => {
                    self.finder.balancer.remove_rule(rule.arn()).await?;
                    info!(rollout = self.rollout, rule = %rule.arn(), "a rule of a header route was removed");
                }
            }
        }
        if !leading.is_empty() && !self.leading(found, &names, &routes).await?.is_empty() {
            let why = "DescribeRules still shows a rule of it that leads to the canary".to_owned();
            return Err(Cause::Route { route: names.join(", "), why });
        }
        self.managed.is_gone(&names);
        Ok(())
    }

    /// Takes the routes out of the Ingresses. Answers with those that were written there: an earlier process may have written
    /// them, and this one must know them again.
    async fn untell(&self, found: &Found, names: &[String]) -> Result<Vec<Route>, Cause> {
        let (cluster, wish) = (&self.finder.means.cluster, self.finder.wish);
        let (namespace, prefix) = (&wish.services.namespace, &wish.narrowing.prefix);
        let here = cluster.ingresses(namespace, prefix).await?;
        let mut written = Vec::new();
        for ingress in &found.ingresses {
            let actions = here.iter().filter(|one| one.name == *ingress).flat_map(|one| &one.actions);
            let routes = actions.filter(|action| names.contains(&action.name) && !action.headers.is_empty());
            // Another Rollout's route may have the same name in an Ingress of both.
            let (ours, others): (Vec<_>, Vec<_>) = routes.partition(|action| self.leads_here(action));
            let names: Vec<String> =
                names.iter().filter(|name| others.iter().all(|action| action.name != **name)).cloned().collect();
            written.extend(ours.into_iter().map(|action| route(action, &names)));
            self.managed.found(&written);
            match cluster.remove_routes(namespace, ingress, prefix, &names).await {
                Ok(()) => {}
                // Gone with all its routes.
                Err(error) if error.kind() == ErrorKind::Missing => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }

    /// It names no Service but the Rollout's own.
    fn leads_here(&self, action: &Action) -> bool {
        let ours = self.finder.wish.services.names();
        action.forwards.iter().flatten().all(|forward| ours.contains(&forward.service.as_str()))
    }

    /// The rules of these routes that lead to the canary, each with the stable group that takes over; none where the rule is
    /// our own, and goes.
    async fn leading(
        &self,
        found: &Found,
        names: &[String],
        routes: &[Route],
    ) -> Result<Vec<(Rule, Option<WeightedGroup>)>, Cause> {
        let around = self.around(found).await?;
        if !found.is_followed() {
            let own = around.own.into_iter().filter(|own| names.contains(&own.route));
            return Ok(own.map(|own| (own.rule, None)).collect());
        }
        let leads = |rule: &Rule| {
            let is_route = routes.iter().any(|route| route.is_in(rule));
            let groups = found.split.groups.iter().find(|groups| is_route && own::leads_to(rule, &groups.canary))?;
            Some((rule.clone(), Some(WeightedGroup { group: groups.stable.clone(), weight: 1 })))
        };
        Ok(around.rules.iter().filter_map(leads).collect())
    }

    /// Until the controller has deleted the rule, its requests go where all others go.
    async fn turn_to(&self, rule: &Rule, stable: &WeightedGroup) -> Result<(), Cause> {
        let balancer = self.finder.balancer;
        let turn = balancer.turn(rule.arn(), Urgency::First).await;
        balancer.set_weights(rule, std::slice::from_ref(stable), turn).await?;
        info!(rollout = self.rollout, rule = %rule.arn(), "a rule of a header route leads to stable now");
        Ok(())
    }
}

/// A route as an Ingress has it.
fn route(action: &Action, all: &[String]) -> Route {
    let condition = |header: &cluster::HeaderCondition| HeaderCondition {
        header: header.header.clone(),
        values: header.values.clone(),
        regex_values: header.regex_values.clone(),
    };
    let headers = action.headers.iter().map(condition).collect();
    Route { name: action.name.clone(), headers, all: all.to_vec() }
}
