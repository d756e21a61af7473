//! One request to the objects, from its arrival to its answer.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{future, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::events;
use super::super::kind::Kind;
use super::super::patch::Part;
use super::super::store::{Deletion, Refusal};
use super::Shared;
use super::faults;
use super::request::{RequestInfo, Verb};
use super::status::Status;
use super::watches::Watch;

/// The body of a DELETE.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeleteOptions {
    grace_period_seconds: Option<u64>,
    preconditions: Preconditions,
    dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// Faults are counted when the request arrives; it takes effect after their delay.
pub(super) async fn call(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let info = match RequestInfo::of(&method, &uri) {
        Ok(info) => info,
        Err(status) => return status.into_response(),
    };
    let injected = faults::meet(&mut shared.faults(), &info);
    if !injected.delay.is_zero() {
        tokio::time::sleep(injected.delay).await;
    }
    let answer = match injected.refusal {
        Some(refusal) => Err(refusal),
        None => answer(&shared, &info, &headers, &body),
    };
    let response = answer.unwrap_or_else(IntoResponse::into_response);
    let sent = serde_json::from_slice(&body).ok().filter(|_| matches!(info.verb, Verb::Create | Verb::Patch));
    let at_ms = u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    shared.log().add(at_ms, &info, sent, response.status().as_u16());
    if injected.cut { cut() } else { response }
}

fn answer(shared: &Shared, info: &RequestInfo, headers: &HeaderMap, body: &[u8]) -> Result<Response, Status> {
    match info.verb {
        Verb::Get => get(shared, info),
        Verb::List => Ok(list(shared, info)),
        Verb::Watch => Ok(watch(shared, info)),
        Verb::Create => create(shared, info, body),
        Verb::Patch => patch(shared, info, headers, body),
        Verb::Delete => delete(shared, info, body),
    }
}

fn get(shared: &Shared, info: &RequestInfo) -> Result<Response, Status> {
    match shared.cluster.get(info.resource.stored, namespace(info), &info.name) {
        Some(object) => Ok(Json(info.resource.show(&object)).into_response()),
        None => Err(Status::not_found(info.resource.served, &info.name)),
    }
}

/// All at once: a server may ignore `limit`
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>).
fn list(shared: &Shared, info: &RequestInfo) -> Response {
    let (objects, version) = shared.cluster.list(info.resource.stored, info.namespace.as_deref());
    let chosen = objects.iter().filter(|object| info.query.selector.matches(object));
    let items: Vec<Value> = chosen.map(|object| info.resource.show_in_list(object)).collect();
    let kind = info.resource.served;
    let list = json!({
        "apiVersion": kind.api_version(),
        "kind": format!("{}List", kind.kind),
        "metadata": {"resourceVersion": version.to_string()},
        "items": items,
    });
    Json(list).into_response()
}

fn watch(shared: &Shared, info: &RequestInfo) -> Response {
    let watch = Watch::begin(shared.cluster.clone(), info.clone(), shared.cuts.subscribe());
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(watch.lines())).into_response()
}

fn create(shared: &Shared, info: &RequestInfo, body: &[u8]) -> Result<Response, Status> {
    let kind = info.resource.stored;
    let mut object = info.resource.read(parse(body)?).map_err(Status::bad_request)?;
    // A kubelet registers its Node with a status. All others begin without one.
    if kind != Kind::NODE {
        Part::Main.narrow(kind, &mut object);
    }
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let metadata = metadata.ok_or_else(|| Status::bad_request("metadata is missing"))?;
    if metadata.get("resourceVersion").and_then(Value::as_str).is_some_and(|version| !version.is_empty()) {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    if let Some(namespace) = &info.namespace {
        let named = metadata.entry("namespace").or_insert_with(|| json!(namespace));
        if named != namespace {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(message));
        }
    }
    let now = humantime::format_rfc3339_seconds(shared.now()).to_string();
    metadata.insert("creationTimestamp".to_owned(), json!(now));
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if info.resource.served == events::NEWER {
        events::validate_newer(&object).map_err(|why| Status::invalid(kind, &name, &why))?;
    }
    let created = shared.cluster.create(kind, object).map_err(|refusal| refused(refusal, info, &name))?;
    Ok((StatusCode::CREATED, Json(info.resource.show(&created))).into_response())
}

fn patch(shared: &Shared, info: &RequestInfo, headers: &HeaderMap, body: &[u8]) -> Result<Response, Status> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/merge-patch+json") {
        return Err(Status::unsupported_patch(content_type));
    }
    let kind = info.resource.stored;
    let mut patch = info.resource.read(parse(body)?).map_err(Status::bad_request)?;
    info.part.narrow(kind, &mut patch);
    let patched = shared.cluster.merge_patch(kind, namespace(info), &info.name, &patch);
    let patched = patched.map_err(|refusal| refused(refusal, info, &info.name))?;
    Ok(Json(info.resource.show(&patched)).into_response())
}

fn delete(shared: &Shared, info: &RequestInfo, body: &[u8]) -> Result<Response, Status> {
    let options = if body.is_empty() { DeleteOptions::default() } else { parse(body)? };
    if !options.dry_run.is_empty() {
        return Err(Status::bad_request("the lab has no dry run"));
    }
    let deletion = Deletion {
        grace_period_seconds: options.grace_period_seconds.or(info.query.grace_period_seconds),
        uid: options.preconditions.uid,
        resource_version: options.preconditions.resource_version,
    };
    let left = shared.cluster.delete_with(info.resource.stored, namespace(info), &info.name, &deletion, shared.now());
    let kind = info.resource.served;
    let answer = match left.map_err(|refusal| refused(refusal, info, &info.name))? {
        Some(object) => info.resource.show(&object),
        None => json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": info.name, "group": kind.group, "kind": kind.plural},
        }),
    };
    Ok(Json(answer).into_response())
}

/// The cluster names the namespace of what lives in none by nothing.
fn namespace(info: &RequestInfo) -> &str {
    info.namespace.as_deref().unwrap_or_default()
}

fn refused(refusal: Refusal, info: &RequestInfo, name: &str) -> Status {
    Status::refused(refusal, info.resource.served, name)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Status> {
    serde_json::from_slice(body)
        .map_err(|error| Status::bad_request(format!("the body is not what it should be: {error}")))
}

/// A body that fails at its first byte: hyper then closes the connection, and not even the head of the answer has gone out.
fn cut() -> Response {
    let broken = io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose");
    Body::from_stream(stream::once(future::ready(Err::<Bytes, io::Error>(broken)))).into_response()
}
