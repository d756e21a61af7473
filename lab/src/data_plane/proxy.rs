//! Takes a request to a target and the answer back.
//!
//! Sources: user guide for Application Load Balancers, "HTTP headers" (X-Forwarded-*) and "Troubleshoot" (502, 503, 504). A request
//! that a target may have seen is never sent again. One that was never written, because an idle connection turned out
//! to be closed first, is sent on another connection: that is choosing a connection, not a retry. A target that closes
//! while the request is under way is the well-known 502 of targets whose keep-alive is shorter than the load balancer's.
//! Not modelled: upgrades (WebSocket), HTTP/2, TLS on either side, header attributes and limits.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::control_plane::model::targets::Target;
use crate::data_plane::answers::{Answer, Relayed, own, page};
use crate::data_plane::conditions::RequestHead;
use crate::data_plane::counters::{Outcome, Passage};
use crate::data_plane::node::{Decision, Forwarding};
use crate::data_plane::server::NodeServer;

/// Headers that concern one connection only (RFC 9110, 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_PORT: &str = "x-forwarded-port";

/// Answers one request that came in by a listener.
pub(super) async fn serve(
    server: Arc<NodeServer>,
    listener_arn: Arc<str>,
    source: IpAddr,
    request: Request<Incoming>,
) -> Response<Answer> {
    let mut passage = server.counters.begin();
    let (decision, cut) = server.route(&head(&listener_arn, source, &request));
    match decision {
        Decision::Forward(forwarding) => {
            passage.chose(&forwarding.member);
            forward(&server, forwarding, cut, source, request, passage).await
        }
        Decision::Fixed(config) => {
            // The control plane lets only 2XX, 4XX and 5XX in.
            let status = config.status_code.parse().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            passage.answers(status.as_u16());
            passage.end(Outcome::FixedResponse);
            let content_type = config.content_type.as_deref().unwrap_or("text/plain");
            own(status, content_type, config.message_body.unwrap_or_default())
        }
        Decision::Redirect { status, location } => redirect(passage, status, &location),
        Decision::NoWeight => fail(passage, Outcome::NoWeight),
        Decision::NoTargets(group_arn) => {
            passage.chose_group(&group_arn);
            fail(passage, Outcome::NoTargets)
        }
        Decision::RewriteFailed => fail(passage, Outcome::RewriteFailed),
        Decision::NoListener => fail(passage, Outcome::NoListener),
    }
}

/// The socket address of a target, if the lab may reach it: it stays on this machine.
pub(super) fn reachable(target: &Target, port: u16) -> Option<SocketAddr> {
    let address: IpAddr = target.id.parse().ok()?;
    address.is_loopback().then_some(SocketAddr::new(address, port))
}

fn head<'a>(listener_arn: &'a str, source: IpAddr, request: &'a Request<Incoming>) -> RequestHead<'a> {
    let uri = request.uri();
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or_default();
    RequestHead {
        listener_arn,
        source,
        method: request.method().as_str(),
        host: without_port(host),
        path: uri.path(),
        query: uri.query(),
        headers: request.headers(),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

async fn forward(
    server: &NodeServer,
    forwarding: Forwarding,
    cut: CancellationToken,
    source: IpAddr,
    request: Request<Incoming>,
    mut passage: Passage,
) -> Response<Answer> {
    let outgoing = match outgoing(&forwarding, source, request) {
        Ok(outgoing) => outgoing,
        Err(outcome) => return fail(passage, outcome),
    };
    let answer = tokio::select! {
        biased;
        () = cut.cancelled() => return fail(passage, Outcome::Drained),
        answer = timeout(server.config.idle_timeout, server.to_targets.request(outgoing)) => answer,
    };
    let (mut parts, body) = match answer {
        Ok(Ok(answer)) => answer.into_parts(),
        Ok(Err(error)) => return fail(passage, reason(&error)),
        Err(_) => return fail(passage, Outcome::AnswerTimeout),
    };
    passage.answers(parts.status.as_u16());
    strip_hop_by_hop(&mut parts.headers);
    for header in forwarding.cookie.iter().flat_map(|cookie| cookie.headers()) {
        if let Ok(header) = HeaderValue::from_str(&header) {
            parts.headers.append(SET_COOKIE, header);
        }
    }
    let relayed = Relayed::new(body, passage, cut.cancelled_owned(), server.config.idle_timeout);
    Response::from_parts(parts, Answer::Relayed(Box::new(relayed)))
}

/// The request as the target gets it.
fn outgoing(forwarding: &Forwarding, source: IpAddr, request: Request<Incoming>) -> Result<Request<Incoming>, Outcome> {
    let Forwarding { member, rewritten, scheme, port, .. } = forwarding;
    let address = reachable(&member.target, member.target.port).ok_or(Outcome::Refused)?;
    let (mut parts, body) = request.into_parts();
    let url = match &rewritten.url {
        Some(url) => url.parse().map_err(|_| Outcome::RewriteFailed)?,
        None => parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
    };
    let uri = Uri::builder().scheme("http").authority(address.to_string()).path_and_query(url).build();
    parts.uri = uri.map_err(|_| Outcome::RewriteFailed)?;
    parts.version = Version::HTTP_11;
    strip_hop_by_hop(&mut parts.headers);
    if let Some(host) = &rewritten.host {
        parts.headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| Outcome::RewriteFailed)?);
    }
    let earlier = parts.headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let hops = earlier.map(str::to_owned).chain([source.to_string()]).collect::<Vec<_>>().join(", ");
    if let Ok(hops) = HeaderValue::from_str(&hops) {
        parts.headers.insert(FORWARDED_FOR, hops);
    }
    parts.headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    parts.headers.insert(FORWARDED_PORT, HeaderValue::from(*port));
    Ok(Request::from_parts(parts, body))
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = (headers.get_all(CONNECTION).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

/// Why there was no answer.
fn reason(error: &legacy::Error) -> Outcome {
    let causes = || std::iter::successors(error.source(), |cause| (*cause).source());
    if error.is_connect() {
        let late = causes()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|cause| cause.kind() == std::io::ErrorKind::TimedOut);
        return if late { Outcome::ConnectTimeout } else { Outcome::Refused };
    }
    match causes().find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        // The body that could not be sent is the client's.
        Some(cause) if cause.is_user() => Outcome::ClientGone,
        Some(cause) if cause.is_parse() => Outcome::Malformed,
        _ => Outcome::ClosedEarly,
    }
}

fn redirect(mut passage: Passage, status: u16, location: &str) -> Response<Answer> {
    let (Ok(status), Ok(location)) = (StatusCode::from_u16(status), HeaderValue::from_str(location)) else {
        return fail(passage, Outcome::RewriteFailed);
    };
    passage.answers(status.as_u16());
    passage.end(Outcome::Redirected);
    let mut answer = page(status);
    answer.headers_mut().insert(LOCATION, location);
    answer
}

/// The load balancer's own page for a request that did not get through.
fn fail(mut passage: Passage, outcome: Outcome) -> Response<Answer> {
    let status = match outcome {
        Outcome::NoWeight | Outcome::NoTargets | Outcome::NoListener => StatusCode::SERVICE_UNAVAILABLE,
        Outcome::ConnectTimeout | Outcome::AnswerTimeout => StatusCode::GATEWAY_TIMEOUT,
        Outcome::RewriteFailed => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_GATEWAY,
    };
    if outcome != Outcome::ClientGone {
        passage.answers(status.as_u16());
    }
    passage.end(outcome);
    page(status)
}
