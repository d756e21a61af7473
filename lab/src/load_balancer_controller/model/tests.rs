use serde_json::{Value, json};

use super::*;
use crate::control_plane::model::shapes::HttpHeaderConfig;
use crate::load_balancer_controller::{group, manifest};

const WEIGHTED: &str = r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[
    {"ServiceName":"web-canary","ServicePort":"80","Weight":10},{"ServiceName":"web-stable","ServicePort":"80","Weight":90}]}}"#;

fn ingress(name: &str, annotations: Value, rules: Value) -> Ingress {
    let annotations = annotations.as_object().into_iter().flatten();
    let annotations: serde_json::Map<String, Value> =
        annotations.map(|(key, value)| (format!("{PREFIX}/{key}"), value.clone())).collect();
    let metadata = json!({"namespace": "shop", "name": name, "annotations": annotations});
    let object = json!({"metadata": metadata, "spec": {"ingressClassName": "alb", "rules": rules}});
    manifest::read("Ingress", &object).expect("an Ingress")
}

fn path(path: &str, kind: &str, service: &str, port: Value) -> Value {
    json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": port}}})
}

fn annotated() -> Value {
    json!({"name": "use-annotation"})
}

fn services(names: &[&str]) -> Services {
    let service = |name: &&str| {
        let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
        let object = json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"ports": ports}});
        (("shop".to_owned(), (*name).to_owned()), manifest::read("Service", &object).expect("a Service"))
    };
    names.iter().map(service).collect()
}

fn built(members: Vec<Ingress>, services: &Services) -> Result<Model, BuildError> {
    let members = group::sort(members)?;
    let group = GroupId::of(&members[0], "alb").expect("a member");
    build(&group, &members, services, "lab").map(|model| model.expect("there are members"))
}

fn patterns(rule: &WantedRule) -> Vec<String> {
    let config = rule.conditions.iter().find_map(|condition| condition.path_pattern_config.clone());
    config.and_then(|config| config.values).unwrap_or_default()
}

#[test]
fn weights_of_an_annotation_become_a_forward_to_tagged_groups() {
    let rules = json!([{"host": "shop.example.com", "http": {"paths": [path("/", "Prefix", "root", annotated())]}}]);
    let web = ingress("web", json!({"actions.root": WEIGHTED}), rules);
    let model = built(vec![web], &services(&["web-stable", "web-canary"])).expect("a model");

    let resources: Vec<&str> = model.target_groups.keys().map(String::as_str).collect();
    assert_eq!(resources, ["shop/web-web-canary:80", "shop/web-web-stable:80"]);
    let stable = &model.target_groups["shop/web-web-stable:80"];
    assert!(stable.name.starts_with("k8s-shop-webstabl-") && stable.name.len() <= 32, "{}", stable.name);
    assert_eq!((stable.target_port, stable.health_check.interval), (8080, 15));
    assert!(model.load_balancer_name.starts_with("k8s-shop-web-"), "{}", model.load_balancer_name);

    let [listener] = model.listeners.as_slice() else { panic!("one listener") };
    assert_eq!((listener.port, listener.protocol), (80, ListenerProtocol::Http));
    let [rule] = listener.rules.as_slice() else { panic!("one rule") };
    let fields: Vec<&str> = rule.conditions.iter().map(|condition| &*condition.field).collect();
    assert_eq!((fields, patterns(rule)), (vec!["host-header", "path-pattern"], vec!["/*".to_owned()]));

    let mut arns = Arns::default();
    assert_eq!(resolve(&rule.actions, &arns), Err("shop/web-web-canary:80".to_owned()));
    arns.by_resource = resources.iter().map(|name| ((*name).to_owned(), format!("arn of {name}"))).collect();
    let actions = resolve(&rule.actions, &arns).expect("all groups are known");
    let weights: Vec<_> =
        actions[0].target_groups().iter().map(|tuple| (&*tuple.target_group_arn, tuple.weight)).collect();
    assert_eq!(weights, [("arn of shop/web-web-canary:80", Some(10)), ("arn of shop/web-web-stable:80", Some(90))]);
    assert_eq!(actions[0].order, Some(1));

    let weights = BTreeMap::from([("web-canary".to_owned(), 10), ("web-stable".to_owned(), 90)]);
    let announced = Announced { ingress: "shop/web".to_owned(), action: "root".to_owned(), weights };
    assert_eq!(model.announced, [announced]);
}

#[test]
fn rules_follow_the_order_of_the_group_and_of_the_paths() {
    let port = json!({"number": 80});
    let paths = json!([{"http": {"paths": [
        path("/any*", "ImplementationSpecific", "web", port.clone()),
        path("/a", "Prefix", "web", port.clone()),
        path("/longer/", "Prefix", "web", port.clone()),
        path("/exact", "Exact", "web", port.clone())]}}]);
    let second = ingress("b", json!({"group.name": "edge"}), paths);
    let paths = json!([{"http": {"paths": [path("/first", "Exact", "web", port)]}}]);
    let first = ingress("z", json!({"group.name": "edge", "group.order": "-1"}), paths);
    let model = built(vec![second, first], &services(&["web"])).expect("a model");
    let found: Vec<Vec<String>> = model.listeners[0].rules.iter().map(patterns).collect();
    let expected: [&[&str]; 5] = [&["/first"], &["/exact"], &["/longer", "/longer/*"], &["/a", "/a/*"], &["/any*"]];
    assert_eq!(found, expected);
    // The same Service has a target group for each Ingress that uses it.
    let resources: Vec<&str> = model.target_groups.keys().map(String::as_str).collect();
    assert_eq!(resources, ["shop/b-web:80", "shop/z-web:80"]);
    assert!(model.load_balancer_name.starts_with("k8s-edge-"), "{}", model.load_balancer_name);
}

#[test]
fn one_missing_service_of_several_fails_the_group_and_a_single_one_answers_503() {
    let weighted = json!([{"http": {"paths": [path("/", "Prefix", "root", annotated())]}}]);
    let web = ingress("web", json!({"actions.root": WEIGHTED, "group.name": "edge"}), weighted);
    let single = json!([{"http": {"paths": [path("/", "Prefix", "gone", json!({"number": 80}))]}}]);
    let other = ingress("other", json!({"group.name": "edge"}), single);
    let error = built(vec![web, other.clone()], &services(&["web-stable"])).expect_err("a Service is missing");
    assert_eq!(error.to_string(), "Ingress shop/web: Service shop/web-canary not found");

    let model = built(vec![other], &services(&[])).expect("a model");
    let actions = resolve(&model.listeners[0].rules[0].actions, &Arns::default()).expect("no groups");
    let fixed = actions[0].fixed_response_config.as_ref().expect("a fixed response");
    assert_eq!(fixed.status_code, "503");
}

#[test]
fn ports_protocols_and_redirects_follow_the_annotations() {
    let rules = json!([{"http": {"paths": [path("/", "Prefix", "web", json!({"name": "http"}))]}}]);
    let both = r#"[{"HTTP": 80}, {"HTTPS": 443}]"#;
    let oidc = r#"{"issuer":"https://i","authorizationEndpoint":"https://a","tokenEndpoint":"https://t",
        "userInfoEndpoint":"https://u","secretName":"login"}"#;
    let annotations = json!({"listen-ports": both, "auth-type": "oidc", "auth-idp-oidc": oidc});
    let model = built(vec![ingress("web", annotations, rules.clone())], &services(&["web"])).expect("a model");
    let kinds = |listener: &WantedListener| {
        let arns = Arns {
            by_resource: BTreeMap::from([("shop/web-web:http".to_owned(), "arn".to_owned())]),
            ..Arns::default()
        };
        let actions = listener.rules.iter().flat_map(|rule| resolve(&rule.actions, &arns).expect("known"));
        actions.map(|action| action.r#type).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&model.listeners[0]), [ActionType::Forward]);
    assert_eq!(kinds(&model.listeners[1]), [ActionType::AuthenticateOidc, ActionType::Forward]);
    assert!(model.listeners[0].certificate.is_none() && model.listeners[1].certificate.is_some());

    let annotations = json!({"listen-ports": both, "ssl-redirect": "443"});
    let model = built(vec![ingress("web", annotations, rules.clone())], &services(&["web"])).expect("a model");
    assert!(model.listeners[0].rules.is_empty());
    let default = resolve(&model.listeners[0].default_actions, &Arns::default()).expect("no groups");
    assert_eq!(default[0].r#type, ActionType::Redirect);
    assert_eq!(model.listeners[1].rules.len(), 1);

    let annotations = json!({"ssl-redirect": "443"});
    built(vec![ingress("web", annotations, rules)], &services(&["web"])).expect_err("nobody listens on 443");
}

#[test]
fn header_conditions_of_an_annotation_come_before_host_and_path() {
    let header = r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-Canary","values":["always"]}}]"#;
    let rules = json!([{"host": "a.example.com", "http": {"paths": [path("/", "Prefix", "header", annotated())]}}]);
    let annotations = json!({"conditions.header": header, "actions.header": WEIGHTED});
    let web = ingress("web", annotations, rules);
    let model = built(vec![web], &services(&["web-stable", "web-canary"])).expect("a model");
    let conditions = &model.listeners[0].rules[0].conditions;
    let fields: Vec<&str> = conditions.iter().map(|condition| &*condition.field).collect();
    assert_eq!(fields, ["http-header", "host-header", "path-pattern"]);
    let expected = HttpHeaderConfig {
        http_header_name: Some("X-Canary".to_owned()),
        values: Some(vec!["always".to_owned()]),
        regex_values: None,
    };
    assert_eq!(conditions[0].http_header_config, Some(expected));
}

#[test]
fn settings_of_a_target_group_come_from_ingress_then_service() {
    let rules = json!([{"http": {"paths": [path("/", "Prefix", "web", json!({"number": 80}))]}}]);
    let attributes = "deregistration_delay.timeout_seconds=20, stickiness.enabled=false";
    let annotations = json!({"healthcheck-path": "/up", "target-group-attributes": attributes});
    let mut services = services(&["web"]);
    for service in services.values_mut() {
        let annotations = [("healthcheck-path", "/ignored"), ("healthcheck-interval-seconds", "5")];
        service.metadata.annotations =
            annotations.iter().map(|(key, value)| (format!("{PREFIX}/{key}"), (*value).to_owned())).collect();
    }
    let model = built(vec![ingress("web", annotations, rules.clone())], &services).expect("a model");
    let group = &model.target_groups["shop/web-web:80"];
    assert_eq!((&*group.health_check.path, group.health_check.interval), ("/up", 5));
    assert_eq!(group.attributes["deregistration_delay.timeout_seconds"], "20");

    for (annotation, text) in
        [("target-type", "instance"), ("target-group-attributes", "x"), ("healthcheck-timeout-seconds", "soon")]
    {
        let web = ingress("web", json!({annotation: text}), rules.clone());
        let message = built(vec![web], &services).expect_err(annotation).to_string();
        assert!(message.contains(annotation) && message.contains(text), "{message}");
    }
}
