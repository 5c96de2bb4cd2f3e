//! Errors as Problem Details (RFC 9457).

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use token_client::TokenError;

use crate::CallError;

/// An error as its caller may see it. Causes stay in the log: they name hosts
/// and addresses that are no business of the caller.
#[derive(Debug)]
pub(crate) struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: StatusCode,
    detail: String,
    request_id: Option<String>,
    /// In seconds, rounded up.
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(error: &CallError, request_id: Option<String>) -> Self {
        let (status, r#type, title) = match error {
            CallError::Token(TokenError::Rejected { .. }) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:problem-type:mesh-oidc:client-rejected",
                "The identity provider rejects this service",
            ),
            CallError::Token(TokenError::Unavailable { .. }) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:problem-type:mesh-oidc:token-unavailable",
                "No token to be had",
            ),
            CallError::Forbidden => (
                StatusCode::FORBIDDEN,
                "urn:problem-type:mesh-oidc:forbidden",
                "Forbidden",
            ),
            CallError::Late(_) => (
                StatusCode::GATEWAY_TIMEOUT,
                "urn:problem-type:mesh-oidc:backend-late",
                "Backend too late",
            ),
            CallError::Unreachable(_) => (
                StatusCode::BAD_GATEWAY,
                "urn:problem-type:mesh-oidc:backend-unreachable",
                "Backend unreachable",
            ),
            CallError::Unauthorized | CallError::Unexpected(_) => (
                StatusCode::BAD_GATEWAY,
                "urn:problem-type:mesh-oidc:backend-refused",
                "Backend refused",
            ),
        };
        let detail = match error {
            CallError::Token(TokenError::Rejected { error: code, .. }) => {
                format!("{error}: {code}")
            }
            other => other.to_string(),
        };
        let retry_after = match error {
            CallError::Token(error) => Some(error.retry_after().as_secs() + 1),
            _ => None,
        };
        Self {
            r#type,
            title,
            status,
            detail,
            request_id,
            retry_after,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({
            "type": self.r#type,
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "request_id": self.request_id,
        }));
        let content_type = [(CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, content_type, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
