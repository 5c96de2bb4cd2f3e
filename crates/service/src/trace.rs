//! Logs: one JSON object a line, one line a request.

use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
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
pub(crate) fn span(request: &Request) -> Span {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    info_span!(
        "request",
        request_id = header("x-request-id"),
        traceparent = header("traceparent"),
        method = %request.method(),
        path = request.uri().path(),
    )
}

/// The line that each request leaves.
pub(crate) fn log_response(response: &Response, latency: Duration, _: &Span) {
    info!(
        status = response.status().as_u16(),
        latency_seconds = latency.as_secs_f64(),
        "answered"
    );
}
