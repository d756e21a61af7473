//! The lab's own pages, in JSON: the journal and the faults.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Shared;
use crate::faults::Fault;
use crate::journal::JournalReport;

pub(super) async fn journal(State(shared): State<Arc<Shared>>) -> Json<JournalReport> {
    let state = shared.state();
    Json(JournalReport {
        started_at: shared.started_at,
        counts: state.journal.counts.clone(),
        writes: state.journal.entries.clone(),
    })
}

pub(super) async fn list_faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Fault>> {
    Json(shared.state().faults.list())
}

pub(super) async fn add_fault(
    State(shared): State<Arc<Shared>>,
    Json(fault): Json<Fault>,
) -> Result<StatusCode, (StatusCode, String)> {
    match shared.add_fault(fault) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err((StatusCode::BAD_REQUEST, format!("{error}\n"))),
    }
}

pub(super) async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.state().faults.clear();
    StatusCode::NO_CONTENT
}
