//! What happens by itself: ReplicaSets get their pods, pods start and end, and the load balancer controller registers them with the
//! groups of the Services that select them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::world::{App, Objects, World, name};

/// From a change to what controllers make of it.
const REACTION: Duration = Duration::from_millis(10);

/// How long a pod goes on answering after it was told to go. More than its deregistration and the nodes' lag take, as a careful
/// `preStop` hook has it: a request that fails here fails because of weights.
const GRACE: Duration = Duration::from_secs(30);

/// The ReplicaSet controller and the kubelet.
pub(crate) async fn workload(world: Arc<World>) {
    let (mut changes, mut tasks) = (world.changes(), JoinSet::new());
    loop {
        changes.see();
        if follow_all(&world, &mut tasks) {
            world.change(|_| ());
        }
        changes.changed().await;
        sleep(REACTION).await;
    }
}

fn follow_all(world: &Arc<World>, tasks: &mut JoinSet<()>) -> bool {
    let mut objects = world.open();
    let apps = objects.apps.len();
    (0..apps).filter(|app| follow(world, &mut objects, *app, tasks)).count() > 0
}

/// Gives the ReplicaSets of a Rollout what they want, and reports what they have. True if there is news.
fn follow(world: &Arc<World>, objects: &mut Objects, app: usize, tasks: &mut JoinSet<()>) -> bool {
    let mut news = false;
    for set in 0..objects.apps[app].sets.len() {
        let (hash, wanted) = (objects.apps[app].sets[set].hash.clone(), objects.apps[app].sets[set].replicas as usize);
        let of_set = |objects: &Objects| {
            let mut pods: Vec<(bool, String)> = objects
                .pods
                .iter()
                .filter(|pod| pod.app == app && pod.hash == hash && !pod.leaving)
                .map(|pod| (pod.ready, pod.address.clone()))
                .collect();
            // Those that are not ready go first, then the youngest.
            pods.sort_by_key(|(ready, _)| !*ready);
            pods
        };
        for (_, address) in of_set(objects).into_iter().skip(wanted) {
            world.story.tell(|| format!("pod {address} of {hash} is told to go"));
            if let Some(pod) = objects.pod(&address) {
                pod.leaving = true;
            }
            tasks.spawn(end(Arc::clone(world), address));
        }
        for _ in of_set(objects).len()..wanted {
            let pod = objects.add_pod(app, &hash, false);
            tasks.spawn(start(Arc::clone(world), pod.address));
        }
        let pods = of_set(objects);
        let count = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        let (created, available) = (count(pods.len()), count(pods.iter().filter(|(ready, _)| *ready).count()));
        let app: &mut App = &mut objects.apps[app];
        let set = &mut app.sets[set];
        if (set.created, set.available) != (created, available) {
            (set.created, set.available) = (created, available);
            app.version += 1;
            set.version = app.version.to_string();
            app.events += 1;
            news = true;
        }
    }
    news
}

async fn start(world: Arc<World>, address: String) {
    sleep(world.draw(world.case.start_up)).await;
    world.up().insert(address.clone());
    world.change(|objects| {
        if let Some(pod) = objects.pod(&address) {
            pod.ready = true;
            world.story.tell(|| format!("pod {address} of {} is ready", pod.hash));
        }
    });
}

async fn end(world: Arc<World>, address: String) {
    sleep(GRACE).await;
    world.up().remove(&address);
    world.change(|objects| objects.pods.retain(|pod| pod.address != address));
}

/// Registers the pods of one Service with its group, and takes those out that it does not select any more.
pub(crate) async fn registrar(world: Arc<World>, app: usize, role: &'static str) {
    let mut changes = world.changes();
    let group = {
        let objects = world.open();
        let app = &objects.apps[app];
        if role == "stable" { app.stable.clone() } else { app.canary.clone() }
    };
    let wanted = || world.open().behind(app, role).map(|pod| pod.address.clone()).collect::<BTreeSet<String>>();
    let mut registered = wanted();
    loop {
        changes.see();
        if wanted() == registered {
            changes.changed().await;
            continue;
        }
        sleep(world.draw(world.case.registration)).await;
        let wanted = wanted();
        for address in registered.difference(&wanted) {
            world.balancer.deregister(&group, address).expect("a group of this world");
        }
        for address in wanted.difference(&registered) {
            world.balancer.register(&group, address).expect("a group of this world");
        }
        world.story.tell(|| format!("group {}-{role} gets the targets {wanted:?}", name(app)));
        registered = wanted;
    }
}
