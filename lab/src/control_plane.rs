//! The API of Elastic Load Balancing v2 without HTTP: one account, its journal and its bad days, for everyone who calls it.
//!
//! It runs on tokio's clock, so a test that pauses that clock pauses the account too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) mod error;
pub(crate) mod faults;
pub(crate) mod journal;
pub(crate) mod model;
pub(crate) mod operations;
pub(crate) mod query;
pub(crate) mod state;
pub(crate) mod validate;
pub(crate) mod xml;

use error::ApiError;
use faults::{Fault, InvalidFault};
use journal::{Caller, JournalEntry};
use model::arn::Home;
use model::targets::{NodeHealth, Target};
use model::{Account, Limits};
use operations::Write;
use state::State;

/// An account in one region. Clones are the same account.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    shared: Arc<Shared>,
}

/// Reads the journal as it grows.
#[derive(Debug)]
pub struct JournalTail {
    control_plane: ControlPlane,
    read: usize,
    written: watch::Receiver<usize>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    started: Instant,
    started_at: SystemTime,
    /// The number of journal entries.
    written: watch::Sender<usize>,
    /// The account as it is now, for those who follow it.
    accounts: watch::Sender<Arc<Account>>,
}

impl ControlPlane {
    /// An account without anything in it.
    pub(crate) fn new(region: &str, seed: u64, limits: Limits) -> Self {
        let started_at = SystemTime::now();
        let home = Home { region: region.to_owned(), account: "000000000000".to_owned() };
        let account = Arc::new(Account::new(home, seed, limits, started_at));
        let shared = Shared {
            state: Mutex::new(State::new(Arc::clone(&account))),
            started: Instant::now(),
            started_at,
            written: watch::Sender::new(0),
            accounts: watch::Sender::new(account),
        };
        Self { shared: Arc::new(shared) }
    }

    /// All writes so far, in the order in which they took effect.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.state().journal.entries.clone()
    }

    /// Reads the writes one by one, from the first on, and waits for those to come.
    pub fn follow(&self) -> JournalTail {
        JournalTail { control_plane: self.clone(), read: 0, written: self.shared.written.subscribe() }
    }

    /// The account as it is now and as it becomes: how load balancer nodes learn of new weights.
    pub(crate) fn accounts(&self) -> watch::Receiver<Arc<Account>> {
        self.shared.accounts.subscribe()
    }

    /// The time of the account: the wall clock at its start, then tokio's clock.
    pub fn now(&self) -> SystemTime {
        self.shared.started_at + self.shared.started.elapsed()
    }

    /// When it was started.
    pub(crate) fn started_at(&self) -> SystemTime {
        self.shared.started_at
    }

    /// Carries out a write without HTTP: the same operation, in the same journal, under the name `agent`.
    pub(crate) fn write<I: Write>(
        &self,
        agent: &str,
        operation: &str,
        subject: &str,
        input: I,
    ) -> Result<I::Output, ApiError> {
        self.change(|state, mut caller| {
            caller.user_agent = Some(agent.to_owned());
            state.write(operation, Some(subject), &caller, |account| input.write(account))
        })
    }

    /// What a load balancer node found out about a target. It is not a call, so it is not in the journal.
    pub(crate) fn report_health(&self, node: &str, group_arn: &str, target: &Target, health: NodeHealth) {
        self.change(|state, _| {
            let account = Arc::make_mut(&mut state.account);
            let reports = account.health.entry((group_arn.to_owned(), target.clone())).or_default();
            reports.insert(node.to_owned(), health);
        });
    }

    /// Switches a fault on, beside those that are on already.
    pub(crate) fn add_fault(&self, fault: Fault) -> Result<(), InvalidFault> {
        let mut state = self.state();
        let State { account, faults, .. } = &mut *state;
        faults.add(fault, account)
    }

    /// A panic while the state was held would have left it as it was before the call, so it stays usable.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call on the state. The time is taken while the state is held, so times and order agree.
    pub(crate) fn change<T>(&self, call: impl FnOnce(&mut State, Caller) -> T) -> T {
        let mut state = self.state();
        let elapsed = self.shared.started.elapsed();
        let caller = Caller { ms: millis(elapsed), at: self.shared.started_at + elapsed, user_agent: None };
        let result = call(&mut state, caller);
        let entries = state.journal.entries.len();
        // Published under the lock: whoever follows sees the accounts in the order in which they were.
        self.shared.accounts.send_if_modified(|known| {
            let changed = !Arc::ptr_eq(known, &state.account);
            known.clone_from(&state.account);
            changed
        });
        drop(state);
        self.shared.written.send_if_modified(|known| {
            let grown = entries > *known;
            *known = entries.max(*known);
            grown
        });
        result
    }
}

impl JournalTail {
    /// The next write; waits for it if there is none yet. Safe to cancel: an entry is not lost.
    pub async fn next(&mut self) -> JournalEntry {
        loop {
            let entry = self.control_plane.state().journal.entries.get(self.read).cloned();
            if let Some(entry) = entry {
                self.read += 1;
                return entry;
            }
            // The sender lives in what this tail holds, so it cannot be gone.
            let _ = self.written.changed().await;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
