//! One call of the query protocol, from HTTP request to HTTP answer.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{future, stream};

use super::Shared;
use crate::control_plane::calls::{Arrived, NoAnswer, Work};
use crate::control_plane::error::ApiError;
use crate::control_plane::operations::{self, Handler};
use crate::control_plane::query::{Request, Service};
use crate::control_plane::{tokens, xml};

pub(super) async fn call(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = shared.request_id();
    let request = match accept(&headers, &body) {
        Ok(request) => request,
        Err(error) => return refusal(Service::LoadBalancing, &error, &request_id),
    };
    let (service, operation) = (request.service, request.action.as_str());
    match answer(&shared, &headers, &request).await {
        Ok(result) => text_xml(StatusCode::OK, xml::response(service, operation, &result, &request_id), &request_id),
        Err(NoAnswer::Refused(error)) => refusal(service, &error, &request_id),
        Err(NoAnswer::Cut) => cut(),
    }
}

fn accept(headers: &HeaderMap, body: &[u8]) -> Result<Request, ApiError> {
    // The lab does not check signatures, but an unsigned request never gets past AWS's door.
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(ApiError::missing_authentication());
    }
    Request::parse(body)
}

/// The result element of the answer.
async fn answer(shared: &Shared, headers: &HeaderMap, request: &Request) -> Result<String, NoAnswer> {
    let Request { service, action: operation, parameters } = request;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let arrived = Arrived {
        operation,
        subject: operations::subject(parameters),
        agent: text(header::USER_AGENT),
        access_key: text(header::AUTHORIZATION).and_then(access_key),
    };
    let unknown = || ApiError::unknown_operation(operation, service.version());
    let work = match service {
        Service::LoadBalancing => match operations::find(operation).ok_or_else(unknown)? {
            Handler::Read(read) => Work::Read(Box::new(move |account, now| read(operation, parameters, account, now))),
            Handler::Write(write) => Work::Write(Box::new(move |account| write(operation, parameters, account))),
        },
        Service::Tokens => {
            let work = tokens::find(operation).ok_or_else(unknown)?;
            Work::Tokens(Box::new(move |tokens, now| work(parameters, tokens, arrived.access_key, now)))
        }
    };
    shared.control_plane.perform(arrived, work).await
}

/// `AWS4-HMAC-SHA256 Credential=<access key>/<date>/<region>/<service>/aws4_request, …`
fn access_key(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').next()
}

fn refusal(service: Service, error: &ApiError, request_id: &str) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text_xml(status, xml::error_response(service, error, request_id), request_id)
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
