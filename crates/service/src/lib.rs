#![doc = include_str!("../README.md")]

mod metrics;
mod run;
mod server;
mod trace;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt;
use tower_http::request_id::MakeRequestUuid;
use tower_http::trace::TraceLayer;

use metrics::Metrics;
pub use run::{StartError, run};
pub use server::{Drain, seconds, serve, shutdown_on_signal};
pub use trace::subscriber;

/// A service of these routes. `registry` holds the metrics of its own, if it
/// has any; cancelling `shutdown` turns `/readyz` to 503.
///
/// Probes and metrics are not counted, and logged only where the mesh let one
/// in: those of the kubelet and of Prometheus come past it, every few seconds,
/// and would bury the requests of users.
pub fn app(routes: Router, registry: Registry, shutdown: CancellationToken) -> Router {
    let metrics = Metrics::new(registry);
    let log = TraceLayer::new_for_http()
        .make_span_with(trace::span)
        .on_request(())
        .on_response(trace::log_response)
        .on_failure(());
    let observed = routes.layer(
        ServiceBuilder::new()
            .set_x_request_id(MakeRequestUuid)
            .layer(log.clone())
            .propagate_x_request_id()
            .layer(middleware::from_fn_with_state(
                metrics.clone(),
                metrics::observe,
            )),
    );
    let operations = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz).with_state(shutdown))
        .route("/metrics", get(metrics::render).with_state(metrics))
        .layer(log);
    operations.merge(observed)
}

async fn readyz(State(shutdown): State<CancellationToken>) -> (StatusCode, &'static str) {
    if shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down")
    } else {
        (StatusCode::OK, "ready")
    }
}
