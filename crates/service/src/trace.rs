//! Logs: one JSON object a line, one line a request.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde_json::json;
use tracing::{Span, Subscriber, info, info_span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// A subscriber that writes JSON lines to `writer`, each with the fields of
/// the request it belongs to under `span`.
pub fn subscriber<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish()
}

/// The span of one request; its path without the query, which may carry a token.
///
/// A probe or a scrape that comes past the mesh has no request id, and no span.
pub(crate) fn span(request: &Request) -> Span {
    let headers = request.headers();
    let Some(id) = headers.get("x-request-id") else {
        return Span::none();
    };
    let header = |name| headers.get(name).and_then(|v| v.to_str().ok());
    info_span!(
        "request",
        request_id = %id.as_bytes().escape_ascii(),
        traceparent = header("traceparent"),
        method = %request.method(),
        path = request.uri().path(),
        identity = identity(headers),
        client_cert = client_cert(headers),
    )
}

/// What the request's headers say of its caller, as a JSON object of all values
/// by name. It holds every header that an application might take for one of the
/// mesh's `x-jwt-*`, as some do that read `_` and `-` alike.
fn identity(headers: &HeaderMap) -> Option<String> {
    let mut found = BTreeMap::<&str, Vec<String>>::new();
    for (name, value) in headers {
        if name.as_str().replace('_', "-").starts_with("x-jwt-") {
            found
                .entry(name.as_str())
                .or_default()
                .push(shortened(value));
        }
    }
    (!found.is_empty()).then(|| json!(found).to_string())
}

/// The caller's certificate, and those of whoever it came through, as the
/// sidecars tell it.
fn client_cert(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all("x-forwarded-client-cert").iter();
    let values: Vec<_> = values.map(shortened).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn shortened(value: &HeaderValue) -> String {
    const ENOUGH: usize = 1024;
    let bytes = value.as_bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(ENOUGH)]).into_owned()
}

/// The line that each request with a span leaves.
pub(crate) fn log_response(response: &Response, latency: Duration, span: &Span) {
    if span.is_disabled() {
        return;
    }
    info!(
        status = response.status().as_u16(),
        latency_seconds = latency.as_secs_f64(),
        "answered"
    );
}
