//! How the endpoint says no: an HTTP status, AWS's error code and a sentence.

use std::borrow::Cow;

/// An error answer of the query protocol. The code is what clients match on; the message is for people.
///
/// Codes and statuses are those of AWS's service model (API version 2015-12-01); the wire codes have no `Exception` suffix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} (HTTP {status}): {message}")]
pub struct ApiError {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// AWS's error code, such as `RuleNotFound`.
    pub code: Cow<'static, str>,
    /// What was wrong, on which object.
    pub message: String,
}

impl ApiError {
    /// Almost every error of this API is a 400.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code: Cow::Borrowed(code), message: message.into() }
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", message)
    }

    /// The request is understood, but the lab does not model it. Said as such, so that nobody takes it for AWS's word.
    pub(crate) fn not_modelled(what: impl std::fmt::Display) -> Self {
        Self::validation(format!("the lab does not model {what}"))
    }

    pub(crate) fn invalid_action(message: impl Into<String>) -> Self {
        Self::new("InvalidLoadBalancerAction", message)
    }

    pub(crate) fn unknown_operation(name: &str, version: &str) -> Self {
        Self::new("InvalidAction", format!("Could not find operation {name} for version {version}"))
    }

    pub(crate) fn access_denied(message: String) -> Self {
        Self { status: 403, code: Cow::Borrowed("AccessDenied"), message }
    }

    pub(crate) fn expired_token() -> Self {
        Self {
            status: 403,
            code: Cow::Borrowed("ExpiredToken"),
            message: "The security token included in the request is expired".to_owned(),
        }
    }

    pub(crate) fn missing_authentication() -> Self {
        Self {
            status: 403,
            code: Cow::Borrowed("MissingAuthenticationToken"),
            message: "Request is missing Authentication Token".to_owned(),
        }
    }
}
