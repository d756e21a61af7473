//! The lab's own pages, in JSON: the state at a glance, the journal, the faults, the buckets, the roles,
//! and what the load balancer nodes do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Shared;
use super::glance::Glance;
use crate::control_plane::buckets::{BucketLevels, BucketSizes};
use crate::control_plane::faults::Fault;
use crate::control_plane::journal::JournalReport;
use crate::control_plane::tokens::Role;
use crate::data_plane::DataPlane;
use crate::data_plane::counters::Traffic;

/// By listener ARN, then by the node's name.
type Addresses = BTreeMap<String, BTreeMap<String, SocketAddr>>;

/// Done, or what was wrong with the request.
type Done = Result<StatusCode, (StatusCode, String)>;

pub(super) async fn glance(State(shared): State<Arc<Shared>>) -> Json<Glance> {
    Json(Glance::of(&shared.control_plane))
}

pub(super) async fn journal(State(shared): State<Arc<Shared>>) -> Json<JournalReport> {
    let state = shared.control_plane.state();
    Json(JournalReport {
        started_at: shared.control_plane.started_at(),
        counts: state.journal.counts.clone(),
        writes: state.journal.entries.clone(),
    })
}

pub(super) async fn list_faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Fault>> {
    Json(shared.control_plane.faults())
}

pub(super) async fn add_fault(State(shared): State<Arc<Shared>>, Json(fault): Json<Fault>) -> Done {
    done(shared.control_plane.add_fault(fault))
}

pub(super) async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.control_plane.clear_faults();
    StatusCode::NO_CONTENT
}

pub(super) async fn bucket_levels(State(shared): State<Arc<Shared>>) -> Json<Option<BucketLevels>> {
    Json(shared.control_plane.bucket_levels())
}

pub(super) async fn set_buckets(State(shared): State<Arc<Shared>>, Json(sizes): Json<BucketSizes>) -> StatusCode {
    shared.control_plane.set_buckets(Some(sizes));
    StatusCode::NO_CONTENT
}

pub(super) async fn remove_buckets(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.control_plane.set_buckets(None);
    StatusCode::NO_CONTENT
}

pub(super) async fn list_roles(State(shared): State<Arc<Shared>>) -> Json<Vec<Role>> {
    Json(shared.control_plane.roles())
}

pub(super) async fn add_role(State(shared): State<Arc<Shared>>, Json(role): Json<Role>) -> Done {
    done(shared.control_plane.add_role(role))
}

/// `null` without a data plane, as for the traffic.
pub(super) async fn listeners(State(shared): State<Arc<Shared>>) -> Json<Option<Addresses>> {
    Json(shared.data_plane.as_ref().map(DataPlane::listeners))
}

pub(super) async fn traffic(State(shared): State<Arc<Shared>>) -> Json<Option<Traffic>> {
    Json(shared.data_plane.as_ref().map(DataPlane::counters))
}

fn done(result: Result<(), impl std::fmt::Display>) -> Done {
    match result {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err((StatusCode::BAD_REQUEST, format!("{error}\n"))),
    }
}
