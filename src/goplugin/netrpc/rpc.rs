//! Go's net/rpc on one stream: gob values in pairs, a header and an argument one way, a header and a reply the other
//! (`net/rpc/server.go`, `net/rpc/client.go`).
//!
//! Calls run side by side and are answered as they finish. The reader never waits for a call: a host whose request is
//! not read holds a lock that all its callers need.

use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::allowance::{Allowance, Share, UsedUp};
use super::gob::{self, Datum};

/// How many calls of one stream may run at a time. A controller has tens of workers; beyond this we stop reading.
const MAX_CALLS: usize = 1024;

/// The longest name of a method, in bytes. Ours are short, and it is sent back with every answer.
const MAX_METHOD_BYTES: usize = 1024;

/// The longest text in a reply, in bytes. Kubernetes keeps 1 KiB of an event; what a peer sent must not come back whole.
const MAX_REPLY_BYTES: usize = 64 * 1024;

/// How much is read from the stream at a time, in bytes.
const READ_BYTES: usize = 32 * 1024;

/// A net/rpc service: methods of one name each.
pub trait Service: std::fmt::Debug + Send + Sync {
    /// Begins a call. The argument must be read here, before the call is awaited; the reply may take its time.
    ///
    /// # Errors
    /// [`CallError`] when there is no such method, or its argument is not of the right kind.
    fn call(&self, method: &str, argument: &gob::Value<'_>) -> Result<CallFuture, CallError>;
}

/// A running call: its reply, or the text for the response's `Error`.
pub type CallFuture = Pin<Box<dyn Future<Output = Result<Reply, String>> + Send>>;

/// A reply that is still to be encoded, since only its stream knows which type definitions the host has.
pub type Reply = Box<dyn gob::Encode + Send>;

/// A call that cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service has no method of this name.
    #[error("no such method")]
    NoSuchMethod,
    /// What is wrong with the argument.
    #[error("{0}")]
    Argument(String),
}

/// Why a stream was given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("not gob: {0}")]
    Gob(#[from] gob::Error),
    #[error("the name of a method has {0} bytes; {MAX_METHOD_BYTES} are allowed")]
    Method(usize),
    #[error(transparent)]
    UsedUp(#[from] UsedUp),
}

/// The header of a request (`net/rpc/server.go`, `Request`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    service_method: String,
    seq: u64,
}

/// The header of a response (`net/rpc/server.go`, `Response`).
struct Response<'a> {
    service_method: &'a str,
    seq: u64,
    error: &'a str,
}

/// Go's `struct{}`, the reply of a method that has nothing to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit;

impl gob::Encode for Response<'_> {
    fn datum(&self) -> Datum<'_> {
        let Self { service_method, seq, error } = *self;
        let fields = vec![
            ("ServiceMethod", Datum::String(service_method)),
            ("Seq", Datum::Uint(seq)),
            ("Error", Datum::String(error)),
        ];
        Datum::Struct("Response", fields)
    }
}

impl gob::Encode for Unit {
    fn datum(&self) -> Datum<'_> {
        Datum::Struct("", Vec::new())
    }
}

/// Reads a call's argument as what the method takes.
///
/// # Errors
/// [`CallError::Argument`] that says what does not fit.
pub fn argument<T: DeserializeOwned>(value: &gob::Value<'_>) -> Result<T, CallError> {
    value.deserialize().map_err(|error| CallError::Argument(format!("the argument cannot be read: {error}")))
}

/// A reply on its way to a stream.
pub fn reply(value: impl gob::Encode + Send + 'static) -> Reply {
    Box::new(value)
}

/// Serves the calls of one stream until the host closes it, or its connection ends. Calls that are still running then
/// run on.
pub(super) async fn serve<S>(
    stream: S,
    services: Vec<(&'static str, Arc<dyn Service>)>,
    allowance: Allowance,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let requests = Requests {
        reader,
        decoder: gob::Decoder::new(gob::Limits::default()),
        buffer: vec![0; READ_BYTES],
        share: allowance.share(),
    };
    let replies = Arc::new(Replies {
        writer: Mutex::new((writer, gob::Encoder::new())),
        // A stream that broke takes no answers; the others of its connection may.
        gone: allowance.ended().child_token(),
    });
    let serving = serve_calls(requests, Arc::clone(&replies), services, allowance);
    // The connection may end while we wait for room, and not for its bytes.
    let served = replies.gone.run_until_cancelled(serving).await.unwrap_or(Ok(()));
    if served.is_err() {
        replies.gone.cancel();
    }
    served
}

async fn serve_calls<R, W>(
    mut requests: Requests<R>,
    replies: Arc<Replies<W>>,
    services: Vec<(&'static str, Arc<dyn Service>)>,
    allowance: Allowance,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CALLS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let Some(value) = requests.next().await? else { return Ok(()) };
        let header: Request = value.deserialize()?;
        if header.service_method.len() > MAX_METHOD_BYTES {
            return Err(Error::Method(header.service_method.len()));
        }
        let Some(value) = requests.next().await? else { return Ok(()) };
        let room = allowance.room_for_call(value.footprint()).await;
        let call = begin(&services, &header.service_method, &value);
        let replies = Arc::clone(&replies);
        tokio::spawn(async move {
            answer(&replies, header, call).await;
            drop((place, room));
        });
    }
}

/// Finds the method and begins the call. The texts are those of Go's server (`net/rpc/server.go`, `readRequestHeader`).
fn begin(
    services: &[(&'static str, Arc<dyn Service>)],
    service_method: &str,
    value: &gob::Value<'_>,
) -> Result<CallFuture, String> {
    let Some((service, method)) = service_method.rsplit_once('.') else {
        return Err(format!("rpc: service/method request ill-formed: {service_method}"));
    };
    let Some((_, service)) = services.iter().find(|(name, _)| *name == service) else {
        return Err(format!("rpc: can't find service {service_method}"));
    };
    service.call(method, value).map_err(|error| match error {
        CallError::NoSuchMethod => format!("rpc: can't find method {service_method}"),
        CallError::Argument(text) => text,
    })
}

/// Awaits a call and sends its reply. A call that panics is answered with an error, and costs nothing else.
async fn answer<W: AsyncWrite + Unpin>(replies: &Replies<W>, header: Request, call: Result<CallFuture, String>) {
    let result = match call {
        Ok(call) => AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
            Err(format!("{} panicked in the plugin; its log has the reason", header.service_method))
        }),
        Err(text) => Err(text),
    };
    // A peer that went without reading leaves a writer behind that nobody would wake.
    match replies.gone.run_until_cancelled(replies.send(header, result)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => debug!("a reply could not be sent: {error}"),
        None => debug!("a reply could not be sent: the stream is gone"),
    }
}

/// What the host sends, value by value.
struct Requests<R> {
    reader: R,
    decoder: gob::Decoder,
    buffer: Vec<u8>,
    share: Share,
}

impl<R: AsyncRead + Unpin> Requests<R> {
    /// Reads the next value. None when the host closed the stream.
    async fn next(&mut self) -> Result<Option<gob::Value<'_>>, Error> {
        loop {
            let is_whole = self.decoder.next_value()?.is_some();
            self.share.resize(self.decoder.held_bytes())?;
            if is_whole {
                return Ok(self.decoder.value());
            }
            match self.reader.read(&mut self.buffer).await? {
                0 => return Ok(None),
                bytes => self.decoder.push(self.buffer.get(..bytes).unwrap_or_default())?,
            }
        }
    }
}

/// What the host gets, one whole reply at a time.
struct Replies<W> {
    writer: Mutex<(W, gob::Encoder)>,
    /// Cancelled when nobody reads them any more.
    gone: CancellationToken,
}

impl<W: AsyncWrite + Unpin> Replies<W> {
    async fn send(&self, header: Request, result: Result<Reply, String>) -> io::Result<()> {
        let (error, body) = match result.and_then(short) {
            Ok(body) => (String::new(), body),
            // Go's server sends an empty struct with an error too: a body must follow every header.
            Err(error) => (shortened(error), reply(Unit)),
        };
        let response = Response { service_method: &header.service_method, seq: header.seq, error: &error };
        let mut writer = self.writer.lock().await;
        let (stream, encoder) = &mut *writer;
        let mut bytes = Vec::with_capacity(128);
        encoder.encode(&response, &mut bytes);
        encoder.encode(&*body, &mut bytes);
        stream.write_all(&bytes).await?;
        stream.flush().await
    }
}

/// Refuses a reply that a host should not have to read.
fn short(reply: Reply) -> Result<Reply, String> {
    match reply.datum().text_bytes() {
        ..=MAX_REPLY_BYTES => Ok(reply),
        bytes => Err(format!("the plugin's answer has {bytes} bytes, more than {MAX_REPLY_BYTES}; its log has it")),
    }
}

/// The beginning of a text, if it is too long.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_REPLY_BYTES {
        text.truncate(text.floor_char_boundary(MAX_REPLY_BYTES));
        text.push('…');
    }
    text
}
