//! What may be written now: the wish, or what is safe until its Pods are ready. Reads Pods and target health, writes
//! nothing and holds no lock, since it is asked again and again while Pods start.

use futures_util::future::{try_join, try_join_all};
use tokio::time::Instant;

use super::answer::Toward;
use super::gate::{HASH, Promotion, Share, Side};
use super::plan::{Direction, Split};
use super::progress::Carrying;
use super::unfinished::Cause;
use super::wish::{Recorded, Wish};
use crate::alb::{LoadBalancer, Observation, Rule, TargetGroupArn};
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
    /// It was promoted, and neither group has its Pods: whoever still serves is an old one, and none may go.
    pub(super) old_pods_serve: bool,
}

/// What the gates look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gatekeeper<'a> {
    pub(super) balancer: &'a dyn LoadBalancer,
    pub(super) cluster: &'a dyn Cluster,
    pub(super) wish: &'a Wish,
    pub(super) split: &'a Split,
    pub(super) recorded: Recorded,
    /// The wish was true before.
    pub(super) was_true: bool,
}

impl Gatekeeper<'_> {
    /// Decides for rules that look like this.
    pub(super) async fn let_through(&self, observation: &Observation) -> Result<Passage, Cause> {
        let mut directions = directions(self.split, observation);
        // An experiment that ended takes its Service with it. Nobody waits for Pods then.
        let moving =
            || observation.rules.iter().map(Rule::groups).filter(|groups| !self.split.directions(groups).is_empty());
        if moving().next().is_some() && moving().all(|groups| self.split.only_ends_further(&groups)) {
            return Ok(Passage::free(self.split));
        }
        if self.wish.gates.rising
            && directions.contains(&Direction::Further)
            && let Some(closed) = self.closed_further().await?
        {
            return Ok(Passage { split: None, directions, awaits: Some(closed), old_pods_serve: false });
        }
        directions.retain(|direction| *direction != Direction::Further);
        let mut passage = self.between_versions(observation, directions).await?;
        passage.directions.push(Direction::Further);
        Ok(passage)
    }

    /// Decides about traffic between stable and the canary, which would move these ways.
    async fn between_versions(&self, observation: &Observation, directions: Vec<Direction>) -> Result<Passage, Cause> {
        let wish = self.wish;
        // At a first install nothing was promoted, and nobody has traffic to keep. The next update may have begun already.
        let promotes = wish.gates.promotion
            && wish.division.canary == 0
            && (self.recorded.other_version || wish.is_promoted() && !directions.is_empty());
        let gated = wish.gates.rising && !directions.is_empty() && !wish.is_way_back();
        if let Some(awaits) = self.takes_over_too_soon().await? {
            let split = directions.is_empty().then(|| self.split.clone());
            return Ok(Passage { split, directions, awaits: Some(awaits), old_pods_serve: false });
        }
        // What the canary has, or keeps, may stand for other Pods than before: those of another version, behind the same
        // Service. After an abort the host moves that Service to and fro.
        let stands_for_others = wish.gates.rising
            && (directions.is_empty() || !directions.contains(&Direction::Canary) && !wish.is_aborted())
            && !self.was_true
            && !wish.is_promoted()
            && wish.division.canary > 0;
        if !gated && !promotes && !stands_for_others {
            return Ok(Passage::free(self.split));
        }
        if !promotes && directions == [Direction::Canary] {
            return self.raise().await;
        }
        let sides = try_join(self.stable(), self.canary());
        let (stable, canary) = sides.await?;
        if promotes {
            return Ok(self.promotion(&stable, &canary, directions));
        }
        let share = if directions.contains(&Direction::Stable) { self.share_of_stable().await? } else { None };
        let closed = directions.iter().find_map(|direction| self.closed(*direction, &stable, &canary, share));
        if stands_for_others {
            return Ok(self.other_pods(&stable, &canary, observation, closed));
        }
        let split = closed.is_none().then(|| self.split.clone());
        Ok(Passage { split, directions, awaits: closed, old_pods_serve: false })
    }

    /// The canary gets more. DescribeTargetHealth sees one group a call, so where its Pods are there nobody looks at stable's.
    async fn raise(&self) -> Result<Passage, Cause> {
        let wish = self.wish;
        let canary = self.canary().await?;
        let awaits = if wish.gates.is_open(&canary, self.recorded.no_pods) {
            None
        } else {
            let stable = self.stable().await?;
            self.closed(Direction::Canary, &stable, &canary, None)
        };
        let split = awaits.is_none().then(|| self.split.clone());
        Ok(Passage { split, directions: vec![Direction::Canary], awaits, old_pods_serve: false })
    }

    fn promotion(&self, stable: &Side, canary: &Side, directions: Vec<Direction>) -> Passage {
        let wish = self.wish;
        let hash = wish.stable_hash();
        let (split, directions, awaits) = match wish.gates.promotion(stable, canary, hash, self.recorded.no_pods) {
            Promotion::Stable => {
                let closed = directions.iter().find_map(|direction| self.closed(*direction, stable, canary, None));
                (closed.is_none().then(|| self.split.clone()), directions, closed)
            }
            Promotion::Canary => {
                let all = self.split.with_canary(wish.division.max);
                (Some(all), vec![Direction::Canary], Some(self.awaits_promotion(stable, canary)))
            }
            Promotion::AsItIs => (None, directions, Some(self.awaits_promotion(stable, canary))),
        };
        let old_pods_serve = split.is_none();
        Passage { split, directions, awaits, old_pods_serve }
    }

    /// The canary group has weight, and its Service may have left the Pods in it for others that are not there yet. Then the
    /// traffic waits for them on stable.
    fn other_pods(&self, stable: &Side, canary: &Side, observation: &Observation, lowering: Option<Cause>) -> Passage {
        let wish = self.wish;
        let falls = !directions(self.split, observation).is_empty();
        let closed = self.closed(Direction::Canary, stable, canary, None);
        // Some Pods of its own are some reason to stay.
        let leave =
            canary.healthy == 0 && stable.healthy > 0 && wish.gates.may_rise(stable, canary, self.recorded.no_pods);
        let split = match (&closed, leave) {
            (Some(_), true) => Some(self.split.with_canary(0)),
            (Some(_), false) if !falls => None,
            _ => lowering.is_none().then(|| self.split.clone()),
        };
        let awaits = closed.or(lowering);
        Passage { split, directions: vec![Direction::Stable], awaits, old_pods_serve: false }
    }

    /// What a move this way waits for, if its gate is closed.
    fn closed(&self, direction: Direction, stable: &Side, canary: &Side, share: Option<Share>) -> Option<Cause> {
        let wish = self.wish;
        let (to, from, service) = match direction {
            Direction::Canary => (canary, stable, &wish.services.canary),
            Direction::Stable => (stable, canary, &wish.services.stable),
            // Looked at before.
            Direction::Further => return None,
        };
        let service = || format!("{}/{service}", wish.services.namespace);
        if !wish.gates.may_rise(to, from, self.recorded.no_pods) {
            let percent = wish.gates.min_healthy_percent;
            return Some(Cause::Rising { group: to.group.clone(), service: service(), percent });
        }
        let share = share.filter(|_| direction == Direction::Stable)?;
        let enough = wish.gates.may_carry(to, from, share);
        (!enough).then(|| Cause::TooFewPods { group: to.group.clone(), service: service(), pods: share.pods })
    }

    /// With dynamicStableScale: what the wished share of stable needs. The host decides by counts of Pods that may be on their way
    /// out already: right after a step an abort asks for nearly all traffic on stable while its Pods go.
    async fn share_of_stable(&self) -> Result<Option<Share>, Cause> {
        let wish = self.wish;
        let Some(replicas) = self.recorded.replicas.filter(|_| wish.lets_stable_go && !wish.is_promoted()) else {
            return Ok(None);
        };
        let pods = (replicas * u64::from(wish.division.stable())).div_ceil(u64::from(wish.division.max.max(1)));
        let staying =
            self.cluster.desired_pods(&wish.services.namespace, HASH, wish.stable_hash()).await.map_err(Cause::Pods)?;
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
        let desired = self
            .cluster
            .desired_pods(&wish.services.namespace, HASH, wish.current_hash())
            .await
            .map_err(Cause::Pods)?;
        if desired < replicas {
            return Ok(None);
        }
        let canary = self.canary().await?;
        let service = || format!("{}/{}", wish.services.namespace, wish.services.canary);
        let cause = || Cause::TakingOver {
            group: canary.group.clone(),
            service: service(),
            pods: replicas,
            percent: wish.gates.min_healthy_percent,
        };
        Ok((!wish.gates.may_take_over(&canary, replicas)).then(cause))
    }

    /// A further group that is to have traffic, and has not its Pods.
    async fn closed_further(&self) -> Result<Option<Cause>, Cause> {
        let (namespace, percent) = (&self.wish.services.namespace, self.wish.gates.min_healthy_percent);
        for (at, further) in self.split.division.further.iter().enumerate().filter(|(_, further)| further.weight > 0) {
            let groups = self.split.groups.iter().filter_map(|groups| groups.further.get(at)?.as_ref());
            let side = self.side(&further.service, groups).await?;
            if !self.wish.gates.is_open(&side, self.recorded.no_pods) {
                let service = format!("{namespace}/{}", further.service);
                return Ok(Some(Cause::Rising { group: side.group, service, percent }));
            }
        }
        Ok(None)
    }

    async fn stable(&self) -> Result<Side, Cause> {
        self.side(&self.wish.services.stable, self.split.groups.iter().map(|groups| &groups.stable)).await
    }

    async fn canary(&self) -> Result<Side, Cause> {
        self.side(&self.wish.services.canary, self.split.groups.iter().map(|groups| &groups.canary)).await
    }

    /// The Service's Pods, held against each of its groups. The one that has the fewest of them decides.
    async fn side(&self, service: &str, groups: impl Iterator<Item = &TargetGroupArn>) -> Result<Side, Cause> {
        let backends =
            async { self.cluster.backends(&self.wish.services.namespace, service).await.map_err(Cause::Pods) };
        let targets =
            try_join_all(groups.map(|group| async move {
                Ok::<_, Cause>((group, self.balancer.targets(group, Instant::now()).await?))
            }));
        let (backends, targets) = try_join(backends, targets).await?;
        let sides = targets.iter().map(|(group, targets)| Side::of(&backends, group, targets));
        sides.min_by_key(|side| side.healthy).ok_or(Cause::Changing)
    }

    fn awaits_promotion(&self, stable: &Side, canary: &Side) -> Cause {
        let services = &self.wish.services;
        Cause::Promotion {
            canary: canary.group.clone(),
            stable: stable.group.clone(),
            service: format!("{}/{}", services.namespace, services.stable),
            percent: self.wish.gates.min_healthy_percent,
        }
    }
}

impl Passage {
    /// No gate stands in the way.
    pub(super) fn free(split: &Split) -> Self {
        let directions = vec![Direction::Further, Direction::Canary, Direction::Stable];
        Self { split: Some(split.clone()), directions, awaits: None, old_pods_serve: false }
    }
}

/// Which of both groups have traffic, by weights that were observed.
pub(super) fn carrying(split: &Split, observation: &Observation) -> Carrying {
    let weights = || observation.rules.iter().filter_map(|rule| split.ours(&rule.groups()));
    let carries = |at: usize| weights().any(|weights| weights.get(at).is_some_and(|weight| *weight > 0));
    Carrying { stable: carries(0), canary: carries(1) }
}

/// Where the traffic of these rules is to move.
pub(super) fn toward(split: &Split, observation: &Observation) -> Toward {
    match directions(split, observation).as_slice() {
        [] => Toward::Nobody,
        all if all.contains(&Direction::Stable) => Toward::Stable,
        _ => Toward::Canary,
    }
}

/// Which ways traffic would move. Rules that show different weights can move different ways.
fn directions(split: &Split, observation: &Observation) -> Vec<Direction> {
    let mut directions: Vec<Direction> =
        observation.rules.iter().flat_map(|rule| split.directions(&rule.groups())).collect();
    directions.sort_unstable();
    directions.dedup();
    directions
}
