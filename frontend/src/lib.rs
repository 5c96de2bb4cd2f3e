//! The service that calls the backend as itself.
//!
//! Its token comes from [`token_client`]; its own callers need none.
//!
//! | path | answer |
//! |---|---|
//! | `GET /` | `Backend response: ` and the backend's data |
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200, or 503 once shutting down; does not depend on Keycloak |
//! | `GET /metrics` | requests and what the token cache did, OpenMetrics text |
//!
//! Errors of `GET /` are Problem Details (RFC 9457):
//!
//! | status | when |
//! |---|---|
//! | 403 | the backend's policy does not allow this service |
//! | 502 | the backend cannot be reached or answers neither 200 nor 403 |
//! | 503, with `Retry-After` | no token in hand and none to be had |
//! | 504 | the backend takes too long |

mod backend;
mod metrics;
mod problem;
mod server;
mod trace;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt;
use tower_http::request_id::MakeRequestUuid;
use tower_http::trace::TraceLayer;
use tracing::warn;

pub use backend::{Backend, CallError};
use metrics::Metrics;
use problem::Problem;
pub use server::{Drain, serve, shutdown_on_signal};
pub use trace::subscriber;

/// The routes of the service. Cancelling `shutdown` turns `/readyz` to 503.
///
/// Probes and metrics are neither logged nor counted: they come every few
/// seconds and would bury the requests of users.
pub fn app(backend: Backend, shutdown: CancellationToken) -> Router {
    let metrics = Metrics::new(backend.tokens().clone());
    let service = Router::new()
        .route("/", get(index).with_state(backend))
        .layer(
            ServiceBuilder::new()
                .set_x_request_id(MakeRequestUuid)
                .layer(
                    TraceLayer::new_for_http()
                        .make_span_with(trace::span)
                        .on_request(())
                        .on_response(trace::log_response)
                        .on_failure(()),
                )
                .propagate_x_request_id()
                .layer(middleware::from_fn_with_state(
                    metrics.clone(),
                    metrics::observe,
                )),
        );
    let operations = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz).with_state(shutdown))
        .route("/metrics", get(metrics::render).with_state(metrics));
    operations.merge(service)
}

async fn index(State(backend): State<Backend>, headers: HeaderMap) -> Result<String, Problem> {
    match backend.data(&headers).await {
        Ok(data) => Ok(format!("Backend response: {data}")),
        Err(error) => {
            let id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
            let problem = Problem::new(&error, id.map(Into::into));
            warn!(
                cause = format!("{:#}", anyhow::Error::new(error)),
                "no data"
            );
            Err(problem)
        }
    }
}

async fn readyz(State(shutdown): State<CancellationToken>) -> (StatusCode, &'static str) {
    if shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down")
    } else {
        (StatusCode::OK, "ready")
    }
}
