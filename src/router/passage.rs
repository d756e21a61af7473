//! What may be written now: the wish, or what is safe until its Pods are ready. Reads Pods and target health, writes
//! nothing and holds no lock, since it is asked again and again while Pods start.

use futures_util::future::try_join;
use tokio::time::Instant;

use super::answer::Toward;
use super::gate::{HASH, Promotion, Share, Side};
use super::plan::{Direction, Split};
use super::unfinished::Cause;
use super::wish::{Recorded, Wish};
use crate::alb::{LoadBalancer, Observation, TargetGroupArn};
use crate::cluster::Cluster;

/// What the gates let through.
#[derive(Debug)]
pub(super) struct Passage {
    /// The division to write; none while all must stay as it is.
    pub(super) split: Option<Split>,
    /// Which ways traffic may move toward it. A rule that would move another way has changed since it was looked at.
    pub(super) directions: Vec<Direction>,
    /// What the wish still waits for once that is written.
    pub(super) awaits: Option<Cause>,
    /// Each group with weight stands behind a Service that selects the stable version.
    pub(super) stable_serves_all: bool,
}

/// What the gates look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gatekeeper<'a> {
    pub(super) balancer: &'a dyn LoadBalancer,
    pub(super) cluster: &'a dyn Cluster,
    pub(super) wish: &'a Wish,
    pub(super) recorded: Recorded,
    /// The wish was true before.
    pub(super) was_true: bool,
}

impl Gatekeeper<'_> {
    /// Decides for rules that look like this.
    pub(super) async fn let_through(&self, observation: &Observation) -> Result<Passage, Cause> {
        let wish = self.wish;
        let directions = directions(&wish.split, observation);
        // At a first install nothing was promoted, and nobody has traffic to keep. The next update may have begun already.
        let promotes = wish.gates.promotion
            && wish.split.canary_weight == 0
            && (self.recorded.other_version || wish.is_promoted() && !directions.is_empty());
        let gated = wish.gates.rising && !directions.is_empty() && !wish.is_way_back();
        if let Some(awaits) = self.takes_over_too_soon().await? {
            let split = directions.is_empty().then(|| wish.split.clone());
            return Ok(Passage { split, directions, awaits: Some(awaits), stable_serves_all: false });
        }
        // What the canary has, or keeps, may stand for other Pods than before: those of another version, behind the same
        // Service. After an abort the host moves that Service to and fro.
        let stands_for_others = wish.gates.rising
            && (directions.is_empty() || !directions.contains(&Direction::ToCanary) && !wish.is_aborted())
            && !self.was_true
            && !wish.is_promoted()
            && wish.split.canary_weight > 0;
        if !gated && !promotes && !stands_for_others {
            return Ok(Passage::free(&wish.split));
        }
        if !promotes && directions == [Direction::ToCanary] {
            return self.raise().await;
        }
        let sides = try_join(
            self.side(&wish.services.stable, &wish.split.stable),
            self.side(&wish.services.canary, &wish.split.canary),
        );
        let (stable, canary) = sides.await?;
        if promotes {
            return Ok(self.promotion(&stable, &canary, observation, directions));
        }
        let share = if directions.contains(&Direction::ToStable) { self.share_of_stable().await? } else { None };
        let closed = directions.iter().find_map(|direction| self.closed(*direction, &stable, &canary, share));
        if stands_for_others {
            return Ok(self.other_pods(&stable, &canary, observation, closed));
        }
        let split = closed.is_none().then(|| wish.split.clone());
        let stable_serves_all = self.stable_serves_all(&stable, &canary, observation);
        Ok(Passage { split, directions, awaits: closed, stable_serves_all })
    }

    /// The canary gets more. DescribeTargetHealth sees one group a call, so where its Pods are there nobody looks at stable's.
    async fn raise(&self) -> Result<Passage, Cause> {
        let wish = self.wish;
        let canary = self.side(&wish.services.canary, &wish.split.canary).await?;
        let awaits = if wish.gates.is_open(&canary, self.recorded.no_pods) {
            None
        } else {
            let stable = self.side(&wish.services.stable, &wish.split.stable).await?;
            self.closed(Direction::ToCanary, &stable, &canary, None)
        };
        let split = awaits.is_none().then(|| wish.split.clone());
        Ok(Passage { split, directions: vec![Direction::ToCanary], awaits, stable_serves_all: false })
    }

    fn promotion(
        &self,
        stable: &Side,
        canary: &Side,
        observation: &Observation,
        directions: Vec<Direction>,
    ) -> Passage {
        let wish = self.wish;
        let hash = wish.stable_hash();
        let stable_serves_all = self.stable_serves_all(stable, canary, observation);
        let (split, directions, awaits) = match wish.gates.promotion(stable, canary, hash, self.recorded.no_pods) {
            Promotion::Stable => {
                let closed = directions.iter().find_map(|direction| self.closed(*direction, stable, canary, None));
                (closed.is_none().then(|| wish.split.clone()), directions, closed)
            }
            Promotion::Canary => {
                let all = Split { canary_weight: wish.split.max, ..wish.split.clone() };
                (Some(all), vec![Direction::ToCanary], Some(self.awaits_promotion()))
            }
            Promotion::AsItIs => (None, directions, Some(self.awaits_promotion())),
        };
        // With neither group ready, whoever still serves is an old Pod: none may go.
        let stable_serves_all = stable_serves_all && split.is_some();
        Passage { split, directions, awaits, stable_serves_all }
    }

    fn stable_serves_all(&self, stable: &Side, canary: &Side, observation: &Observation) -> bool {
        let wish = self.wish;
        let carries = |group: &TargetGroupArn| {
            observation.rules.iter().any(|rule| rule.weight_of(group).is_some_and(|weight| weight > 0))
        };
        let hash = wish.stable_hash();
        (!carries(&wish.split.stable) || stable.selects(hash)) && (!carries(&wish.split.canary) || canary.selects(hash))
    }

    /// The canary group has weight, and its Service may have left the Pods in it for others that are not there yet. Then the
    /// traffic waits for them on stable.
    fn other_pods(&self, stable: &Side, canary: &Side, observation: &Observation, lowering: Option<Cause>) -> Passage {
        let wish = self.wish;
        let falls = !directions(&wish.split, observation).is_empty();
        let closed = self.closed(Direction::ToCanary, stable, canary, None);
        // Some Pods of its own are some reason to stay.
        let leave =
            canary.healthy == 0 && stable.healthy > 0 && wish.gates.may_rise(stable, canary, self.recorded.no_pods);
        let split = match (&closed, leave) {
            (Some(_), true) => Some(Split { canary_weight: 0, ..wish.split.clone() }),
            (Some(_), false) if !falls => None,
            _ => lowering.is_none().then(|| wish.split.clone()),
        };
        let awaits = closed.or(lowering);
        let stable_serves_all = self.stable_serves_all(stable, canary, observation);
        Passage { split, directions: vec![Direction::ToStable], awaits, stable_serves_all }
    }

    /// What a move this way waits for, if its gate is closed.
    fn closed(&self, direction: Direction, stable: &Side, canary: &Side, share: Option<Share>) -> Option<Cause> {
        let wish = self.wish;
        let (to, from, service, group) = match direction {
            Direction::ToCanary => (canary, stable, &wish.services.canary, &wish.split.canary),
            Direction::ToStable => (stable, canary, &wish.services.stable, &wish.split.stable),
        };
        let service = || format!("{}/{service}", wish.services.namespace);
        if !wish.gates.may_rise(to, from, self.recorded.no_pods) {
            let percent = wish.gates.min_healthy_percent;
            return Some(Cause::Rising { group: group.clone(), service: service(), percent });
        }
        let share = share.filter(|_| direction == Direction::ToStable)?;
        let enough = wish.gates.may_carry(to, from, share);
        (!enough).then(|| Cause::TooFewPods { group: group.clone(), service: service(), pods: share.pods })
    }

    /// With dynamicStableScale: what the wished share of stable needs. The host decides by counts of Pods that may be on their way
    /// out already: right after a step an abort asks for nearly all traffic on stable while its Pods go.
    async fn share_of_stable(&self) -> Result<Option<Share>, Cause> {
        let wish = self.wish;
        let Some(replicas) = self.recorded.replicas.filter(|_| wish.lets_stable_go && !wish.is_promoted()) else {
            return Ok(None);
        };
        let pods = (replicas * u64::from(wish.split.stable_weight())).div_ceil(u64::from(wish.split.max.max(1)));
        let staying = self.cluster.desired_pods(&wish.services.namespace, HASH, wish.stable_hash()).await?;
        Ok(Some(Share { pods: usize::try_from(pods).unwrap_or(usize::MAX), staying }))
    }

    /// Without steps, and when promoted in full, the host promotes as soon as the new Pods are ready, whatever their group
    /// says of them. Once the stable Service's selector has moved too, no group could carry the traffic. So the host is held
    /// before it gets there, but not before it has scaled the new version up.
    async fn takes_over_too_soon(&self) -> Result<Option<Cause>, Cause> {
        let wish = self.wish;
        let Some(replicas) = self.recorded.replicas.filter(|_| wish.gates.promotion && wish.is_promoted_next()) else {
            return Ok(None);
        };
        let replicas = usize::try_from(replicas).unwrap_or(usize::MAX);
        let desired = self.cluster.desired_pods(&wish.services.namespace, HASH, wish.current_hash()).await?;
        if desired < replicas {
            return Ok(None);
        }
        let canary = self.side(&wish.services.canary, &wish.split.canary).await?;
        let service = || format!("{}/{}", wish.services.namespace, wish.services.canary);
        let cause = || Cause::TakingOver {
            group: wish.split.canary.clone(),
            service: service(),
            pods: replicas,
            percent: wish.gates.min_healthy_percent,
        };
        Ok((!wish.gates.may_take_over(&canary, replicas)).then(cause))
    }

    async fn side(&self, service: &str, group: &TargetGroupArn) -> Result<Side, Cause> {
        let backends = async { Ok(self.cluster.backends(&self.wish.services.namespace, service).await?) };
        let targets = async { Ok::<_, Cause>(self.balancer.targets(group, Instant::now()).await?) };
        let (backends, targets) = try_join(backends, targets).await?;
        Ok(Side::of(&backends, &targets))
    }

    fn awaits_promotion(&self) -> Cause {
        let Split { stable, canary, .. } = &self.wish.split;
        let services = &self.wish.services;
        Cause::Promotion {
            canary: canary.clone(),
            stable: stable.clone(),
            service: format!("{}/{}", services.namespace, services.stable),
            percent: self.wish.gates.min_healthy_percent,
        }
    }
}

impl Passage {
    /// No gate stands in the way.
    pub(super) fn free(split: &Split) -> Self {
        let directions = vec![Direction::ToCanary, Direction::ToStable];
        Self { split: Some(split.clone()), directions, awaits: None, stable_serves_all: false }
    }
}

/// Where the traffic of these rules is to move.
pub(super) fn toward(split: &Split, observation: &Observation) -> Toward {
    match directions(split, observation).as_slice() {
        [] => Toward::Nobody,
        [Direction::ToCanary] => Toward::Canary,
        _ => Toward::Stable,
    }
}

/// Which ways traffic would move. Rules that show different weights can move different ways.
fn directions(split: &Split, observation: &Observation) -> Vec<Direction> {
    let mut directions: Vec<Direction> =
        observation.rules.iter().filter_map(|rule| split.direction(&rule.groups())).collect();
    directions.sort_unstable();
    directions.dedup();
    directions
}
