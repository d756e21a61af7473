//! Who owns target groups, listeners and load balancers, by their tags. Pure.
//!
//! Tags: `pkg/deploy/tracking/provider.go` of the AWS Load Balancer Controller. EKS Auto Mode writes the same under
//! `ingress.eks.amazonaws.com/` (argo-rollouts#4334), which nobody here has seen.

use super::error::FindError;
use crate::alb::{Tags, TargetGroupArn};
use crate::cluster::{Binding, Ingress};
use crate::router::entry::Narrowing;
use crate::router::wish::Services;

/// What the keys of a controller's tags begin with.
const INGRESS: [&str; 2] = ["ingress.k8s.aws/", "ingress.eks.amazonaws.com/"];

/// The names of the Ingresses, of those that are here, for which these target groups were made. All of them must be those of
/// `ours`, the Services that are to have traffic.
pub(super) fn ingresses(
    tagged: &[(String, Tags)],
    here: &[Ingress],
    services: &Services,
    ours: &[&str],
    narrowing: &Narrowing,
) -> Result<Vec<String>, FindError> {
    let namespace = &services.namespace;
    let mut found: Vec<String> = Vec::new();
    for (group, tags) in tagged {
        let Some((key, made_for)) = ingress_tag(tags, "resource") else {
            // Nothing says for which, so only the author's word counts, or that there is no choice.
            if !narrowing.ingresses.is_empty() {
                narrowing.ingresses.iter().for_each(|named| add(&mut found, named));
                continue;
            }
            let both = here.iter().filter(|ingress| forwards_to_both(ingress, services));
            let candidates: Vec<&str> = both.map(|one| one.name.as_str()).collect();
            if let [only] = candidates.as_slice() {
                add(&mut found, only);
                continue;
            }
            let candidates = if candidates.is_empty() { "no Ingress".to_owned() } else { candidates.join(", ") };
            return Err(FindError::WhichIngress { group: group.clone(), candidates, namespace: namespace.clone() });
        };
        let foreign = || {
            let (group, key, owner) = (group.clone(), key.to_owned(), made_for.to_owned());
            FindError::Foreign { group, key, owner, namespace: namespace.clone() }
        };
        let Some(resource) = made_for.strip_prefix(namespace.as_str()).and_then(|rest| rest.strip_prefix('/')) else {
            return Err(foreign());
        };
        let is_of = |ingress: &str| is_made_for(resource, ingress, ours);
        if !narrowing.ingresses.is_empty() && !narrowing.ingresses.iter().any(|ingress| is_of(ingress)) {
            return Err(FindError::OtherIngress { group: group.clone(), made_for: made_for.to_owned() });
        }
        match here.iter().find(|ingress| is_of(&ingress.name)) {
            Some(ingress) => add(&mut found, &ingress.name),
            // It says that it is about other Services than the bindings do.
            None if ours.iter().all(|service| !resource.contains(&format!("-{service}:"))) => {
                return Err(foreign());
            }
            // The Ingress is gone, or leads here no more. The controller will clean up; nobody puts weights back.
            None => {}
        }
    }
    Ok(found)
}

/// It was made for an Ingress and a Service of ours, and the author names other Ingresses.
pub(super) fn is_of_another_ingress(tags: &Tags, namespace: &str, ours: &[&str], narrowing: &Narrowing) -> bool {
    let resource =
        ingress_tag(tags, "resource").and_then(|(_, made_for)| made_for.strip_prefix(namespace)?.strip_prefix('/'));
    resource.is_some_and(|resource| {
        ours.iter().any(|service| resource.contains(&format!("-{service}:")))
            && !narrowing.ingresses.iter().any(|ingress| is_made_for(resource, ingress, ours))
    })
}

/// A resource, `<ingress>-<service>:<port>` (`pkg/ingress/model_build_target_group.go`), is that of this Ingress and one of ours.
fn is_made_for(resource: &str, ingress: &str, ours: &[&str]) -> bool {
    let rest = resource.strip_prefix(ingress).and_then(|rest| rest.strip_prefix('-'));
    rest.and_then(|rest| rest.rsplit_once(':')).is_some_and(|(service, _)| ours.contains(&service))
}

/// None of these is a controller's.
pub(super) fn check_untagged(tagged: &[(String, Tags)]) -> Result<(), FindError> {
    for (resource, tags) in tagged {
        let owner = tags.iter().find(|(key, _)| key.ends_with("/stack") && is_controllers(key));
        if let Some((key, stack)) = owner {
            return Err(FindError::Owned { resource: resource.clone(), key: key.clone(), stack: stack.clone() });
        }
    }
    Ok(())
}

/// No other namespace binds one of these groups.
pub(super) fn check_unshared(
    everywhere: &[Binding],
    groups: &[&TargetGroupArn],
    namespace: &str,
) -> Result<(), FindError> {
    let elsewhere = everywhere.iter().filter(|binding| binding.namespace != namespace);
    for binding in elsewhere {
        if let Some(group) = groups.iter().find(|group| group.as_str() == binding.group) {
            let binding = format!("{}/{}", binding.namespace, binding.name);
            return Err(FindError::Shared { group: (*group).clone(), binding, namespace: namespace.to_owned() });
        }
    }
    Ok(())
}

/// One of its actions forwards to both Services.
pub(super) fn forwards_to_both(ingress: &Ingress, services: &Services) -> bool {
    ingress
        .actions
        .iter()
        .any(|action| action.forward(&services.stable).is_some() && action.forward(&services.canary).is_some())
}

/// Its tags say for which Ingress it was made.
pub(super) fn is_tagged(tags: &Tags) -> bool {
    ingress_tag(tags, "resource").is_some()
}

fn ingress_tag<'t>(tags: &'t Tags, name: &str) -> Option<(&'t str, &'t str)> {
    let is_it = |key: &str| INGRESS.iter().any(|prefix| key.strip_prefix(prefix) == Some(name));
    tags.iter().find(|(key, _)| is_it(key)).map(|(key, value)| (key.as_str(), value.as_str()))
}

fn is_controllers(key: &str) -> bool {
    let prefixes = ["gateway.k8s.aws", "service.k8s.aws/", "service.eks.amazonaws.com/"];
    INGRESS.iter().chain(&prefixes).any(|prefix| key.starts_with(prefix))
}

fn add(found: &mut Vec<String>, ingress: &str) {
    if found.iter().all(|known| known != ingress) {
        found.push(ingress.to_owned());
    }
}
