//! Bad days, switched on at run time: refusals, delays, cut connections.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::request::{RequestInfo, Verb};
use super::resource::Resource;
use super::status::Status;

/// A fault: which requests it meets, how many of them, and what happens to them.
///
/// As JSON: `{"verb": "patch", "resource": "ingresses", "times": 1, "effect": "conflict"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Every one, if left out.
    #[serde(default)]
    pub verb: Option<Verb>,
    /// As in Kubernetes' roles: `rollouts` is not `rollouts/status`. Where several groups have it, `rollouts.argoproj.io` is
    /// that of one of them. Every one, if left out.
    #[serde(default)]
    pub resource: Option<String>,
    /// How many requests it meets before it is over; all of them until the faults are cleared, if left out.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens.
    pub effect: Effect,
}

/// What happens to a request that meets a fault. Several faults may meet one; the refusal set first wins, delays add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// 403, as if no role allowed it.
    Forbidden,
    /// 404, as if nothing were there.
    NotFound,
    /// 404, as if no CustomResourceDefinition of that group were installed.
    NotInstalled,
    /// 429, with `Retry-After`.
    TooManyRequests {
        /// Seconds.
        retry_after_seconds: u32,
    },
    /// 500.
    InternalError,
    /// 409, as if somebody else had changed the object meanwhile.
    Conflict,
    /// It waits before it takes effect.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// It takes effect, but the connection is closed before any byte of the answer is sent.
    CutAfterEffect,
}

/// A fault that could never do what it says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// No request has this resource, so the fault would never meet one.
    #[error(
        "the lab serves no resource '{0}'; name one by its plural, such as rollouts or rollouts/status, or none for all"
    )]
    UnknownResource(String),
    /// The fault would be over before it began.
    #[error("a fault for 0 requests does nothing")]
    NoRequests,
}

/// What the faults do to one request.
#[derive(Debug, Default)]
pub(super) struct Injected {
    pub(super) refusal: Option<Status>,
    pub(super) delay: Duration,
    pub(super) cut: bool,
}

impl Fault {
    /// A fault that meets every request with this verb and resource (`rollouts`, `rollouts/status`) until it is cleared.
    #[must_use]
    pub fn new(verb: Verb, resource: &str, effect: Effect) -> Self {
        Self { verb: Some(verb), resource: Some(resource.to_owned()), times: None, effect }
    }

    /// A fault that meets every request until it is cleared.
    #[must_use]
    pub fn everywhere(effect: Effect) -> Self {
        Self { verb: None, resource: None, times: None, effect }
    }

    /// Limits the fault to the next requests.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Refuses what could never do what it says.
    pub(super) fn check(&self) -> Result<(), InvalidFault> {
        let serves = |wanted: &str| {
            Resource::all().map(|resource| resource.served).any(|kind| {
                let is_named = |plural: &str| kind.plural == plural || kind.qualified_plural() == plural;
                match wanted.strip_suffix("/status") {
                    Some(plural) => is_named(plural) && kind.status_subresource,
                    None => is_named(wanted),
                }
            })
        };
        match &self.resource {
            Some(resource) if !serves(resource) => Err(InvalidFault::UnknownResource(resource.clone())),
            _ if self.times == Some(0) => Err(InvalidFault::NoRequests),
            _ => Ok(()),
        }
    }

    fn meets(&self, request: &RequestInfo) -> bool {
        self.verb.is_none_or(|verb| verb == request.verb)
            && self.resource.as_ref().is_none_or(|resource| {
                *resource == request.resource_text() || *resource == request.qualified_resource_text()
            })
    }
}

/// Collects what meets this request, and counts it. Faults that are used up are taken away.
pub(super) fn meet(faults: &mut Vec<Fault>, request: &RequestInfo) -> Injected {
    let mut injected = Injected::default();
    for fault in faults.iter_mut().filter(|fault| fault.meets(request)) {
        let refusal = match fault.effect {
            Effect::Forbidden => Some(Status::forbidden(request)),
            Effect::NotInstalled => Some(Status::no_such_resource()),
            Effect::NotFound => Some(Status::not_found(request.resource.served, &request.name)),
            Effect::TooManyRequests { retry_after_seconds } => Some(Status::too_many_requests(retry_after_seconds)),
            Effect::InternalError => Some(Status::internal_error()),
            Effect::Conflict => Some(Status::conflict(request.resource.served, &request.name)),
            Effect::Delay { ms } => {
                injected.delay += Duration::from_millis(ms);
                None
            }
            Effect::CutAfterEffect => {
                injected.cut = true;
                None
            }
        };
        injected.refusal = injected.refusal.or(refusal);
        fault.times = fault.times.map(|left| left.saturating_sub(1));
    }
    faults.retain(|fault| fault.times != Some(0));
    injected
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    fn request(method: Method, path: &str) -> RequestInfo {
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts{path}");
        RequestInfo::of(&method, &path.parse().expect("a sound address")).expect("a sound request")
    }

    fn code(faults: &mut Vec<Fault>, request: &RequestInfo) -> Option<u16> {
        meet(faults, request).refusal.map(|status| status.code.as_u16())
    }

    #[test]
    fn a_fault_meets_its_verb_and_resource_and_is_used_up() {
        let mut faults = vec![Fault::new(Verb::Patch, "rollouts/status", Effect::Forbidden).times(1)];
        assert_eq!(code(&mut faults, &request(Method::PATCH, "/a")), None);
        assert_eq!(code(&mut faults, &request(Method::GET, "/a/status")), None);
        assert_eq!(code(&mut faults, &request(Method::PATCH, "/a/status")), Some(403));
        assert_eq!(code(&mut faults, &request(Method::PATCH, "/a/status")), None);
        assert_eq!(faults, []);
    }

    #[test]
    fn a_fault_may_meet_one_group_alone() {
        let request = |group: &str| {
            let path = format!("/apis/{group}/namespaces/shop/targetgroupbindings");
            RequestInfo::of(&Method::GET, &path.parse().expect("a sound address")).expect("a sound request")
        };
        let (one, other) = (request("elbv2.k8s.aws/v1beta1"), request("eks.amazonaws.com/v1"));
        let fault = Fault::new(Verb::List, "targetgroupbindings.eks.amazonaws.com", Effect::NotInstalled);
        assert_eq!(fault.check(), Ok(()));
        let mut faults = vec![fault];
        assert_eq!((code(&mut faults, &one), code(&mut faults, &other)), (None, Some(404)));
        let mut faults = vec![Fault::new(Verb::List, "targetgroupbindings", Effect::Forbidden)];
        assert_eq!((code(&mut faults, &one), code(&mut faults, &other)), (Some(403), Some(403)));
    }

    #[test]
    fn several_faults_meet_one_request() {
        let delay = |ms| Fault::everywhere(Effect::Delay { ms });
        let mut faults = vec![
            delay(20),
            Fault::everywhere(Effect::TooManyRequests { retry_after_seconds: 3 }),
            Fault::everywhere(Effect::InternalError),
            delay(30),
            Fault::everywhere(Effect::CutAfterEffect),
        ];
        let injected = meet(&mut faults, &request(Method::GET, ""));
        assert_eq!(injected.refusal.map(|status| status.code.as_u16()), Some(429), "the first one wins");
        assert_eq!((injected.delay, injected.cut), (Duration::from_millis(50), true));
        assert_eq!(faults.len(), 5, "they stay until they are cleared");
    }

    #[test]
    fn faults_that_never_meet_anything_are_refused() {
        for (resource, times, expected) in [
            ("secrets", 1, InvalidFault::UnknownResource("secrets".to_owned())),
            ("analysisruns/status", 1, InvalidFault::UnknownResource("analysisruns/status".to_owned())),
            ("rollouts/status", 0, InvalidFault::NoRequests),
        ] {
            assert_eq!(Fault::new(Verb::Get, resource, Effect::Conflict).times(times).check(), Err(expected));
        }
        assert_eq!(Fault::new(Verb::Get, "rollouts/status", Effect::Conflict).check(), Ok(()));
    }

    #[test]
    fn faults_can_be_written_as_json() {
        let text = r#"{"verb": "patch", "resource": "ingresses", "times": 2, "effect": {"too_many_requests": {"retry_after_seconds": 1}}}"#;
        let fault: Fault = serde_json::from_str(text).expect("a fault");
        let effect = Effect::TooManyRequests { retry_after_seconds: 1 };
        assert_eq!(fault, Fault::new(Verb::Patch, "ingresses", effect).times(2));
        let fault: Fault = serde_json::from_str(r#"{"effect": "conflict"}"#).expect("a fault");
        assert_eq!(fault, Fault::everywhere(Effect::Conflict));
    }
}
