//! The rollouts controller: the lab's model of a reconcile, over the objects of this world, with the controller's queue.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lab::kubernetes::Refusal;
use lab::rollouts_controller::{Hands, Outcome, Queue, ReconcileError, ReplicaSet, State, Status, Write, reconcile};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use trafficrouter_alb::rollout as seen;

use super::invariants;
use super::plugin::{Caller, Plugin};
use super::world::{App, PLUGIN, STEPS, World, name};

/// `--rollout-resync`.
const RESYNC: Duration = Duration::from_secs(15 * 60);

/// Plays the controller for one Rollout, until it is aborted.
pub(crate) async fn run(world: Arc<World>, plugin: Arc<Plugin>, app: usize) {
    let mut changes = world.changes();
    let mut resync = interval_at(Instant::now() + RESYNC, RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut queue = Queue::default();
    let mut heard = world.open().apps[app].events;
    queue.add_rate_limited();
    loop {
        // Events first: what happened before a reconcile is due counts before it.
        tokio::select! {
            biased;
            () = changes.changed() => hear(&world, app, &mut heard, &mut queue),
            _ = resync.tick() => queue.add_rate_limited(),
            () = due(queue.due()) => {
                queue.begin();
                let result = reconcile_once(&world, &plugin, app).await;
                changes.see();
                hear(&world, app, &mut heard, &mut queue);
                match result {
                    Ok(outcome) => {
                        queue.forget();
                        if let Some(wait) = outcome.again_in {
                            queue.add_after(wait);
                        }
                    }
                    Err(_) => queue.add_rate_limited(),
                }
            }
        }
    }
}

/// Adds the Rollout to the queue once for each event.
fn hear(world: &World, app: usize, heard: &mut u64, queue: &mut Queue) {
    let events = world.open().apps[app].events;
    for _ in *heard..events {
        queue.add_rate_limited();
    }
    *heard = events;
}

/// What the requests of a reconcile take. After an abort the controller moves the canary Service to and fro in every reconcile, as long
/// as there are canary pods: without this, in every millisecond.
const REQUESTS: Duration = Duration::from_millis(30);

async fn reconcile_once(world: &Arc<World>, plugin: &Arc<Plugin>, app: usize) -> Result<Outcome, ReconcileError> {
    sleep(REQUESTS).await;
    let (state, rollout) = {
        let objects = world.open();
        let app = &objects.apps[app];
        let state = State {
            object: Arc::new(Value::Null),
            rollout: app.rollout.clone(),
            pod_hash: app.pod_hash.clone(),
            step_hash: STEPS.to_owned(),
            replica_sets: app.sets.clone(),
            services: objects.services.clone(),
        };
        (state, as_seen(app))
    };
    invariants::reconciles(world, app);
    let caller = Caller::new(Arc::clone(world), Arc::clone(plugin), app, rollout);
    let mut hands = WorldHands { world, app };
    reconcile(&state, &caller, &mut hands).await
}

/// The Rollout as it reaches a plugin.
pub(crate) fn as_seen(app: &App) -> seen::Rollout {
    let (rollout, canary) = (&app.rollout, app.rollout.canary());
    let status = &rollout.status;
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let destination = |destination: &lab::rollouts_controller::Destination| seen::WeightDestination {
        weight: number(destination.weight),
        service_name: destination.service_name.clone(),
        pod_template_hash: destination.pod_template_hash.clone(),
    };
    let weights = status.canary.weights.as_ref().map(|weights| seen::TrafficWeights {
        canary: destination(&weights.canary),
        stable: destination(&weights.stable),
        // The simulated host runs no experiment.
        additional: Vec::new(),
        verified: weights.verified,
    });
    let strategy = seen::Canary {
        canary_service: canary.canary_service.clone(),
        stable_service: canary.stable_service.clone(),
        steps: vec![seen::Present {}; canary.steps.len()],
        dynamic_stable_scale: canary.dynamic_stable_scale,
        traffic_routing: Some(seen::TrafficRouting {
            plugins: [(PLUGIN.to_owned(), app.entry.clone())].into(),
            ..seen::TrafficRouting::default()
        }),
        ..seen::Canary::default()
    };
    seen::Rollout {
        metadata: seen::Metadata {
            name: rollout.metadata.name.clone(),
            namespace: rollout.metadata.namespace.clone(),
            uid: rollout.metadata.uid.clone(),
            resource_version: app.version.to_string(),
            generation: i64::try_from(rollout.metadata.generation).unwrap_or(i64::MAX),
            ..seen::Metadata::default()
        },
        spec: seen::Spec {
            replicas: Some(number(rollout.spec.replicas)),
            strategy: seen::Strategy { canary: Some(strategy) },
        },
        status: seen::Status {
            abort: status.abort,
            promote_full: status.promote_full,
            current_pod_hash: status.current_pod_hash.clone(),
            stable_rs: status.stable_rs.clone(),
            replicas: number(status.replicas),
            canary: seen::CanaryStatus { weights, ..seen::CanaryStatus::default() },
        },
    }
}

struct WorldHands<'a> {
    world: &'a World,
    app: usize,
}

impl Hands for WorldHands<'_> {
    fn write(&mut self, write: Write) -> Result<(), Refusal> {
        let (world, app) = (self.world, self.app);
        let tell = |line: String| world.story.tell(|| format!("host of {}: {line}", name(app)));
        match write {
            Write::CreateReplicaSet { hash } => world.change(|objects| {
                tell(format!("new ReplicaSet {hash}"));
                let app = &mut objects.apps[app];
                app.touch();
                app.sets.push(ReplicaSet {
                    hash,
                    replicas: 0,
                    desired_annotation: app.rollout.spec.replicas,
                    scale_down_deadline: None,
                    created: 0,
                    available: 0,
                    version: app.version.to_string(),
                });
            }),
            Write::Scale { set } => {
                let before = self.set(&set.hash);
                if before.version != set.version {
                    return Err(Refusal::Conflict(set.hash));
                }
                tell(format!("ReplicaSet {} from {} to {}", set.hash, before.replicas, set.replicas));
                if set.replicas < before.replicas {
                    invariants::let_go(world, app, &set.hash, set.replicas);
                }
                self.change_set(set);
            }
            Write::ScaleDownDeadline { hash, deadline } => {
                let set = ReplicaSet { scale_down_deadline: deadline, ..self.set(&hash) };
                self.change_set(set);
            }
            Write::Select { service, hash } => {
                tell(format!("Service {service} selects {hash}"));
                invariants::selected(world, app, &service);
                world.change(|objects| {
                    let service = objects.services.get_mut(&service).expect("a Service of the Rollout");
                    (service.selects, service.is_managed) = (hash, true);
                    objects.apps[app].events += 1;
                    objects.ingress_events += 1;
                });
            }
            Write::Status { before, after } => {
                let weight = |status: &Status| {
                    status.canary.weights.as_ref().map(|weights| (weights.canary.weight, weights.verified))
                };
                if weight(&before) != weight(&after)
                    || before.phase != after.phase
                    || before.current_step_index != after.current_step_index
                {
                    tell(format!(
                        "step {:?}, {:?}, weight {:?}, stable {}",
                        after.current_step_index,
                        after.phase,
                        weight(&after),
                        after.stable_rs
                    ));
                }
                world.change(|objects| {
                    let app = &mut objects.apps[app];
                    patch(&mut app.rollout.status, &before, *after);
                    app.touch();
                });
            }
            Write::Warn { .. } => {}
        }
        Ok(())
    }

    fn now(&self) -> SystemTime {
        self.world.now()
    }
}

impl WorldHands<'_> {
    fn set(&self, hash: &str) -> ReplicaSet {
        let objects = self.world.open();
        objects.apps[self.app].sets.iter().find(|set| set.hash == hash).cloned().expect("a ReplicaSet of the Rollout")
    }

    fn change_set(&self, after: ReplicaSet) {
        self.world.change(|objects| {
            let app = &mut objects.apps[self.app];
            app.touch();
            let version = app.version.to_string();
            if let Some(set) = app.sets.iter_mut().find(|set| set.hash == after.hash) {
                // Pods are counted by whoever makes them.
                *set = ReplicaSet { version, created: set.created, available: set.available, ..after };
            }
        });
    }
}

/// Writes what differs. What people wrote meanwhile into the fields that they write, too, stays.
fn patch(status: &mut Status, before: &Status, after: Status) {
    let people = status.clone();
    *status = after;
    if before.abort == status.abort {
        status.abort = people.abort;
    }
    if before.promote_full == status.promote_full {
        status.promote_full = people.promote_full;
    }
    if before.pause_conditions == status.pause_conditions {
        status.pause_conditions = people.pause_conditions;
    }
    if before.controller_pause == status.controller_pause {
        status.controller_pause = people.controller_pause;
    }
}

/// Waits until then, or for ever.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
