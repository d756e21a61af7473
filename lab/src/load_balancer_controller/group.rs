//! Ingress groups: which Ingresses share a load balancer, and in which order.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::control_plane::model::Tags;
use crate::load_balancer_controller::annotations::{self, BuildError, PREFIX};
use crate::load_balancer_controller::config::{Edition, LbcConfig};
use crate::load_balancer_controller::manifest::{self, Ingress};

/// An explicit group has a name (`group.name`), and no namespace; otherwise an Ingress is a group of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl GroupId {
    /// The group of an Ingress; `None` if it is of another class or on its way out.
    pub(super) fn of(ingress: &Ingress, class: &str) -> Option<Self> {
        let metadata = &ingress.metadata;
        // The older annotation goes before the field (LBC group_loader.go, classifyIngress).
        let of_class =
            metadata.annotations.get("kubernetes.io/ingress.class").or(ingress.spec.ingress_class_name.as_ref());
        if metadata.deletion_timestamp.is_some() || of_class.is_some_and(|of| of != class) {
            return None;
        }
        let named = annotations::text(ingress, "group.name");
        Some(named.map_or_else(
            || Self { namespace: metadata.namespace.clone(), name: metadata.name.clone() },
            |name| Self { namespace: String::new(), name: name.to_owned() },
        ))
    }

    /// The group of an Ingress as it lies in the cluster. One that cannot be read belongs to none.
    pub(super) fn of_object(object: &Value, class: &str) -> Option<Self> {
        Self::of(&manifest::read::<Ingress>("Ingress", object).ok()?, class)
    }

    /// The tags of a resource that the controller makes for this group (LBC pkg/deploy/tracking/provider.go).
    pub(super) fn tags(&self, config: &LbcConfig, resource: &str) -> Tags {
        let mut tags = self.stack_tags(config);
        tags.insert(format!("{}/resource", config.edition.prefix()), resource.to_owned());
        tags
    }

    /// What all resources of the group have in common.
    pub(super) fn stack_tags(&self, config: &LbcConfig) -> Tags {
        Tags::from([
            (config.edition.cluster_tag().to_owned(), config.cluster_name.clone()),
            (format!("{}/stack", config.edition.prefix()), self.to_string()),
        ])
    }

    /// The labels of the group's TargetGroupBindings.
    pub(super) fn labels(&self, edition: Edition) -> Tags {
        let label = |name: &str, value: &String| (format!("{}/{name}", edition.prefix()), value.clone());
        if self.namespace.is_empty() {
            Tags::from([label("stack", &self.name)])
        } else {
            Tags::from([label("stack-namespace", &self.namespace), label("stack-name", &self.name)])
        }
    }
}

/// As in the tag `ingress.k8s.aws/stack`.
impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// Puts the members of a group in the order of their rules: by `group.order`, then by name.
pub(super) fn sort(members: Vec<Ingress>) -> Result<Vec<Ingress>, BuildError> {
    let mut ordered = members.into_iter().map(|member| Ok((order(&member)?, member))).collect::<Result<Vec<_>, _>>()?;
    ordered.sort_by_cached_key(|(order, member)| (*order, member.metadata.full_name()));
    Ok(ordered.into_iter().map(|(_, member)| member).collect())
}

/// The Services that an Ingress refers to, those within `actions.*` too. One that cannot be understood refers to none.
pub(super) fn references(ingress: &Ingress) -> BTreeSet<String> {
    let paths = ingress.spec.rules.iter().flat_map(|rule| &rule.http.paths).map(|path| &path.backend);
    let backends = paths.chain(&ingress.spec.default_backend);
    let actions: Result<Vec<_>, _> = backends.map(|backend| annotations::action(ingress, backend)).collect();
    actions.unwrap_or_default().iter().flat_map(|action| action.services()).map(str::to_owned).collect()
}

fn order(ingress: &Ingress) -> Result<i32, BuildError> {
    let Some(text) = annotations::text(ingress, "group.order") else { return Ok(0) };
    let order = text.parse().ok().filter(|order| (-1000..=1000).contains(order));
    order.ok_or_else(|| {
        BuildError::new(ingress, format!("{PREFIX}/group.order is '{text}', but must be between -1000 and 1000"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress(name: &str, annotations: Value, spec: Value) -> Ingress {
        let metadata = json!({"namespace": "shop", "name": name, "annotations": annotations});
        manifest::read("Ingress", &json!({"metadata": metadata, "spec": spec})).expect("an Ingress")
    }

    #[test]
    fn the_group_is_the_ingress_itself_or_has_a_name() {
        let own = ingress("web", json!({}), json!({"ingressClassName": "alb"}));
        let own = GroupId::of(&own, "alb").expect("a member");
        assert_eq!(own.to_string(), "shop/web");
        assert_eq!(own.labels(Edition::StandAlone).get("ingress.k8s.aws/stack-name").map(String::as_str), Some("web"));

        let named = ingress("web", json!({"alb.ingress.kubernetes.io/group.name": "edge"}), json!({}));
        let named = GroupId::of(&named, "alb").expect("a member");
        assert_eq!(named.to_string(), "edge");
        assert_eq!(
            named.labels(Edition::StandAlone),
            Tags::from([("ingress.k8s.aws/stack".to_owned(), "edge".to_owned())])
        );
        assert_eq!(named.tags(&LbcConfig::default(), "80").len(), 3);
    }

    #[test]
    fn auto_mode_has_marks_of_its_own() {
        let own = GroupId { namespace: "shop".to_owned(), name: "web".to_owned() };
        let auto = LbcConfig { edition: Edition::AutoMode, ..LbcConfig::default() };
        let tags = own.tags(&auto, "LoadBalancer");
        let keys: Vec<&str> = tags.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["eks:eks-cluster-name", "ingress.eks.amazonaws.com/resource", "ingress.eks.amazonaws.com/stack"]
        );
        assert!(own.labels(auto.edition).contains_key("ingress.eks.amazonaws.com/stack-name"));
    }

    #[test]
    fn another_class_or_a_deleted_ingress_is_nobodys_member() {
        let other = ingress("web", json!({"kubernetes.io/ingress.class": "nginx"}), json!({"ingressClassName": "alb"}));
        assert_eq!(GroupId::of(&other, "alb"), None);
        let deleted =
            json!({"metadata": {"name": "web", "namespace": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(GroupId::of_object(&deleted, "alb"), None);
    }

    #[test]
    fn members_are_sorted_by_order_then_by_name() {
        let member =
            |name, order: &str| ingress(name, json!({"alb.ingress.kubernetes.io/group.order": order}), json!({}));
        let sorted = sort(vec![member("c", "1"), member("b", "0"), member("a", "0"), member("d", "-5")]);
        let names: Vec<String> = sorted.expect("sorted").into_iter().map(|member| member.metadata.name).collect();
        assert_eq!(names, ["d", "a", "b", "c"]);
        assert!(sort(vec![member("a", "5000")]).is_err());
    }

    #[test]
    fn services_inside_actions_are_references() {
        let action = r#"{"type":"forward","forwardConfig":{"targetGroups":[
            {"serviceName":"stable","servicePort":80,"weight":100},{"ServiceName":"canary","ServicePort":"80","Weight":0}]}}"#;
        let backend = |service: Value| json!({"path": "/", "backend": {"service": service}});
        let spec = json!({
            "defaultBackend": {"service": {"name": "fallback", "port": {"number": 80}}},
            "rules": [{"http": {"paths": [
                backend(json!({"name": "root", "port": {"name": "use-annotation"}})),
                backend(json!({"name": "unknown", "port": {"name": "use-annotation"}})),
                backend(json!({"name": "plain", "port": {"name": "http"}}))]}}]});
        let web = ingress("web", json!({"alb.ingress.kubernetes.io/actions.root": action}), spec);
        let names: Vec<String> = references(&web).into_iter().collect();
        assert_eq!(names, ["canary", "fallback", "plain", "stable"]);
    }
}
