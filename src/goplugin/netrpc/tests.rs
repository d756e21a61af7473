//! The control stream against bytes that real Go wrote: see `tests/data/wire/`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::allowance::Allowance;
use super::broker::Broker;
use super::control::{Control, Dispenser};
use super::gob::{self, Datum, Decoder, Encode, Encoder, Limits};
use super::rpc::{self, CallError, CallFuture, Service, reply};

#[tokio::test]
async fn the_control_stream_answers_byte_for_byte_as_go_does() {
    let (mut host, plugin) = tokio::io::duplex(64 * 1024);
    let quit = CancellationToken::new();
    let control = Arc::new(Control { quit: quit.clone() });
    let dispenser = Arc::new(Dispenser { broker: Arc::new(Broker::new("RpcTrafficRouterPlugin")) });
    let services: Vec<(_, Arc<dyn Service>)> = vec![("Control", control), ("Dispenser", dispenser)];
    let (allowance, _guard) = Allowance::new();
    let serving = tokio::spawn(rpc::serve(plugin, services, allowance));
    for name in ["ctl_1_dispense", "ctl_2_ping", "ctl_3_ping", "ctl_4_dispense_err", "ctl_5_nomethod", "ctl_6_quit"] {
        let golden = |direction| std::fs::read(format!("tests/data/wire/{name}.{direction}.bin")).unwrap();
        let (request, response) = (golden("req"), golden("resp"));
        assert!(!quit.is_cancelled());
        host.write_all(&request).await.unwrap();
        let mut answer = vec![0; response.len()];
        timeout(Duration::from_secs(10), host.read_exact(&mut answer)).await.expect(name).unwrap();
        assert_eq!(answer, response, "{name}");
    }
    assert!(quit.is_cancelled());
    drop(host);
    timeout(Duration::from_secs(10), serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_that_is_not_gob_is_given_up() {
    let (mut host, plugin) = tokio::io::duplex(1024);
    let (allowance, _guard) = Allowance::new();
    let serving = tokio::spawn(rpc::serve(plugin, Vec::new(), allowance));
    // The length of a message has at most eight bytes; this one claims 128.
    host.write_all(&[0x80; 64]).await.unwrap();
    let served = timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    assert!(matches!(served, Err(rpc::Error::Gob(_))), "{served:?}");
}

/// Go's `Request`, the header of a call.
struct Call<'a>(&'a str, u64);

impl Encode for Call<'_> {
    fn datum(&self) -> Datum<'_> {
        Datum::Struct("Request", vec![("ServiceMethod", Datum::String(self.0)), ("Seq", Datum::Uint(self.1))])
    }
}

/// Says everything twice, as a reply or as an error.
#[derive(Debug)]
struct Echo;

impl Service for Echo {
    fn call(&self, method: &str, value: &gob::Value<'_>) -> Result<CallFuture, CallError> {
        let text = rpc::argument::<String>(value)?.repeat(2);
        let fails = method == "Fail";
        Ok(Box::pin(async move { if fails { Err(text) } else { Ok(reply(text)) } }))
    }
}

/// Calls one after the other, with a text each.
fn calls(calls: &[(&str, &str)]) -> Vec<u8> {
    let (mut encoder, mut bytes) = (Encoder::new(), Vec::new());
    for (number, (method, text)) in calls.iter().enumerate() {
        encoder.encode(&Call(method, number as u64), &mut bytes);
        encoder.encode(&(*text).to_owned(), &mut bytes);
    }
    bytes
}

#[tokio::test]
async fn what_a_peer_sent_does_not_come_back_at_any_length() {
    let (host, plugin) = tokio::io::duplex(1024);
    let (mut reader, mut writer) = tokio::io::split(host);
    let (allowance, _guard) = Allowance::new();
    let serving = tokio::spawn(rpc::serve(plugin, vec![("Echo", Arc::new(Echo) as Arc<dyn Service>)], allowance));
    let long = "é".repeat(100_000);
    let requests = calls(&[("Echo.Say", "hello"), ("Echo.Say", &long), ("Echo.Fail", &long), ("Echo.Say", "bye")]);
    tokio::spawn(async move { writer.write_all(&requests).await });
    let (mut decoder, mut answers) = (Decoder::new(Limits::default()), Vec::new());
    while answers.len() < 4 {
        let mut buffer = [0; 1024];
        let bytes = timeout(Duration::from_secs(10), reader.read(&mut buffer)).await.unwrap().unwrap();
        decoder.push(&buffer[..bytes]).unwrap();
        while let Some(value) = decoder.next_value().unwrap() {
            // Bodies are texts, and empty structs after an error: neither has an `Error`.
            let header = value.deserialize::<serde_json::Value>().unwrap();
            if let Some(error) = header.get("ServiceMethod").map(|_| header["Error"].as_str().unwrap_or_default()) {
                answers.push((header["Seq"].as_u64().unwrap_or_default(), error.to_owned()));
            }
        }
    }
    answers.sort();
    let [(0, said), (1, refused), (2, failed), (3, bye)] = &answers[..] else { panic!("{} answers", answers.len()) };
    assert_eq!((said.as_str(), bye.as_str()), ("", ""));
    assert!(refused.contains("has 400000 bytes"), "{refused}");
    assert!(failed.starts_with('é') && failed.ends_with('…') && failed.len() < 70_000, "{}", failed.len());
    assert!(!serving.is_finished());
}

#[tokio::test]
async fn a_method_of_any_length_is_not_looked_for() {
    let (mut host, plugin) = tokio::io::duplex(1024);
    let (allowance, _guard) = Allowance::new();
    let serving = tokio::spawn(rpc::serve(plugin, Vec::new(), allowance));
    let requests = calls(&[(&"m".repeat(1025), "")]);
    host.write_all(&requests).await.unwrap();
    let served = timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    assert!(matches!(served, Err(rpc::Error::Method(1025))), "{served:?}");
}

/// A writer whose peer grants no room is woken by nobody when the peer goes. Each such answer would stay for ever.
#[tokio::test]
async fn answers_that_nobody_can_take_go_with_their_connection() {
    let (mut host, plugin) = tokio::io::duplex(16);
    let (allowance, guard) = Allowance::new();
    let service = Arc::new(Echo);
    let services: Vec<(_, Arc<dyn Service>)> = vec![("Echo", Arc::<Echo>::clone(&service))];
    let serving = tokio::spawn(rpc::serve(plugin, services, allowance));
    host.write_all(&calls(&[("Echo.Say", "hello"), ("Echo.Say", "again")])).await.unwrap();
    // The first answer is on its way, and there is no room for all of it.
    host.read_exact(&mut [0; 1]).await.unwrap();
    drop(guard);
    timeout(Duration::from_secs(10), serving).await.unwrap().unwrap().unwrap();
    // When the last answer has gone, so has our end of the stream.
    let mut rest = Vec::new();
    timeout(Duration::from_secs(10), host.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.len() < 100, "{} bytes came", rest.len());
}
