//! Errors as Problem Details (RFC 9457).

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use token_client::TokenError;

use crate::BackendError;

/// An error as its caller may see it. Causes stay in the log: they name hosts
/// and addresses that are no business of the caller.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// In seconds, rounded up.
    retry_after: Option<u64>,
    details: Details,
}

#[derive(Debug, Serialize)]
struct Details {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    request_id: Option<String>,
}

impl Problem {
    pub(crate) fn new(error: &BackendError, request_id: Option<String>) -> Self {
        let (status, name, title) = match error {
            BackendError::Token(TokenError::Rejected { .. }) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "client-rejected",
                "The identity provider rejects this service",
            ),
            BackendError::Token(TokenError::Unavailable { .. }) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "token-unavailable",
                "No token to be had",
            ),
            BackendError::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            BackendError::Late(_) => (
                StatusCode::GATEWAY_TIMEOUT,
                "backend-late",
                "Backend too late",
            ),
            BackendError::Unreachable(_) => (
                StatusCode::BAD_GATEWAY,
                "backend-unreachable",
                "Backend unreachable",
            ),
            BackendError::Unauthorized | BackendError::Unexpected(_) => (
                StatusCode::BAD_GATEWAY,
                "backend-refused",
                "Backend refused",
            ),
        };
        let detail = match error {
            BackendError::Token(TokenError::Rejected { error: code, .. }) => {
                format!("{error}: {code}")
            }
            other => other.to_string(),
        };
        let retry_after = match error {
            BackendError::Token(error) => Some(error.retry_after().as_secs() + 1),
            _ => None,
        };
        Self {
            status,
            retry_after,
            details: Details {
                r#type: format!("urn:problem-type:mesh-oidc:{name}"),
                title,
                status: status.as_u16(),
                detail,
                request_id,
            },
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let content_type = [(CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, content_type, Json(self.details)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
