//! The lab's own pages, in JSON: the journal and the faults.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Shared;
use crate::control_plane::faults::Fault;
use crate::control_plane::journal::JournalReport;

pub(super) async fn journal(State(shared): State<Arc<Shared>>) -> Json<JournalReport> {
    let state = shared.control_plane.state();
    Json(JournalReport {
        started_at: shared.control_plane.started_at(),
        counts: state.journal.counts.clone(),
        writes: state.journal.entries.clone(),
    })
}

pub(super) async fn list_faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Fault>> {
    Json(shared.control_plane.state().faults.list())
}

pub(super) async fn add_fault(
    State(shared): State<Arc<Shared>>,
    Json(fault): Json<Fault>,
) -> Result<StatusCode, (StatusCode, String)> {
    match shared.control_plane.add_fault(fault) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err((StatusCode::BAD_REQUEST, format!("{error}\n"))),
    }
}

pub(super) async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.control_plane.state().faults.clear();
    StatusCode::NO_CONTENT
}
