//! That something has changed, for many who wait for it. As a [`tokio::sync::watch`], but it wakes them in the order in which they
//! began to wait: a watch wakes its receivers in an order drawn at random, and then a seed would not be one story.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Whoever makes changes.
#[derive(Debug, Default)]
pub(crate) struct Changing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    version: AtomicU64,
    notify: Notify,
}

/// Whoever waits for changes.
#[derive(Debug)]
pub(crate) struct Changes {
    shared: Arc<Shared>,
    seen: u64,
}

impl Changing {
    pub(crate) fn change(&self) {
        self.0.version.fetch_add(1, Ordering::Relaxed);
        self.0.notify.notify_waiters();
    }

    /// Changes from now on.
    pub(crate) fn subscribe(&self) -> Changes {
        Changes { seen: self.0.version.load(Ordering::Relaxed), shared: Arc::clone(&self.0) }
    }
}

impl Changes {
    /// What has changed so far is seen.
    pub(crate) fn see(&mut self) {
        self.seen = self.shared.version.load(Ordering::Relaxed);
    }

    /// Waits for a change that is not seen yet, and sees it.
    pub(crate) async fn changed(&mut self) {
        let mut notified = pin!(self.shared.notify.notified());
        notified.as_mut().enable();
        if self.shared.version.load(Ordering::Relaxed) == self.seen {
            notified.await;
        }
        self.seen = self.shared.version.load(Ordering::Relaxed);
    }
}
