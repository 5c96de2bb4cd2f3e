//! The service that calls the backend as itself.
//!
//! Its token comes from [`token_client`]; its own callers need none.
//!
//! | path | answer |
//! |---|---|
//! | `GET /` | `Backend response: ` and the backend's data |
//!
//! and the probes and metrics that [`service`] adds; the metrics tell what the
//! token cache did. Readiness depends on neither Keycloak nor the backend: one
//! that is down makes every replica fail alike, and taking them all out of
//! service would turn this service's errors, which say why and when to come
//! back, into the mesh's bare 503.
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
mod counters;
mod problem;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use prometheus_client::registry::Registry;
use token_client::TokenCache;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use backend::{Backend, BackendError};
use counters::TokenCounters;
use problem::Problem;

/// The routes of the service. `tokens` are those that `backend` uses;
/// cancelling `shutdown` turns `/readyz` to 503.
pub fn app(backend: Backend, tokens: TokenCache, shutdown: CancellationToken) -> Router {
    let routes = Router::new().route("/", get(index).with_state(backend));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(TokenCounters(tokens)));
    service::app(routes, registry, shutdown)
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
