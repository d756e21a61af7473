//! What is written for others: Events for people, weights for whoever follows an Ingress.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use lab::kubernetes::{Effect, Kind, Verb};
use serde_json::{Value, json};
use trafficrouter_alb::cluster::{Cluster as _, Error, ErrorKind, Event};
use trafficrouter_alb::rollout::Metadata;

use super::World;

const ACTION: &str = "alb.ingress.kubernetes.io/actions.web-root";

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

    async fn announce(&self, canary: u32) -> Result<(), Error> {
        self.api.announce("shop", "web", &weights(canary)).await
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
    world.announce(10).await?;
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
    let error = world.api.announce("shop", "web", &others).await.unwrap_err();
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
