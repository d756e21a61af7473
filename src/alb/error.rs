//! What a load balancer's API said, in words for the person who has to act.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_elasticloadbalancingv2::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};

use super::Role;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} of {subject} failed: {cause}{advice}")]
pub struct Error {
    operation: &'static str,
    subject: String,
    kind: ErrorKind,
    throttled: bool,
    cause: String,
    advice: &'static str,
}

/// What to do about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It may go away by itself: throttling, a fault of AWS, a lost connection. Worth trying again soon.
    Transient,
    /// Somebody must give us rights or credentials. Trying again soon does not help.
    Access,
    /// The rule, target group or listener does not exist.
    Missing,
    /// AWS, or we on its behalf, refused what was asked. Trying again does not help.
    Refused,
}

impl Error {
    /// A refusal of our own, before anything was sent.
    pub(super) fn refused(operation: &'static str, subject: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::ours(ErrorKind::Refused, operation, subject.into(), cause.into())
    }

    /// Something of our own came in between; the next try may go well.
    pub(super) fn transient(operation: &'static str, subject: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::ours(ErrorKind::Transient, operation, subject.into(), cause.into())
    }

    fn ours(kind: ErrorKind, operation: &'static str, subject: String, cause: String) -> Self {
        Self { operation, subject, kind, throttled: false, cause, advice: "" }
    }

    /// The error of an SDK call, sorted. `role` is the one in whose name it was made.
    pub(super) fn of<E, R>(
        operation: &'static str,
        subject: impl Into<String>,
        role: Option<&Role>,
        error: &SdkError<E, R>,
    ) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: std::fmt::Debug,
    {
        let mut throttled = false;
        let (kind, cause) = match error {
            SdkError::ServiceError(service) => {
                let answer = service.err();
                let code = answer.code().unwrap_or("an error without a code");
                throttled = is_throttling(code);
                (kind_of(code), answered("AWS", answer))
            }
            SdkError::TimeoutError(_) => (ErrorKind::Transient, "AWS did not answer in time".to_owned()),
            SdkError::ResponseError(_) => {
                (ErrorKind::Transient, format!("AWS's answer was not readable{}", causes(error)))
            }
            _ => match (lacks_credentials(error), role) {
                (true, Some(role)) => {
                    let (kind, cause, advice) = not_assumed(role, error);
                    return Self { operation, subject: subject.into(), kind, throttled, cause, advice };
                }
                (true, None) => (ErrorKind::Access, format!("no usable AWS credentials{}", causes(error))),
                (false, _) => (ErrorKind::Transient, format!("AWS could not be reached{}", causes(error))),
            },
        };
        let advice = match kind {
            ErrorKind::Access if role.is_some() => {
                "; the role that the Rollout's plugin entry names needs the rights in deploy/iam"
            }
            _ => advice(kind, &cause),
        };
        Self { operation, subject: subject.into(), kind, throttled, cause, advice }
    }

    /// An error answer of a load balancer that is not AWS: sorted by its code like AWS's own.
    #[must_use]
    pub fn answered(operation: &'static str, subject: impl Into<String>, code: &str, message: &str) -> Self {
        let (kind, cause) = (kind_of(code), format!("AWS answered {code}: {message}"));
        let advice = advice(kind, &cause);
        Self { operation, subject: subject.into(), kind, throttled: is_throttling(code), cause, advice }
    }

    /// No answer came from a load balancer that is not AWS: whether the call took effect is not known.
    #[must_use]
    pub fn unanswered(operation: &'static str, subject: impl Into<String>) -> Self {
        Self::transient(operation, subject, "AWS could not be reached")
    }

    /// An error as a fake load balancer makes it.
    #[cfg(test)]
    pub(crate) fn fake(kind: ErrorKind, subject: &str, code: &str) -> Self {
        let error = Self::ours(kind, "a call", subject.to_owned(), format!("AWS answered {code}"));
        Self { throttled: is_throttling(code), ..error }
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// AWS refused the call because the account makes too many of them.
    #[must_use]
    pub fn is_throttling(&self) -> bool {
        self.throttled
    }

    /// The same error of one of the things that a call was about, for whoever asked for that one alone.
    pub(super) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..self }
    }
}

/// The user guide ("Request throttling") names the second, ELBv2 answers with the first, other AWS APIs with the third.
fn is_throttling(code: &str) -> bool {
    matches!(code, "Throttling" | "ThrottlingException" | "RequestLimitExceeded")
}

/// Sorts AWS's error codes. ELBv2's own are in its API reference, the others in "Common Errors". A code that is not listed is a refusal: retrying what we do not understand helps nobody.
fn kind_of(code: &str) -> ErrorKind {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "PriorRequestNotComplete"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "HealthUnavailable"
        | "RequestTimeout"
        | "RequestTimeoutException"
        // Somebody else was faster; another number is free.
        | "PriorityInUse" => ErrorKind::Transient,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired" => ErrorKind::Access,
        "RuleNotFound" | "TargetGroupNotFound" | "ListenerNotFound" | "LoadBalancerNotFound" => ErrorKind::Missing,
        _ => ErrorKind::Refused,
    }
}

fn answered(who: &str, answer: &dyn ProvideErrorMetadata) -> String {
    let code = answer.code().unwrap_or("an error without a code");
    let text = answer.message().map_or_else(String::new, |message| format!(": {message}"));
    format!("{who} answered {code}{text}")
}

/// Why there are no credentials in the name of a role: what the Security Token Service (STS) said, or why it was not asked.
fn not_assumed<E: StdError + 'static, R: std::fmt::Debug>(
    role: &Role,
    error: &SdkError<E, R>,
) -> (ErrorKind, String, &'static str) {
    let because = |cause: String| format!("role {} could not be assumed: {cause}", role.arn);
    if let Some(answer) = chain(error).find_map(|cause| cause.downcast_ref::<ErrorMetadata>()) {
        let kind = answer.code().map_or(ErrorKind::Access, kind_of);
        let advice = match kind {
            ErrorKind::Access => {
                "; the controller's own IAM role needs sts:AssumeRole on that role, whose trust policy must name the \
                 controller's role and, if it asks for an external id, the one in the Rollout's plugin entry"
            }
            _ => "",
        };
        return (kind, because(answered("AWS STS", answer)), advice);
    }
    let credentials = chain(error).filter_map(|cause| cause.downcast_ref::<CredentialsError>());
    let ours = |cause: &CredentialsError| {
        matches!(cause, CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
    };
    if credentials.into_iter().any(ours) {
        let cause = because(format!("no usable AWS credentials{}", causes(error)));
        let advice = advice(ErrorKind::Access, &cause);
        return (ErrorKind::Access, cause, advice);
    }
    (ErrorKind::Transient, because(format!("AWS STS could not be reached{}", causes(error))), "")
}

fn advice(kind: ErrorKind, cause: &str) -> &'static str {
    match kind {
        ErrorKind::Access if cause.contains("credentials") => {
            "; give the rollouts controller's service account an IAM role (IRSA or EKS Pod Identity), see deploy/iam"
        }
        ErrorKind::Access => "; the controller's IAM role needs the rights in deploy/iam",
        ErrorKind::Missing => {
            "; correct the ARN in the Rollout's plugin entry or, where it names none, in the TargetGroupBinding of its Service"
        }
        ErrorKind::Transient | ErrorKind::Refused => "",
    }
}

/// The SDK reports missing credentials as a failed dispatch, with the reason somewhere down its chain.
fn lacks_credentials<E: StdError + 'static, R: std::fmt::Debug>(error: &SdkError<E, R>) -> bool {
    chain(error).any(|cause| cause.downcast_ref::<CredentialsError>().is_some())
}

fn causes<E: StdError + 'static, R: std::fmt::Debug>(error: &SdkError<E, R>) -> String {
    // One line: some of the SDK's texts are lists.
    let one_line =
        |cause: &(dyn StdError + 'static)| cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    chain(error).map(|cause| format!(": {}", one_line(cause))).collect()
}

fn chain<'a, E: StdError + 'static, R: std::fmt::Debug>(
    error: &'a SdkError<E, R>,
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_helps() {
        for (code, kind) in [
            ("Throttling", ErrorKind::Transient),
            ("InternalFailure", ErrorKind::Transient),
            ("ExpiredToken", ErrorKind::Access),
            ("AccessDenied", ErrorKind::Access),
            ("RuleNotFound", ErrorKind::Missing),
            ("InvalidConfigurationRequest", ErrorKind::Refused),
            ("PriorityInUse", ErrorKind::Transient),
            ("SomethingNew", ErrorKind::Refused),
        ] {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }

    #[test]
    fn a_throttled_call_may_be_made_again_but_not_every_such_call_was_throttled() {
        for (code, throttled) in [
            ("Throttling", true),
            ("ThrottlingException", true),
            ("RequestLimitExceeded", true),
            ("PriorRequestNotComplete", false),
            ("InternalFailure", false),
        ] {
            assert_eq!((kind_of(code), is_throttling(code)), (ErrorKind::Transient, throttled), "{code}");
        }
    }
}
