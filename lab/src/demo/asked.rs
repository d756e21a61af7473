//! What a rollouts controller asks for, noted on its way to the router.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;

use crate::rollouts_controller::{CallError, TrafficRouter};

/// The canary weights that were asked for, each with its time. A repeated question is not noted again.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Vec<(Instant, u32)>>>);

/// A router that others look over the shoulder of.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) router: Arc<dyn TrafficRouter>,
    pub(super) asked: Asked,
}

impl Asked {
    pub(super) fn all(&self) -> Vec<(Instant, u32)> {
        self.open().clone()
    }

    /// The weight that was asked for last.
    pub(super) fn last(&self) -> Option<u32> {
        self.open().last().map(|(_, weight)| *weight)
    }

    fn note(&self, weight: u32) {
        let mut asked = self.open();
        if asked.last().is_none_or(|(_, last)| *last != weight) {
            asked.push((Instant::now(), weight));
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<(Instant, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TrafficRouter for Watched {
    async fn r#type(&self) -> Result<String, CallError> {
        self.router.r#type().await
    }

    async fn update_hash(&self, rollout: &Value, canary: &str, stable: &str) -> Result<(), CallError> {
        self.router.update_hash(rollout, canary, stable).await
    }

    async fn set_weight(&self, rollout: &Value, weight: u32) -> Result<(), CallError> {
        self.asked.note(weight);
        self.router.set_weight(rollout, weight).await
    }

    async fn verify_weight(&self, rollout: &Value, weight: u32) -> Result<Option<bool>, CallError> {
        self.router.verify_weight(rollout, weight).await
    }

    async fn remove_managed_routes(&self, rollout: &Value) -> Result<(), CallError> {
        self.router.remove_managed_routes(rollout).await
    }
}
