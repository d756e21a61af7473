//! What became of every request, counted.
//!
//! Of each node, the requests that were received are those that ended, one way or another, and those that are in flight;
//! that holds at every moment. Requests that were no HTTP never became requests and are not counted. Health checks are not either.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::data_plane::table::Member;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A target answered, and the whole answer was passed on. The status is the target's.
    Forwarded,
    /// A rule answered, with a status of its own.
    FixedResponse,
    /// A rule sent the client elsewhere.
    Redirected,
    /// 500: a transform matched, but led to nothing that could be sent.
    RewriteFailed,
    /// 502: no connection to the target came about.
    Refused,
    /// 502: the target closed or reset the connection before it had answered.
    ClosedEarly,
    /// 502: what the target answered was no HTTP.
    Malformed,
    /// 502: the target's deregistration delay was over before it had answered.
    Drained,
    /// 503: all weights of the rule were zero.
    NoWeight,
    /// 503: the chosen group had no target that might get requests.
    NoTargets,
    /// 503: the node did not know the listener (yet, or any more).
    NoListener,
    /// 504: no connection to the target came about in time.
    ConnectTimeout,
    /// 504: the target did not answer in time.
    AnswerTimeout,
    /// The target's answer began with the status and broke off; the client got a part of it.
    BrokenOff,
    /// The client was gone before it had the whole answer. Without a status if there was none yet.
    ClientGone,
}

/// All requests of a data plane, as of one moment for each node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// One of each node.
    pub nodes: Vec<NodeTraffic>,
}

/// All requests of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTraffic {
    /// The node's name.
    pub node: String,
    /// Requests so far. Always the sum of the counts, and those in flight.
    pub received: u64,
    /// Requests that have not ended.
    pub in_flight: u64,
    /// Requests that have ended; no two rows with the same group, target, outcome and status.
    pub counts: Vec<Count>,
}

/// Requests that ended alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// ARN of the target group that was chosen; `None` if none was.
    pub group: Option<String>,
    /// `address:port` of the target that was chosen; `None` if none was.
    pub target: Option<String>,
    /// How they ended.
    pub outcome: Outcome,
    /// The status that the client got; `None` if it got none.
    pub status: Option<u16>,
    /// How many.
    pub requests: u64,
}

/// The counters of one node.
#[derive(Debug, Default)]
pub(super) struct Counters {
    state: Mutex<State>,
}

/// A request from its beginning to its end. If it is dropped before [`Passage::end`], the client has gone.
#[derive(Debug)]
pub(super) struct Passage {
    /// `None` after the end.
    counters: Option<Arc<Counters>>,
    key: Key,
}

#[derive(Debug, Default)]
struct State {
    received: u64,
    in_flight: u64,
    ended: BTreeMap<(Key, Outcome), u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    group_arn: Option<Arc<str>>,
    member: Option<Member>,
    status: Option<u16>,
}

impl Traffic {
    /// Requests received by all nodes.
    pub fn received(&self) -> u64 {
        self.nodes.iter().map(|node| node.received).sum()
    }

    /// Requests in flight on all nodes.
    pub fn in_flight(&self) -> u64 {
        self.nodes.iter().map(|node| node.in_flight).sum()
    }

    /// How many requests ended in a way that is asked for, on all nodes.
    pub fn ended(&self, wanted: impl Fn(&Count) -> bool) -> u64 {
        self.nodes.iter().flat_map(|node| &node.counts).filter(|count| wanted(count)).map(|count| count.requests).sum()
    }
}

impl Counters {
    pub(super) fn begin(self: &Arc<Self>) -> Passage {
        let mut state = self.state();
        state.received += 1;
        state.in_flight += 1;
        Passage { counters: Some(Arc::clone(self)), key: Key::default() }
    }

    pub(super) fn snapshot(&self, node: &str) -> NodeTraffic {
        let state = self.state();
        let counts = state.ended.iter().map(|((key, outcome), requests)| Count {
            group: key.group_arn.as_deref().map(str::to_owned),
            target: key.member.as_ref().map(|member| format!("{}:{}", member.target.id, member.target.port)),
            outcome: *outcome,
            status: key.status,
            requests: *requests,
        });
        NodeTraffic {
            node: node.to_owned(),
            received: state.received,
            in_flight: state.in_flight,
            counts: counts.collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage {
    /// The group was chosen.
    pub(super) fn chose_group(&mut self, group_arn: &Arc<str>) {
        self.key.group_arn = Some(Arc::clone(group_arn));
    }

    /// The group and the target were chosen.
    pub(super) fn chose(&mut self, member: &Member) {
        self.chose_group(&member.group_arn);
        self.key.member = Some(member.clone());
    }

    /// The client is given this status.
    pub(super) fn answers(&mut self, status: u16) {
        self.key.status = Some(status);
    }

    /// Counts the request. Only the first end counts.
    pub(super) fn end(&mut self, outcome: Outcome) {
        let Some(counters) = self.counters.take() else { return };
        let mut state = counters.state();
        state.in_flight -= 1;
        *state.ended.entry((self.key.clone(), outcome)).or_default() += 1;
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.end(Outcome::ClientGone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_ends_once() {
        let counters = Arc::new(Counters::default());
        let mut first = counters.begin();
        let second = counters.begin();
        let third = counters.begin();
        let group: Arc<str> = Arc::from("group");
        first.chose_group(&group);
        first.answers(503);
        first.end(Outcome::NoTargets);
        first.end(Outcome::Forwarded);
        drop(first);
        drop(second);
        let snapshot = counters.snapshot("node-1");
        let row = |group: Option<&str>, outcome, status| Count {
            group: group.map(str::to_owned),
            target: None,
            outcome,
            status,
            requests: 1,
        };
        assert_eq!((snapshot.received, snapshot.in_flight), (3, 1));
        assert_eq!(
            snapshot.counts,
            [row(None, Outcome::ClientGone, None), row(Some("group"), Outcome::NoTargets, Some(503))]
        );
        drop(third);
        let traffic = Traffic { nodes: vec![counters.snapshot("node-1")] };
        assert_eq!((traffic.received(), traffic.in_flight()), (3, 0));
        assert_eq!(traffic.ended(|count| count.outcome == Outcome::ClientGone), 2);
        let text = serde_json::to_string(&traffic).expect("it can be written");
        assert_eq!(serde_json::from_str::<Traffic>(&text).expect("and read"), traffic);
    }
}
