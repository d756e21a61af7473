//! What a request asks for, read from its method, path and query.

use std::fmt;
use std::time::Duration;

use axum::http::{Method, Uri};
use serde::{Deserialize, Serialize};

use super::super::kind::Kind;
use super::super::patch::Part;
use super::super::selector::Selector;
use super::resource::Resource;
use super::status::Status;

/// What is done, in the words of Kubernetes' roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads the objects of a kind.
    List,
    /// Follows the objects of a kind.
    Watch,
    /// Makes an object.
    Create,
    /// Changes an object.
    Patch,
    /// Takes an object away.
    Delete,
}

/// A request to the objects, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestInfo {
    pub(super) verb: Verb,
    pub(super) resource: Resource,
    /// `None` for all namespaces, and for kinds that live in none.
    pub(super) namespace: Option<String>,
    /// Empty for a whole collection.
    pub(super) name: String,
    pub(super) part: Part,
    pub(super) query: Query,
}

/// The parameters that the lab knows. Others are ignored, as the API server ignores unknown ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) selector: Selector,
    pub(super) is_watch: bool,
    pub(super) resource_version: Option<u64>,
    /// After this a watch ends.
    pub(super) timeout: Option<Duration>,
    pub(super) wants_bookmarks: bool,
    pub(super) send_initial_events: Option<bool>,
    pub(super) grace_period_seconds: Option<u64>,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        })
    }
}

impl RequestInfo {
    /// Reads method and address (kubernetes/apiserver `pkg/endpoints/request/requestinfo.go`).
    pub(super) fn of(method: &Method, uri: &Uri) -> Result<Self, Status> {
        let segments: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Status::no_such_resource()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            _ => (None, rest),
        };
        let (plural, name, part) = match rest {
            [plural] => (*plural, "", Part::Main),
            [plural, name] => (*plural, *name, Part::Main),
            [plural, name, "status"] => (*plural, *name, Part::Status),
            _ => return Err(Status::no_such_resource()),
        };
        let resource = Resource::find(group, version, plural).ok_or_else(Status::no_such_resource)?;
        let kind = resource.served;
        let is_one_place = namespace.is_some() == kind.namespaced;
        // A collection may be read in all namespaces at once; an object is in one.
        if (namespace.is_some() && !kind.namespaced)
            || (!name.is_empty() && !is_one_place)
            || (part == Part::Status && !kind.status_subresource)
        {
            return Err(Status::no_such_resource());
        }
        let query = Query::parse(resource.stored, uri.query().unwrap_or_default())?;
        let verb = match (method, name.is_empty()) {
            (&Method::GET, true) if query.is_watch => Verb::Watch,
            (&Method::GET, true) => Verb::List,
            (&Method::GET, false) => Verb::Get,
            (&Method::POST, true) if is_one_place => Verb::Create,
            (&Method::PATCH, false) => Verb::Patch,
            (&Method::DELETE, false) if part == Part::Main => Verb::Delete,
            _ => return Err(Status::method_not_allowed(method.as_str())),
        };
        Ok(Self { verb, resource, namespace, name: name.to_owned(), part, query })
    }

    /// As in Kubernetes' roles: `rollouts`, `rollouts/status`.
    pub(super) fn resource_text(&self) -> String {
        self.with_part(self.resource.served.plural)
    }

    /// With the group, as in the API server's messages: `rollouts.argoproj.io`, `rollouts.argoproj.io/status`.
    pub(super) fn qualified_resource_text(&self) -> String {
        self.with_part(&self.resource.served.qualified_plural())
    }

    fn with_part(&self, plural: &str) -> String {
        match self.part {
            Part::Main => plural.to_owned(),
            Part::Status => format!("{plural}/status"),
        }
    }
}

impl Query {
    fn parse(kind: Kind, query: &str) -> Result<Self, Status> {
        let mut parsed = Self::default();
        let (mut labels, mut fields) = (String::new(), String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = || {
                let message = || format!("{name}: Invalid value: \"{value}\": must be a whole number, 0 or more");
                value.parse::<u64>().map_err(|_| Status::bad_request(message()))
            };
            match name.as_ref() {
                "labelSelector" => labels = value.into_owned(),
                "fieldSelector" => fields = value.into_owned(),
                "watch" => parsed.is_watch = is_true(&value),
                "allowWatchBookmarks" => parsed.wants_bookmarks = is_true(&value),
                "sendInitialEvents" => parsed.send_initial_events = Some(is_true(&value)),
                "resourceVersion" if !value.is_empty() => parsed.resource_version = Some(number()?),
                // 0 means no wish.
                "timeoutSeconds" => parsed.timeout = Some(number()?).filter(|n| *n > 0).map(Duration::from_secs),
                "gracePeriodSeconds" => parsed.grace_period_seconds = Some(number()?),
                "continue" if !value.is_empty() => return Err(Status::no_such_page()),
                // To ignore this one would change what was only to be tried.
                "dryRun" if !value.is_empty() => return Err(Status::bad_request("the lab has no dry run")),
                _ => {}
            }
        }
        parsed.selector = Selector::parse(kind, &labels, &fields).map_err(Status::bad_request)?;
        Ok(parsed)
    }
}

/// As Go's `strconv.ParseBool` reads what clients send.
fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, uri: &str) -> Result<RequestInfo, u16> {
        RequestInfo::of(&method, &uri.parse().expect("a sound address")).map_err(|status| status.code.as_u16())
    }

    /// What a request is, in words.
    fn said(method: Method, uri: &str) -> String {
        match read(method, uri) {
            Ok(info) => {
                let namespace = info.namespace.as_deref().unwrap_or("*");
                format!("{} {} {namespace} {}", info.verb, info.resource_text(), info.name)
            }
            Err(code) => code.to_string(),
        }
    }

    #[test]
    fn verbs_follow_from_method_and_path() {
        let rollouts = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts";
        assert_eq!(said(Method::GET, "/api/v1/pods"), "list pods * ");
        assert_eq!(said(Method::GET, "/api/v1/pods?watch=true"), "watch pods * ");
        assert_eq!(said(Method::GET, "/api/v1/nodes/a"), "get nodes * a");
        assert_eq!(said(Method::GET, &format!("{rollouts}?watch=0")), "list rollouts shop ");
        assert_eq!(said(Method::POST, rollouts), "create rollouts shop ");
        assert_eq!(said(Method::PATCH, &format!("{rollouts}/a")), "patch rollouts shop a");
        assert_eq!(said(Method::PATCH, &format!("{rollouts}/a/status")), "patch rollouts/status shop a");
        assert_eq!(said(Method::DELETE, &format!("{rollouts}/a")), "delete rollouts shop a");
        assert_eq!(said(Method::POST, "/apis/events.k8s.io/v1/namespaces/shop/events"), "create events shop ");
    }

    #[test]
    fn what_is_not_there_and_what_is_not_done() {
        for path in [
            "/",
            "/api/v1/secrets",
            "/api/v2/pods",
            "/apis/argoproj.io/v1/rollouts",
            "/api/v1/namespaces/shop",
            "/api/v1/namespaces/shop/nodes",
            "/api/v1/pods/a",
            "/api/v1/namespaces/shop/pods/a/log",
            "/apis/argoproj.io/v1alpha1/namespaces/shop/analysisruns/a/status",
        ] {
            assert_eq!(said(Method::GET, path), "404", "{path}");
        }
        for (method, path) in [
            (Method::PUT, "/api/v1/namespaces/shop/pods/a"),
            (Method::POST, "/api/v1/pods"),
            (Method::DELETE, "/api/v1/namespaces/shop/pods"),
            (Method::DELETE, "/api/v1/namespaces/shop/pods/a/status"),
        ] {
            assert_eq!(said(method, path), "405", "{path}");
        }
    }

    #[test]
    fn parameters() {
        let query =
            "watch=1&timeoutSeconds=290&resourceVersion=7&allowWatchBookmarks=true&limit=500&labelSelector=a%3Db";
        let info = read(Method::GET, &format!("/api/v1/pods?{query}")).expect("sound");
        assert_eq!(info.query.timeout, Some(Duration::from_secs(290)));
        assert_eq!((info.query.resource_version, info.query.wants_bookmarks), (Some(7), true));
        assert_eq!(info.query.selector, Selector::parse(Kind::POD, "a=b", "").expect("sound"));

        assert_eq!(said(Method::GET, "/api/v1/pods?resourceVersion=x"), "400");
        assert_eq!(said(Method::GET, "/api/v1/pods?labelSelector=,"), "400");
        assert_eq!(said(Method::GET, "/api/v1/pods?continue=x"), "410");
        assert_eq!(said(Method::DELETE, "/api/v1/namespaces/shop/pods/a?dryRun=All"), "400");
    }
}
