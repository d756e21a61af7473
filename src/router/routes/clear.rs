//! Removes managed routes that nobody wishes any more.

use tracing::info;

use super::make::Maker;
use super::{Route, own};
use crate::alb::{Rule, Urgency, WeightedGroup};
use crate::cluster::ErrorKind;
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
            routes.extend(self.written(found, &names).await?);
            self.untell(found, &names).await?;
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

    /// Routes of these names that are written in an Ingress; an earlier process may have written them.
    async fn written(&self, found: &Found, names: &[String]) -> Result<Vec<Route>, Cause> {
        let wish = self.finder.wish;
        let here = self.finder.means.cluster.ingresses(&wish.services.namespace, &wish.narrowing.prefix).await?;
        let actions =
            here.into_iter().filter(|ingress| found.ingresses.contains(&ingress.name)).flat_map(|one| one.actions);
        let routes = actions.filter(|action| names.contains(&action.name) && !action.headers.is_empty());
        let condition = |header: crate::cluster::HeaderCondition| crate::alb::HeaderCondition {
            header: header.header,
            values: header.values,
            regex_values: header.regex_values,
        };
        let route = |action: crate::cluster::Action| Route {
            name: action.name,
            headers: action.headers.into_iter().map(condition).collect(),
            all: names.to_vec(),
        };
        Ok(routes.map(route).collect())
    }

    async fn untell(&self, found: &Found, names: &[String]) -> Result<(), Cause> {
        let wish = self.finder.wish;
        for ingress in &found.ingresses {
            let cluster = &self.finder.means.cluster;
            match cluster.remove_routes(&wish.services.namespace, ingress, &wish.narrowing.prefix, names).await {
                Ok(()) => {}
                // Gone with all its routes.
                Err(error) if error.kind() == ErrorKind::Missing => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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
