//! What the peer of one connection may make us hold. Its streams share it, so that many streams cost no more than one.
//!
//! Other connections have an allowance of their own: a peer that uses up its own takes nothing from anybody else.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes of requests that are still arriving. The largest value of [`Limits`](super::gob::Limits) takes as many, counted
/// as sent and as walked, in buffers that double.
const ARRIVING_BYTES: usize = 36 << 20;

/// What each stream may hold besides, in bytes: the buffers that a decoder keeps.
const KEPT_BYTES: usize = 160 * 1024;

/// Bytes of the arguments of calls under way.
const CALL_BYTES: usize = 48 << 20;

/// A call whose argument takes no more bytes than this is not counted, so that a Ping never waits for large calls. The
/// number of calls is bounded for each stream.
const SMALL_CALL_BYTES: usize = 1024;

/// The bytes that are left, and whether the connection still stands.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    arriving: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    ended: CancellationToken,
}

/// The part of one stream in what is arriving.
#[derive(Debug)]
pub(super) struct Share {
    arriving: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

/// All streams together hold too much of what is not whole yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the requests that are still arriving on this connection take more than {ARRIVING_BYTES} bytes")]
pub(super) struct UsedUp;

impl Allowance {
    /// The allowance of a new connection, which ends when the guard is dropped.
    pub(super) fn new() -> (Self, DropGuard) {
        let ended = CancellationToken::new();
        let (arriving, calls) = (Arc::new(Semaphore::new(ARRIVING_BYTES)), Arc::new(Semaphore::new(CALL_BYTES)));
        (Self { arriving, calls, ended: ended.clone() }, ended.drop_guard())
    }

    /// Cancelled when the connection has ended: nobody reads an answer any more.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// The part of a new stream.
    pub(super) fn share(&self) -> Share {
        Share { arriving: Arc::clone(&self.arriving), held: None }
    }

    /// Waits until a call with an argument of that many bytes may be held.
    pub(super) async fn room_for_call(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL_CALL_BYTES {
            return None;
        }
        // One call alone is always let in; the decoder's limits bound it.
        let bytes = u32::try_from(bytes.min(CALL_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.calls).acquire_many_owned(bytes).await.ok()
    }
}

impl Share {
    /// Notes that the stream now holds that many bytes.
    ///
    /// # Errors
    /// [`UsedUp`] when the connection allows no more. Waiting would not help: every stream may be in the middle of a
    /// value, and none could go on.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), UsedUp> {
        let wanted = bytes.saturating_sub(KEPT_BYTES);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if let Some(more) = wanted.checked_sub(held).filter(|more| *more > 0) {
            let more = u32::try_from(more).map_err(|_| UsedUp)?;
            let more = Arc::clone(&self.arriving).try_acquire_many_owned(more).map_err(|_| UsedUp)?;
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        } else if let Some(permit) = &mut self.held {
            drop(permit.split(held.saturating_sub(wanted)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn streams_share_what_may_arrive_and_give_it_back() {
        let (allowance, _guard) = Allowance::new();
        let (mut one, mut other) = (allowance.share(), allowance.share());
        one.resize(ARRIVING_BYTES).unwrap();
        other.resize(KEPT_BYTES).unwrap();
        assert_eq!(other.resize(2 * KEPT_BYTES + 1), Err(UsedUp));
        one.resize(ARRIVING_BYTES - 1).unwrap();
        one.resize(0).unwrap();
        other.resize(ARRIVING_BYTES).unwrap();
        drop(other);
        one.resize(ARRIVING_BYTES).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn large_calls_wait_for_each_other_and_small_ones_for_nobody() {
        let (allowance, _guard) = Allowance::new();
        let huge = allowance.room_for_call(usize::MAX).await;
        assert!(allowance.room_for_call(SMALL_CALL_BYTES).await.is_none());
        let large = allowance.room_for_call(SMALL_CALL_BYTES + 1);
        tokio::pin!(large);
        assert!(timeout(Duration::from_secs(1), &mut large).await.is_err());
        drop(huge);
        assert!(large.await.is_some());
    }
}
