//! What people do to Rollouts, and what goes wrong, each at its time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::case::{Deed, Weather};
use super::host;
use super::plugin::Plugin;
use super::world::{World, hash, name};

/// A controller that was killed starts again after this time at most.
const RESTART: Duration = Duration::from_secs(3);

/// Plays the deeds of a story.
pub(crate) async fn people(world: Arc<World>) {
    let began = Instant::now();
    for (at, app, deed) in world.case.deeds.clone() {
        sleep_until(began + at).await;
        world.story.tell(|| format!("people: {deed:?} for {}", name(app)));
        world.change(|objects| {
            let app_objects = &mut objects.apps[app];
            let (spec, status) = (&mut app_objects.rollout.spec, &mut app_objects.rollout.status);
            match deed {
                Deed::Push(version) => app_objects.pod_hash = hash(app, version),
                Deed::Abort => status.abort = status.stable_rs != status.current_pod_hash,
                Deed::Retry => status.abort = false,
                Deed::PromoteFull => status.promote_full = status.stable_rs != status.current_pod_hash,
                Deed::Scale(replicas) => spec.replicas = replicas,
            }
            if matches!(deed, Deed::Push(_) | Deed::Scale(_)) {
                app_objects.rollout.metadata.generation += 1;
            }
            app_objects.touch();
        });
    }
}

/// Plays the bad days of a story.
pub(crate) async fn weather(world: Arc<World>, plugin: Arc<Plugin>) {
    let began = Instant::now();
    let mut hosts: Vec<AbortHandle> =
        (0..world.case.apps.len()).map(|app| host(&world, &plugin, app, Duration::ZERO)).collect();
    for (at, weather) in world.case.weather.clone() {
        sleep_until(began + at).await;
        world.story.tell(|| format!("weather: {weather:?}"));
        match weather {
            Weather::Aws(fault) => world.balancer.add_fault(fault).expect("a fault that can happen"),
            Weather::Kubernetes(requests) => world.open().failing = requests,
            Weather::KillPlugin => plugin.kill(),
            Weather::KillHost => {
                for (app, running) in hosts.iter_mut().enumerate() {
                    running.abort();
                    *running = host(&world, &plugin, app, world.draw(RESTART));
                }
                // The plugin goes with the process that started it.
                plugin.kill();
            }
        }
    }
    // Hosts live on.
    std::future::pending::<()>().await;
}

fn host(world: &Arc<World>, plugin: &Arc<Plugin>, app: usize, after: Duration) -> AbortHandle {
    let (world, plugin) = (Arc::clone(world), Arc::clone(plugin));
    let host = async move {
        sleep(after).await;
        host::run(world, plugin, app).await;
    };
    tokio::spawn(host).abort_handle()
}
