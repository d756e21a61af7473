//! What every Kubernetes controller is: events put keys into a queue, and workers take them out.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::kubernetes::{Cluster, Kind};
use crate::load_balancer_controller::queue::WorkQueue;
use crate::load_balancer_controller::watch::{Event, Watch};

/// What one controller does with its keys.
pub(super) trait Reconciler: Send + Sync {
    type Key: Ord + Clone + Send + Sync;
    type Error: Send;

    /// The kinds of objects that it follows.
    const KINDS: &'static [Kind];

    /// Every key there is, and in how long it is to be worked on: at the start, and at each resync.
    fn all(&self) -> Vec<(Self::Key, Duration)>;

    /// The keys that an event concerns.
    fn affected(&self, event: &Event) -> Vec<Self::Key>;

    /// From an event to the earliest start of a run.
    fn lag(&self) -> Duration;

    /// One run. It may say in how long the key comes back even if nothing happens.
    fn reconcile(
        &self,
        key: &Self::Key,
        asked: Instant,
    ) -> impl Future<Output = Result<Option<Duration>, Self::Error>> + Send;
}

type Runs<'a, R> = FuturesUnordered<
    Pin<
        Box<
            dyn Future<Output = (<R as Reconciler>::Key, Result<Option<Duration>, <R as Reconciler>::Error>)>
                + Send
                + 'a,
        >,
    >,
>;

/// Works until it is dropped. All runs are part of this one future, so none outlives it.
pub(super) async fn run<R: Reconciler>(reconciler: &R, cluster: &Cluster, workers: usize, resync: Duration) {
    let mut watch = Watch::new(cluster, R::KINDS);
    let mut queue = WorkQueue::new();
    let mut runs: Runs<'_, R> = FuturesUnordered::new();
    let mut next_resync = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_resync {
            next_resync = now + resync;
            reconciler.all().into_iter().for_each(|(key, delay)| queue.add(key, now, now + delay));
        }
        while runs.len() < workers
            && let Some((key, asked)) = queue.take(now)
        {
            runs.push(Box::pin(async move {
                let result = reconciler.reconcile(&key, asked).await;
                (key, result)
            }));
        }
        let has_worker = runs.len() < workers;
        let wake = queue.next_ready().filter(|_| has_worker).map_or(next_resync, |ready| ready.min(next_resync));
        tokio::select! {
            // In this order: what was changed is known before the run that reads it begins.
            biased;
            events = watch.next() => {
                let now = Instant::now();
                for key in events.iter().flat_map(|event| reconciler.affected(event)) {
                    queue.add(key, now, now + reconciler.lag());
                }
            }
            Some((key, result)) = runs.next() => {
                let now = Instant::now();
                match result {
                    Ok(again) => {
                        queue.succeeded(&key);
                        again.into_iter().for_each(|delay| queue.add(key.clone(), now, now + delay));
                    }
                    Err(_) => queue.failed(&key, now),
                }
            }
            () = sleep_until(wake) => {}
        }
    }
}
