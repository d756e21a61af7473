//! Rollouts: read, waited for, given up.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use lab::kubernetes::{Effect, Kind, Verb};
use serde_json::{Value, json};
use tokio::time::timeout;
use trafficrouter_alb::cluster::{Cluster as _, Error, ErrorKind};
use trafficrouter_alb::rollout::Rollout;

use super::{PATIENCE, World};

impl World {
    /// A Rollout in mid-update, past its deadline if it is one minute.
    fn rollout(&self) -> Result<Arc<Value>> {
        let long_ago = humantime::format_rfc3339_seconds(SystemTime::now() - std::time::Duration::from_secs(120));
        let rollout = json!({
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"a": "b"}},
            "spec": {"replicas": 4, "strategy": {"canary": {
                "stableService": "web-stable", "canaryService": "web-canary",
                "steps": [{"setWeight": 10}, {"analysis": {"templates": [{"templateName": "errors"}]}}],
                "analysis": {"templates": [{"templateName": "errors"}]},
            }}},
            "status": {
                "stableRS": "old", "currentPodHash": "new", "currentStepIndex": 1,
                "conditions": [{
                    "type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
                    "lastUpdateTime": long_ago.to_string(),
                }],
                "canary": {
                    "currentStepAnalysisRunStatus": {"name": "web-step", "status": "Running"},
                    "currentBackgroundAnalysisRunStatus": {"name": "web-back", "status": "Running"},
                },
            },
        });
        Ok(self.objects.create(Kind::ROLLOUT, rollout)?)
    }

    fn change(&self, change: &Value) -> Result<()> {
        self.objects.merge_patch(Kind::ROLLOUT, "shop", "web", change)?;
        Ok(())
    }

    fn run(&self, name: &str, phase: &str) -> Result<()> {
        let run = json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"step-index": "1"}}, "spec": {},
            "status": {"phase": phase, "message": "Metric \"errors\" assessed Failed"},
        });
        self.objects.create(Kind::ANALYSIS_RUN, run)?;
        Ok(())
    }

    async fn reason(&self) -> Result<Option<String>, Error> {
        self.api.reason_to_abort("shop", "web").await
    }

    fn is_aborted(&self) -> bool {
        let rollout = self.objects.get(Kind::ROLLOUT, "shop", "web");
        rollout.is_some_and(|rollout| rollout.pointer("/status/abort") == Some(&json!(true)))
    }

    /// Waits for another version than this one, while something else happens as soon as the watch is there.
    async fn next<T>(
        &self,
        version: &str,
        meanwhile: impl Future<Output = Result<T>>,
    ) -> Result<Result<Rollout, Error>> {
        let watches = self.asked("watch rollouts");
        let then = async {
            self.until_asked("watch rollouts", watches + 1).await?;
            meanwhile.await
        };
        let both = async { tokio::join!(self.api.next_rollout("shop", "web", version), then) };
        let (next, then) = timeout(PATIENCE, both).await.context("the wait did not end")?;
        then?;
        Ok(next)
    }
}

fn uid(rollout: &Value) -> &str {
    rollout.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test]
async fn a_rollout_is_read_as_it_is_now() -> Result<()> {
    let world = World::new()?;
    assert_eq!(world.api.rollout("shop", "web").await.unwrap_err().kind(), ErrorKind::Missing);
    let made = world.rollout()?;
    let read = world.api.rollout("shop", "web").await?;
    assert_eq!((read.metadata.uid.as_str(), read.metadata.generation), (uid(&made), 1));
    assert_eq!(read.metadata.annotations.get("a").map(String::as_str), Some("b"));
    assert_eq!((read.spec.replicas, read.status.stable_rs.as_str()), (Some(4), "old"));

    world.fault(Verb::Get, "rollouts", Effect::Forbidden)?;
    let error = world.api.rollout("shop", "web").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    let rule = "apiGroups: [\"argoproj.io\"], resources: [rollouts], verbs: [get]";
    assert!(error.to_string().contains(rule), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_next_version_is_waited_for_and_not_asked_for() -> Result<()> {
    let world = World::new()?;
    world.rollout()?;
    let known = world.api.rollout("shop", "web").await?.metadata.resource_version;
    let next = world
        .next(&known, async {
            // Other Rollouts are of no interest.
            world
                .objects
                .create(Kind::ROLLOUT, json!({"metadata": {"name": "till", "namespace": "shop"}, "spec": {}}))?;
            world.change(&json!({"status": {"abort": true}}))
        })
        .await??;
    assert!(next.status.abort && next.metadata.resource_version != known);
    assert_eq!((world.asked("watch rollouts"), world.asked("get rollouts")), (1, 1));

    // What is another version already is there at once.
    let at_once = timeout(PATIENCE, world.api.next_rollout("shop", "web", &known)).await??;
    assert_eq!(at_once, next);
    Ok(())
}

#[tokio::test]
async fn a_rollout_that_goes_away_is_missing() -> Result<()> {
    let world = World::new()?;
    world.rollout()?;
    let known = world.api.rollout("shop", "web").await?.metadata.resource_version;
    let gone = world.next(&known, async { Ok(world.objects.delete(Kind::ROLLOUT, "shop", "web")?) }).await?;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::Missing);
    world.objects.forget_changes();
    world.pod(9, "abc", true)?;
    world.objects.forget_changes();
    let gone = timeout(PATIENCE, world.api.next_rollout("shop", "web", &known)).await?;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::Missing, "also if nobody remembers how it went");
    Ok(())
}

#[tokio::test]
async fn a_version_that_the_server_has_forgotten_is_no_obstacle() -> Result<()> {
    let world = World::new()?;
    world.rollout()?;
    let known = world.api.rollout("shop", "web").await?.metadata.resource_version;
    // Something else happens for long, and nothing to the Rollout.
    world.pod(9, "abc", true)?;
    world.objects.forget_changes();
    let next = world
        .next(&known, async {
            world.until_asked("watch rollouts", 2).await?;
            world.change(&json!({"status": {"abort": true}}))
        })
        .await??;
    assert!(next.status.abort);
    assert_eq!((world.asked("watch rollouts"), world.asked("list rollouts")), (2, 1));

    // It was changed meanwhile: the list shows it.
    world.pod(8, "abc", true)?;
    world.objects.forget_changes();
    let next = timeout(PATIENCE, world.api.next_rollout("shop", "web", &known)).await??;
    assert!(next.status.abort);
    assert_eq!((world.asked("watch rollouts"), world.asked("list rollouts")), (3, 2));
    Ok(())
}

#[tokio::test]
async fn a_watch_that_fails_is_an_error_and_not_tried_again() -> Result<()> {
    let world = World::new()?;
    world.rollout()?;
    let known = world.api.rollout("shop", "web").await?.metadata.resource_version;
    for (effect, kind) in [
        (Effect::Forbidden, ErrorKind::Access),
        (Effect::InternalError, ErrorKind::Transient),
        (Effect::TooManyRequests { retry_after_seconds: 600 }, ErrorKind::Transient),
        (Effect::CutAfterEffect, ErrorKind::Transient),
    ] {
        let before = world.asked("watch rollouts");
        world.fault(Verb::Watch, "rollouts", effect.clone())?;
        let error = timeout(PATIENCE, world.api.next_rollout("shop", "web", &known)).await?.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(world.asked("watch rollouts"), before + 1, "{effect:?}");
    }
    let cut = world
        .next(&known, async {
            world.server.faults().go_away().await;
            Ok(())
        })
        .await?;
    assert_eq!(cut.unwrap_err().kind(), ErrorKind::Transient);
    world.server.faults().come_back().await;
    let next = world.next(&known, async { world.change(&json!({"status": {"abort": true}})) }).await??;
    assert!(next.status.abort);
    Ok(())
}

#[tokio::test]
async fn the_host_would_give_up_over_failed_analysis() -> Result<()> {
    let world = World::new()?;
    assert_eq!(world.reason().await.unwrap_err().kind(), ErrorKind::Missing);
    world.rollout()?;
    assert_eq!(world.reason().await?, None, "the runs are not there yet");
    world.run("web-step", "Running")?;
    world.run("web-back", "Successful")?;
    assert_eq!(world.reason().await?, None);
    assert_eq!(world.asked("list replicasets"), 0, "it is not asked for what does not count");

    let phase = json!({"status": {"phase": "Failed"}});
    world.objects.merge_patch(Kind::ANALYSIS_RUN, "shop", "web-step", &phase)?;
    let expected = "the step's AnalysisRun web-step has failed: Metric \"errors\" assessed Failed";
    assert_eq!(world.reason().await?.as_deref(), Some(expected));

    world.fault(Verb::Get, "analysisruns", Effect::Forbidden)?;
    let error = world.reason().await.unwrap_err();
    assert!(error.to_string().contains("resources: [analysisruns], verbs: [get]"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Access);

    world.change(&json!({
        "spec": {"strategy": {"canary": {"steps": [{"experiment": {"templates": []}}], "analysis": null}}},
        "status": {"currentStepIndex": 0, "canary": {"currentExperiment": "web-exp"}},
    }))?;
    assert_eq!(world.reason().await?, None);
    let experiment =
        json!({"metadata": {"name": "web-exp", "namespace": "shop"}, "spec": {}, "status": {"phase": "Error"}});
    world.objects.create(Kind::EXPERIMENT, experiment)?;
    assert_eq!(world.reason().await?.as_deref(), Some("the Experiment web-exp has ended in an error"));
    Ok(())
}

#[tokio::test]
async fn the_host_would_give_up_over_its_deadline() -> Result<()> {
    let world = World::new()?;
    let made = world.rollout()?;
    world.change(&json!({
        "spec": {"progressDeadlineAbort": true, "progressDeadlineSeconds": 60},
        "status": {"currentStepIndex": 0, "canary": null},
    }))?;
    let over = world.reason().await?.context("a reason")?;
    assert!(over.contains("progressDeadlineSeconds (60)"), "{over}");

    // A Pod of the new version has just become ready, which the host could not record yet.
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    world.pod(1, "new", true)?;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}]}});
    world.objects.merge_patch(Kind::POD, "shop", "web-1", &ready)?;
    assert_eq!(world.reason().await?, None);
    world.objects.delete(Kind::POD, "shop", "web-1")?;
    assert_eq!(world.reason().await?, Some(over));

    let owner = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": uid(&made)});
    let old = json!({
        "metadata": {
            "name": "web-older", "namespace": "shop", "labels": {"rollouts-pod-template-hash": "older"},
            "annotations": {"scale-down-deadline": now}, "ownerReferences": [owner],
        },
        "spec": {"replicas": 1},
    });
    world.objects.create(Kind::REPLICA_SET, old)?;
    assert_eq!(world.reason().await?, None, "an old ReplicaSet is still to go");
    Ok(())
}

#[tokio::test]
async fn an_update_is_given_up_as_people_do() -> Result<()> {
    let world = World::new()?;
    assert_eq!(world.api.abort("shop", "web", "u").await.unwrap_err().kind(), ErrorKind::Missing);
    let made = world.rollout()?;
    let another = world.api.abort("shop", "web", "another").await.unwrap_err();
    assert_eq!(another.kind(), ErrorKind::Refused);
    assert!(another.to_string().contains("not the one that was meant"), "{another}");
    assert!(!world.is_aborted());

    // Somebody else changes it at the same moment, twice.
    world
        .server
        .faults()
        .add(lab::kubernetes::Fault::new(Verb::Patch, "rollouts/status", Effect::Conflict).times(2))?;
    world.api.abort("shop", "web", uid(&made)).await?;
    assert!(world.is_aborted());
    assert_eq!(world.asked("patch rollouts/status"), 3);
    world.api.abort("shop", "web", uid(&made)).await?;
    assert_eq!(world.asked("patch rollouts/status"), 3, "it is aborted already");
    let rollout = world.api.rollout("shop", "web").await?;
    assert_eq!(
        (rollout.metadata.generation, rollout.status.stable_rs.as_str()),
        (1, "old"),
        "nothing else has changed"
    );
    Ok(())
}

#[tokio::test]
async fn what_keeps_an_update_from_being_given_up_is_said() -> Result<()> {
    let world = World::new()?;
    let made = world.rollout()?;
    world.fault(Verb::Patch, "rollouts/status", Effect::Forbidden)?;
    let error = world.api.abort("shop", "web", uid(&made)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    assert!(error.to_string().contains("resources: [rollouts/status], verbs: [patch]"), "{error}");

    // Where the API server knows no status of its own, the object itself is patched, as the kubectl plugin does.
    world.fault(Verb::Patch, "rollouts/status", Effect::NotFound)?;
    world.api.abort("shop", "web", uid(&made)).await?;
    let requests = world.server.requests();
    let last = requests.last().context("a request")?;
    let patch = last.body.as_ref().context("a patch")?;
    assert_eq!(patch.pointer("/status/abort"), Some(&json!(true)));
    assert_eq!(world.asked("patch rollouts"), 1);

    world.server.faults().add(lab::kubernetes::Fault::new(Verb::Patch, "rollouts/status", Effect::Conflict))?;
    let error = world.api.abort("shop", "web", uid(&made)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "it does not try for ever: {error}");
    assert!(!world.is_aborted());
    Ok(())
}
