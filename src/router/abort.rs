//! While a host is held by errors it acts on no AnalysisRun and on no deadline. So they are looked at for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::debug;

use super::answer::{self, Answer, Stage};
use super::means::Means;
use super::progress::Ask;
use super::report::Report;

/// How often.
const INTERVAL: Duration = Duration::from_secs(5);

/// Looks at what the host would look at.
#[derive(Debug)]
pub(super) struct HostWatch {
    means: Means,
    asks: watch::Receiver<Option<Arc<Ask>>>,
    report: Report,
}

impl HostWatch {
    pub(super) fn new(means: &Means, asks: &watch::Receiver<Option<Arc<Ask>>>, report: &Report) -> Self {
        Self { means: means.clone(), asks: asks.clone(), report: report.clone() }
    }

    /// Goes on until it is dropped.
    pub(super) async fn run(&self) -> Infallible {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(ask) = self.asks.borrow().clone() else { continue };
            if self.holds_the_host(&ask) {
                self.look(&ask).await;
            }
        }
    }

    /// The update is held by errors.
    fn holds_the_host(&self, ask: &Ask) -> bool {
        let situation = self.report.progress().situation(ask);
        let held = answer::set_weight(Stage::Underway, situation) == Answer::BlockThenHard;
        ask.wish.abort_while_held && !situation.promoted && !situation.aborted && held
    }

    async fn look(&self, ask: &Ask) {
        let metadata = &ask.rollout.metadata;
        let cluster = &self.means.cluster;
        let aborted = async {
            let Some(reason) = cluster.reason_to_abort(&metadata.namespace, &metadata.name).await? else {
                return Ok(());
            };
            cluster.abort(&metadata.namespace, &metadata.name, &metadata.uid).await?;
            self.report.aborted(ask, &reason);
            Ok::<(), crate::cluster::Error>(())
        };
        if let Err(error) = aborted.await {
            debug!(rollout = ask.rollout.key(), "what the host would abort for cannot be looked at: {error}");
        }
    }
}
