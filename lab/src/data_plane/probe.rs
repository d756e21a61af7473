//! Carries out health checks: one request on a connection of its own.
//!
//! An HTTPS check is made in plain HTTP, as the lab has no TLS.

use std::sync::Arc;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use tokio::time::timeout;

use crate::data_plane::health::{FAILED, Failure, MISMATCH, Probe, TIMED_OUT};
use crate::data_plane::proxy::reachable;
use crate::data_plane::server::NodeServer;

/// Checks the target, and tells the node.
pub(super) async fn check(server: Arc<NodeServer>, probe: Probe) {
    let result = ask(&server, &probe).await;
    server.state().node.probed(&probe, result);
    server.wake.notify_one();
}

async fn ask(server: &NodeServer, probe: &Probe) -> Result<(), Failure> {
    if probe.speaks_http2 {
        return Err((FAILED, "The lab speaks HTTP/1.1 to targets, and this target group another version"));
    }
    let address = reachable(&probe.member.target, probe.port)
        .ok_or((FAILED, "The lab reaches targets on loopback addresses only; this target has another address"))?;
    let request = Request::builder()
        .uri(format!("http://{address}{}", probe.path))
        .header(HOST, address.to_string())
        .header(USER_AGENT, "ELB-HealthChecker/2.0")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| (FAILED, "The path of the health check cannot be part of a request"))?;
    match timeout(probe.timeout, server.to_checks.request(request)).await {
        Ok(Ok(answer)) if probe.accepts(answer.status().as_u16()) => Ok(()),
        Ok(Ok(_)) => Err((MISMATCH, "Health checks failed with a code that the matcher does not have")),
        Ok(Err(_)) => Err((FAILED, "Health checks failed: no connection, or no HTTP in answer")),
        Err(_) => Err((TIMED_OUT, "Request timed out")),
    }
}
