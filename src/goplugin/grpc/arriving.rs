//! What a peer may make one connection hold: large messages arrive a few at a time.
//!
//! HTTP/2's windows bound what was not read yet, but a message is read as it comes, until it is whole. So the body of a
//! request that has become large waits for one of few places, and its window fills meanwhile. A request that is large in
//! what is kept of it, too, holds its place until it is answered; a Rollout is not, since little of it is kept.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// A request of more bytes than this is large.
pub(super) const LARGE: usize = 64 * 1024;

/// How many large requests may arrive at a time. Reading one from a host takes milliseconds.
const PLACES: usize = 2;

/// The places of one connection.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

/// The place of one request, once it has one. It is free again when the last copy is dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Place(Arc<OnceLock<OwnedSemaphorePermit>>);

/// The body of a request.
#[derive(Debug)]
pub(super) struct Arriving<B> {
    body: B,
    read: usize,
    places: PollSemaphore,
    place: Place,
}

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Places {
    /// A body that takes its place when it needs one.
    pub(super) fn arriving<B>(&self, body: B, place: Place) -> Arriving<B> {
        Arriving { body, read: 0, places: PollSemaphore::new(Arc::clone(&self.0)), place }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Arriving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if this.read > LARGE
            && this.place.0.get().is_none()
            && let Some(permit) = ready!(this.places.poll_acquire(cx))
        {
            // Nobody else fills it.
            let _ = this.place.0.set(permit);
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            this.read += frame.data_ref().map_or(0, Bytes::len);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;

    use super::*;

    /// A body without an end.
    #[derive(Debug)]
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 16 * 1024])))))
        }
    }

    /// Reads as much as there is, and not more than twice what is large.
    fn read(body: &mut Arriving<Endless>) -> usize {
        while body.read < 2 * LARGE {
            if std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).now_or_never().is_none() {
                break;
            }
        }
        body.read
    }

    #[test]
    fn only_so_many_become_large_at_a_time() {
        let places = Places::default();
        let mut bodies: Vec<_> = (0..=PLACES).map(|_| places.arriving(Endless, Place::default())).collect();
        for body in &mut bodies[..PLACES] {
            assert_eq!(read(body), 2 * LARGE);
        }
        let waits = LARGE + 16 * 1024;
        assert_eq!(read(&mut bodies[PLACES]), waits);
        let kept = bodies[0].place.clone();
        drop(bodies.remove(0));
        assert_eq!(read(&mut bodies[PLACES - 1]), waits, "the place is still held");
        drop(kept);
        assert_eq!(read(&mut bodies[PLACES - 1]), 2 * LARGE);
    }
}
