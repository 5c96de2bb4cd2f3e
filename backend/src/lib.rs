//! The service that the mesh protects.
//!
//! It holds data and no auth code: no token is read here. The sidecar lets
//! only vetted requests through and passes the caller's identity on as plain
//! headers, which [`app`] shows at `/whoami`.
//!
//! | path | answer |
//! |---|---|
//! | `GET /data` | `Data from backend!` |
//! | `GET /whoami` | the identity headers, as JSON |
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200, or 503 once shutting down |
//! | `GET /metrics` | request counts and latencies, OpenMetrics text |

mod metrics;
mod server;
mod trace;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt;
use tower_http::request_id::MakeRequestUuid;
use tower_http::trace::TraceLayer;

use metrics::Metrics;
pub use server::{Drain, serve, shutdown_on_signal};
pub use trace::subscriber;

/// The routes of the service. Cancelling `shutdown` turns `/readyz` to 503.
///
/// Probes and metrics are neither logged nor counted: they come every few
/// seconds and would bury the requests of users.
pub fn app(shutdown: CancellationToken) -> Router {
    let metrics = Metrics::new();
    let service = Router::new()
        .route("/data", get(|| async { "Data from backend!" }))
        .route("/whoami", get(whoami))
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

/// The caller as the sidecar's `outputClaimToHeaders` describes it; `null`
/// where the token had no such claim or no token was needed.
#[derive(Debug, Serialize)]
struct Identity {
    sub: Option<String>,
    email: Option<String>,
    azp: Option<String>,
}

async fn whoami(headers: HeaderMap) -> Json<Identity> {
    let claim = |name| {
        let value = headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Json(Identity {
        sub: claim("x-jwt-sub"),
        email: claim("x-jwt-email"),
        azp: claim("x-jwt-azp"),
    })
}

async fn readyz(State(shutdown): State<CancellationToken>) -> (StatusCode, &'static str) {
    if shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down")
    } else {
        (StatusCode::OK, "ready")
    }
}
