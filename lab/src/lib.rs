//! The lab: a proving ground on loopback for whatever shifts the weights of AWS load balancers. It needs no AWS account, and no
//! request leaves the machine.
//!
//! * [`Lab`] speaks the query protocol of AWS Elastic Load Balancing v2: load balancers, target groups and their targets, listeners,
//!   rules, attributes and tags, set up and changed with AWS's own clients, and refused as AWS refuses. It keeps a journal of
//!   every write and can be told to misbehave. [`ControlPlane`] is the same without HTTP.
//! * [`DataPlane`] has load balancer nodes that split real HTTP by those weights, each with a lag of its own, check targets and
//!   count what becomes of every request.
//! * [`kubernetes`] is a small cluster in memory, [`workload`] the pods in it: they serve real HTTP, come and go.
//! * [`load_balancer_controller`] is a rival that writes the same rules, and registers the pods.
//! * [`simulated`] is a load balancer without sockets, for simulations in paused time.
//! * [`rollouts_controller`] asks for weights as Argo Rollouts does, through the real plugin or the built-in way.
//! * [`demo`] puts all of it on one stage, with customers who keep count.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use lab::{Fault, Lab, LabConfig};
//!
//! let lab = Lab::start(LabConfig::default()).await?;
//! let shop = lab::scenario::two_listeners(&lab)?;
//! lab.faults().add(Fault::throttling("ModifyRule").times(2))?;
//! // … drive something that uses lab.endpoint() as its ELBv2 endpoint …
//! let shifts = lab.journal().into_iter().filter(|entry| entry.change(&shop.http_rule).is_some());
//! # drop(shifts);
//! # Ok(())
//! # }
//! ```

mod control_plane;
mod data_plane;
pub mod demo;
pub mod kubernetes;
pub mod load_balancer_controller;
pub mod rollouts_controller;
pub mod scenario;
mod server;
pub mod simulated;
pub mod workload;

pub use control_plane::buckets::{BucketLevel, BucketLevels, BucketSize, BucketSizes};
pub use control_plane::calls::NoAnswer;
pub use control_plane::error::ApiError;
pub use control_plane::faults::{Effect, Fault, InvalidFault};
pub use control_plane::journal::{CallCount, Change, ChangeKind, JournalEntry, JournalReport, Outcome, Weights};
pub use control_plane::tokens::Role;
pub use control_plane::{ControlPlane, JournalTail};
pub use data_plane::config::DataPlaneConfig;
pub use data_plane::counters::{Count, NodeTraffic, Outcome as TrafficOutcome, Traffic};
pub use data_plane::served::{ServedListener, ServedTail};
pub use data_plane::{DataPlane, NodeAddress, NodeTargets};
pub use server::{FaultSwitch, Lab, LabConfig, StartError};
