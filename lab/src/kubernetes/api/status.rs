//! The `Status` object, in which Kubernetes answers when it refuses something.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::kind::Kind;
use super::super::store::Refusal;
use super::request::RequestInfo;

/// A refusal, with the code, reason and sentence of the real API server (kubernetes/apimachinery `pkg/api/errors`).
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) code: StatusCode,
    reason: &'static str,
    message: String,
    about: Option<About>,
    retry_after_seconds: Option<u32>,
}

/// The object that a refusal is about.
#[derive(Debug, Clone)]
struct About {
    group: &'static str,
    plural: &'static str,
    name: String,
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), about: None, retry_after_seconds: None }
    }

    fn about(self, kind: Kind, name: &str) -> Self {
        let about = About { group: kind.group, plural: kind.plural, name: name.to_owned() };
        Self { about: Some(about), ..self }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// There is nothing at this path.
    pub(super) fn no_such_resource() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    pub(super) fn method_not_allowed(method: &str) -> Self {
        let message = format!(
            "the server does not allow this method on the requested resource: the lab takes GET, POST, PATCH and DELETE, not \
             {method} here"
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(super) fn unsupported_patch(content_type: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format ({content_type}) - accepted media types include: \
             application/merge-patch+json; the lab knows neither JSON patches, strategic merge patches nor server-side apply"
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// What was asked for from here on is forgotten.
    pub(super) fn too_old(version: u64, newest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {version} ({newest})"))
    }

    /// The lab lists everything at once, so a token to go on with is not one of its own.
    pub(super) fn no_such_page() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. The lab lists without \
                       pages: list again without the token";
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(super) fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.qualified_plural());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(kind, name)
    }

    pub(super) fn conflict(kind: Kind, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to the \
             latest version and try again",
            kind.qualified_plural()
        );
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    pub(super) fn invalid(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is invalid: {why}", kind.qualified_kind());
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(kind, name)
    }

    /// No role allows the request.
    pub(super) fn forbidden(request: &RequestInfo) -> Self {
        let (kind, name) = (request.resource.served, request.name.as_str());
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let scope = match &request.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let message = format!(
            "{}{named} is forbidden: User \"lab\" cannot {} resource \"{}\" in API group \"{}\" {scope}",
            kind.qualified_plural(),
            request.verb,
            request.resource_text(),
            kind.group
        );
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(kind, name)
    }

    pub(super) fn too_many_requests(retry_after_seconds: u32) -> Self {
        let message = "The server has received too many requests and has asked us to try again later";
        let status = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        Self { retry_after_seconds: Some(retry_after_seconds), ..status }
    }

    pub(super) fn internal_error() -> Self {
        let message = "Internal error occurred: the lab was told to fail";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// Why the cluster refused a request about the object `name`.
    pub(super) fn refused(refusal: Refusal, kind: Kind, name: &str) -> Self {
        match refusal {
            Refusal::NotFound(_) => Self::not_found(kind, name),
            Refusal::AlreadyExists(_) => {
                let message = format!("{} \"{name}\" already exists", kind.qualified_plural());
                Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(kind, name)
            }
            Refusal::Conflict(_) => Self::conflict(kind, name),
            Refusal::Invalid(why) => Self::invalid(kind, name, &why),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut details = match &self.about {
            Some(about) => json!({"name": about.name, "group": about.group, "kind": about.plural}),
            None => json!({}),
        };
        if let (Some(seconds), Some(details)) = (self.retry_after_seconds, details.as_object_mut()) {
            details.insert("retryAfterSeconds".to_owned(), json!(seconds));
        }
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "details": details, "code": self.code.as_u16(),
        })
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let mut response = (self.code, Json(self.to_json())).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
