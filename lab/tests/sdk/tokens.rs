//! The security token service on the same endpoint.

use lab::{Effect, Fault, Lab, LabConfig, Role};

use crate::{http, raw, start};

async fn ask(lab: &Lab, access_key: &str, body: &str) -> String {
    let headers = format!(
        "authorization: AWS4-HMAC-SHA256 Credential={access_key}/20260101/us-east-1/sts/aws4_request, Signature=0\r\n\
         content-type: application/x-www-form-urlencoded\r\n"
    );
    raw(lab, &http("POST", "/", &headers, &format!("{body}&Version=2011-06-15"))).await
}

fn element<'a>(answer: &'a str, name: &str) -> &'a str {
    let (_, rest) = answer.split_once(&format!("<{name}>")).expect(name);
    rest.split('<').next().expect("text")
}

const ASSUME: &str =
    "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A111111111111%3Arole%2Fshift&RoleSessionName=plugin";

#[tokio::test]
async fn credentials_of_a_role_say_who_they_are() {
    let (lab, client) = start(LabConfig::default()).await;
    let caller = ask(&lab, "lab", "Action=GetCallerIdentity").await;
    assert_eq!(element(&caller, "Arn"), "arn:aws:iam::000000000000:user/lab");
    let assumed = ask(&lab, "lab", ASSUME).await;
    assert!(
        assumed.starts_with("HTTP/1.1 200 ") && assumed.contains("https://sts.amazonaws.com/doc/2011-06-15/"),
        "{assumed}"
    );
    assert!(element(&assumed, "Expiration").ends_with('Z'));
    let caller = ask(&lab, element(&assumed, "AccessKeyId"), "Action=GetCallerIdentity").await;
    assert_eq!(element(&caller, "Arn"), "arn:aws:sts::111111111111:assumed-role/shift/plugin");
    assert_eq!((lab.counts()["AssumeRole"].calls, lab.journal().len()), (1, 0), "the journal is for writes");
    client.describe_load_balancers().send().await.expect("the other service is there still");
}

#[tokio::test]
async fn a_role_can_ask_for_an_external_id() {
    let (lab, _client) = start(LabConfig::default()).await;
    let role = Role { arn: "arn:aws:iam::111111111111:role/shift".to_owned(), external_id: Some("secret".to_owned()) };
    lab.add_role(role).expect("a role");
    let refused = ask(&lab, "lab", ASSUME).await;
    assert!(refused.starts_with("HTTP/1.1 403 ") && element(&refused, "Code") == "AccessDenied", "{refused}");
    let allowed = ask(&lab, "lab", &format!("{ASSUME}&ExternalId=secret")).await;
    assert!(allowed.starts_with("HTTP/1.1 200 "), "{allowed}");

    let json = "content-type: application/json\r\n";
    let open = r#"{"arn": "arn:aws:iam::111111111111:role/shift"}"#;
    assert!(raw(&lab, &http("POST", "/lab/roles", json, open)).await.starts_with("HTTP/1.1 204 "));
    assert!(ask(&lab, "lab", ASSUME).await.starts_with("HTTP/1.1 200 "));
    let no_role = raw(&lab, &http("POST", "/lab/roles", json, r#"{"arn": "shift"}"#)).await;
    assert!(no_role.starts_with("HTTP/1.1 400 ") && no_role.contains("'shift' is not the ARN of a role"), "{no_role}");
    assert!(raw(&lab, &http("GET", "/lab/roles", "", "")).await.contains(r#""external_id":null"#));
}

#[tokio::test]
async fn what_the_service_does_not_know_is_refused() {
    let (lab, _client) = start(LabConfig::default()).await;
    let unknown = ask(&lab, "lab", "Action=GetSessionToken").await;
    assert_eq!(element(&unknown, "Code"), "InvalidAction");
    assert!(unknown.contains("for version 2011-06-15"), "{unknown}");
    let policy = ask(&lab, "lab", &format!("{ASSUME}&Policy=x")).await;
    assert!(policy.contains("the lab does not model a parameter 'Policy' here"), "{policy}");
    let other_service = ask(&lab, "lab", "Action=DescribeRules").await;
    assert_eq!(element(&other_service, "Code"), "InvalidAction");
}

#[tokio::test]
async fn faults_meet_the_service_too_but_not_those_for_reads_and_writes() {
    let (lab, _client) = start(LabConfig::default()).await;
    let late = Fault::new("*", Effect::LateWrites { ms: 1 }).times(1);
    let stale = Fault::new("*", Effect::StaleReads).times(1);
    for fault in [Fault::throttling("AssumeRole").times(1), late.clone(), stale.clone()] {
        lab.faults().add(fault).expect("a sound fault");
    }
    let throttled = ask(&lab, "lab", ASSUME).await;
    assert_eq!(element(&throttled, "Code"), "Throttling");
    assert!(ask(&lab, "lab", ASSUME).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(lab.faults().list(), [late, stale], "neither is used up");
    assert_eq!((lab.counts()["AssumeRole"].calls, lab.counts()["AssumeRole"].refused), (2, 1));
}
