//! One lock a rule: ModifyRule has no version check, so a rule is read and written by one shift at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::alb::RuleArn;

/// Locks that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Locked(#[expect(dead_code, reason = "held, not read")] Vec<OwnedMutexGuard<()>>);

/// The locks of all rules that a shift is about.
#[derive(Debug, Default)]
pub(super) struct RuleLocks(Mutex<HashMap<RuleArn, Arc<AsyncMutex<()>>>>);

impl RuleLocks {
    /// Locks these rules. Always in the order of their ARNs, so that two shifts cannot wait for each other.
    pub(super) async fn lock(&self, rules: &[RuleArn]) -> Locked {
        let mut sorted: Vec<&RuleArn> = rules.iter().collect();
        sorted.sort();
        sorted.dedup();
        let locks: Vec<_> = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, lock| Arc::strong_count(lock) > 1);
            sorted.into_iter().map(|rule| Arc::clone(known.entry(rule.clone()).or_default())).collect()
        };
        let mut guards = Vec::with_capacity(locks.len());
        for lock in locks {
            guards.push(lock.lock_owned().await);
        }
        Locked(guards)
    }
}
