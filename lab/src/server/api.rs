//! One call of the query protocol, from HTTP request to HTTP answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{future, stream};

use super::Shared;
use crate::control_plane::error::ApiError;
use crate::control_plane::operations::{self, Handler};
use crate::control_plane::query::Request;
use crate::control_plane::xml;

struct Answer {
    operation: String,
    result: String,
}

enum NoAnswer {
    Refused(ApiError),
    Cut,
}

pub(super) async fn call(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = shared.request_id();
    match answer(&shared, &headers, &body).await {
        Ok(Answer { operation, result }) => {
            text_xml(StatusCode::OK, xml::response(&operation, &result, &request_id), &request_id)
        }
        Err(NoAnswer::Refused(error)) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            text_xml(status, xml::error_response(&error, &request_id), &request_id)
        }
        Err(NoAnswer::Cut) => cut(),
    }
}

/// Faults are counted when the call arrives; the state is held only while the call takes effect, never while it waits.
async fn answer(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Result<Answer, NoAnswer> {
    // The lab does not check signatures, but an unsigned request never gets past AWS's door.
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::missing_authentication().into());
    }
    let request = Request::parse(body)?;
    let operation = request.action.as_str();
    let handler =
        operations::find(operation).ok_or_else(|| ApiError::unknown_operation(operation, &request.version))?;
    let injected = shared.control_plane.state().faults.meet(operation, matches!(handler, Handler::Read(_)));
    wait(injected.delay_before_ms).await;
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let result = shared.control_plane.change(|state, mut caller| {
        caller.user_agent = user_agent;
        state.call(handler, &request, &injected, &caller)
    });
    wait(injected.delay_after_ms).await;
    if injected.cut {
        return Err(NoAnswer::Cut);
    }
    Ok(Answer { result: result?, operation: request.action })
}

async fn wait(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn text_xml(status: StatusCode, body: String, request_id: &str) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", value);
    }
    response
}

/// A body that fails at its first byte: hyper then closes the connection, and not even the head of the answer has gone out.
fn cut() -> Response {
    let broken = io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose");
    Body::from_stream(stream::once(future::ready(Err::<Bytes, io::Error>(broken)))).into_response()
}

impl From<ApiError> for NoAnswer {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}
