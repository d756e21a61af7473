//! The lab as a server: the query protocol on `/`, its own JSON pages below `/lab`.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

mod admin;
mod api;

use crate::error::ApiError;
use crate::faults::{Fault, InvalidFault};
use crate::journal::{CallCount, Caller, JournalEntry};
use crate::model::arn::Home;
use crate::model::{Account, Limits};
use crate::operations::Write;
use crate::state::State;

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

/// The faults of a lab, to switch on and off. They concern calls over HTTP, not the scenarios of [`crate::scenario`].
#[derive(Debug, Clone, Copy)]
pub struct FaultSwitch<'a> {
    shared: &'a Shared,
}

/// Reads the journal as it grows.
#[derive(Debug)]
pub struct JournalTail {
    shared: Arc<Shared>,
    read: usize,
    written: watch::Receiver<usize>,
}

/// What the requests of one lab share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    started: Instant,
    started_at: SystemTime,
    requests: AtomicU64,
    /// The number of journal entries.
    written: watch::Sender<usize>,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            region: "us-east-1".to_owned(),
            page_size: 100,
            rules_per_load_balancer: 100,
        }
    }
}

impl Lab {
    /// Binds, and serves until the lab is dropped. Runs on the tokio runtime that it is called on.
    pub async fn start(config: LabConfig) -> Result<Self, StartError> {
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
        let shared = Arc::new(Shared::new(&config));
        let app = Router::new()
            .route("/", post(api::call))
            .route("/lab/journal", get(admin::journal))
            .route("/lab/faults", get(admin::list_faults).post(admin::add_fault).delete(admin::clear_faults))
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

    /// All writes so far, in the order in which they took effect.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.shared.state().journal.entries.clone()
    }

    /// Reads the writes one by one, from the first on, and waits for those to come.
    pub fn follow(&self) -> JournalTail {
        JournalTail { shared: Arc::clone(&self.shared), read: 0, written: self.shared.written.subscribe() }
    }

    /// How often each operation was called over HTTP or by a scenario, reads included.
    pub fn counts(&self) -> BTreeMap<String, CallCount> {
        self.shared.state().journal.counts.clone()
    }

    /// The faults, to switch on and off.
    pub fn faults(&self) -> FaultSwitch<'_> {
        FaultSwitch { shared: &self.shared }
    }

    /// Stops the server and waits until the last answer is sent.
    pub async fn shutdown(self) {
        drop(self.stop);
        // An error would be a panic of the server, which has been printed already.
        let _ = self.server.await;
    }

    /// Carries out a write without HTTP: the same operation, in the same journal.
    pub(crate) fn write<I: Write>(&self, operation: &str, subject: &str, input: I) -> Result<I::Output, ApiError> {
        self.shared.change(|state, mut caller| {
            caller.user_agent = Some("lab scenario".to_owned());
            state.write(operation, Some(subject), &caller, |account| input.write(account))
        })
    }
}

impl FaultSwitch<'_> {
    /// Switches a fault on, beside those that are on already.
    pub fn add(&self, fault: Fault) -> Result<(), InvalidFault> {
        self.shared.add_fault(fault)
    }

    /// Switches all faults off.
    pub fn clear(&self) {
        self.shared.state().faults.clear();
    }

    /// What is switched on, with the number of calls that are left.
    pub fn list(&self) -> Vec<Fault> {
        self.shared.state().faults.list()
    }
}

impl JournalTail {
    /// The next write; waits for it if there is none yet. Safe to cancel: an entry is not lost.
    pub async fn next(&mut self) -> JournalEntry {
        loop {
            let entry = self.shared.state().journal.entries.get(self.read).cloned();
            if let Some(entry) = entry {
                self.read += 1;
                return entry;
            }
            // The sender lives in what this tail holds, so it cannot be gone.
            let _ = self.written.changed().await;
        }
    }
}

impl Shared {
    fn new(config: &LabConfig) -> Self {
        let started_at = SystemTime::now();
        let home = Home { region: config.region.clone(), account: "000000000000".to_owned() };
        let limits = Limits { rules_per_load_balancer: config.rules_per_load_balancer, page_size: config.page_size };
        Self {
            state: Mutex::new(State::new(Account::new(home, config.seed, limits, started_at))),
            started: Instant::now(),
            started_at,
            requests: AtomicU64::new(0),
            written: watch::Sender::new(0),
        }
    }

    /// A panic while the state was held would have left it as it was before the call, so it stays usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call on the state. The time is taken while the state is held, so times and order agree.
    fn change<T>(&self, call: impl FnOnce(&mut State, Caller) -> T) -> T {
        let mut state = self.state();
        let elapsed = self.started.elapsed();
        let caller = Caller { ms: millis(elapsed), at: self.started_at + elapsed, user_agent: None };
        let result = call(&mut state, caller);
        let entries = state.journal.entries.len();
        drop(state);
        self.written.send_if_modified(|known| {
            let grown = entries > *known;
            *known = entries.max(*known);
            grown
        });
        result
    }

    fn add_fault(&self, fault: Fault) -> Result<(), InvalidFault> {
        let mut state = self.state();
        let State { account, faults, .. } = &mut *state;
        faults.add(fault, account)
    }

    /// In the shape of AWS's request ids, and counted, so that output can be compared.
    fn request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        format!("00000000-0000-0000-0000-{number:012x}")
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
