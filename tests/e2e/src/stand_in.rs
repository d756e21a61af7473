//! A part of a cluster that we play ourselves.

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Something that goes on until it is stopped or dropped, unless it fails.
#[derive(Debug)]
pub(crate) struct StandIn {
    name: &'static str,
    task: JoinHandle<()>,
    /// Why it gave up, if it did.
    failure: watch::Receiver<Option<String>>,
}

impl StandIn {
    /// Starts it. `part` returns only with an error.
    pub(crate) fn start(name: &'static str, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> Self {
        let (tell, failure) = watch::channel(None);
        let task = tokio::spawn(async move {
            let error = part.await.err();
            tell.send_replace(Some(error.map_or_else(String::new, |error| format!("{error:#}"))));
        });
        Self { name, task, failure }
    }

    /// Returns when it has given up.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        let mut failure = self.failure.clone();
        let why = failure.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => anyhow::anyhow!("the {}'s stand-in ended: {why}", self.name),
            // Whoever stopped it waits for no answer.
            None => std::future::pending().await,
        }
    }

    /// Stops it at once.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop();
    }
}
