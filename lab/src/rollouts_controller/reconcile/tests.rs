use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::rollout::Rollout;
use super::super::state::CallError;
use super::*;
use crate::kubernetes::Refusal;

/// Remembers what was written, and refuses one kind of write.
#[derive(Debug, Default)]
struct Notes {
    writes: Vec<Write>,
    refused: Option<fn(&Write) -> bool>,
}

impl Hands for Notes {
    fn write(&mut self, write: Write) -> Result<(), Refusal> {
        if self.refused.is_some_and(|refused| refused(&write)) {
            return Err(Refusal::Conflict("it".to_owned()));
        }
        self.writes.push(write);
        Ok(())
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }
}

/// Says what it is told to say to SetWeight and VerifyWeight, and counts the calls.
#[derive(Debug)]
struct Answers {
    set: Result<(), CallError>,
    verified: Result<Option<bool>, CallError>,
    calls: Mutex<Vec<String>>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { set: Ok(()), verified: Ok(Some(true)), calls: Mutex::default() }
    }
}

impl Answers {
    fn called(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl TrafficRouter for Answers {
    async fn r#type(&self) -> Result<String, CallError> {
        Ok("test".to_owned())
    }

    async fn update_hash(&self, _: &Value, canary: &str, stable: &str) -> Result<(), CallError> {
        self.called(format!("hashes {canary} {stable}"));
        Ok(())
    }

    async fn set_weight(&self, _: &Value, weight: u32) -> Result<(), CallError> {
        self.called(format!("set {weight}"));
        self.set.clone()
    }

    async fn verify_weight(&self, _: &Value, weight: u32) -> Result<Option<bool>, CallError> {
        self.called(format!("verify {weight}"));
        self.verified.clone()
    }

    async fn remove_managed_routes(&self, _: &Value) -> Result<(), CallError> {
        self.called("remove".to_owned());
        Ok(())
    }
}

/// Version `a` is stable and `b` is new: ten pods wanted, both Services moved, the rest as given. Sizes are
/// `spec.replicas` and `status.availableReplicas`.
fn state(canary: Value, status: Value, a: (u32, u32), b: (u32, u32)) -> State {
    let mut object = json!({
        "metadata": { "name": "web", "namespace": "shop", "uid": "1", "generation": 1 },
        "spec": { "replicas": 10, "selector": {}, "template": {}, "strategy": { "canary": {
            "stableService": "stable", "canaryService": "canary", "trafficRouting": {},
        } } },
        "status": { "stableRS": "a", "currentPodHash": "b", "currentStepHash": "steps", "currentStepIndex": 0 },
    });
    for (path, fields) in [("/spec/strategy/canary", canary), ("/status", status)] {
        for (name, value) in fields.as_object().unwrap() {
            object.pointer_mut(path).unwrap()[name] = value.clone();
        }
    }
    let set = |hash: &str, (replicas, available): (u32, u32)| ReplicaSet {
        hash: hash.to_owned(),
        replicas,
        desired_annotation: 10,
        scale_down_deadline: None,
        created: replicas,
        available,
        version: "1".to_owned(),
    };
    let service = |selects: &str| Service { selects: selects.to_owned(), is_managed: true };
    State {
        rollout: Rollout::deserialize(&object).unwrap(),
        object: Arc::new(object),
        pod_hash: "b".to_owned(),
        step_hash: "steps".to_owned(),
        replica_sets: vec![set("a", a), set("b", b)],
        services: BTreeMap::from([("stable".to_owned(), service("a")), ("canary".to_owned(), service("b"))]),
    }
}

fn weights(canary: u32, verified: bool) -> Value {
    json!({ "weights": {
        "canary": { "weight": canary, "serviceName": "canary", "podTemplateHash": "b" },
        "stable": { "weight": 100 - canary, "serviceName": "stable", "podTemplateHash": "a" },
        "verified": verified,
    } })
}

async fn run(state: &State, router: &Answers) -> (Result<Outcome, ReconcileError>, Vec<Write>) {
    let mut notes = Notes::default();
    let result = reconcile(state, router, &mut notes).await;
    (result, notes.writes)
}

fn recorded(writes: &[Write]) -> &super::super::status::Status {
    match writes.last() {
        Some(Write::Status { after, .. }) => after,
        _ => panic!("no status was recorded: {writes:?}"),
    }
}

#[tokio::test]
async fn an_error_of_set_weight_comes_before_anything_is_scaled_or_recorded() {
    let steps = json!({ "dynamicStableScale": true, "steps": [{ "setWeight": 10 }, { "setWeight": 60 }] });
    let at_60 = json!({ "currentStepIndex": 1, "canary": weights(10, true) });
    // Stable has a pod too many for the recorded weights, so there would be something to scale.
    let state = state(steps, at_60, (10, 10), (6, 6));
    let router = Answers { set: Err(CallError("not now".to_owned())), ..Answers::default() };
    let (result, writes) = run(&state, &router).await;
    assert_eq!(result, Err(ReconcileError::Router(CallError("not now".to_owned()))));
    assert_eq!(writes, [Write::Warn { reason: "TrafficRoutingError", message: "not now".to_owned() }]);
    assert_eq!(router.calls(), ["hashes b a", "set 60"]);
    let (result, writes) = run(&state, &Answers::default()).await;
    assert_eq!(result, Ok(Outcome::default()));
    assert!(matches!(&writes[..], [Write::Scale { set }, Write::Status { .. }] if set.replicas == 9), "{writes:?}");
}

#[tokio::test]
async fn stable_is_scaled_by_recorded_weights_verified_or_not() {
    let steps = json!({ "dynamicStableScale": true, "steps": [{ "setWeight": 60 }] });
    let state = state(steps, json!({ "canary": weights(60, false) }), (10, 10), (6, 6));
    let router = Answers { verified: Ok(Some(false)), ..Answers::default() };
    let (result, writes) = run(&state, &router).await;
    assert_eq!(result.unwrap().again_in, Some(Duration::from_secs(10)));
    assert!(matches!(&writes[0], Write::Scale { set } if set.hash == "a" && set.replicas == 4), "{writes:?}");
    assert_eq!(recorded(&writes).current_step_index, Some(0));
}

#[tokio::test]
async fn a_conflict_stops_the_reconcile_unless_it_is_about_an_old_version() {
    let steps = json!({ "steps": [{ "setWeight": 10 }] });
    let mut state = state(steps, json!({}), (10, 10), (0, 0));
    let refuse = |write: &Write| matches!(write, Write::Scale { .. });
    let mut notes = Notes { refused: Some(refuse), ..Notes::default() };
    let result = reconcile(&state, &Answers::default(), &mut notes).await;
    assert_eq!(result, Err(ReconcileError::Refused(Refusal::Conflict("it".to_owned()))));
    assert_eq!(notes.writes, []);
    // The new version has its pod, one between it and stable has pods left.
    state.replica_sets[1] = ReplicaSet { replicas: 1, created: 1, available: 1, ..state.replica_sets[1].clone() };
    state.replica_sets.push(ReplicaSet { hash: "c".to_owned(), ..state.replica_sets[0].clone() });
    let mut notes = Notes { refused: Some(refuse), ..Notes::default() };
    assert_eq!(reconcile(&state, &Answers::default(), &mut notes).await, Ok(Outcome::default()));
    assert_eq!(recorded(&notes.writes).current_step_index, Some(1));
}

#[tokio::test]
async fn an_abort_moves_the_canary_service_there_and_back_in_every_reconcile() {
    let steps = json!({ "steps": [{ "setWeight": 10 }] });
    let mut state = state(steps, json!({ "abort": true, "canary": weights(0, true) }), (10, 10), (1, 1));
    state.services.insert("canary".to_owned(), Service { selects: "a".to_owned(), is_managed: true });
    let (result, writes) = run(&state, &Answers::default()).await;
    assert_eq!(result, Ok(Outcome::default()));
    let select = |hash: &str| Write::Select { service: "canary".to_owned(), hash: hash.to_owned() };
    assert_eq!(writes[..2], [select("b"), select("a")]);
}

#[tokio::test]
async fn a_no_at_the_maximum_weight_needs_steps() {
    let promote = json!({ "promoteFull": true, "currentStepIndex": null });
    let dynamic = |steps: Value| json!({ "dynamicStableScale": true, "steps": steps });
    let no = Answers { verified: Ok(Some(false)), ..Answers::default() };
    let without = state(dynamic(json!([])), promote, (0, 0), (10, 10));
    assert_eq!(run(&without, &no).await, (Err(ReconcileError::NoStepIndex), vec![]));
    let with = state(dynamic(json!([{ "setWeight": 10 }])), json!({ "promoteFull": true }), (0, 0), (10, 10));
    assert_eq!(run(&with, &no).await, (Err(ReconcileError::NotVerified(100)), vec![]));
}

#[tokio::test]
async fn an_error_of_verify_weight_lets_the_update_end() {
    let end = json!({ "currentStepIndex": 1, "canary": weights(100, false) });
    let state = state(json!({ "steps": [{ "setWeight": 10 }] }), end, (10, 10), (10, 10));
    let lost = Answers { verified: Err(CallError("lost".to_owned())), ..Answers::default() };
    let (result, writes) = run(&state, &lost).await;
    assert_eq!(result, Ok(Outcome::default()), "nor is it asked again");
    assert!(matches!(&writes[0], Write::Warn { reason: "WeightVerifyError", .. }), "{writes:?}");
    assert_eq!(recorded(&writes).stable_rs, "b");
}

#[tokio::test]
async fn another_number_of_replicas_is_scaled_to_without_a_word_to_the_router() {
    let steps = json!({ "dynamicStableScale": true, "steps": [{ "setWeight": 60 }] });
    let mut state = state(steps, json!({ "canary": weights(60, true) }), (4, 4), (6, 6));
    state.rollout.spec.replicas = 20;
    let router = Answers::default();
    let (result, writes) = run(&state, &router).await;
    assert_eq!(result, Ok(Outcome::default()));
    assert!(matches!(&writes[0], Write::Scale { set } if (set.hash.as_str(), set.replicas) == ("a", 8)), "{writes:?}");
    assert_eq!(router.calls(), [""; 0]);
}

#[tokio::test]
async fn a_service_that_is_missing_is_named() {
    let mut state = state(json!({}), json!({}), (10, 10), (1, 1));
    state.services.remove("canary");
    let (result, _) = run(&state, &Answers::default()).await;
    assert_eq!(result, Err(ReconcileError::NoService("canary".to_owned())));
}

/// Right after a step, old stable pods still count as available: the weight goes back too early, to be raised again.
#[tokio::test]
async fn an_abort_right_after_a_step_trusts_pods_that_are_going() {
    let steps = json!({ "dynamicStableScale": true, "steps": [{ "setWeight": 10 }, { "setWeight": 60 }] });
    let aborted = json!({ "abort": true, "currentStepIndex": 1, "canary": weights(60, true) });
    for (available, asked) in [(10, "set 10"), (4, "set 60")] {
        let state = state(steps.clone(), aborted.clone(), (4, available), (6, 6));
        let router = Answers::default();
        let (result, _) = run(&state, &router).await;
        assert_eq!(result, Ok(Outcome::default()));
        assert!(router.calls().contains(&asked.to_owned()), "{:?}", router.calls());
    }
}
