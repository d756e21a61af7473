//! The lab as a server: the query protocol on `/`, its own JSON pages below `/lab`.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

mod admin;
mod api;
mod glance;

use crate::control_plane::buckets::{BucketLevels, BucketSizes};
use crate::control_plane::error::ApiError;
use crate::control_plane::faults::{Fault, InvalidFault};
use crate::control_plane::journal::{CallCount, JournalEntry};
use crate::control_plane::model::Limits;
use crate::control_plane::model::targets::Probing;
use crate::control_plane::tokens::Role;
use crate::control_plane::{ControlPlane, JournalTail};
use crate::data_plane::DataPlane;
use crate::data_plane::config::DataPlaneConfig;

/// How a lab is set up. `LabConfig::default()` is right for tests.
#[derive(Debug, Clone)]
pub struct LabConfig {
    /// Where to listen; a loopback address. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The same seed gives the same ARNs for the same calls.
    pub seed: u64,
    /// The region in ARNs and host names.
    pub region: String,
    /// Items in a page when the caller names no `PageSize`; 1 to 400. What AWS takes is not documented.
    pub page_size: u16,
    /// Rules that are not default rules, per load balancer. AWS's quota is 100, and can be raised.
    pub rules_per_load_balancer: usize,
    /// AWS's token buckets; `None` throttles nobody.
    pub buckets: Option<BucketSizes>,
    /// Without a data plane nobody checks targets: so long after its registration a target in use is healthy.
    pub healthy_after: Duration,
}

/// A running lab. It stops when it is dropped, or by [`Lab::shutdown`].
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
    endpoint: String,
    /// Dropping it tells the server to stop.
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

/// Why a lab could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Whoever reaches the lab can use it without a password, so it is kept on this machine.
    #[error("the lab listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The region would not fit into an ARN.
    #[error("'{0}' is not the name of a region")]
    BadRegion(String),
    /// The page size has the same range as AWS's `PageSize`.
    #[error("page size {0} is not between 1 and 400")]
    BadPageSize(u16),
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The faults of a lab, to switch on and off. They concern every call but those of the scenarios of [`crate::scenario`].
#[derive(Debug, Clone, Copy)]
pub struct FaultSwitch<'a> {
    control_plane: &'a ControlPlane,
}

/// What the requests of one lab share.
#[derive(Debug)]
struct Shared {
    control_plane: ControlPlane,
    /// `None` if nobody serves the listeners.
    data_plane: Option<DataPlane>,
    requests: AtomicU64,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            region: "us-east-1".to_owned(),
            page_size: 100,
            rules_per_load_balancer: 100,
            buckets: None,
            healthy_after: Duration::ZERO,
        }
    }
}

impl Lab {
    /// Binds, and serves until the lab is dropped. Runs on the tokio runtime that it is called on.
    pub async fn start(config: LabConfig) -> Result<Self, StartError> {
        Self::launch(config, None).await
    }

    /// The same, with load balancer nodes that serve the listeners and check the targets. [`LabConfig::healthy_after`] is theirs to
    /// find out then.
    pub async fn start_with_data_plane(config: LabConfig, data_plane: DataPlaneConfig) -> Result<Self, StartError> {
        Self::launch(config, Some(data_plane)).await
    }

    async fn launch(config: LabConfig, data_plane: Option<DataPlaneConfig>) -> Result<Self, StartError> {
        if !config.listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(config.listen));
        }
        let is_word =
            config.region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if config.region.is_empty() || !is_word {
            return Err(StartError::BadRegion(config.region));
        }
        if !(1..=400).contains(&config.page_size) {
            return Err(StartError::BadPageSize(config.page_size));
        }
        let cannot_listen = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(cannot_listen)?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(cannot_listen)?);
        let limits = Limits { rules_per_load_balancer: config.rules_per_load_balancer, page_size: config.page_size };
        let control_plane = ControlPlane::new(&config.region, config.seed, limits);
        control_plane.set_buckets(config.buckets);
        control_plane.set_probing(Probing::Nobody { healthy_after: config.healthy_after });
        let data_plane = data_plane.map(|config| DataPlane::start(control_plane.clone(), config));
        let shared = Arc::new(Shared { control_plane, data_plane, requests: AtomicU64::new(0) });
        let app = Router::new()
            .route("/", post(api::call))
            .route("/lab", get(admin::glance))
            .route("/lab/journal", get(admin::journal))
            .route("/lab/faults", get(admin::list_faults).post(admin::add_fault).delete(admin::clear_faults))
            .route("/lab/buckets", get(admin::bucket_levels).post(admin::set_buckets).delete(admin::remove_buckets))
            .route("/lab/roles", get(admin::list_roles).post(admin::add_role))
            .route("/lab/listeners", get(admin::listeners))
            .route("/lab/traffic", get(admin::traffic))
            .with_state(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            // An error of the receiver means that the lab was dropped.
            axum::serve(listener, app).with_graceful_shutdown(async { stopped.await.unwrap_or_default() }).await
        });
        Ok(Self { shared, endpoint, stop, server })
    }

    /// The URL to give to AWS's clients, such as `http://127.0.0.1:40123`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The API without HTTP.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.shared.control_plane
    }

    /// The load balancer nodes; `None` if the lab was started without.
    pub fn data_plane(&self) -> Option<&DataPlane> {
        self.shared.data_plane.as_ref()
    }

    /// All writes so far, in the order in which they took effect.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.shared.control_plane.journal()
    }

    /// Reads the writes one by one, from the first on, and waits for those to come.
    pub fn follow(&self) -> JournalTail {
        self.shared.control_plane.follow()
    }

    /// How often each operation was called over HTTP or by a scenario, reads included.
    pub fn counts(&self) -> BTreeMap<String, CallCount> {
        self.shared.control_plane.state().journal.counts.clone()
    }

    /// The faults, to switch on and off.
    pub fn faults(&self) -> FaultSwitch<'_> {
        FaultSwitch { control_plane: &self.shared.control_plane }
    }

    /// Throttles from now on, beginning with rested buckets, or no more.
    pub fn set_buckets(&self, sizes: Option<BucketSizes>) {
        self.shared.control_plane.set_buckets(sizes);
    }

    /// The buckets as they are now; `None` if nobody is throttled.
    pub fn bucket_levels(&self) -> Option<BucketLevels> {
        self.shared.control_plane.bucket_levels()
    }

    /// Makes a role known to AssumeRole, with the ExternalId that it asks for. Fails for what is not the ARN of a role.
    pub fn add_role(&self, role: Role) -> Result<(), ApiError> {
        self.shared.control_plane.add_role(role)
    }

    /// Stops the server and the nodes, and waits until the last answer is sent.
    pub async fn shutdown(self) {
        drop(self.stop);
        // An error would be a panic of the server, which has been printed already.
        let _ = self.server.await;
        if let Some(data_plane) = &self.shared.data_plane {
            data_plane.shutdown().await;
        }
    }
}

impl FaultSwitch<'_> {
    /// Switches a fault on, beside those that are on already.
    pub fn add(&self, fault: Fault) -> Result<(), InvalidFault> {
        self.control_plane.add_fault(fault)
    }

    /// Switches all faults off.
    pub fn clear(&self) {
        self.control_plane.clear_faults();
    }

    /// What is switched on, with the number of calls that are left.
    pub fn list(&self) -> Vec<Fault> {
        self.control_plane.faults()
    }
}

impl Shared {
    /// In the shape of AWS's request ids, and counted, so that output can be compared.
    fn request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        format!("00000000-0000-0000-0000-{number:012x}")
    }
}
