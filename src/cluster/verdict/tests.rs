//! What the host would do, one line each.

use serde_json::{Value, json};

use super::*;

const START: &str = "2026-01-01T12:00:00Z";

/// Seconds after `START`.
fn after(seconds: u64) -> SystemTime {
    time(START).unwrap() + Duration::from_secs(seconds)
}

/// An update at a step with analysis, beside background analysis, with a deadline; then these changes (RFC 7396).
fn rollout(change: &Value) -> RolloutObject {
    let mut rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
        "spec": {
            "progressDeadlineAbort": true, "progressDeadlineSeconds": 60,
            "strategy": {"canary": {
                "steps": [{"setWeight": 10}, {"analysis": {"templates": [{"templateName": "t"}]}}, {"setWeight": 60}],
                "analysis": {"templates": [{"templateName": "t"}]},
            }},
        },
        "status": {
            "stableRS": "old", "currentPodHash": "new", "currentStepIndex": 1,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": START}],
            "canary": {
                "currentStepAnalysisRunStatus": {"name": "step", "status": "Running"},
                "currentBackgroundAnalysisRunStatus": {"name": "back", "status": "Running"},
            },
        },
    });
    merge(&mut rollout, change);
    serde_json::from_value(rollout).unwrap()
}

fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        target.clone_from(change);
        return;
    };
    for (name, value) in change {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(name)),
            value => merge(&mut target[name], value),
        }
    }
}

fn progressing(reason: &str) -> Value {
    json!([{"type": "Progressing", "status": "Unknown", "reason": reason, "lastUpdateTime": START}])
}

#[test]
fn which_runs_count() {
    let (step, back) = (Run::Step("step".to_owned()), Run::Background("back".to_owned()));
    let both = vec![step.clone(), back.clone()];
    let canary = |change: Value| json!({"spec": {"strategy": {"canary": change}}});
    let status = |change: Value| json!({"status": change});
    let experiment = json!({
        "spec": {"strategy": {"canary": {"steps": [{"experiment": {"templates": []}}], "analysis": null}}},
        "status": {"currentStepIndex": 0, "canary": {"currentExperiment": "exp"}},
    });
    for (situation, change, expected) in [
        ("an update", json!({}), both.clone()),
        ("none to be seen yet", status(json!({"canary": null})), vec![]),
        ("fully promoted", status(json!({"stableRS": "new"})), vec![]),
        ("the first version", status(json!({"stableRS": null})), vec![]),
        ("aborted", status(json!({"abort": true})), vec![]),
        ("promoted in full", status(json!({"promoteFull": true})), vec![]),
        ("retried", status(json!({"abortedAt": START})), vec![]),
        ("paused by hand", status(json!({"pauseConditions": [{"reason": "PausedByUser"}]})), vec![back.clone()]),
        ("at a pause", status(json!({"pauseConditions": [{"reason": "CanaryPauseStep"}]})), vec![back.clone()]),
        (
            "paused by an inconclusive run",
            status(json!({"pauseConditions": [{"reason": "InconclusiveAnalysisRun"}], "controllerPause": true})),
            vec![],
        ),
        ("retried, but paused by the host since", status(json!({"abortedAt": START, "controllerPause": true})), both),
        ("at a step without analysis", status(json!({"currentStepIndex": 2})), vec![back.clone()]),
        ("after the last step", status(json!({"currentStepIndex": 3})), vec![back.clone()]),
        ("at its first step", status(json!({"currentStepIndex": null})), vec![back.clone()]),
        ("analysis without templates", canary(json!({"analysis": {"templates": []}})), vec![step.clone()]),
        ("no background analysis", canary(json!({"analysis": null})), vec![step.clone()]),
        ("before its starting step", canary(json!({"analysis": {"startingStep": 2}})), vec![step.clone()]),
        ("at its starting step", canary(json!({"analysis": {"startingStep": 1}})), vec![step, back]),
        ("an experiment", experiment, vec![Run::Experiment("exp".to_owned())]),
        (
            "the experiment of an earlier step",
            status(json!({"currentStepIndex": 2, "canary": {"currentExperiment": "exp"}})),
            vec![Run::Background("back".to_owned())],
        ),
    ] {
        assert_eq!(runs(&rollout(&change)), expected, "{situation}");
    }
}

#[test]
fn which_runs_have_failed() {
    let run = |phase: &str, step: &str| -> RunObject {
        serde_json::from_value(json!({
            "metadata": {"name": "x", "labels": {"step-index": step}}, "spec": {},
            "status": {"phase": phase, "message": "Metric \"errors\" assessed Failed"},
        }))
        .unwrap()
    };
    let rollout = rollout(&json!({}));
    let (step, back) = (Run::Step("step".to_owned()), Run::Background("back".to_owned()));
    let said = |run: &Run, found: &RunObject| failure(&rollout, run, found);
    let failed = "the step's AnalysisRun step has failed: Metric \"errors\" assessed Failed";
    assert_eq!(said(&step, &run("Failed", "1")).as_deref(), Some(failed));
    let error = "the background AnalysisRun back has ended in an error: Metric \"errors\" assessed Failed";
    assert_eq!(said(&back, &run("Error", "")).as_deref(), Some(error));
    for phase in ["", "Pending", "Running", "Successful", "Inconclusive"] {
        assert_eq!((said(&step, &run(phase, "1")), said(&back, &run(phase, "1"))), (None, None), "{phase}");
    }
    assert_eq!(said(&step, &run("Failed", "0")), None, "that of an earlier step is only cancelled");
    let silent: RunObject =
        serde_json::from_value(json!({"metadata": {}, "spec": {}, "status": {"phase": "Failed"}})).unwrap();
    let experiment = Run::Experiment("exp".to_owned());
    assert_eq!(said(&experiment, &silent).as_deref(), Some("the Experiment exp has failed"));
    let begun: RunObject = serde_json::from_value(json!({"metadata": {}, "spec": {}})).unwrap();
    assert_eq!(said(&back, &begun), None);
}

#[test]
fn when_the_deadline_is_over() {
    let at_weight = |mut change: Value| {
        change["status"]["currentStepIndex"] = json!(2);
        change
    };
    let paused = json!([
        {"type": "Paused", "status": "True", "reason": "RolloutPaused", "lastUpdateTime": START},
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": START},
    ]);
    for (situation, change, seconds, expected) in [
        ("in time", at_weight(json!({})), 60, false),
        ("too late", at_weight(json!({})), 61, true),
        ("after the last step", json!({"status": {"currentStepIndex": 3}}), 61, true),
        ("the usual deadline, in time", at_weight(json!({"spec": {"progressDeadlineSeconds": null}})), 600, false),
        ("the usual deadline, too late", at_weight(json!({"spec": {"progressDeadlineSeconds": null}})), 601, true),
        ("not wished", at_weight(json!({"spec": {"progressDeadlineAbort": null}})), 61, false),
        ("at a step with analysis", json!({}), 61, false),
        ("aborted", at_weight(json!({"status": {"abort": true}})), 61, false),
        ("fully promoted", at_weight(json!({"status": {"stableRS": "new"}})), 61, false),
        ("promoted in full", at_weight(json!({"status": {"promoteFull": true}})), 61, true),
        ("paused", at_weight(json!({"status": {"conditions": paused}})), 61, false),
        ("was paused", at_weight(json!({"status": {"conditions": progressing("RolloutPaused")}})), 61, false),
        ("was aborted", at_weight(json!({"status": {"conditions": progressing("RolloutAborted")}})), 61, false),
        ("resumed, in time", at_weight(json!({"status": {"conditions": progressing("RolloutResumed")}})), 60, false),
        ("resumed, too late", at_weight(json!({"status": {"conditions": progressing("RolloutResumed")}})), 61, true),
        (
            "noted already",
            at_weight(json!({"status": {"conditions": progressing("ProgressDeadlineExceeded")}})),
            1,
            true,
        ),
        ("without a condition", at_weight(json!({"status": {"conditions": []}})), 61, false),
    ] {
        assert_eq!(is_past_deadline(&rollout(&change), after(seconds)), expected, "{situation}");
    }
    for step in ["pause", "experiment", "analysis"] {
        let change = json!({"spec": {"strategy": {"canary": {"steps": [{}, { step: {} }]}}}});
        assert!(!is_past_deadline(&rollout(&change), after(61)), "{step}");
    }
}

#[test]
fn what_puts_the_deadline_off() {
    let set = |hash: &str, owner: &str, deadline: Option<&str>| -> MetadataObject {
        let annotations = deadline.map(|deadline| json!({ SCALE_DOWN_DEADLINE: deadline }));
        let owner = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": owner});
        let labels = json!({ HASH_LABEL: hash });
        let metadata = json!({"labels": labels, "annotations": annotations, "ownerReferences": [owner]});
        serde_json::from_value(json!({ "metadata": metadata, "spec": {} })).unwrap()
    };
    let pod = |status: &str, since: SystemTime| -> PodObject {
        let since = humantime::format_rfc3339_seconds(since).to_string();
        let condition = json!({"type": "Ready", "status": status, "lastTransitionTime": since});
        serde_json::from_value(json!({"metadata": {}, "spec": {}, "status": {"conditions": [condition]}})).unwrap()
    };
    let said = |sets: &[MetadataObject], pods: &[PodObject]| {
        overdue(&rollout(&json!({"status": {"currentStepIndex": 2}})), sets, pods, after(200))
    };
    let over = "the update made no progress within its progressDeadlineSeconds (60), and progressDeadlineAbort is set";
    assert_eq!(said(&[], &[]).as_deref(), Some(over));
    let later = Some("2026-01-01T13:00:00Z");
    assert_eq!(said(&[set("older", "u-1", later)], &[]), None, "an old one is still to go");
    for harmless in [
        set("older", "u-1", None),
        set("older", "u-1", Some("")),
        set("older", "u-2", later),
        set("new", "u-1", later),
        set("old", "u-1", later),
    ] {
        assert_eq!(said(&[harmless], &[]).as_deref(), Some(over));
    }
    assert_eq!(said(&[], &[pod("True", after(10)), pod("True", after(140))]), None, "one has just become ready");
    assert_eq!(said(&[], &[pod("True", after(10)), pod("True", after(139))]).as_deref(), Some(over));
    assert_eq!(said(&[], &[pod("False", after(199))]).as_deref(), Some(over), "to cease to be ready is no progress");
}
