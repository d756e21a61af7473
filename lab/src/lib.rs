//! The lab: a proving ground for weight shifts on an AWS load balancer, on loopback and without an AWS account.
//!
//! * [`Lab`]: an endpoint that speaks the query protocol of Elastic Load Balancing v2. Set up and changed with AWS's own clients, it
//!   refuses what AWS refuses, keeps a journal of every write, and can be told to misbehave.
//! * [`DataPlane`]: load balancer nodes that split real HTTP by what that API says, each in its own time.
//! * [`kubernetes`]: a small Kubernetes API; [`workload`]: the pods of its ReplicaSets, as HTTP servers.
//! * [`load_balancer_controller`]: another writer, which behaves like the AWS Load Balancer Controller.
//! * [`rollouts_controller`]: a model of the Argo Rollouts controller, which starts a plugin or plays the built-in ALB router.
//! * [`demo`]: all of it together, with customers.
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
pub use data_plane::{DataPlane, NodeAddress, NodeTargets};
pub use server::{FaultSwitch, Lab, LabConfig, StartError};
