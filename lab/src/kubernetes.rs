//! A small Kubernetes cluster in memory: the objects that the plugin, the rival and the host's model read and write.

mod store;

pub use store::{Change, Cluster, Kind, Refusal};
