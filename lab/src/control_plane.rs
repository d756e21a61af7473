//! The API of Elastic Load Balancing v2 without HTTP: one account, its journal and its bad days, for everyone who calls it.
//!
//! It runs on tokio's clock, so a test that pauses that clock pauses the account too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) mod buckets;
pub(crate) mod calls;
pub(crate) mod error;
pub(crate) mod faults;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod journal;
pub(crate) mod late;
pub(crate) mod model;
pub(crate) mod operations;
pub(crate) mod query;
pub(crate) mod state;
pub(crate) mod tokens;
pub(crate) mod validate;
pub(crate) mod xml;

use buckets::{BucketLevels, BucketSizes, Buckets};
use error::ApiError;
use faults::{Fault, InvalidFault};
use journal::{Caller, JournalEntry, millis};
use model::arn::Home;
use model::targets::{NodeHealth, Probing, Target};
use model::{Account, Limits};
use operations::Write;
use state::State;
use tokens::{Role, Tokens};

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
    /// The account as it is shown now, for those who follow it.
    accounts: watch::Sender<Arc<Account>>,
}

impl ControlPlane {
    /// An account without anything in it.
    pub(crate) fn new(region: &str, seed: u64, limits: Limits) -> Self {
        let started_at = SystemTime::now();
        let home = Home { region: region.to_owned(), account: "000000000000".to_owned() };
        let tokens = Tokens::new(&home.account, seed);
        let account = Arc::new(Account::new(home, seed, limits, started_at));
        let shared = Shared {
            state: Mutex::new(State::new(Arc::clone(&account), tokens)),
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

    /// A moment in the milliseconds of the journal.
    pub(crate) fn millis_at(&self, moment: Instant) -> u64 {
        millis(moment.saturating_duration_since(self.shared.started))
    }

    /// When it was started.
    pub fn started_at(&self) -> SystemTime {
        self.shared.started_at
    }

    /// Carries out a write on a good day: the same operation, in the same journal, under the name `agent`, but past buckets and
    /// faults. For set-ups; whoever plays a part uses [`ControlPlane::call`].
    pub(crate) fn write<I: Write>(
        &self,
        agent: &str,
        operation: &str,
        subject: &str,
        input: I,
    ) -> Result<I::Output, ApiError> {
        self.change(|state, mut caller| {
            caller.user_agent = Some(agent.to_owned());
            state.write(operation, Some(subject), &caller, Duration::ZERO, |account| input.write(account))
        })
    }

    /// What a load balancer node found out about a target. It is not a call, so it is not in the journal. Of a target that is not
    /// registered (any more) nothing is kept.
    pub(crate) fn report_health(&self, node: &str, group_arn: &str, target: &Target, health: NodeHealth) {
        self.change(|state, caller| {
            if state.account.registration(group_arn, target, caller.at).is_none() {
                return;
            }
            state.change_all(|account| {
                let reports = account.health.entry((group_arn.to_owned(), target.clone())).or_default();
                reports.insert(node.to_owned(), health);
            });
        });
    }

    /// Who finds out from now on whether targets are healthy. A data plane says `Probing::Nodes(…)` before its first report, so that no
    /// target is healthy before it was probed.
    pub(crate) fn set_probing(&self, probing: Probing) {
        self.change(|state, _| state.change_all(|account| account.probing = probing));
    }

    /// Switches a fault on, beside those that are on already.
    pub(crate) fn add_fault(&self, fault: Fault) -> Result<(), InvalidFault> {
        self.change(|state, caller| {
            let shown = Arc::clone(state.shown());
            state.faults.add(fault, &shown, caller.elapsed)
        })
    }

    /// Switches all faults off. Writes that are late already stay late.
    pub(crate) fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// The faults that are switched on, with the number of calls that are left.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.change(|state, caller| state.faults.list(caller.elapsed))
    }

    /// Throttles from now on, beginning with rested buckets, or no more.
    pub(crate) fn set_buckets(&self, sizes: Option<BucketSizes>) {
        self.change(|state, caller| state.buckets = sizes.map(|sizes| Buckets::new(sizes, caller.elapsed)));
    }

    /// The buckets as they are now; `None` if nobody is throttled.
    pub(crate) fn bucket_levels(&self) -> Option<BucketLevels> {
        self.change(|state, caller| state.buckets.as_mut().map(|buckets| buckets.levels(caller.elapsed)))
    }

    /// Makes a role known, with the ExternalId that it asks for, or changes what it asks for.
    pub(crate) fn add_role(&self, role: Role) -> Result<(), ApiError> {
        self.state().tokens.add_role(role)
    }

    /// The roles that were made known.
    pub(crate) fn roles(&self) -> Vec<Role> {
        self.state().tokens.roles.clone()
    }

    /// The account as reads see it now.
    pub(crate) fn account(&self) -> Arc<Account> {
        self.change(|state, _| Arc::clone(state.shown()))
    }

    /// A panic while the state was held would have left it as it was before the call, so it stays usable.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call on the state. The time is taken while the state is held, so times and order agree.
    pub(crate) fn change<T>(&self, call: impl FnOnce(&mut State, Caller) -> T) -> T {
        let mut state = self.state();
        let elapsed = self.shared.started.elapsed();
        let at = self.shared.started_at + elapsed;
        let caller = Caller { elapsed, ms: millis(elapsed), at, user_agent: None, assumed_role: None };
        state.late.settle(elapsed);
        let result = call(&mut state, caller);
        let entries = state.journal.entries.len();
        // Published under the lock: whoever follows sees the accounts in the order in which they were.
        self.shared.accounts.send_if_modified(|known| {
            let changed = !Arc::ptr_eq(known, state.shown());
            known.clone_from(state.shown());
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
