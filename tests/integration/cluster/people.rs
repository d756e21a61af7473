//! What is written for others: Events and notes for people, weights for whoever follows an Ingress.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use lab::kubernetes::{Effect, Fault, Kind, Verb};
use serde_json::{Value, json};
use trafficrouter_alb::cluster::{
    Announcement, Cluster as _, Error, ErrorKind, Event, Joining, ServicePort, Stickiness,
};
use trafficrouter_alb::rollout::Metadata;

use super::World;

const ACTION: &str = "alb.ingress.kubernetes.io/actions.web-root";

/// Where the built-in router notes what it manages.
const MANAGED: &str = "rollouts.argoproj.io/managed-alb-annotations";

/// Where a note is written.
const NOTE: &str = "alb.example.com/target-groups";

fn about() -> Metadata {
    Metadata {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        uid: "u-1".to_owned(),
        resource_version: "7".to_owned(),
        ..Metadata::default()
    }
}

fn event(reason: &'static str, message: &str) -> Event {
    Event { warning: true, reason, message: message.to_owned() }
}

fn announcement(weights: Vec<(String, u32)>) -> Announcement {
    Announcement {
        prefix: "alb.ingress.kubernetes.io".to_owned(),
        rollout: "web".to_owned(),
        weights,
        joining: Vec::new(),
        leaving: Vec::new(),
        root: None,
        stickiness: None,
    }
}

fn weights(canary: u32) -> Vec<(String, u32)> {
    vec![("web-stable".to_owned(), 100 - canary), ("web-canary".to_owned(), canary)]
}

fn action(canary: u32) -> String {
    format!(
        r#"{{"type": "forward", "forwardConfig": {{"targetGroups": [
            {{"serviceName": "web-stable", "servicePort": 80, "weight": {}}},
            {{"serviceName": "web-canary", "servicePort": 80, "weight": {canary}}}
        ]}}}}"#,
        100 - canary
    )
}

impl World {
    fn events(&self) -> Vec<Arc<Value>> {
        self.objects.list(Kind::EVENT, Some("shop")).0
    }

    fn ingress(&self) -> Result<()> {
        let annotations = json!({ ACTION: action(0), "alb.ingress.kubernetes.io/scheme": "internal" });
        let metadata = json!({"name": "web", "namespace": "shop", "annotations": annotations});
        self.objects.create(Kind::INGRESS, json!({"metadata": metadata, "spec": {}}))?;
        Ok(())
    }

    fn annotation(&self, key: &str) -> Result<String> {
        let ingress = self.objects.get(Kind::INGRESS, "shop", "web").context("the Ingress")?;
        let text = ingress.pointer("/metadata/annotations").and_then(|all| all.get(key)).and_then(Value::as_str);
        Ok(text.context("the annotation")?.to_owned())
    }

    async fn announce(&self, canary: u32) -> Result<bool, Error> {
        self.api.announce("shop", "web", &announcement(weights(canary))).await
    }
}

#[tokio::test]
async fn an_event_is_about_its_rollout_and_written_once() -> Result<()> {
    let world = World::new()?;
    for _ in 0..3 {
        world.api.tell(&about(), &event("Held", "no healthy pods")).await?;
    }
    world.api.tell(&about(), &event("PutBack", "another writer")).await?;
    let events = world.events();
    assert_eq!((events.len(), world.asked("create events"), world.asked("patch events")), (2, 2, 0));
    let held = events.iter().find(|event| event.pointer("/reason") == Some(&json!("Held"))).context("an Event")?;
    let involved = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "namespace": "shop", "name": "web", "uid": "u-1",
        "resourceVersion": "7",
    });
    assert_eq!(held.pointer("/involvedObject"), Some(&involved));
    assert_eq!(held.pointer("/type"), Some(&json!("Warning")));
    assert_eq!(held.pointer("/message"), Some(&json!("no healthy pods")));
    assert_eq!(held.pointer("/source/component"), Some(&json!("rollouts-plugin-trafficrouter-alb")));
    assert_eq!(held.pointer("/firstTimestamp"), held.pointer("/lastTimestamp"));
    let name = held.pointer("/metadata/name").and_then(Value::as_str).context("a name")?;
    assert!(name.strip_prefix("web.").is_some_and(|hex| u128::from_str_radix(hex, 16).is_ok()), "{name}");
    Ok(())
}

#[tokio::test]
async fn an_event_that_goes_on_is_counted() -> Result<()> {
    let world = World::new()?;
    let held = event("Held", "no healthy pods");
    world.api.tell(&about(), &held).await?;
    world.later(11).await;
    world.api.tell(&about(), &held).await?;
    world.later(11).await;
    world.fault(Verb::Patch, "events", Effect::Forbidden)?;
    let error = world.api.tell(&about(), &held).await.unwrap_err();
    assert!(error.to_string().contains("resources: [events], verbs: [patch]"), "{error}");
    let counted = world.events();
    assert_eq!(counted.len(), 1);
    let first = counted.first().context("the Event")?;
    assert_eq!(first.pointer("/count"), Some(&json!(2)));

    // Somebody deletes it: the next time it is a new one.
    let (one, other) = (event("Held", "no rule"), world.events());
    world.api.tell(&about(), &one).await?;
    for gone in world.events() {
        let name = gone.pointer("/metadata/name").and_then(Value::as_str).context("a name")?;
        world.objects.delete(Kind::EVENT, "shop", name)?;
    }
    world.later(11).await;
    world.api.tell(&about(), &one).await?;
    let anew = world.events();
    assert_eq!(anew.len(), 1);
    let anew = anew.first().context("the Event")?;
    assert_eq!((anew.pointer("/count"), anew.pointer("/message")), (Some(&json!(1)), Some(&json!("no rule"))));
    assert_ne!(anew.pointer("/metadata/name"), other.first().and_then(|event| event.pointer("/metadata/name")));
    Ok(())
}

#[tokio::test]
async fn an_event_that_was_refused_is_written_the_next_time() -> Result<()> {
    let world = World::new()?;
    world.fault(Verb::Create, "events", Effect::Forbidden)?;
    let error = world.api.tell(&about(), &event("Held", "no healthy pods")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    let rule = "apiGroups: [\"\"], resources: [events], verbs: [create]";
    assert!(error.to_string().contains(rule), "{error}");
    assert!(world.events().is_empty());
    world.api.tell(&about(), &event("Held", "no healthy pods")).await?;
    assert_eq!(world.events().len(), 1);
    world.server.faults().go_away().await;
    let error = world.api.tell(&about(), &event("PutBack", "another writer")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    Ok(())
}

#[tokio::test]
async fn weights_are_announced_where_they_are_not_shown() -> Result<()> {
    let world = World::new()?;
    assert_eq!(world.announce(10).await.unwrap_err().kind(), ErrorKind::Missing);
    world.ingress()?;
    assert!(world.announce(10).await?);
    assert_eq!(world.annotation(ACTION)?, action(10), "nothing but the weights has changed");
    let patch = world.server.requests().last().and_then(|request| request.body.clone()).context("a patch")?;
    assert_eq!(patch, json!({"metadata": {"annotations": { ACTION: action(10) }}}));
    world.announce(10).await?;
    assert_eq!(world.asked("patch ingresses"), 1, "they are shown already");

    // Somebody else puts it back: that is seen, and written anew.
    let back = json!({"metadata": {"annotations": { ACTION: action(0) }}});
    world.objects.merge_patch(Kind::INGRESS, "shop", "web", &back)?;
    world.announce(10).await?;
    assert_eq!(world.annotation(ACTION)?, action(10));
    assert_eq!(world.annotation("alb.ingress.kubernetes.io/scheme")?, "internal");
    Ok(())
}

#[tokio::test]
async fn what_keeps_weights_from_being_announced_is_said() -> Result<()> {
    let world = World::new()?;
    world.ingress()?;
    let others = [("web-stable".to_owned(), 1), ("web-other".to_owned(), 1)];
    let error = world.api.announce("shop", "web", &announcement(others.into())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.to_string().contains("forwards to all of web-stable, web-other"), "{error}");
    for (verb, effect, kind, part) in [
        (Verb::Get, Effect::Forbidden, ErrorKind::Access, "resources: [ingresses], verbs: [get]"),
        (Verb::Patch, Effect::Forbidden, ErrorKind::Access, "apiGroups: [\"networking.k8s.io\"]"),
        (Verb::Patch, Effect::Conflict, ErrorKind::Transient, "409"),
    ] {
        world.fault(verb, "ingresses", effect)?;
        let error = world.announce(10).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(world.annotation(ACTION)?, action(0));
    Ok(())
}

#[tokio::test]
async fn the_built_in_routers_note_goes_in_the_same_patch() -> Result<()> {
    let world = World::new()?;
    world.ingress()?;
    let note = json!({"metadata": {"annotations": {MANAGED: r#"{"other":["x"],"web":["y"]}"#}}});
    world.objects.merge_patch(Kind::INGRESS, "shop", "web", &note)?;
    world.announce(10).await?;
    assert_eq!((world.annotation(ACTION)?, world.annotation(MANAGED)?), (action(10), r#"{"other":["x"]}"#.to_owned()));
    assert_eq!(world.asked("patch ingresses"), 1);

    // The weights are shown already: the note alone is reason enough.
    let note = json!({"metadata": {"annotations": {MANAGED: r#"{"web":["y"]}"#}}});
    world.objects.merge_patch(Kind::INGRESS, "shop", "web", &note)?;
    world.announce(10).await?;
    let patch = world.server.requests().last().and_then(|request| request.body.clone()).context("a patch")?;
    assert_eq!(patch, json!({"metadata": {"annotations": { MANAGED: null }}}));
    assert!(world.annotation(MANAGED).is_err(), "nothing is left of it");
    Ok(())
}

#[tokio::test]
async fn edits_at_the_same_time_are_kept() -> Result<()> {
    let world = World::new()?;
    world.ingress()?;
    world.server.faults().add(Fault::new(Verb::Patch, "ingresses", Effect::Delay { ms: 100 }).times(1))?;
    let edit = async {
        world.until_met().await?;
        let theirs = json!({"metadata": {"annotations": {"alb.ingress.kubernetes.io/scheme": "internet-facing"}}});
        world.objects.merge_patch(Kind::INGRESS, "shop", "web", &theirs)?;
        anyhow::Ok(())
    };
    let (announced, edited) = tokio::join!(world.announce(10), edit);
    edited?;
    announced?;
    assert_eq!(world.annotation(ACTION)?, action(10));
    assert_eq!(world.annotation("alb.ingress.kubernetes.io/scheme")?, "internet-facing");
    assert_eq!(world.asked("patch ingresses"), 1);
    Ok(())
}

#[tokio::test]
async fn all_of_an_announcement_is_one_patch() -> Result<()> {
    let world = World::new()?;
    let old = action(0).replace("]", r#", {"serviceName": "gone", "servicePort": 80, "weight": 5}]"#);
    let annotations = json!({"my.prefix/actions.a": old, ACTION: action(0), MANAGED: r#"{"web":["y"]}"#});
    let metadata = json!({"name": "web", "namespace": "shop", "annotations": annotations});
    world.objects.create(Kind::INGRESS, json!({"metadata": metadata, "spec": {}}))?;
    let port = |text: &str| ServicePort(text.to_owned());
    let wished = Announcement {
        prefix: "my.prefix".to_owned(),
        weights: [weights(10), vec![("extra".to_owned(), 0)]].concat(),
        joining: vec![Joining { service: "extra".to_owned(), ports: vec![(port("80"), port("8080"))] }],
        leaving: vec!["gone".to_owned()],
        root: Some(("root".to_owned(), port("http"))),
        stickiness: Some(Stickiness { enabled: true, seconds: 60 }),
        ..announcement(Vec::new())
    };
    world.api.announce("shop", "web", &wished).await?;
    world.api.announce("shop", "web", &wished).await?;
    assert_eq!(world.asked("patch ingresses"), 1);
    assert_eq!(world.annotation(ACTION)?, action(0), "another controller's");
    assert!(world.annotation(MANAGED).is_err());
    let read = |key: &str| anyhow::Ok(serde_json::from_str::<Value>(&world.annotation(key)?)?);
    let expected = |port: Value, extra: Value| {
        let group =
            |(service, weight): (&str, u32)| json!({"serviceName": service, "servicePort": port, "weight": weight});
        let mut groups: Vec<Value> = [("web-stable", 90), ("web-canary", 10)].map(group).into();
        groups.push(extra);
        let sticky = json!({"enabled": true, "durationSeconds": 60});
        json!({"type": "forward", "forwardConfig": {"targetGroups": groups, "targetGroupStickinessConfig": sticky}})
    };
    let extra = |port: Value| json!({"serviceName": "extra", "servicePort": port, "weight": 0});
    assert_eq!(read("my.prefix/actions.a")?, expected(json!(80), extra(json!(8080))));
    assert_eq!(read("my.prefix/actions.root")?, expected(json!("http"), extra(json!("http"))));
    Ok(())
}

#[tokio::test]
async fn a_note_is_written_on_the_very_rollout_and_once() -> Result<()> {
    let world = World::new()?;
    let missing = world.api.note(&about(), NOTE, "arn").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Missing);
    let metadata = json!({"name": "web", "namespace": "shop", "annotations": {"theirs": "1"}});
    let rollout = world.objects.create(Kind::ROLLOUT, json!({"metadata": metadata, "spec": {}}))?;
    let uid = rollout.pointer("/metadata/uid").and_then(Value::as_str).context("a uid")?;
    let about_it = Metadata { uid: uid.to_owned(), ..about() };
    world.api.note(&about_it, NOTE, "arn").await?;
    world.api.note(&about_it, NOTE, "arn").await?;
    assert_eq!(world.asked("patch rollouts"), 1);
    world.api.note(&about_it, NOTE, "other").await?;
    let noted = world.objects.get(Kind::ROLLOUT, "shop", "web").context("the Rollout")?;
    assert_eq!(noted.pointer("/metadata/annotations"), Some(&json!({"theirs": "1", NOTE: "other"})));

    let error = world.api.note(&about(), NOTE, "arn").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("it is not the one that was meant"), "{error}");
    world.fault(Verb::Patch, "rollouts", Effect::Forbidden)?;
    let error = world.api.note(&about_it, NOTE, "arn").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    let rule = "apiGroups: [\"argoproj.io\"], resources: [rollouts], verbs: [patch]";
    assert!(error.to_string().contains(rule), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_note_does_not_reach_a_rollout_that_was_made_meanwhile() -> Result<()> {
    let world = World::new()?;
    let object = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {}});
    let rollout = world.objects.create(Kind::ROLLOUT, object.clone())?;
    let uid = rollout.pointer("/metadata/uid").and_then(Value::as_str).context("a uid")?;
    let about_it = Metadata { uid: uid.to_owned(), ..about() };
    world.server.faults().add(Fault::new(Verb::Patch, "rollouts", Effect::Delay { ms: 100 }).times(1))?;
    let made_anew = async {
        world.until_met().await?;
        world.objects.delete(Kind::ROLLOUT, "shop", "web")?;
        world.objects.create(Kind::ROLLOUT, object)?;
        anyhow::Ok(())
    };
    let (noted, made) = tokio::join!(world.api.note(&about_it, NOTE, "arn"), made_anew);
    made?;
    assert_eq!(noted.unwrap_err().kind(), ErrorKind::Refused);
    let left = world.objects.get(Kind::ROLLOUT, "shop", "web").context("the Rollout")?;
    assert_eq!(left.pointer("/metadata/annotations"), None);
    Ok(())
}
