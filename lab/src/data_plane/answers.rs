//! What clients get: pages of the load balancer's own, and answers of targets as they stream through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::{Response, StatusCode};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::data_plane::counters::{Outcome, Passage};

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// The load balancer's own.
    Page(Full<Bytes>),
    /// A target's.
    Relayed(Box<Relayed>),
}

/// A target's answer on its way to the client. The request ends with it.
#[derive(Debug)]
pub(super) struct Relayed {
    body: Incoming,
    passage: Passage,
    /// The target's deregistration delay is over.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The target may be silent for so long.
    patience: Duration,
    /// Runs while the target is silent.
    silence: Option<Pin<Box<Sleep>>>,
}

/// Why an answer broke off. The client sees only that its connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenOff {
    #[error("the target broke off its answer: {0}")]
    ByTarget(#[from] hyper::Error),
    #[error("the target fell silent within its answer")]
    Silent,
    #[error("the target's deregistration delay was over before its answer was")]
    Drained,
}

impl Relayed {
    pub(super) fn new(
        body: Incoming,
        mut passage: Passage,
        cut: WaitForCancellationFutureOwned,
        patience: Duration,
    ) -> Self {
        if body.is_end_stream() {
            // Nobody will ask for the rest of an empty body.
            passage.end(Outcome::Forwarded);
        }
        Self { body, passage, cut: Box::pin(cut), patience, silence: None }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(BrokenOff::Drained)));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BrokenOff::from)));
        }
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        ready!(silence.as_mut().poll(context));
        Poll::Ready(Some(Err(BrokenOff::Silent)))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let relayed = match self.get_mut() {
            Self::Page(page) => return Pin::new(page).poll_frame(context).map_err(|never| match never {}),
            Self::Relayed(relayed) => relayed,
        };
        let frame = ready!(relayed.poll_next(context));
        match &frame {
            Some(Err(_)) => relayed.passage.end(Outcome::BrokenOff),
            // The last frame is not always followed by a question for more.
            Some(Ok(_)) if !relayed.body.is_end_stream() => {}
            Some(Ok(_)) | None => relayed.passage.end(Outcome::Forwarded),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(page) => page.is_end_stream(),
            Self::Relayed(relayed) => relayed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(page) => page.size_hint(),
            Self::Relayed(relayed) => relayed.body.size_hint(),
        }
    }
}

/// A page such as an Application Load Balancer answers with when it has no other answer.
pub(super) fn page(status: StatusCode) -> Response<Answer> {
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let html = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    own(status, "text/html", html)
}

/// An answer of the load balancer itself.
pub(super) fn own(status: StatusCode, content_type: &str, body: String) -> Response<Answer> {
    let mut answer = Response::new(Answer::Page(Full::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(SERVER, HeaderValue::from_static("awselb/2.0"));
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    answer
}
