//! A connection that is read no faster than its peer reads.
//!
//! yamux answers every ping, every stream it refuses and every call, and queues what it cannot send without a limit. A
//! peer that sends and never reads would fill our memory with answers. So nothing more is taken from a peer while it
//! leaves ours lying, and one that does so for long is given up, as hashicorp/yamux does (`session.go`,
//! `ConnectionWriteTimeout`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_yamux::{Config, Session};

/// How long a peer may leave its answers lying. hashicorp/yamux allows 10 s; a host may be short of CPU.
const PATIENCE: Duration = Duration::from_secs(30);

/// yamux on such a connection, where the host opens the streams: `max_streams` at a time, the rest are refused. The
/// session must be polled all the time: that is what moves every stream's bytes.
pub(super) fn multiplexed<S>(connection: S, max_streams: usize) -> Session<Paced<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = Config {
        // The host sends keepalives and measures them; ours would only wake an idle process.
        enable_keepalive: false,
        max_stream_count: max_streams,
        accept_backlog: max_streams,
        ..Config::default()
    };
    Session::new_server(Paced::new(connection), config)
}

/// The connection, and whether its peer reads.
#[derive(Debug)]
pub(super) struct Paced<S> {
    connection: S,
    /// Runs while a write waits for the peer to read.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Who wanted to read in the meantime.
    reader: Option<Waker>,
}

impl<S> Paced<S> {
    fn new(connection: S) -> Self {
        Self { connection, stuck: None, reader: None }
    }

    /// Notes how a write went. A reader that had to wait goes on when the peer took something.
    fn paced<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return written;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        stuck.as_mut().poll(cx).map(|()| {
            let seconds = PATIENCE.as_secs();
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("the host has not read its answers for {seconds} s")))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stuck.is_some() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.connection).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.paced(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, timeout};

    use super::*;

    /// A peer that sent something, and a connection whose last answer waits for it to read.
    async fn stuck() -> (tokio::io::DuplexStream, Paced<tokio::io::DuplexStream>) {
        let (mut peer, ours) = tokio::io::duplex(8);
        let mut ours = Paced::new(ours);
        peer.write_all(b"request").await.unwrap();
        ours.write_all(&[1; 8]).await.unwrap();
        assert!(timeout(Duration::from_secs(1), ours.write_all(&[2; 8])).await.is_err());
        (peer, ours)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_not_read_until_it_does() {
        let (mut peer, ours) = stuck().await;
        let (mut reader, mut writer) = tokio::io::split(ours);
        let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
        let writing = tokio::spawn(async move { writer.write_all(&[3; 8]).await });
        sleep(Duration::from_secs(5)).await;
        assert!(!reading.is_finished() && !writing.is_finished());
        peer.read_exact(&mut [0; 16]).await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), 7);
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_is_given_up() {
        let (_peer, mut ours) = stuck().await;
        let began = Instant::now();
        let error = ours.write_all(&[3; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < PATIENCE, "the time since the write got stuck counts");
    }
}
