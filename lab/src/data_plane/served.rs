//! Where listeners are served, told as it comes about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::select_all;
use tokio::sync::watch;

use crate::data_plane::server::NodeServer;

/// A node began to serve a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedListener {
    /// The listener.
    pub listener_arn: String,
    /// Its protocol and port, such as `HTTP 80`.
    pub on: String,
    /// The node's name, such as `node-1`.
    pub node: String,
    /// A loopback address that speaks HTTP/1.1, whatever the listener's protocol.
    pub address: SocketAddr,
}

/// Tells where listeners are served, those of the beginning first.
#[derive(Debug)]
pub struct ServedTail {
    nodes: Vec<Followed>,
    /// Each node has sockets of its own, so an address stands for a node and a listener.
    told: BTreeSet<SocketAddr>,
}

#[derive(Debug)]
struct Followed {
    node: Arc<NodeServer>,
    addresses: watch::Receiver<BTreeMap<String, SocketAddr>>,
}

impl ServedTail {
    pub(super) fn new(nodes: &[Arc<NodeServer>]) -> Self {
        let followed =
            |node: &Arc<NodeServer>| Followed { addresses: node.addresses.subscribe(), node: Arc::clone(node) };
        Self { nodes: nodes.iter().map(followed).collect(), told: BTreeSet::new() }
    }

    /// The next one; waits for it if there is none yet. Safe to cancel: none is lost. One that is gone before it was asked for is
    /// left out.
    pub async fn next(&mut self) -> ServedListener {
        loop {
            if let Some(served) = self.untold() {
                self.told.insert(served.address);
                return served;
            }
            // The senders are in the nodes, so they cannot be gone; and there is at least one node.
            let _ = select_all(self.nodes.iter_mut().map(|followed| Box::pin(followed.addresses.changed()))).await;
        }
    }

    fn untold(&mut self) -> Option<ServedListener> {
        let mut served = Vec::new();
        for Followed { node, addresses } in &mut self.nodes {
            let table = Arc::clone(node.state().node.table());
            for (listener_arn, address) in addresses.borrow_and_update().iter() {
                // Without an entry the node has just learnt that it is deleted, and closes the socket.
                let Some(listener) = table.listeners.get(listener_arn) else { continue };
                let on = format!("{} {}", listener.protocol.name(), listener.port);
                let (listener_arn, node) = (listener_arn.clone(), node.name.clone());
                served.push(ServedListener { listener_arn, on, node, address: *address });
            }
        }
        // The system may give the port of a closed socket to another one.
        self.told.retain(|told| served.iter().any(|served| served.address == *told));
        served.into_iter().find(|served| !self.told.contains(&served.address))
    }
}

/// One line for people.
impl fmt::Display for ServedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listener = self.listener_arn.splitn(6, ':').nth(5).unwrap_or(&self.listener_arn);
        write!(f, "{} serves {listener} ({}) on http://{}", self.node, self.on, self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::data_plane::fixture::Shop;
    use crate::data_plane::{DataPlane, DataPlaneConfig};

    #[tokio::test]
    async fn every_node_is_told_of_once_for_every_listener() {
        let shop = Shop::new();
        let config = DataPlaneConfig { nodes: 2, lag: Duration::ZERO..=Duration::ZERO, ..DataPlaneConfig::default() };
        let data_plane = DataPlane::start(shop.control_plane.clone(), config);
        let mut tail = data_plane.follow();
        let mut told = Vec::new();
        let mut listener_arn = shop.listener.clone();
        for port in [80, 8080] {
            if port != 80 {
                listener_arn = shop.another_listener(port);
            }
            for _ in 0..2 {
                told.push(timeout(Duration::from_secs(60), tail.next()).await.expect("it is served"));
            }
            let addresses = data_plane.addresses(&listener_arn);
            for address in &addresses {
                assert_eq!(data_plane.listeners()[&listener_arn][&address.node], address.address);
                let alike = |one: &&ServedListener| one.listener_arn == listener_arn && one.node == address.node;
                let found: Vec<_> = told.iter().filter(alike).map(|one| one.address).collect();
                assert_eq!(found, [address.address]);
            }
            assert_eq!(addresses.len(), 2);
        }
        assert!(told[3].to_string().contains("(HTTP 8080) on http://127.0.0.1:"), "{}", told[3]);
        assert_eq!(data_plane.listeners().len(), 2);
    }
}
