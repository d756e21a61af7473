//! Hands a stream to the plugin it was opened for.
//!
//! Dispense answers with a number; the host then opens a stream, sends the number as four bytes, little-endian, and
//! waits for the same four bytes (`mux_broker.go`, `Dial` and `Run`).

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long the host may take to say which plugin a stream is for (`mux_broker.go` waits 5 s).
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);

/// How many dispensed numbers may wait for their stream. The oldest give way: a host uses one at once.
const MAX_WAITING: usize = 64;

/// The numbers that were handed out and not used yet.
#[derive(Debug)]
pub(super) struct Broker {
    name: &'static str,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    last: u32,
    waiting: VecDeque<u32>,
}

impl Broker {
    /// A broker for the one plugin of this name.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, numbers: Mutex::default() }
    }

    /// A number for a stream to the plugin `name`, none when there is no such plugin. The first is 1.
    pub(super) fn dispense(&self, name: &str) -> Option<u32> {
        if name != self.name {
            return None;
        }
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.last = numbers.last.wrapping_add(1);
        let number = numbers.last;
        if numbers.waiting.len() == MAX_WAITING {
            numbers.waiting.pop_front();
        }
        numbers.waiting.push_back(number);
        Some(number)
    }

    /// Reads which number a new stream is for, and acknowledges it.
    pub(super) async fn claim(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let number = timeout(CLAIM_TIMEOUT, stream.read_u32_le()).await??;
        if !self.take(number) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("plugin {number} was not dispensed")));
        }
        stream.write_u32_le(number).await?;
        stream.flush().await
    }

    fn take(&self, number: u32) -> bool {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let place = numbers.waiting.iter().position(|waiting| *waiting == number);
        place.and_then(|place| numbers.waiting.remove(place)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_is_good_for_one_stream() {
        let broker = Broker::new("router");
        assert_eq!(broker.dispense("other"), None);
        assert_eq!((broker.dispense("router"), broker.dispense("router")), (Some(1), Some(2)));
        let (mut host, mut plugin) = tokio::io::duplex(64);
        host.write_all(&[2, 0, 0, 0]).await.unwrap();
        broker.claim(&mut plugin).await.unwrap();
        assert_eq!(host.read_u32_le().await.unwrap(), 2);
        host.write_all(&[2, 0, 0, 0]).await.unwrap();
        assert!(broker.claim(&mut plugin).await.unwrap_err().to_string().contains("was not dispensed"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_says_nothing_is_given_up() {
        let (_host, mut plugin) = tokio::io::duplex(64);
        assert_eq!(Broker::new("router").claim(&mut plugin).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn numbers_that_nobody_uses_do_not_pile_up() {
        let broker = Broker::new("router");
        for _ in 0..1000 {
            broker.dispense("router");
        }
        assert!(broker.take(1000) && !broker.take(1));
        assert!(broker.numbers.lock().unwrap().waiting.len() < MAX_WAITING);
    }
}
