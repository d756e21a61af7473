//! What the Kubernetes API said, in words for the person who has to act.

use std::error::Error as StdError;

use kube::core::Status;

use super::objects::Resource;

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {verb} {subject}: {cause}{advice}")]
pub struct Error {
    verb: &'static str,
    subject: String,
    kind: ErrorKind,
    cause: String,
    advice: String,
}

/// What to do about a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It may go away by itself. Worth trying again soon.
    Transient,
    /// Somebody must give us rights, or tell us where the cluster is.
    Access,
    /// The object does not exist, or not yet.
    Missing,
    /// The server refused what was asked. Trying again does not help.
    Refused,
}

impl Error {
    /// The error of a cluster that is not behind the Kubernetes API.
    #[must_use]
    pub fn new(kind: ErrorKind, verb: &'static str, subject: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { verb, subject: subject.into(), kind, cause: cause.into(), advice: String::new() }
    }

    /// The cluster is not known.
    pub(super) fn no_cluster(cause: &dyn std::fmt::Display) -> Self {
        Self {
            verb: "reach",
            subject: "the Kubernetes API".to_owned(),
            kind: ErrorKind::Access,
            cause: cause.to_string(),
            advice: "; outside a cluster, start the plugin with --kubeconfig FILE, or set KUBECONFIG".to_owned(),
        }
    }

    /// The error of a request for objects of this kind.
    pub(super) fn of(verb: &'static str, resource: Resource, subject: &str, error: &kube::Error) -> Self {
        Self::of_each(verb, &[resource], subject, error)
    }

    /// The error of a request that failed in the same way for the same objects of several groups.
    pub(super) fn of_each(verb: &'static str, resources: &[Resource], subject: &str, error: &kube::Error) -> Self {
        let plural = resources.first().map_or("objects", |resource| resource.plural);
        let subject = format!("{plural} {subject}");
        let (kind, cause) = match error {
            kube::Error::Api(status) => (kind_of(status), format!("the API server answered {}", text(status))),
            kube::Error::Auth(error) => (ErrorKind::Access, format!("no usable credentials: {error}")),
            error => (ErrorKind::Transient, format!("the API server could not be reached: {}", causes(error))),
        };
        let advice = match kind {
            ErrorKind::Access if matches!(error, kube::Error::Api(_)) => {
                let groups: Vec<String> = resources.iter().map(|resource| format!("\"{}\"", resource.group)).collect();
                let groups = groups.join(", ");
                format!(
                    "; give the controller's service account a role with apiGroups: [{groups}], resources: [{plural}], \
                     verbs: [{verb}]"
                )
            }
            _ => String::new(),
        };
        Self { verb, subject, kind, cause, advice }
    }

    /// Nothing is there that could be asked for, or changed.
    pub(super) fn missing(verb: &'static str, resource: Resource, subject: &str, cause: &str, advice: &str) -> Self {
        Self::found(ErrorKind::Missing, verb, resource, subject, cause, advice)
    }

    /// What is there is not what was meant.
    pub(super) fn refused(verb: &'static str, resource: Resource, subject: &str, cause: &str) -> Self {
        Self::found(ErrorKind::Refused, verb, resource, subject, cause, "")
    }

    /// A Rollout has the name of the one that is to be changed, and is another.
    pub(super) fn another_rollout(subject: &str) -> Self {
        let cause = "it is not the one that was meant: that one was deleted, and another one made";
        Self::refused("patch", Resource::ROLLOUTS, subject, cause)
    }

    /// The API server answered in a way that may be another soon.
    pub(super) fn transient(verb: &'static str, resource: Resource, subject: &str, cause: &str) -> Self {
        Self::found(ErrorKind::Transient, verb, resource, subject, cause, "")
    }

    fn found(
        kind: ErrorKind,
        verb: &'static str,
        resource: Resource,
        subject: &str,
        cause: &str,
        advice: &str,
    ) -> Self {
        let subject = format!("{} {subject}", resource.plural);
        Self { verb, subject, kind, cause: cause.to_owned(), advice: advice.to_owned() }
    }

    /// An error as a fake cluster makes it.
    #[cfg(test)]
    pub(crate) fn fake(kind: ErrorKind, subject: &str) -> Self {
        let cause = "a fake said so".to_owned();
        Self { verb: "get", subject: subject.to_owned(), kind, cause, advice: String::new() }
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// Sorts the API server's answers by their HTTP status (Kubernetes API conventions, "HTTP Status codes").
fn kind_of(status: &Status) -> ErrorKind {
    match status.code {
        401 | 403 => ErrorKind::Access,
        404 => ErrorKind::Missing,
        409 | 410 | 429 | 500.. => ErrorKind::Transient,
        _ => ErrorKind::Refused,
    }
}

/// The API server answered with this HTTP status.
pub(super) fn is_answer(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// All that is known: a client's error alone says little more than that it is one.
fn causes(error: &kube::Error) -> String {
    let kube::Error::Service(error) = error else { return error.to_string() };
    let first: &(dyn StdError + 'static) = &**error;
    let all = std::iter::successors(Some(first), |error| (*error).source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn text(status: &Status) -> String {
    format!("{} {}: {}", status.code, status.reason, status.message)
}
