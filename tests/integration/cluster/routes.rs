//! Managed routes in an Ingress, and what several writers at once make of it.

use anyhow::{Context as _, Result};
use lab::kubernetes::{Effect, Fault, Kind, Verb};
use serde_json::{Value, json};
use trafficrouter_alb::cluster::{Cluster as _, Error, ErrorKind, HeaderCondition, Route};

use super::World;

const PREFIX: &str = "alb.ingress.kubernetes.io";

fn backend(name: &str) -> Value {
    json!({"service": {"name": name, "port": {"name": "use-annotation"}}})
}

fn route(name: &str) -> Route {
    let condition =
        HeaderCondition { header: "x-beta".to_owned(), values: vec!["yes".to_owned()], regex_values: Vec::new() };
    Route { name: name.to_owned(), conditions: vec![condition], service: "web-canary".to_owned() }
}

impl World {
    fn routed(&self) -> Result<()> {
        let action = r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-stable","servicePort":80,"weight":100},{"serviceName":"web-canary","servicePort":80,"weight":0}]}}"#;
        let path = json!({"path": "/", "pathType": "Prefix", "backend": backend("web-root")});
        self.objects.create(
            Kind::INGRESS,
            json!({
                "metadata": {"name": "web", "namespace": "shop", "annotations": {format!("{PREFIX}/actions.web-root"): action}},
                "spec": {"ingressClassName": "alb", "rules": [{"host": "a.example", "http": {"paths": [path]}}]},
            }),
        )?;
        Ok(())
    }

    fn spec(&self) -> Result<Value> {
        let ingress = self.objects.get(Kind::INGRESS, "shop", "web").context("the Ingress")?;
        Ok(ingress.pointer("/spec").cloned().unwrap_or_default())
    }

    /// The names of the annotations, without their prefix.
    fn keys(&self) -> Result<Vec<String>> {
        let ingress = self.objects.get(Kind::INGRESS, "shop", "web").context("the Ingress")?;
        let all = ingress.pointer("/metadata/annotations").and_then(Value::as_object).context("annotations")?;
        Ok(all.keys().map(|key| key.trim_start_matches(PREFIX).to_owned()).collect())
    }

    /// The backends of the only rule.
    fn order(&self) -> Result<Vec<String>> {
        let spec = self.spec()?;
        let paths = spec.pointer("/rules/0/http/paths").and_then(Value::as_array).context("paths")?;
        let name = |path: &Value| path.pointer("/backend/service/name").and_then(Value::as_str).map(str::to_owned);
        paths.iter().map(|path| name(path).context("a backend")).collect()
    }

    async fn add(&self, name: &str) -> Result<(), Error> {
        let ours = ["web-stable", "web-canary"].map(str::to_owned);
        self.api.add_route("shop", "web", PREFIX, &ours, &route(name)).await
    }

    async fn remove(&self, names: &[&str]) -> Result<(), Error> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.api.remove_routes("shop", "web", PREFIX, &names).await
    }
}

#[tokio::test]
async fn a_route_comes_and_goes_in_one_patch_each() -> Result<()> {
    let world = World::new()?;
    world.routed()?;
    let before = (world.spec()?, world.keys()?);
    world.add("beta").await?;
    world.add("beta").await?;
    assert_eq!((world.asked("patch ingresses"), world.order()?), (1, vec!["beta".to_owned(), "web-root".to_owned()]));
    assert_eq!(world.keys()?, ["/actions.beta", "/actions.web-root", "/conditions.beta"]);
    let first = json!({"path": "/", "pathType": "Prefix", "backend": backend("beta")});
    assert_eq!(world.spec()?.pointer("/rules/0/http/paths/0"), Some(&first));
    world.add("gamma").await?;
    assert_eq!(world.order()?, ["beta", "gamma", "web-root"]);
    world.remove(&["beta", "gamma", "never"]).await?;
    world.remove(&["beta", "gamma", "never"]).await?;
    assert_eq!((world.asked("patch ingresses"), (world.spec()?, world.keys()?)), (3, before));
    Ok(())
}

#[tokio::test]
async fn an_edit_by_somebody_else_at_the_same_time_is_kept() -> Result<()> {
    let world = World::new()?;
    world.routed()?;
    let slow = Fault::new(Verb::Patch, "ingresses", Effect::Delay { ms: 100 }).times(1);
    world.server.faults().add(slow)?;
    let edit = async {
        world.until_met().await?;
        let paths = json!([
            {"path": "/static", "pathType": "Prefix", "backend": {"service": {"name": "static", "port": {"number": 80}}}},
            {"path": "/", "pathType": "Prefix", "backend": backend("web-root")},
        ]);
        let edit = json!({
            "metadata": {"annotations": {"example.com/note": "theirs"}},
            "spec": {"rules": [{"host": "a.example", "http": {"paths": paths}}]},
        });
        world.objects.merge_patch(Kind::INGRESS, "shop", "web", &edit)?;
        anyhow::Ok(())
    };
    let (added, edited) = tokio::join!(world.add("beta"), edit);
    edited?;
    added?;
    assert_eq!(world.order()?, ["static", "beta", "web-root"]);
    assert_eq!(world.keys()?, ["/actions.beta", "/actions.web-root", "/conditions.beta", "example.com/note"]);
    assert_eq!(world.asked("patch ingresses"), 2, "the first met a conflict");
    Ok(())
}

#[tokio::test]
async fn what_keeps_a_route_out_is_said() -> Result<()> {
    let world = World::new()?;
    assert_eq!(world.add("beta").await.unwrap_err().kind(), ErrorKind::Missing);
    world.remove(&["beta"]).await?;
    world.routed()?;
    let taken = world.add("web-root").await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Refused);
    let words = "cannot patch ingresses shop/web: the action web-root is what a route would stand before; give the managed \
                 route another name";
    assert_eq!(taken.to_string(), words);
    let others = ["web-stable", "web-other"].map(str::to_owned);
    let error = world.api.add_route("shop", "web", PREFIX, &others, &route("beta")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.to_string().contains("forwards to all of web-stable, web-other"), "{error}");

    for (effect, kind, part, patches) in [
        (Effect::Forbidden, ErrorKind::Access, "resources: [ingresses], verbs: [patch]", 1),
        (Effect::TooManyRequests { retry_after_seconds: 60 }, ErrorKind::Transient, "429", 1),
        (Effect::InternalError, ErrorKind::Transient, "500", 1),
        (Effect::Conflict, ErrorKind::Transient, "409", 5),
    ] {
        let before = world.asked("patch ingresses");
        world.server.faults().add(Fault::new(Verb::Patch, "ingresses", effect))?;
        let error = world.add("beta").await.unwrap_err();
        world.server.faults().clear();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(world.asked("patch ingresses") - before, patches);
    }
    assert_eq!(world.order()?, ["web-root"]);
    Ok(())
}

#[tokio::test]
async fn a_patch_whose_answer_is_lost_is_found_done() -> Result<()> {
    let world = World::new()?;
    world.routed()?;
    world.fault(Verb::Patch, "ingresses", Effect::CutAfterEffect)?;
    assert_eq!(world.add("beta").await.unwrap_err().kind(), ErrorKind::Transient);
    world.add("beta").await?;
    assert_eq!((world.asked("patch ingresses"), world.order()?), (1, vec!["beta".to_owned(), "web-root".to_owned()]));
    Ok(())
}
