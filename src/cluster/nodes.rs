//! Which Nodes are not ready, where Nodes may be read at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

use super::objects::{NodeObject, Resource};
use super::{Error, ErrorKind};

/// How long an answer is good for. The control plane itself takes about 40 s to notice that a Node is dead
/// (`--node-monitor-grace-period`).
const FRESH: Duration = Duration::from_secs(30);

/// How long a refusal is good for: Argo's own role does not let the controller read Nodes, and roles seldom change.
const REFUSED: Duration = Duration::from_secs(600);

/// The last look at the Nodes. Whoever comes while one goes on shares it.
#[derive(Default)]
pub(super) struct Nodes(Mutex<Look>);

#[derive(Default)]
struct Look {
    unready: Arc<BTreeSet<String>>,
    good_until: Option<Instant>,
}

impl Nodes {
    /// The names of the Nodes that are not ready. None, if that cannot be known: then their Pods are waited for, which is
    /// late and never too soon.
    pub(super) async fn unready(&self, client: &Client) -> Arc<BTreeSet<String>> {
        let mut look = self.0.lock().await;
        let now = Instant::now();
        if look.good_until.is_some_and(|until| now < until) {
            return Arc::clone(&look.unready);
        }
        let (unready, good_for) = match list(client).await {
            Ok(unready) => (unready, FRESH),
            Err(error) => {
                debug!("all Nodes count as ready: {error}");
                (BTreeSet::new(), if error.kind() == ErrorKind::Access { REFUSED } else { FRESH })
            }
        };
        *look = Look { unready: Arc::new(unready), good_until: Some(now + good_for) };
        Arc::clone(&look.unready)
    }
}

async fn list(client: &Client) -> Result<BTreeSet<String>, Error> {
    let nodes: kube::Api<NodeObject> = Resource::NODES.everywhere(client);
    // From the API server's memory: Nodes are large, and this is the cheapest way to see them all.
    let listed = nodes.list(&ListParams::default().match_any()).await;
    let listed = listed.map_err(|error| Error::of("list", Resource::NODES, "of the cluster", &error))?;
    Ok(listed.items.into_iter().filter(|node| !is_ready(node)).filter_map(|node| node.metadata.name).collect())
}

fn is_ready(node: &NodeObject) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.name == "Ready" && condition.status == "True")
}
