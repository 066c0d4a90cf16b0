//! The HTTP of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Shared;
use super::requests::Seen;
use super::store::{Change, Store, matches};

const BODY_MAX: usize = 1 << 20;

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new().fallback(answer).with_state(shared);
    axum::serve(listener, router).await.unwrap();
}

/// What a path names.
#[derive(Debug, Default)]
struct Place {
    kind: String,
    plural: String,
    namespace: String,
    name: Option<String>,
}

fn place(path: &str) -> Option<Place> {
    let mut words = path.trim_matches('/').split('/');
    let group = if words.next()? == "api" { "" } else { words.next()? };
    let version = words.next()?;
    let mut plural = words.next()?;
    let mut namespace = "";
    if plural == "namespaces" {
        namespace = words.next()?;
        plural = words.next()?;
    }
    Some(Place {
        kind: format!("{group}/{version}/{plural}"),
        plural: plural.to_owned(),
        namespace: namespace.to_owned(),
        name: words.next().map(str::to_owned),
    })
}

/// The parameters of a request. Selectors come with their `!` as `%21`.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| text.replace("%21", "!").replace("%2F", "/").replace("%2f", "/");
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

fn status(code: u16, message: &str) -> Response {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        _ => "InternalError",
    };
    let body = status_object(code, reason, message);
    (StatusCode::from_u16(code).unwrap(), body.to_string()).into_response()
}

fn status_object(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let asked = parameters(&query);
    let is_watch = asked.get("watch").is_some_and(|value| value == "true");
    let method = if is_watch { "WATCH".to_owned() } else { head.method.to_string() };
    let body = axum::body::to_bytes(body, BODY_MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let token = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    // One step under one lock: who waits for a request also finds its effect.
    shared.with(|store| {
        let refused = if store.token.is_some() && store.token != token {
            Some(401)
        } else {
            store.fault(&method, &format!("{path}?{query}"))
        };
        let place = place(&path).filter(|place| store.knows(&place.kind));
        let response = match (refused, place) {
            (Some(code), _) => status(code, "refused by the test"),
            (None, None) => status(404, "the server could not find the requested resource"),
            (None, Some(place)) if is_watch => {
                watch(&shared, store.watch_generation, place, &asked)
            }
            (None, Some(place)) => match (method.as_str(), &place.name) {
                ("GET", Some(name)) => store
                    .get(&place.plural, &place.namespace, name)
                    .map_or_else(|| status(404, "not found"), |it| it.to_string().into_response()),
                ("GET", None) => list(store, &place, &asked),
                ("PATCH", Some(name)) => {
                    match store.patch(&place.plural, &place.namespace, name, &body) {
                        Ok(object) => object.to_string().into_response(),
                        Err(code) => status(code, "the object has been modified"),
                    }
                }
                _ => status(405, "not offered"),
            },
        };
        let status = response.status().as_u16();
        store.seen.push(Seen { method, path, query, body, status });
        response
    })
}

fn list(store: &Store, place: &Place, asked: &BTreeMap<String, String>) -> Response {
    let word = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    // A page goes on behind the last object of the one before, whatever has changed by then.
    let after = word("continue");
    let mut rest = store.list(&place.plural, word("labelSelector"));
    rest.retain(|object| after.is_empty() || place_of(object).as_str() > after);
    let items: Vec<Value> = rest.iter().take(store.page_max).cloned().collect();
    let last = items.last().filter(|_| items.len() < rest.len());
    let more = last.map(place_of).unwrap_or_default();
    let version = store.version.to_string();
    let metadata = json!({"resourceVersion": version, "continue": more});
    json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
        .to_string()
        .into_response()
}

/// Where an object is in a list.
fn place_of(object: &Value) -> String {
    let word = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    // In the order of the objects: a "!" is before all that names have.
    format!("{}!{}", word("namespace"), word("name"))
}

fn watch(
    shared: &Arc<Shared>,
    generation: u64,
    place: Place,
    asked: &BTreeMap<String, String>,
) -> Response {
    let word = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let from: u64 = word("resourceVersion").parse().unwrap_or(0);
    let (lines, body) = mpsc::channel(16);
    tokio::spawn(tell(Arc::clone(shared), generation, place, word("labelSelector"), from, lines));
    Body::from_stream(ReceiverStream::new(body)).into_response()
}

type Lines = mpsc::Sender<Result<Bytes, Infallible>>;

/// Tells a watch all changes until it is ended, or its client goes.
async fn tell(
    shared: Arc<Shared>,
    generation: u64,
    place: Place,
    selector: String,
    mut told: u64,
    lines: Lines,
) {
    let mut changes = shared.changes();
    loop {
        let (events, is_over) = {
            let store = shared.lock();
            if told < store.oldest {
                let gone = status_object(410, "Expired", "too old resource version");
                (vec![json!({"type": "ERROR", "object": gone})], true)
            } else {
                let due = store.history.iter();
                let due = due.filter(|it| it.version > told && it.plural == place.plural);
                let events = due.filter_map(|change| event(change, &selector)).collect();
                told = store.version;
                (events, store.watch_generation != generation)
            }
        };
        for event in events {
            if lines.send(Ok(format!("{event}\n").into())).await.is_err() {
                return;
            }
        }
        if is_over || lines.is_closed() || changes.changed().await.is_err() {
            return;
        }
    }
}

/// What a watch with a selector is told of a change.
fn event(change: &Change, selector: &str) -> Option<Value> {
    if change.is_bookmark {
        let version = change.version.to_string();
        let object =
            json!({"kind": "Any", "apiVersion": "v1", "metadata": {"resourceVersion": version}});
        return Some(json!({"type": "BOOKMARK", "object": object}));
    }
    let before = change.before.as_ref().filter(|object| matches(object, selector));
    let after = change.after.as_ref().filter(|object| matches(object, selector));
    let (word, object) = match (before, after) {
        (None, Some(object)) => ("ADDED", object),
        (Some(_), Some(object)) => ("MODIFIED", object),
        (Some(object), None) => ("DELETED", change.after.as_ref().unwrap_or(object)),
        (None, None) => return None,
    };
    Some(json!({"type": word, "object": object}))
}
