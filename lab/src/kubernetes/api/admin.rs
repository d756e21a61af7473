//! The lab's own pages, in JSON: faults, outages and the log of requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::Fault;
use super::{FaultSwitch, Shared};

/// An outage that ends by itself, since nobody can call the server during it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outage {
    /// It begins so many milliseconds from now; the answer to this request needs some.
    after_ms: u64,
    /// It lasts so many milliseconds.
    for_ms: u64,
}

pub(super) async fn list_faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Fault>> {
    Json(FaultSwitch { shared }.list())
}

pub(super) async fn add_fault(
    State(shared): State<Arc<Shared>>,
    Json(fault): Json<Fault>,
) -> Result<StatusCode, (StatusCode, String)> {
    match (FaultSwitch { shared }).add(fault) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err((StatusCode::BAD_REQUEST, format!("{error}\n"))),
    }
}

pub(super) async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    FaultSwitch { shared }.clear();
    StatusCode::NO_CONTENT
}

pub(super) async fn cut_watches(State(shared): State<Arc<Shared>>) -> StatusCode {
    FaultSwitch { shared }.cut_watches();
    StatusCode::NO_CONTENT
}

pub(super) async fn forget_changes(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.cluster.forget_changes();
    StatusCode::NO_CONTENT
}

pub(super) async fn outage(State(shared): State<Arc<Shared>>, Json(outage): Json<Outage>) -> StatusCode {
    let switch = FaultSwitch { shared };
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(outage.after_ms)).await;
        switch.go_away().await;
        tokio::time::sleep(Duration::from_millis(outage.for_ms)).await;
        switch.come_back().await;
    });
    StatusCode::ACCEPTED
}

pub(super) async fn requests(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let log = shared.log();
    Json(json!({"counts": log.counts(), "requests": log.requests}))
}
