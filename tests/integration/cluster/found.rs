//! What is read to find target groups and actions: Services, bindings of both groups, Ingresses.

use anyhow::Result;
use lab::kubernetes::{Effect, Fault, Kind, Verb};
use serde_json::{Value, json};
use trafficrouter_alb::cluster::{Binding, Cluster as _, ErrorKind, Maker, Port, Service, ServicePort};

use super::World;

const OF_CONTROLLER: &str = "targetgroupbindings.elbv2.k8s.aws";
const OF_AUTO_MODE: &str = "targetgroupbindings.eks.amazonaws.com";

impl World {
    fn binding(&self, kind: Kind, namespace: &str, name: &str, port: &Value, labels: &Value) -> Result<()> {
        self.objects.create(
            kind,
            json!({
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
                "spec": {"serviceRef": {"name": "web-stable", "port": port}, "targetGroupARN": format!("arn:{name}")},
            }),
        )?;
        Ok(())
    }

    /// One binding of each group in `shop`, and one elsewhere.
    fn bindings(&self) -> Result<()> {
        let by_ingress = json!({"ingress.k8s.aws/stack": "web"});
        self.binding(Kind::TARGET_GROUP_BINDING, "shop", "k8s-a", &json!(80), &by_ingress)?;
        self.binding(Kind::TARGET_GROUP_BINDING, "other", "k8s-b", &json!("http"), &json!({}))?;
        self.binding(
            Kind::AUTO_MODE_BINDING,
            "shop",
            "eks-c",
            &json!("http"),
            &json!({"service.k8s.aws/stack-name": "x"}),
        )
    }

    /// The names of the bindings in `shop`.
    async fn names(&self) -> Result<Vec<String>, trafficrouter_alb::cluster::Error> {
        Ok(self.api.bindings(Some("shop")).await?.into_iter().map(|binding| binding.name).collect())
    }

    fn faults(&self, faults: &[(&str, Effect)]) -> Result<()> {
        self.server.faults().clear();
        for (resource, effect) in faults {
            self.server.faults().add(Fault::new(Verb::List, resource, effect.clone()))?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_service_is_read_with_its_ports() -> Result<()> {
    let world = World::new()?;
    let ports = json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"port": 9090}]}});
    world.objects.merge_patch(Kind::SERVICE, "shop", "web-stable", &ports)?;
    let selector = [("app", "web"), ("rollouts-pod-template-hash", "abc")];
    let expected = Service {
        selector: selector.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ports: vec![
            Port { name: Some("http".to_owned()), number: 80, target: "http".to_owned() },
            Port { name: None, number: 9090, target: "9090".to_owned() },
        ],
    };
    assert_eq!(world.api.service("shop", "web-stable").await?, expected);
    let missing = world.api.service("shop", "nothing").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Missing);
    Ok(())
}

#[tokio::test]
async fn bindings_of_both_groups_are_found() -> Result<()> {
    let world = World::new()?;
    assert_eq!(world.api.bindings(None).await?, []);
    world.bindings()?;
    let binding = |namespace: &str, name: &str, port: &str, maker| Binding {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        service: "web-stable".to_owned(),
        port: ServicePort(port.to_owned()),
        group: format!("arn:{name}"),
        maker,
    };
    let (a, b) = (binding("shop", "k8s-a", "80", Maker::Ingress), binding("other", "k8s-b", "http", Maker::Somebody));
    let c = binding("shop", "eks-c", "http", Maker::Service);
    assert_eq!(world.api.bindings(Some("shop")).await?, [a.clone(), c.clone()]);
    assert_eq!(world.api.bindings(None).await?, [b, a, c]);
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_not_there_or_not_to_be_read_does_not_hide_the_other() -> Result<()> {
    let world = World::new()?;
    world.bindings()?;
    for (faults, expected) in [
        (vec![(OF_AUTO_MODE, Effect::NotInstalled)], vec!["k8s-a"]),
        (vec![(OF_CONTROLLER, Effect::NotInstalled)], vec!["eks-c"]),
        (vec![(OF_AUTO_MODE, Effect::Forbidden)], vec!["k8s-a"]),
        (vec![(OF_CONTROLLER, Effect::Forbidden)], vec!["eks-c"]),
        (vec![(OF_CONTROLLER, Effect::NotInstalled), (OF_AUTO_MODE, Effect::NotInstalled)], vec![]),
    ] {
        world.faults(&faults)?;
        assert_eq!(world.names().await?, expected, "{faults:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_keeps_bindings_from_being_read_is_said() -> Result<()> {
    let world = World::new()?;
    world.bindings()?;
    let both = "apiGroups: [\"elbv2.k8s.aws\", \"eks.amazonaws.com\"], resources: [targetgroupbindings], verbs: [list]";
    let one = "apiGroups: [\"eks.amazonaws.com\"], resources: [targetgroupbindings], verbs: [list]";
    for (faults, kind, part) in [
        (vec![(OF_CONTROLLER, Effect::Forbidden), (OF_AUTO_MODE, Effect::Forbidden)], ErrorKind::Access, both),
        (vec![(OF_CONTROLLER, Effect::NotInstalled), (OF_AUTO_MODE, Effect::Forbidden)], ErrorKind::Access, one),
        // One answer is not enough while the other may come soon.
        (vec![(OF_AUTO_MODE, Effect::InternalError)], ErrorKind::Transient, "500"),
        (vec![(OF_CONTROLLER, Effect::TooManyRequests { retry_after_seconds: 60 })], ErrorKind::Transient, "429"),
    ] {
        world.faults(&faults)?;
        let error = world.names().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(text.starts_with("cannot list targetgroupbindings in shop: ") && text.contains(part), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn the_actions_of_ingresses_are_found() -> Result<()> {
    let world = World::new()?;
    let backend = |name: &str, port: Value| json!({"service": {"name": name, "port": port}});
    let rules =
        |backend: Value| json!([{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]);
    let action = r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-stable","servicePort":80,"weight":1}]}}"#;
    for (name, annotations, backend) in [
        ("plain", json!({}), backend("web-stable", json!({"number": 80}))),
        ("new", json!({}), backend("root", json!({"name": "use-annotation"}))),
        ("web", json!({"my.prefix/actions.root": action}), backend("root", json!({"name": "use-annotation"}))),
    ] {
        let metadata = json!({"name": name, "namespace": "shop", "annotations": annotations});
        world.objects.create(Kind::INGRESS, json!({"metadata": metadata, "spec": {"rules": rules(backend)}}))?;
    }
    let found = world.api.ingresses("shop", "my.prefix").await?;
    let seen: Vec<(&str, Vec<&str>)> = found
        .iter()
        .map(|ingress| (ingress.name.as_str(), ingress.actions.iter().map(|action| action.name.as_str()).collect()))
        .collect();
    assert_eq!(seen, [("new", vec!["root"]), ("web", vec!["root"])]);
    let forwards: Vec<Option<usize>> = found
        .iter()
        .flat_map(|ingress| &ingress.actions)
        .map(|action| action.forwards.as_ref().map(Vec::len))
        .collect();
    assert_eq!(forwards, [None, Some(1)]);
    assert_eq!(world.api.ingresses("nowhere", "my.prefix").await?, []);

    world.fault(Verb::List, "ingresses", Effect::Forbidden)?;
    let error = world.api.ingresses("shop", "my.prefix").await.unwrap_err();
    let rule = "apiGroups: [\"networking.k8s.io\"], resources: [ingresses], verbs: [list]";
    assert!(error.kind() == ErrorKind::Access && error.to_string().contains(rule), "{error}");
    Ok(())
}
