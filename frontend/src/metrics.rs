//! Request counts and latencies, and what the token cache did.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use token_client::TokenCache;

/// What `/metrics` shows. Clones share the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Labels, Histogram>,
}

/// The route, never the path: a caller must not be able to add label values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: String,
    status: u16,
}

impl Metrics {
    pub(crate) fn new(tokens: TokenCache) -> Self {
        let requests = Family::<Labels, Histogram>::new_with_constructor(|| {
            Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0])
        });
        let mut registry = Registry::default();
        registry.register_with_unit(
            "http_server_request_duration",
            "Time from request to response head, by route and status",
            Unit::Seconds,
            requests.clone(),
        );
        registry.register_collector(Box::new(Tokens(tokens)));
        Self {
            registry: Arc::new(registry),
            requests,
        }
    }
}

/// The token cache's own counters, read when asked for.
#[derive(Debug)]
struct Tokens(TokenCache);

impl Collector for Tokens {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counters = self.0.counters();
        for (name, help, value) in [
            ("fetches", "Attempts to obtain a token", counters.fetches),
            (
                "rejected",
                "Attempts that the token endpoint refused",
                counters.rejected,
            ),
            (
                "unavailable",
                "Attempts that brought no usable answer",
                counters.unavailable,
            ),
            (
                "served_stale",
                "Calls that got a token from its refresh window",
                counters.served_stale,
            ),
            (
                "waited",
                "Calls that had to wait for an attempt",
                counters.waited,
            ),
            (
                "refused_early",
                "Calls that failed at once, before the next attempt",
                counters.refused_early,
            ),
            (
                "invalidated",
                "Tokens dropped after a 401",
                counters.invalidated,
            ),
        ] {
            let name = format!("token_client_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        Ok(())
    }
}

pub(crate) async fn observe(
    State(metrics): State<Metrics>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let response = next.run(request).await;
    let labels = Labels {
        route: route.map_or_else(|| "none".into(), |route| route.as_str().into()),
        status: response.status().as_u16(),
    };
    metrics
        .requests
        .get_or_create(&labels)
        .observe(started.elapsed().as_secs_f64());
    response
}

pub(crate) async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    let mut text = String::new();
    encode(&mut text, &metrics.registry).expect("writing to a String does not fail");
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, open_metrics)], text)
}
