//! TargetGroupBindings: which target groups the Pods behind Services are registered in.

use kube::Client;
use kube::api::ListParams;
use serde_json::Value;
use tracing::debug;

use super::error::is_answer;
use super::objects::{BindingObject, Resource};
use super::{Binding, Error, Maker, ServicePort, pages};

/// The groups that define them.
const GROUPS: [Resource; 2] = [Resource::BINDINGS, Resource::AUTO_MODE_BINDINGS];

/// The bindings of both groups. One group that is not installed has none, and one that may not be read does not hide the other.
pub(super) async fn list(client: &Client, namespace: Option<&str>) -> Result<Vec<Binding>, Error> {
    let subject = namespace.map_or_else(|| "of all namespaces".to_owned(), |namespace| format!("in {namespace}"));
    let [one, other] = GROUPS.map(|group| of_group(client, group, namespace));
    let (one, other) = tokio::join!(one, other);
    let (mut bindings, mut is_read, mut forbidden) = (Vec::new(), false, Vec::new());
    for (group, listed) in GROUPS.into_iter().zip([one, other]) {
        match listed {
            Ok(objects) => {
                is_read = true;
                bindings.extend(objects.into_iter().map(binding));
            }
            Err(error) if is_answer(&error, 404) => debug!("there are no bindings of {}: {error}", group.group),
            Err(error) if is_answer(&error, 403) => forbidden.push((group, error)),
            Err(error) => return Err(Error::of("list", group, &subject, &error)),
        }
    }
    let groups: Vec<Resource> = forbidden.iter().map(|(group, _)| *group).collect();
    match forbidden.first() {
        Some((_, error)) if !is_read => Err(Error::of_each("list", &groups, &subject, error)),
        // Most clusters have all their bindings in this group, so that none elsewhere says nothing.
        Some((group, error)) if bindings.is_empty() && group.group == Resource::BINDINGS.group => {
            Err(Error::of("list", *group, &subject, error))
        }
        Some((group, error)) => {
            debug!("bindings of {} are not looked at: {error}", group.group);
            Ok(bindings)
        }
        None => Ok(bindings),
    }
}

async fn of_group(
    client: &Client,
    group: Resource,
    namespace: Option<&str>,
) -> Result<Vec<BindingObject>, kube::Error> {
    let objects: kube::Api<BindingObject> = match namespace {
        Some(namespace) => group.within(client, namespace),
        None => group.everywhere(client),
    };
    pages::all(&objects, ListParams::default()).await
}

fn binding(object: BindingObject) -> Binding {
    let labels = object.metadata.labels.unwrap_or_default();
    let port = match object.spec.service_ref.port {
        Value::String(name) => name,
        number => number.to_string(),
    };
    Binding {
        namespace: object.metadata.namespace.unwrap_or_default(),
        name: object.metadata.name.unwrap_or_default(),
        service: object.spec.service_ref.name,
        port: ServicePort(port),
        group: object.spec.target_group_arn,
        maker: labels.keys().find_map(|label| maker(label)).unwrap_or(Maker::Somebody),
    }
}

/// Who puts this label on a binding. EKS Auto Mode's labels are those of its tags: nobody has written them down.
fn maker(label: &str) -> Option<Maker> {
    let (prefix, name) = label.split_once('/')?;
    if !matches!(name, "stack" | "stack-namespace" | "stack-name") {
        return None;
    }
    match prefix {
        "ingress.k8s.aws" | "ingress.eks.amazonaws.com" => Some(Maker::Ingress),
        "service.k8s.aws" | "service.eks.amazonaws.com" => Some(Maker::Service),
        // `gateway.k8s.aws.alb` and `gateway.k8s.aws.nlb`.
        prefix if prefix.starts_with("gateway.k8s.aws") => Some(Maker::Gateway),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_stack_label_says_who_made_it() {
        for (label, expected) in [
            ("ingress.k8s.aws/stack", Some(Maker::Ingress)),
            ("ingress.k8s.aws/stack-name", Some(Maker::Ingress)),
            ("ingress.eks.amazonaws.com/stack-namespace", Some(Maker::Ingress)),
            ("service.k8s.aws/stack-name", Some(Maker::Service)),
            ("service.eks.amazonaws.com/stack", Some(Maker::Service)),
            ("gateway.k8s.aws.alb/stack-name", Some(Maker::Gateway)),
            ("gateway.k8s.aws.nlb/stack", Some(Maker::Gateway)),
            ("ingress.k8s.aws/resource", None),
            ("app.kubernetes.io/name", None),
            ("stack", None),
        ] {
            assert_eq!(maker(label), expected, "{label}");
        }
    }

    #[test]
    fn what_nobody_filled_in_is_empty() {
        let read = |spec: Value| {
            let object = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
            binding(serde_json::from_value(object).unwrap())
        };
        let named = read(json!({"serviceRef": {"name": "web", "port": "http"}, "targetGroupName": "web"}));
        assert_eq!(
            (named.port, named.group.as_str(), named.maker),
            (ServicePort("http".to_owned()), "", Maker::Somebody)
        );
        let numbered = read(json!({"serviceRef": {"name": "web", "port": 80}, "targetGroupARN": "arn", "new": 1}));
        assert_eq!((numbered.port, numbered.group.as_str()), (ServicePort("80".to_owned()), "arn"));
    }
}
