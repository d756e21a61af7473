//! The control stream against bytes that real Go wrote: see `tests/data/wire/`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::control::{Control, Dispenser};
use super::rpc;

#[tokio::test]
async fn the_control_stream_answers_byte_for_byte_as_go_does() {
    let (mut host, plugin) = tokio::io::duplex(64 * 1024);
    let quit = CancellationToken::new();
    let control = Arc::new(Control { quit: quit.clone() });
    let dispenser = Arc::new(Dispenser { broker: Arc::new(Broker::new("RpcTrafficRouterPlugin")) });
    let serving = tokio::spawn(rpc::serve(plugin, vec![("Control", control), ("Dispenser", dispenser)]));
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
    let serving = tokio::spawn(rpc::serve(plugin, Vec::new()));
    // The length of a message has at most eight bytes; this one claims 128.
    host.write_all(&[0x80; 64]).await.unwrap();
    let served = timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    assert!(matches!(served, Err(rpc::Error::Gob(_))), "{served:?}");
}
