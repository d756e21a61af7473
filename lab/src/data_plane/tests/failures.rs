//! What clients get when something is wrong, and how it is counted.

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::control_plane::model::targets::NodeHealth;

fn unhealthy(stand: &Stand, target: &Target) -> bool {
    matches!(stand.shop.reported(&stand.shop.stable, target).as_slice(), [NodeHealth::Unhealthy(..)])
}

/// A target that is no HTTP server: the group fails open, so it gets requests all the same.
async fn fail_open(stand: &Stand, address: SocketAddr) -> Target {
    let target = stand.shop.register_stable(&address.ip().to_string(), address.port());
    until(|| unhealthy(stand, &target)).await;
    target
}

#[tokio::test]
async fn a_refused_connection_is_502() {
    let stand = Stand::quick().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("it is bound");
    fail_open(&stand, gone).await;
    let seen = stand.get("/").await;
    assert_eq!(seen.status, StatusCode::BAD_GATEWAY);
    assert_eq!(seen.all("server"), ["awselb/2.0"]);
    assert!(seen.text().contains("<h1>502 Bad Gateway</h1>"), "{}", seen.text());
    assert_eq!(
        stand.rows(),
        [Count {
            group: Some(stand.shop.stable.clone()),
            target: Some(gone.to_string()),
            outcome: Outcome::Refused,
            status: Some(502),
            requests: 1,
        }]
    );
}

#[tokio::test]
async fn a_target_that_closes_early_is_502_and_asked_once() {
    let stand = Stand::quick().await;
    let pod = Pod::start("a").await;
    stand.with_stable(&pod).await;
    // The second time the connection is one that was used before.
    for path in ["/close", "/", "/close"] {
        let expected = if path == "/" { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
        assert_eq!(stand.get(path).await.status, expected);
    }
    assert_eq!(stand.ended(Outcome::ClosedEarly, Some(502)), 2);
    assert_eq!(pod.served(), 3, "a request that the target may have seen is not sent again");
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_502() {
    let stand = Stand::quick().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let target = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("the socket is sound");
            let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n").await;
        }
    });
    fail_open(&stand, address).await;
    assert_eq!(stand.get("/").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(stand.ended(Outcome::Malformed, Some(502)), 1);
    target.abort();
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_504() {
    let config = DataPlaneConfig { idle_timeout: Duration::from_millis(50), ..quick() };
    let stand = Stand::start(Shop::new(), config).await;
    let pod = Pod::start("a").await;
    stand.with_stable(&pod).await;
    assert_eq!(stand.get("/slow").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(stand.ended(Outcome::AnswerTimeout, Some(504)), 1);
    let seen = stand.get("/half").await;
    assert_eq!((seen.status, seen.body), (StatusCode::OK, None), "the answer began, and then the target fell silent");
    assert_eq!(stand.ended(Outcome::BrokenOff, Some(200)), 1);
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_504() {
    let config = DataPlaneConfig { connect_timeout: Duration::from_millis(50), ..quick() };
    let stand = Stand::start(Shop::new(), config).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let full = socket.listen(1).expect("it is bound");
    let address = full.local_addr().expect("it is bound");
    // Nobody accepts: once the queue is full, the system drops what comes.
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(connected.expect("a place in the queue"));
    }
    fail_open(&stand, address).await;
    assert_eq!(stand.get("/").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(stand.ended(Outcome::ConnectTimeout, Some(504)), 1);
}

#[tokio::test]
async fn a_group_without_targets_is_503_whatever_its_sibling_has() {
    let stand = Stand::quick().await;
    let pod = Pod::start("a").await;
    stand.register(&stand.shop.canary, &pod);
    let seen = stand.get("/").await;
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(seen.all("content-type"), ["text/html"]);
    assert_eq!(stand.ended(Outcome::NoTargets, Some(503)), 1);
    stand.shop.weights(0, 0);
    until(|| stand.data_plane.may_send_to(&stand.shop.stable).is_empty()).await;
    assert_eq!(stand.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stand.ended(Outcome::NoWeight, Some(503)), 1);
    assert_eq!(pod.served(), 0);
}

#[tokio::test]
async fn targets_that_are_still_initial_are_503() {
    let stand = Stand::start(Shop::new(), DataPlaneConfig { registration_delay: fixture::LONG, ..quick() }).await;
    let pod = Pod::start("a").await;
    let target = stand.register(&stand.shop.stable, &pod);
    until(|| stand.shop.reported(&stand.shop.stable, &target) == [NodeHealth::Initial]).await;
    assert_eq!(stand.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(pod.served(), 0);
}

#[tokio::test]
async fn a_group_whose_targets_all_fail_their_checks_gets_requests_all_the_same() {
    let stand = Stand::quick().await;
    let (one, other) = (Pod::start("one").await, Pod::start("other").await);
    let first = stand.with_stable(&one).await;
    let second = stand.with_stable(&other).await;
    one.healthy.store(false, Ordering::SeqCst);
    until(|| unhealthy(&stand, &first)).await;
    let before = one.served();
    for _ in 0..4 {
        assert_eq!(stand.get("/").await.text(), "other");
    }
    assert_eq!(one.served(), before);
    other.healthy.store(false, Ordering::SeqCst);
    until(|| unhealthy(&stand, &second)).await;
    let texts = [stand.get("/").await, stand.get("/").await].map(|seen| seen.text().to_owned());
    assert!(texts.contains(&"one".to_owned()) && texts.contains(&"other".to_owned()), "{texts:?}");
    one.healthy.store(true, Ordering::SeqCst);
    until(|| stand.shop.reported(&stand.shop.stable, &first) == [NodeHealth::Healthy]).await;
    for _ in 0..4 {
        assert_eq!(stand.get("/").await.text(), "one");
    }
}

#[tokio::test]
async fn a_target_on_another_machine_is_never_reached() {
    let stand = Stand::quick().await;
    let target = stand.shop.register_stable("192.0.2.1", 80);
    until(|| unhealthy(&stand, &target)).await;
    let reports = stand.shop.reported(&stand.shop.stable, &target);
    assert!(matches!(reports[0], NodeHealth::Unhealthy(_, why) if why.contains("loopback")), "{reports:?}");
    assert_eq!(stand.get("/").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(stand.ended(Outcome::Refused, Some(502)), 1);
}

#[tokio::test]
async fn a_client_that_leaves_is_counted() {
    let stand = Stand::quick().await;
    let pod = Pod::start("a").await;
    stand.with_stable(&pod).await;
    for (path, status) in [("/slow", None), ("/half", Some(200))] {
        let served = pod.served();
        let mut client = TcpStream::connect(stand.addresses[0]).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", fixture::HOST);
        client.write_all(request.as_bytes()).await.expect("it reads");
        until(|| pod.served() > served && stand.data_plane.counters().in_flight() == 1).await;
        if status.is_some() {
            // The answer has begun.
            within(client.readable()).await.expect("it answers");
        }
        drop(client);
        until(|| stand.ended(Outcome::ClientGone, status) == 1).await;
    }
    assert_eq!(stand.data_plane.counters().in_flight(), 0);
}

#[tokio::test]
async fn an_answer_that_the_target_breaks_off_is_broken_off_for_the_client() {
    let stand = Stand::quick().await;
    let pod = Pod::start("a").await;
    stand.with_stable(&pod).await;
    let request = Request::get(format!("http://{}/half", stand.addresses[0])).header(HOST, fixture::HOST);
    let answer = stand.client.request(request.body(Full::default()).expect("a sound request"));
    let answer = within(answer).await.expect("it begins");
    assert_eq!(answer.status(), StatusCode::OK);
    pod.kill();
    assert!(within(answer.collect()).await.is_err());
    assert_eq!(stand.ended(Outcome::BrokenOff, Some(200)), 1);
}
