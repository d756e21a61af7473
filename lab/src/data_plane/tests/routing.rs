//! Where requests go, and what a target and a client get to see.

use std::collections::BTreeSet;

use tokio::net::TcpStream;

use super::*;
use crate::control_plane::model::shapes::{Action, ActionType, RedirectConfig, Rewrite, RewriteConfig};
use crate::control_plane::model::shapes::{Transform, TransformType};

/// A pod in each group.
async fn two_groups(config: DataPlaneConfig) -> (Stand, Pod, Pod) {
    let stand = Stand::start(Shop::new(), config).await;
    let (stable, canary) = (Pod::start("stable").await, Pod::start("canary").await);
    stand.shop.weights(1, 1);
    stand.register(&stand.shop.stable, &stable);
    stand.register(&stand.shop.canary, &canary);
    stand.until_served(&stand.shop.stable, &stable).await;
    stand.until_served(&stand.shop.canary, &canary).await;
    (stand, stable, canary)
}

#[tokio::test]
async fn thousands_of_requests_are_split_by_weight() {
    const REQUESTS: u32 = 2000;
    let (stand, stable, canary) = two_groups(DataPlaneConfig { nodes: 2, ..quick() }).await;
    for (ours, theirs) in [(30, 70), (0, 100), (100, 0), (1, 999)] {
        stand.shop.weights(theirs, ours);
        let gone = |group: &str, weight| weight > 0 || stand.data_plane.may_send_to(group).is_empty();
        until(|| gone(&stand.shop.canary, ours) && gone(&stand.shop.stable, theirs)).await;
        let (stable_before, canary_before) = (stable.served(), canary.served());
        let client = async |number: u32| {
            for round in 0..REQUESTS / 20 {
                let node = stand.addresses[((number + round) % 2) as usize];
                assert_eq!(stand.get_from(node, "/").await.status, StatusCode::OK);
            }
        };
        futures_util::future::join_all((0..20).map(client)).await;
        let got = canary.served() - canary_before;
        assert_eq!(u64::from(REQUESTS), got + stable.served() - stable_before);
        let share = f64::from(ours) / f64::from(ours + theirs);
        let error = (f64::from(REQUESTS) * share * (1.0 - share)).sqrt();
        let off = (got as f64 - share * f64::from(REQUESTS)).abs();
        assert!(off <= 4.0 * error, "{ours}:{theirs}: the canary got {got}");
    }
    let traffic = stand.data_plane.counters();
    let of = |group: &str| traffic.ended(|count| count.group.as_deref() == Some(group));
    assert_eq!((of(&stand.shop.stable), of(&stand.shop.canary)), (stable.served(), canary.served()));
    assert!(traffic.nodes.iter().all(|node| node.received == u64::from(REQUESTS) * 2));
}

#[tokio::test]
async fn nodes_follow_a_change_one_by_one() {
    let lag = Duration::from_millis(1)..=Duration::from_millis(1500);
    let (stand, stable, _canary) = two_groups(DataPlaneConfig { nodes: 6, lag, ..quick() }).await;
    stand.shop.weights(100, 0);
    until(|| stand.data_plane.may_send_to(&stand.shop.canary).is_empty()).await;
    stand.shop.weights(0, 100);
    let mut followed = BTreeSet::new();
    let mut disagreed = false;
    while followed.len() < stand.addresses.len() {
        for node in &stand.addresses {
            let now = stand.get_from(*node, "/").await.text() == "canary";
            assert!(now || !followed.contains(node), "a node went back");
            if now {
                followed.insert(*node);
            }
        }
        disagreed |= !followed.is_empty() && followed.len() < stand.addresses.len();
    }
    assert!(disagreed, "all nodes followed at once");
    let before = stable.served();
    for node in stand.addresses.iter().cycle().take(600) {
        stand.get_from(*node, "/").await;
    }
    assert_eq!(stable.served(), before, "weight zero, and still a request");
}

#[tokio::test]
async fn a_sticky_client_stays_at_weight_zero() {
    let (stand, _stable, _canary) = two_groups(quick()).await;
    stand.shop.sticky_weights(0, 100, 3600);
    let seen = within(async {
        loop {
            let seen = stand.get("/").await;
            if seen.text() == "canary" && !seen.all("set-cookie").is_empty() {
                return seen;
            }
        }
    })
    .await;
    let cookies = seen.all("set-cookie");
    assert!(cookies[0].starts_with("AWSALBTG=") && cookies[1].starts_with("AWSALBTGCORS="), "{cookies:?}");
    stand.shop.sticky_weights(100, 0, 3600);
    until_text(&stand, "stable").await;
    for cookie in cookies {
        let pair = cookie.split(';').next().expect("a pair");
        let request = Request::get(format!("http://{}/", stand.addresses[0])).header(HOST, fixture::HOST);
        let request = request.header("cookie", pair).body(Full::default()).expect("a sound request");
        let seen = stand.send(request).await;
        assert_eq!(seen.text(), "canary");
        assert_eq!(seen.all("set-cookie"), [""; 0]);
    }
}

/// Until ten answers in a row are this one: the node has followed.
async fn until_text(stand: &Stand, text: &str) {
    within(async {
        let mut in_a_row = 0;
        while in_a_row < 10 {
            in_a_row = if stand.get("/").await.text() == text { in_a_row + 1 } else { 0 };
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_gets_the_request_with_what_the_load_balancer_adds() {
    let stand = Stand::quick().await;
    let rewrites = |regex: &str, replace: &str| {
        Some(RewriteConfig { rewrites: vec![Rewrite { regex: regex.to_owned(), replace: replace.to_owned() }] })
    };
    stand.shop.set_rule(|rule| {
        rule.transforms = vec![
            Transform {
                r#type: TransformType::UrlRewrite,
                host_header_rewrite_config: None,
                url_rewrite_config: rewrites("^/shop/(.*)$", "/$1"),
            },
            Transform {
                r#type: TransformType::HostHeaderRewrite,
                host_header_rewrite_config: rewrites(r"^shop\.(.*)$", "inside.$1"),
                url_rewrite_config: None,
            },
        ];
    });
    let pod = Pod::start("a").await;
    stand.with_stable(&pod).await;
    let body = vec![b'x'; 1_000_000];
    let request = Request::post(format!("http://{}/shop/echo?a=b", stand.addresses[0]))
        .header(HOST, fixture::HOST)
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-forwarded-proto", "https")
        .header("connection", "keep-alive, x-private")
        .header("x-private", "1")
        .header("x-public", "2")
        .header("te", "trailers")
        .body(Full::from(body))
        .expect("a sound request");
    let seen = stand.send(request).await;
    let mut lines: Vec<&str> = seen.text().lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "POST /echo?a=b",
            "",
            "1000000",
            "content-length: 1000000",
            "host: inside.example.com",
            "x-forwarded-for: 198.51.100.7, 127.0.0.1",
            "x-forwarded-port: 80",
            "x-forwarded-proto: http",
            "x-public: 2",
        ]
    );
    assert_eq!(stand.ended(Outcome::Forwarded, Some(200)), 1);
}

#[tokio::test]
async fn rules_can_answer_by_themselves() {
    let stand = Stand::quick().await;
    let other = Request::get(format!("http://{}/", stand.addresses[0])).body(Full::default()).expect("sound");
    let seen = stand.send(other).await;
    assert_eq!((seen.status, seen.text()), (StatusCode::NOT_FOUND, "no such shop"));
    assert_eq!(seen.all("content-type"), ["text/plain"]);
    let config = RedirectConfig {
        protocol: Some("HTTPS".to_owned()),
        port: Some("443".to_owned()),
        status_code: "HTTP_301".to_owned(),
        ..RedirectConfig::default()
    };
    stand.shop.set_rule(|rule| {
        rule.actions =
            vec![Action { r#type: ActionType::Redirect, redirect_config: Some(config), ..Action::default() }];
    });
    until(|| stand.data_plane.may_send_to(&stand.shop.stable).is_empty()).await;
    let seen = stand.get("/cart?id=7").await;
    assert_eq!(seen.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(seen.all("location"), ["https://shop.example.com:443/cart?id=7"]);
    assert_eq!(stand.ended(Outcome::FixedResponse, Some(404)), 1);
    assert_eq!(stand.ended(Outcome::Redirected, Some(301)), 1);
}

#[tokio::test]
async fn answers_to_head_have_no_body_and_are_counted() {
    let stand = Stand::quick().await;
    let pod = Pod::start("a").await;
    stand.with_stable(&pod).await;
    let request = Request::head(format!("http://{}/", stand.addresses[0])).header(HOST, fixture::HOST);
    let seen = stand.send(request.body(Full::default()).expect("a sound request")).await;
    assert_eq!((seen.status, seen.text()), (StatusCode::OK, ""));
    assert_eq!(seen.all("content-length"), ["1"]);
    assert_eq!(stand.ended(Outcome::Forwarded, Some(200)), 1);
}

#[tokio::test]
async fn listeners_come_and_go() {
    let stand = Stand::start(Shop::new(), DataPlaneConfig { nodes: 2, ..quick() }).await;
    let listener = stand.shop.another_listener(8080);
    let addresses = within(stand.data_plane.listening(&listener)).await;
    assert_eq!(addresses.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["node-1", "node-2"]);
    for node in &addresses {
        assert_eq!(stand.get_from(node.address, "/").await.text(), "no such shop");
    }
    stand.shop.set(|account| {
        account.listeners.retain(|found| found.arn != listener);
        account.rules.retain(|rule| rule.listener_arn != listener);
    });
    until(|| stand.data_plane.addresses(&listener).is_empty()).await;
    for node in &addresses {
        within(async { while TcpStream::connect(node.address).await.is_ok() {} }).await;
    }
    assert_eq!(stand.data_plane.addresses(&stand.shop.listener).len(), 2, "the other listener stays where it is");
}

#[tokio::test]
async fn shutting_down_waits_for_what_is_under_way() {
    let stand = Stand::quick().await;
    let pod = Pod::start("a").await;
    stand.with_stable(&pod).await;
    let Stand { data_plane, addresses, client, .. } = stand;
    let request = Request::get(format!("http://{}/slow", addresses[0])).header(HOST, fixture::HOST);
    let request = request.body(Full::<Bytes>::default()).expect("a sound request");
    let answer = tokio::spawn(client.request(request));
    until(|| pod.served() == 1).await;
    let shutdown = tokio::spawn(async move { data_plane.shutdown().await });
    within(async { while TcpStream::connect(addresses[0]).await.is_ok() {} }).await;
    assert!(!shutdown.is_finished(), "a request is under way");
    pod.release();
    assert_eq!(within(answer).await.expect("no panic").expect("an answer").status(), StatusCode::OK);
    within(shutdown).await.expect("no panic");
}

#[tokio::test]
async fn a_data_plane_that_is_dropped_stops() {
    let stand = Stand::quick().await;
    assert_eq!(stand.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let Stand { data_plane, addresses, .. } = stand;
    drop(data_plane);
    within(async { while TcpStream::connect(addresses[0]).await.is_ok() {} }).await;
}
