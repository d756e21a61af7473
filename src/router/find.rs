//! Where a wish is to be true: the rules, the target groups between which they divide, and who else writes them.
//!
//! An author who names target groups is taken at their word. Otherwise TargetGroupBindings lead from the Rollout's Services to
//! target groups, those to load balancers, their listeners, and the rules that hold both. What is decided here is decided by
//! pure parts: which bindings count (`bound`), which rules and who owns them (`rules`, `owner`), what an Ingress
//! still lacks (`groundwork`).

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tracing::debug;

use super::means::Means;
use super::plan::{Division, Groups, Split};
use super::routes::Managed;
use super::unfinished::Cause;
use super::wish::{Services, Source, Wish};
use crate::alb::{LoadBalancer, Rule, RuleArn, Tags, TargetGroupArn};
use crate::cluster::{self, ErrorKind, Joining, Maker};
use bound::Candidates;
use rules::holding_both;

pub(super) use error::{FindError, Remedy};
pub(super) use rules::RulesError;

mod bound;
mod error;
mod groundwork;
mod owner;
mod rules;

/// Tags say who made a thing, and that seldom changes.
const TAGS_STAND: Duration = Duration::from_secs(600);

/// Where a wish is to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The division, and the target groups.
    pub(super) split: Split,
    /// The rules that hold both groups.
    pub(super) rules: Vec<RuleArn>,
    /// The Ingresses that somebody else makes true; none means that nobody else writes the rules.
    pub(super) ingresses: Vec<String>,
    /// Further Services, as they come into those Ingresses.
    pub(super) joining: Vec<Joining>,
}

impl Found {
    /// Somebody else writes the rules, too.
    pub(super) fn is_followed(&self) -> bool {
        !self.ingresses.is_empty()
    }

    /// Target groups and rules as JSON, for programs to read.
    pub(super) fn note(&self) -> String {
        let groups = |of: fn(&Groups) -> &TargetGroupArn| -> Vec<&str> {
            self.split.groups.iter().map(|groups| of(groups).as_str()).collect()
        };
        let (stable, canary) = (groups(|groups| &groups.stable), groups(|groups| &groups.canary));
        let rules: Vec<&str> = self.rules.iter().map(RuleArn::as_str).collect();
        json!({"stable": stable, "canary": canary, "rules": rules}).to_string()
    }
}

/// Tags that were read lately, by ARN.
#[derive(Debug, Default)]
pub(super) struct KnownTags(HashMap<String, (Instant, Tags)>);

/// Looks for the rules of one wish. Writes nothing but what an Ingress lacks before there can be any.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    pub(super) means: &'a Means,
    pub(super) balancer: &'a dyn LoadBalancer,
    pub(super) wish: &'a Wish,
    /// Routes divide no traffic, so they are not among the rules that are shifted.
    pub(super) managed: &'a Managed,
    /// The Rollout's name.
    pub(super) rollout: &'a str,
}

impl Finder<'_> {
    /// Finds them, or says what is missing or unclear.
    pub(super) async fn find(&self, tags: &mut KnownTags) -> Result<Found, Cause> {
        match &self.wish.source {
            Source::Named { groups, rules } => self.named(groups, rules.as_deref()).await,
            Source::Bound => self.bound(tags).await,
        }
    }

    async fn named(&self, groups: &Groups, rules: Option<&[RuleArn]>) -> Result<Found, Cause> {
        let split = Split { division: self.wish.division.clone(), groups: [groups.clone()].into() };
        let rules = match rules {
            Some(named) => named.to_vec(),
            None => {
                let candidates = Candidates::named(groups);
                let around = self.rules_around(&candidates).await?;
                holding_both(&around, &candidates, self.wish.lets_stable_go)?.rules
            }
        };
        // Beside groups that are named there are no further Services.
        Ok(Found { split, rules, ingresses: self.wish.narrowing.ingresses.clone(), joining: Vec::new() })
    }

    async fn bound(&self, tags: &mut KnownTags) -> Result<Found, Cause> {
        let namespace = &self.wish.services.namespace;
        let bindings = self.means.cluster.bindings(Some(namespace)).await?;
        let port = self.port().await?;
        let mut candidates = match Candidates::of(&bindings, self.wish, port.as_ref()) {
            Ok(candidates) => candidates,
            Err(missing) => return Err(self.lay_groundwork(missing).await),
        };
        let around = self.rules_around(&candidates).await?;
        let mut held = match holding_both(&around, &candidates, self.wish.lets_stable_go) {
            Ok(held) => held,
            Err(missing @ RulesError::None { .. }) if candidates.are_made_by(Maker::Ingress) => {
                return Err(self.lay_groundwork(missing.into()).await);
            }
            Err(error) => return Err(error.into()),
        };
        let ingresses = if self.wish.observes {
            Vec::new()
        } else if candidates.are_made_by(Maker::Ingress) {
            // With dynamicStableScale stable's pods go away under every Ingress, so none may be left alone.
            if !self.wish.narrowing.ingresses.is_empty() && !self.wish.lets_stable_go {
                candidates.leave(&self.of_other_ingresses(&held.groups, tags).await?);
                // Where nothing is left, the words are those about the Ingresses.
                held = holding_both(&around, &candidates, false).unwrap_or(held);
            }
            self.ingresses(&held.groups, tags).await?
        } else {
            self.check_nobody_owns(&held, tags).await?;
            Vec::new()
        };
        let split = Split { division: self.wish.division.clone(), groups: held.groups.into() };
        if let Some(lacking) = rules::lacks_further(&around, &held.rules, &split) {
            return Err(self.lay_groundwork(lacking).await);
        }
        let joining = if ingresses.is_empty() { Vec::new() } else { self.all_joining().await? };
        Ok(Found { split, rules: held.rules, ingresses, joining })
    }

    /// The Service's port that the author means, under all its names.
    async fn port(&self) -> Result<Option<bound::PortNames>, Cause> {
        let Some(port) = &self.wish.narrowing.port else { return Ok(None) };
        let services = &self.wish.services;
        let service = self.means.cluster.service(&services.namespace, &services.stable).await?;
        Ok(Some(bound::PortNames::of(port, &service)))
    }

    /// The rules around these, without those of managed routes.
    async fn rules_around(&self, candidates: &Candidates) -> Result<Vec<Rule>, Cause> {
        let mut rules = self.all_rules_around(candidates.stable.iter().map(|bound| &bound.group)).await?;
        rules.retain(|rule| !self.managed.has(rule));
        Ok(rules)
    }

    /// All rules of all load balancers that these groups are attached to. A group belongs to one load balancer, so where
    /// one is held by a rule that was read, all around it were.
    pub(super) async fn all_rules_around(
        &self,
        groups: impl Iterator<Item = &TargetGroupArn>,
    ) -> Result<Vec<Rule>, Cause> {
        let mut rules: Vec<Rule> = Vec::new();
        for group in groups {
            if rules.iter().any(|rule| rule.weight_of(group).is_some()) {
                continue;
            }
            let around = self.balancer.rules_around(group).await?.rules;
            let new = around.into_iter().filter(|rule| rules.iter().all(|known| known.arn() != rule.arn()));
            let new: Vec<Rule> = new.collect();
            rules.extend(new);
        }
        Ok(rules)
    }

    /// The groups that were made for Ingresses of ours which the author does not name.
    async fn of_other_ingresses(&self, groups: &[Groups], tags: &mut KnownTags) -> Result<Vec<String>, Cause> {
        let tagged = self.tags_of(groups, tags).await?;
        let of_another = |(_, tags): &(String, Tags)| {
            owner::is_of_another_ingress(tags, &self.wish.services.namespace, &self.ours(), &self.wish.narrowing)
        };
        Ok(tagged.into_iter().filter(of_another).map(|(arn, _)| arn).collect())
    }

    /// The Ingresses that these groups were made for.
    async fn ingresses(&self, groups: &[Groups], tags: &mut KnownTags) -> Result<Vec<String>, Cause> {
        let (namespace, narrowing) = (&self.wish.services.namespace, &self.wish.narrowing);
        let tagged = self.tags_of(groups, tags).await?;
        if tagged.iter().any(|(_, tags)| !owner::is_tagged(tags)) {
            self.check_unshared(groups).await?;
        }
        let here = self.means.cluster.ingresses(namespace, &narrowing.prefix).await?;
        Ok(owner::ingresses(&tagged, &here, &self.wish.services, &self.ours(), narrowing)?)
    }

    /// The Services that are to have traffic, or had some.
    fn ours(&self) -> Vec<&str> {
        let further = self.wish.division.further.iter().map(|further| further.service.as_str());
        self.wish.services.names().into_iter().chain(further).collect()
    }

    /// The groups' bindings were made by hand, so no controller may own what they lead to, and no other namespace may use them.
    async fn check_nobody_owns(&self, held: &rules::Held, tags: &mut KnownTags) -> Result<(), Cause> {
        let groups: Vec<&TargetGroupArn> = self.carrying(&held.groups);
        let listeners = held.rules.iter().flat_map(|rule| [rule.listener(), rule.load_balancer()]);
        let mut arns: Vec<String> = groups.iter().map(|arn| arn.as_str().to_owned()).chain(listeners).collect();
        arns.sort();
        arns.dedup();
        owner::check_untagged(&self.tags(&arns, tags).await?)?;
        self.check_unshared(&held.groups).await
    }

    /// No other namespace uses them.
    async fn check_unshared(&self, groups: &[Groups]) -> Result<(), Cause> {
        let groups = self.carrying(groups);
        let everywhere = match self.means.cluster.bindings(None).await {
            Ok(everywhere) => everywhere,
            // A controller that sees one namespace serves one namespace.
            Err(error) if error.kind() == ErrorKind::Access => {
                debug!("bindings of other namespaces cannot be seen: {error}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        Ok(owner::check_unshared(&everywhere, &groups, &self.wish.services.namespace)?)
    }

    /// Those of the groups that are to have traffic, or keep what they have. An experiment that ended takes its group with it.
    fn carrying<'g>(&self, groups: &'g [Groups]) -> Vec<&'g TargetGroupArn> {
        let further = |groups: &'g Groups| {
            let parts = groups.further.iter().zip(&self.wish.division.further);
            parts.filter(|(_, part)| part.weight > 0).filter_map(|(group, _)| group.as_ref())
        };
        groups.iter().flat_map(|groups| [&groups.stable, &groups.canary].into_iter().chain(further(groups))).collect()
    }

    /// The tags of those of them that are carrying.
    async fn tags_of(&self, groups: &[Groups], known: &mut KnownTags) -> Result<Vec<(String, Tags)>, Cause> {
        let arns: Vec<String> = self.carrying(groups).into_iter().map(|arn| arn.as_str().to_owned()).collect();
        self.tags(&arns, known).await
    }

    /// Their tags, in this order.
    async fn tags(&self, arns: &[String], known: &mut KnownTags) -> Result<Vec<(String, Tags)>, Cause> {
        known.0.retain(|_, (read, _)| read.elapsed() < TAGS_STAND);
        let unknown: Vec<String> = arns.iter().filter(|arn| !known.0.contains_key(*arn)).cloned().collect();
        if !unknown.is_empty() {
            let now = Instant::now();
            let read = self.balancer.tags(&unknown).await?;
            known.0.extend(unknown.into_iter().zip(read).map(|(arn, tags)| (arn, (now, tags))));
        }
        Ok(arns.iter().filter_map(|arn| Some((arn.clone(), known.0.get(arn)?.1.clone()))).collect())
    }
}

/// The first of these Ingresses that names both Services and does not divide their traffic so: the built-in router stops at the
/// first one that shows its wish already (`rollout/trafficrouting/alb/alb.go` of Argo Rollouts).
pub(super) fn lacking(here: &[cluster::Ingress], services: &Services, division: &Division) -> Option<String> {
    let lacks = |ingress: &&cluster::Ingress| {
        ingress.actions.iter().any(|action| {
            let shown = (action.forward(&services.stable), action.forward(&services.canary));
            let (Some(stable), Some(canary)) = shown else { return false };
            (stable.weight, canary.weight) != (Some(division.stable()), Some(division.canary))
        })
    };
    here.iter().find(lacks).map(|ingress| ingress.name.clone())
}

/// What a Service has to do with another: the same Pods stand behind both, whatever version.
fn selects_same(one: &cluster::Service, other: &cluster::Service) -> bool {
    let selector = |service: &cluster::Service| {
        let mut selector = service.selector.clone();
        selector.remove(super::gate::HASH);
        selector
    };
    !selector(one).is_empty() && selector(one) == selector(other)
}
