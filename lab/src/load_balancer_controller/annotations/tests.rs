use serde_json::json;

use super::*;
use crate::load_balancer_controller::manifest;

fn ingress(annotation: &str, text: &str) -> Ingress {
    let annotations = json!({format!("{PREFIX}/{annotation}"): text});
    let object = json!({"metadata": {"namespace": "shop", "name": "web", "annotations": annotations}});
    manifest::read("Ingress", &object).expect("an Ingress")
}

fn via_annotation(text: &str) -> Result<BackendAction, BuildError> {
    let backend = json!({"service": {"name": "root", "port": {"name": "use-annotation"}}});
    action(&ingress("actions.root", text), &serde_json::from_value(backend).expect("a backend"))
}

fn service(name: &str, port: PortRef, weight: u16) -> Tuple {
    Tuple { destination: Destination::Service { name: name.to_owned(), port }, weight: Some(weight) }
}

#[test]
fn argos_capitals_and_a_persons_small_letters_are_the_same() {
    let argo = r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[
        {"ServiceName":"canary","ServicePort":"80","Weight":10},{"ServiceName":"stable","ServicePort":"80","Weight":90}],
        "TargetGroupStickinessConfig":{"Enabled":true,"DurationSeconds":60}}}"#;
    let person = r#"{"type":"forward","forwardConfig":{"targetGroups":[
        {"serviceName":"canary","servicePort":80,"weight":10},{"serviceName":"stable","servicePort":80,"weight":90}],
        "targetGroupStickinessConfig":{"enabled":true,"durationSeconds":60}}}"#;
    let expected = BackendAction::Forward {
        tuples: vec![service("canary", PortRef::Number(80), 10), service("stable", PortRef::Number(80), 90)],
        stickiness: Some(StickinessConfig { enabled: Some(true), duration_seconds: Some(60) }),
    };
    assert_eq!(via_annotation(argo), Ok(expected.clone()));
    assert_eq!(via_annotation(person), Ok(expected));
}

#[test]
fn target_groups_may_be_named_in_every_way() {
    let text = r#"{"type":"forward","forwardConfig":{"targetGroups":[
        {"targetGroupARN":"arn:x","weight":1},{"targetGroupName":"blue","weight":2},
        {"serviceName":"web","servicePort":"http","weight":3}]}}"#;
    let Ok(BackendAction::Forward { tuples, .. }) = via_annotation(text) else { panic!("not a forward") };
    assert_eq!(tuples[0].destination, Destination::Arn("arn:x".to_owned()));
    assert_eq!(tuples[1].destination, Destination::Name("blue".to_owned()));
    assert_eq!(tuples[2], service("web", PortRef::Name("http".to_owned()), 3));

    let single = via_annotation(r#"{"type":"forward","targetGroupARN":"arn:x"}"#).expect("the short form");
    let tuple = Tuple { destination: Destination::Arn("arn:x".to_owned()), weight: None };
    assert_eq!(single, BackendAction::Forward { tuples: vec![tuple], stickiness: None });
}

#[test]
fn a_missing_annotation_is_a_fixed_503() {
    let backend = json!({"service": {"name": "other", "port": {"name": "use-annotation"}}});
    let backend = serde_json::from_value(backend).expect("a backend");
    let Ok(BackendAction::FixedResponse(fixed)) = action(&ingress("actions.root", "{}"), &backend) else {
        panic!("not a fixed response")
    };
    assert_eq!(fixed.status_code, "503");
}

#[test]
fn mistakes_name_the_ingress_and_the_annotation() {
    for (text, reason) in [
        ("not json", "expected ident"),
        (r#"{"type":"wave"}"#, "'wave' is none of"),
        (r#"{"type":"forward"}"#, "either forwardConfig or one target group"),
        (r#"{"type":"redirect"}"#, "redirectConfig"),
        (r#"{"type":"forward","forwardConfig":{"targetGroups":[{"weight":1}]}}"#, "one of serviceName"),
        (r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"a"}]}}"#, "servicePort"),
        (
            r#"{"type":"forward","forwardConfig":{"targetGroups":[
                {"serviceName":"a","servicePort":80},{"serviceName":"b","servicePort":80,"weight":1}]}}"#,
            "needs a weight",
        ),
    ] {
        let message = via_annotation(text).expect_err(text).to_string();
        assert!(message.starts_with("Ingress shop/web: alb.ingress.kubernetes.io/actions.root: "), "{message}");
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn conditions_and_transforms_are_read() {
    let text = r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-Canary","values":["always"]}},
        {"Field":"query-string","QueryStringConfig":{"Values":[{"Key":"v","Value":"2"}]}}]"#;
    let found = conditions(&ingress("conditions.root", text), "root").expect("conditions");
    let header = found[0].http_header.as_ref().expect("a header");
    assert_eq!(
        (header.http_header_name.as_deref(), &*header.values),
        (Some("X-Canary"), ["always".to_owned()].as_slice())
    );
    let pairs = found[1].query_string.as_ref().expect("a query string").pairs();
    assert_eq!(pairs, [QueryStringPair { key: Some("v".to_owned()), value: "2".to_owned() }]);

    let text = r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[{"regex":"^/a","replace":"/b"}]}}]"#;
    let found = transforms(&ingress("transforms.root", text), "root").expect("transforms");
    assert_eq!(found[0].r#type, TransformType::UrlRewrite);
    assert!(found[0].url_rewrite_config.is_some() && found[0].host_header_rewrite_config.is_none());
}
