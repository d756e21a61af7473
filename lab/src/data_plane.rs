//! The data plane: load balancer nodes that split real HTTP by what the control plane says, each in its own time.
//!
//! Every node serves every listener of an Application Load Balancer on a loopback address of its own, in plain HTTP/1.1; those
//! of Network Load Balancers are not served. Actions that authenticate
//! clients or validate tokens let everybody pass. Targets are reached on loopback addresses only.
//!
//! [`node`] decides and knows no socket; [`server`], [`listeners`], [`proxy`] and [`probe`] carry out what it decides.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use fastrand::Rng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod answers;
mod conditions;
pub(crate) mod config;
pub(crate) mod counters;
#[cfg(test)]
pub(crate) mod fixture;
mod health;
mod listeners;
pub(crate) mod node;
mod pattern;
mod probe;
mod proxy;
mod redirect;
mod rewrite;
pub(crate) mod served;
mod server;
mod stickiness;
mod table;
#[cfg(test)]
mod tests;
mod view;

use crate::control_plane::ControlPlane;
use crate::control_plane::model::targets::Probing;
use config::DataPlaneConfig;
use counters::Traffic;
use served::ServedTail;
use server::NodeServer;

/// Running load balancer nodes. They stop when it is dropped, or by [`DataPlane::shutdown`].
#[derive(Debug)]
pub struct DataPlane {
    nodes: Vec<Arc<NodeServer>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Where a node serves a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    /// The node's name, such as `node-1`.
    pub node: String,
    /// A loopback address that speaks HTTP/1.1.
    pub address: SocketAddr,
}

/// What a node may still send requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTargets {
    /// The node's name.
    pub node: String,
    /// Each as `address:port`. With none, the group's requests are answered with 503.
    pub targets: Vec<String>,
}

impl DataPlane {
    /// Starts the nodes on the tokio runtime that it is called on. They know the account as it is now, and follow its changes.
    pub fn start(control_plane: ControlPlane, config: DataPlaneConfig) -> Self {
        control_plane.set_probing(Probing::Nodes(config.nodes.max(1)));
        let mut accounts = control_plane.accounts();
        let account = Arc::clone(&accounts.borrow_and_update());
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let mut seeds = Rng::with_seed(config.seed);
        let nodes: Vec<Arc<NodeServer>> = (1..=config.nodes.max(1))
            .map(|number| {
                Arc::new(NodeServer::new(
                    format!("node-{number}"),
                    config.clone(),
                    seeds.u64(..),
                    control_plane.clone(),
                    Arc::clone(&account),
                    stop.clone(),
                    tasks.clone(),
                ))
            })
            .collect();
        for node in &nodes {
            tasks.spawn(Arc::clone(node).run(accounts.clone()));
        }
        Self { nodes, stop, tasks }
    }

    /// Where the listener is served now. A node that does not know the listener (yet) is missing.
    pub fn addresses(&self, listener_arn: &str) -> Vec<NodeAddress> {
        let address = |node: &Arc<NodeServer>| {
            let address = *node.addresses.borrow().get(listener_arn)?;
            Some(NodeAddress { node: node.name.clone(), address })
        };
        self.nodes.iter().filter_map(address).collect()
    }

    /// Where the listener is served, once every node serves it. It waits for ever for a listener that nobody makes.
    pub async fn listening(&self, listener_arn: &str) -> Vec<NodeAddress> {
        for node in &self.nodes {
            // The sender is in the node, so it cannot be gone.
            let _ = node.addresses.subscribe().wait_for(|addresses| addresses.contains_key(listener_arn)).await;
        }
        self.addresses(listener_arn)
    }

    /// Where each listener is served now: listener ARN, node, address.
    pub fn listeners(&self) -> BTreeMap<String, BTreeMap<String, SocketAddr>> {
        let mut listeners: BTreeMap<String, BTreeMap<String, SocketAddr>> = BTreeMap::new();
        for node in &self.nodes {
            for (listener_arn, address) in node.addresses.borrow().iter() {
                listeners.entry(listener_arn.clone()).or_default().insert(node.name.clone(), *address);
            }
        }
        listeners
    }

    /// Tells one by one where listeners are served, and waits for those to come.
    pub fn follow(&self) -> ServedTail {
        ServedTail::new(&self.nodes)
    }

    /// What became of all requests so far.
    pub fn counters(&self) -> Traffic {
        Traffic { nodes: self.nodes.iter().map(|node| node.counters.snapshot(&node.name)).collect() }
    }

    /// The nodes that may still send new requests to the group, each with the targets that it would choose from. It is empty
    /// when the last node has learnt that the group has no weight, no cookie leads to it, and so on: then its pods may go.
    pub fn may_send_to(&self, group_arn: &str) -> Vec<NodeTargets> {
        let targets = |node: &Arc<NodeServer>| {
            let targets = node
                .may_send_to(group_arn)?
                .into_iter()
                .map(|target| format!("{}:{}", target.id, target.port))
                .collect();
            Some(NodeTargets { node: node.name.clone(), targets })
        };
        self.nodes.iter().filter_map(targets).collect()
    }

    /// Stops the nodes, and waits until requests under way have ended, each for the idle timeout at most.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
