//! The customers of a scenario: requests at a steady rate to all nodes of its load balancer, each answer recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use lab::demo::load::{Arrivals, Load, LoadConfig, Outcome, Record, Traffic, WorstSecond};
use lab::{Lab, NodeTargets, TrafficOutcome};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::history::{History, Stored};
use crate::load_balancer::{Balancer, HOST};

/// Requests a second, over all nodes and listeners.
const RATE: u32 = 25;

/// Failures that are no farther apart than this are told together, with what happened up to this long before.
const TOGETHER: Duration = Duration::from_secs(2);

/// How long it may take until nodes do what the rules say, and until answers have come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers that show how things are at the end.
const LAST_ANSWERS: u64 = 25;

/// Somebody who sends requests until told to leave.
#[derive(Debug)]
pub(crate) struct Customers {
    load: Load,
    began: SystemTime,
}

/// What the customers saw.
#[derive(Debug)]
pub(crate) struct Seen {
    began: SystemTime,
    /// In the order in which they were due.
    records: Vec<Record>,
    traffic: Traffic,
}

impl Customers {
    /// Begins as soon as every node serves both listeners and this many targets of the group are healthy.
    pub(crate) async fn come(lab: &Lab, balancer: &Balancer, group: &str, targets: u32) -> anyhow::Result<Self> {
        let nodes = lab.data_plane().context("the lab has no load balancer nodes")?;
        let ready = async {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for listener in &balancer.listeners {
                addresses.extend(nodes.listening(listener).await.into_iter().map(|node| node.address));
            }
            let targets = usize::try_from(targets)?;
            until(async || Ok(balancer.healthy(group).await? >= targets)).await?;
            // Healthy is what every node says; that nodes know the rule is seen on the nodes alone.
            let knows =
                |group: &str| nodes.may_send_to(group).iter().filter(|node| node.targets.len() >= targets).count();
            until(async || Ok(knows(group) > 0 && knows(group) == nodes.may_send_to(group).len())).await?;
            anyhow::Ok(addresses)
        };
        let late = || format!("{targets} targets of {group} were not healthy within {PATIENCE:?}");
        let addresses = timeout(PATIENCE, ready).await.with_context(late)??;
        let began = SystemTime::now();
        let load = Load::start(LoadConfig {
            connections: addresses.len() * 2,
            nodes: addresses,
            host: HOST.to_owned(),
            path: "/".to_owned(),
            rate: RATE,
            arrivals: Arrivals::Even,
            timeout: Duration::from_secs(10),
            duration: Duration::from_secs(3600),
            seed: 1,
        })?;
        Ok(Self { load, began })
    }

    /// How requests ended so far.
    pub(crate) fn outcomes(&self) -> BTreeMap<Outcome, u64> {
        self.load.outcomes()
    }

    /// Leaves when no node sends anything to `emptied` any more, all of them send to exactly the `targets` of `kept`, and some
    /// more answers have come since.
    pub(crate) async fn leave(
        self,
        lab: &Lab,
        emptied: &str,
        kept: &str,
        targets: &BTreeSet<String>,
    ) -> anyhow::Result<Seen> {
        self.leave_within(PATIENCE, lab, emptied, kept, targets).await
    }

    /// The same, with another patience.
    pub(crate) async fn leave_within(
        self,
        patience: Duration,
        lab: &Lab,
        emptied: &str,
        kept: &str,
        targets: &BTreeSet<String>,
    ) -> anyhow::Result<Seen> {
        let nodes = lab.data_plane().context("the lab has no load balancer nodes")?;
        let answers = || self.load.outcomes().values().sum::<u64>();
        let exactly = |node: &NodeTargets| node.targets.iter().collect::<BTreeSet<_>>() == targets.iter().collect();
        let over = async {
            until(async || Ok(nodes.may_send_to(emptied).is_empty())).await?;
            until(async || Ok(nodes.may_send_to(kept).iter().all(exactly))).await?;
            let before = answers();
            until(async || Ok(answers() >= before + LAST_ANSWERS)).await
        };
        let late = || {
            let (emptied, kept) = (nodes.may_send_to(emptied), nodes.may_send_to(kept));
            format!("after {patience:?} nodes still sent to {emptied:?}, or not to {targets:?} alone: {kept:?}")
        };
        timeout(patience, over).await.with_context(late)??;
        let began = self.began;
        let records: Vec<Option<Record>> = self.load.stop_and_tell().await;
        let traffic = Traffic::of(&records);
        Ok(Seen { began, records: records.into_iter().flatten().collect(), traffic })
    }
}

impl Seen {
    /// Requests that were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.traffic.requests
    }

    /// Requests that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.traffic.failed()
    }

    /// The share of requests that failed in the worst second, per cent.
    pub(crate) fn worst_share(&self) -> f64 {
        let share = |second: WorstSecond| second.failed as f64 * 100.0 / second.requests.max(1) as f64;
        self.traffic.worst_second.map_or(0.0, share)
    }

    /// The longest time in which every request failed.
    pub(crate) fn longest_failure(&self) -> Duration {
        self.traffic.longest_failure
    }

    /// From the first failure to the last.
    pub(crate) fn failing(&self) -> Duration {
        let mut failures = self.failures().map(|(at, _)| at);
        let first = failures.next();
        let last = failures.last().or(first);
        first.zip(last).and_then(|(first, last)| last.duration_since(first).ok()).unwrap_or_default()
    }

    /// Who answered at the end.
    pub(crate) fn last_versions(&self) -> BTreeSet<&str> {
        let last = usize::try_from(LAST_ANSWERS / 2).unwrap_or_default();
        self.records.iter().rev().take(last).filter_map(|record| record.version.as_deref()).collect()
    }

    /// Who answered at all.
    pub(crate) fn versions(&self) -> &BTreeMap<String, u64> {
        &self.traffic.versions
    }

    fn failures(&self) -> impl Iterator<Item = (SystemTime, Outcome)> {
        let failed = self.records.iter().filter(|record| record.outcome.failed());
        failed.map(|record| (self.began + record.at, record.outcome))
    }

    /// The failures, each lot with what happened around it.
    pub(crate) fn tell_failures(&self, history: &History) -> String {
        let mut lots: Vec<Vec<(SystemTime, Outcome)>> = Vec::new();
        for (at, outcome) in self.failures() {
            match lots.last_mut() {
                Some(lot) if lot.last().is_some_and(|(last, _)| at <= *last + TOGETHER) => lot.push((at, outcome)),
                _ => lots.push(vec![(at, outcome)]),
            }
        }
        let mut lines = vec![format!("{} of {} requests failed", self.failed(), self.requests())];
        for lot in lots {
            let (Some((first, _)), Some((last, _))) = (lot.first(), lot.last()) else { continue };
            let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
            for (_, outcome) in &lot {
                *outcomes.entry(outcome.to_string()).or_default() += 1;
            }
            lines.push(format!("from {} to {}: {outcomes:?}, after", time(*first), time(*last)));
            let before = first.checked_sub(TOGETHER).unwrap_or(*first);
            lines.extend(around(history, before, *last));
        }
        lines.join("\n  ")
    }
}

/// How requests to the load balancer's groups ended that did not end well, by node.
pub(crate) fn ends(lab: &Lab, balancer: &Balancer) -> Vec<String> {
    let counts = lab.data_plane().map(|nodes| nodes.counters().nodes).unwrap_or_default().into_iter();
    let of_node = counts.flat_map(|node| node.counts.into_iter().map(move |count| (node.node.clone(), count)));
    let ours = of_node.filter(|(_, count)| {
        let group = count.group.as_deref();
        (group == Some(&balancer.stable) || group == Some(&balancer.canary))
            && count.outcome != TrafficOutcome::Forwarded
    });
    let line = |(node, count): (String, lab::Count)| {
        let group = if count.group.as_deref() == Some(&balancer.stable) { "first" } else { "second" };
        let target = count.target.unwrap_or_default();
        format!("{node}: {} requests to the {group} group {target} ended as {:?}", count.requests, count.outcome)
    };
    ours.map(line).collect()
}

/// What was written to the cluster and to the rules between two moments, in order.
fn around(history: &History, from: SystemTime, to: SystemTime) -> Vec<String> {
    let mut deeds: Vec<(SystemTime, String)> = Vec::new();
    for write in &history.cluster {
        let text = match &write.stored {
            Stored::Status(status) => {
                let weight = status.canary.weights.map(|weights| (weights.canary.weight, weights.verified));
                let (phase, stable) = (&status.phase, &status.stable_rs);
                format!("status: {phase}, step {:?}, stable {stable}, weight {weight:?}", status.current_step_index)
            }
            Stored::ReplicaSet { hash, replicas } => format!("ReplicaSet {hash} is to have {replicas} pods"),
            Stored::Service { name, hash } => format!("Service {name} selects {}", hash.as_deref().unwrap_or("all")),
            Stored::Pod { name, serves, .. } => format!("Pod {name} {}", if *serves { "serves" } else { "goes" }),
        };
        deeds.push((write.at, text));
    }
    for rule in &history.rules {
        let name = rule.arn.rsplit('/').next().unwrap_or_default();
        deeds.extend(rule.states.iter().map(|(at, weights)| {
            let (first, second) = (history.roles.stable_weight(weights), history.roles.canary_weight(weights));
            (*at, format!("rule {name} has {first} for the first group, {second} for the second"))
        }));
    }
    deeds.sort();
    let within = deeds.into_iter().filter(|(at, _)| (from..=to).contains(at));
    within.map(|(at, text)| format!("  {} {text}", time(at))).collect()
}

/// Asks again and again, for what nobody tells of by itself. The caller sets the limit.
async fn until(is_so: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if is_so().await? {
            return Ok(());
        }
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Roles;

    #[test]
    fn failures_are_told_in_lots() {
        let began = SystemTime::UNIX_EPOCH;
        let record = |ms, status| Record {
            at: Duration::from_millis(ms),
            latency: Duration::ZERO,
            outcome: Outcome::Status(status),
            version: (status == 200).then(|| "aaa".to_owned()),
        };
        let records = vec![record(0, 200), record(100, 503), record(200, 503), record(9000, 502), record(9100, 200)];
        let traffic = Traffic::of(&records.iter().cloned().map(Some).collect::<Vec<_>>());
        let seen = Seen { began, records, traffic };
        let history = History { roles: Roles::default(), cluster: Vec::new(), rules: Vec::new() };
        assert_eq!(
            seen.tell_failures(&history),
            "3 of 5 requests failed\n  \
             from 1970-01-01T00:00:00.100Z to 1970-01-01T00:00:00.200Z: {\"503\": 2}, after\n  \
             from 1970-01-01T00:00:09.000Z to 1970-01-01T00:00:09.000Z: {\"502\": 1}, after"
        );
        assert_eq!(seen.failing(), Duration::from_millis(8900));
        assert_eq!(seen.last_versions(), ["aaa"].into());
    }
}
