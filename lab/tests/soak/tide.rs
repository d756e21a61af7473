//! Pods come and go, the canary's Service changes sides, and the Ingress names other weights.

use std::time::Duration;

use fastrand::Rng;
use lab::kubernetes::Kind;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::world::{CANARY, NAMESPACE, World, announcement, replica_set_name, selection};

/// A change every few hundred milliseconds.
pub(crate) async fn come_and_go(world: &World, done: &watch::Sender<bool>, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    while !*done.borrow() {
        let hash = if rng.bool() { "v1" } else { "v2" };
        let (kind, name, patch) = match rng.u8(..10) {
            0..6 => (Kind::REPLICA_SET, replica_set_name(hash), json!({"spec": {"replicas": rng.u8(1..=4)}})),
            6..9 => {
                let canary = rng.u16(0..=100);
                (Kind::INGRESS, "web".to_owned(), announcement(100 - canary, canary))
            }
            _ => (Kind::SERVICE, CANARY.to_owned(), selection(hash)),
        };
        world.cluster.merge_patch(kind, NAMESPACE, &name, &patch).expect("the object is there");
        sleep(Duration::from_millis(rng.u64(100..500))).await;
    }
}
