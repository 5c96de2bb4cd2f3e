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
//!
//! and the probes and metrics that [`service`] adds.

use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// The routes of the service. Cancelling `shutdown` turns `/readyz` to 503.
pub fn app(shutdown: CancellationToken) -> Router {
    let routes = Router::new()
        .route("/data", get(|| async { "Data from backend!" }))
        .route("/whoami", get(whoami));
    service::app(routes, Registry::default(), shutdown)
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
