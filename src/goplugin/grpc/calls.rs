//! Calls that outlive whoever asked for them.
//!
//! A server drops a call's future when its caller gives up: its deadline passes, it cancels, its connection breaks. That
//! may be in the middle of what must not be done by half. So each call runs on a task of its own, and only the waiting
//! for it is dropped.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Status};
use tracing::debug;

use super::arriving::{LARGE, Place};

/// How many calls may run at a time, with those that nobody waits for any more. A controller has tens of workers.
const MAX_CALLS: usize = 1024;

/// The header with the caller's patience (`PROTOCOL-HTTP2.md` in gRPC).
const TIMEOUT: &str = "grpc-timeout";

/// The calls under way.
#[derive(Clone, Debug)]
pub struct Calls {
    places: Arc<Semaphore>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_CALLS)) }
    }
}

impl Calls {
    /// Runs a call to its end, and gives its caller the answer if that comes before the caller's deadline.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` when it does not; `INTERNAL` when the call panicked, which fails nothing else.
    pub async fn run<A, T, C>(&self, mut request: Request<A>, call: impl FnOnce(A) -> C) -> Result<T, Status>
    where
        A: Message,
        C: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let patience = patience(&request);
        let place = request.extensions_mut().remove::<Place>().filter(|_| request.get_ref().encoded_len() > LARGE);
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let answer = async {
            let held = (place, Arc::clone(&self.places).acquire_owned().await);
            let call = call(request.into_inner());
            tokio::spawn(async move {
                let answer = call.await;
                drop(held);
                answer
            })
            .await
        };
        let passed = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = answer => answer.map_err(|_| Status::internal("the call panicked in the plugin; its log has the reason")),
            () = passed => {
                debug!("a caller's deadline of {patience:?} has passed; its call goes on");
                Err(Status::deadline_exceeded("the host's deadline has passed; what the call began goes on"))
            }
        }
    }
}

/// How long the caller waits: at most eight digits and a unit. What is not that says nothing.
fn patience<A>(request: &Request<A>) -> Option<Duration> {
    let text = request.metadata().get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn asked(timeout: Option<&'static str>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(timeout) = timeout {
            request.metadata_mut().insert(TIMEOUT, timeout.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_timeout_is_read_by_its_unit() {
        for (text, patience_ms) in [
            ("2H", Some(7_200_000)),
            ("3M", Some(180_000)),
            ("10S", Some(10_000)),
            ("99999999m", Some(99_999_999)),
            ("5000u", Some(5)),
            ("7000000n", Some(7)),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(patience(&asked(Some(text))), patience_ms.map(Duration::from_millis), "{text:?}");
        }
        assert_eq!(patience(&asked(None)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_the_wait_and_not_the_call() {
        let (go_on, told) = oneshot::channel();
        let (done, finished) = oneshot::channel();
        let call = async move {
            told.await.unwrap();
            done.send("written").unwrap();
        };
        let status = Calls::default().run(asked(Some("10m")), |()| call).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        go_on.send(()).unwrap();
        assert_eq!(finished.await.unwrap(), "written");
    }

    #[tokio::test]
    async fn a_caller_that_goes_does_not_end_its_call() {
        let (began, begun) = oneshot::channel();
        let (go_on, told) = oneshot::channel();
        let (done, finished) = oneshot::channel();
        let caller = tokio::spawn(async move {
            let call = async move {
                began.send(()).unwrap();
                told.await.unwrap();
                done.send("written").unwrap();
            };
            Calls::default().run(asked(None), |()| call).await
        });
        begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        go_on.send(()).unwrap();
        assert_eq!(finished.await.unwrap(), "written");
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_call() {
        let calls = Calls::default();
        let panicking = async { assert_eq!(1, 2, "asked to") };
        let status = calls.run(asked(None), |()| panicking).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert_eq!(calls.run(asked(None), |()| async { 1 }).await.unwrap(), 1);
        assert_eq!(calls.places.available_permits(), MAX_CALLS);
    }
}
