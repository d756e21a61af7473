//! A node with its sockets: it follows the account, checks targets, serves listeners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control_plane::ControlPlane;
use crate::control_plane::model::Account;
use crate::control_plane::model::targets::Target;
use crate::data_plane::conditions::RequestHead;
use crate::data_plane::config::DataPlaneConfig;
use crate::data_plane::counters::Counters;
use crate::data_plane::listeners::Sockets;
use crate::data_plane::node::{Decision, Node};
use crate::data_plane::probe;
use crate::data_plane::table::Member;

/// What the tasks of one node share.
#[derive(Debug)]
pub(super) struct NodeServer {
    pub(super) name: String,
    pub(super) config: DataPlaneConfig,
    pub(super) counters: Arc<Counters>,
    /// Keeps connections to targets, as a load balancer does.
    pub(super) to_targets: Client<HttpConnector, Incoming>,
    /// A health check has a connection of its own.
    pub(super) to_checks: Client<HttpConnector, Empty<Bytes>>,
    /// The sockets' addresses by listener ARN.
    pub(super) addresses: watch::Sender<BTreeMap<String, SocketAddr>>,
    /// Something has happened that the node may have new duties from.
    pub(super) wake: Notify,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    control_plane: ControlPlane,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) node: Node,
    /// Of members that have got requests: tells those in flight that they are cut.
    cuts: BTreeMap<Member, CancellationToken>,
}

impl NodeServer {
    pub(super) fn new(
        name: String,
        config: DataPlaneConfig,
        seed: u64,
        control_plane: ControlPlane,
        account: Arc<Account>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.connect_timeout));
        let mut clients = Client::builder(TokioExecutor::new());
        clients.pool_timer(TokioTimer::new()).pool_idle_timeout(config.idle_timeout);
        let node = Node::new(seed, &config, control_plane.now(), account);
        Self {
            name,
            counters: Arc::default(),
            to_targets: clients.build(connector.clone()),
            to_checks: clients.pool_max_idle_per_host(0).build(connector),
            addresses: watch::Sender::default(),
            wake: Notify::new(),
            stop,
            tasks,
            state: Mutex::new(State { node, cuts: BTreeMap::new() }),
            control_plane,
            config,
        }
    }

    /// Does what the node has to do, until the data plane stops.
    pub(super) async fn run(self: Arc<Self>, mut accounts: watch::Receiver<Arc<Account>>) {
        let mut sockets = Sockets::default();
        loop {
            let due = self.fulfil();
            sockets.follow(&self).await;
            let wait = due.map(|due| due.duration_since(self.control_plane.now()).unwrap_or_default());
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.wake.notified() => {}
                // The sender lives in the control plane, which this node holds.
                _ = accounts.changed() => {
                    let account = Arc::clone(&accounts.borrow_and_update());
                    self.state().node.announce(self.control_plane.now(), account);
                }
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// Decides about a request. The token tells when it has to be cut off.
    pub(super) fn route(&self, head: &RequestHead<'_>) -> (Decision, CancellationToken) {
        let mut state = self.state();
        let decision = state.node.route(self.control_plane.now(), head);
        // Under the same lock as the decision: no cut can fall between the two.
        let cut = match &decision {
            Decision::Forward(forwarding) => state.cuts.entry(forwarding.member.clone()).or_default().clone(),
            _ => CancellationToken::new(),
        };
        (decision, cut)
    }

    /// As [`Node::may_send_to`] has it, now.
    pub(super) fn may_send_to(&self, group_arn: &str) -> Option<Vec<Target>> {
        self.state().node.may_send_to(self.control_plane.now(), group_arn)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what has to be done now, and tells when there will be more.
    fn fulfil(self: &Arc<Self>) -> Option<SystemTime> {
        let (duties, due) = {
            let mut state = self.state();
            let duties = state.node.duties(self.control_plane.now());
            for member in &duties.cuts {
                if let Some(cut) = state.cuts.remove(member) {
                    cut.cancel();
                }
            }
            (duties, state.node.due())
        };
        for (member, health) in duties.reports {
            self.control_plane.report_health(&self.name, &member.group_arn, &member.target, health);
        }
        for check in duties.probes {
            // Nobody wants to know any more once the data plane stops.
            let stop = self.stop.clone();
            self.tasks.spawn(stop.run_until_cancelled_owned(probe::check(Arc::clone(self), check)));
        }
        due
    }
}
