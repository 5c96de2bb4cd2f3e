//! How Envoy puts its own answers on the wire.

use super::Outcome;
use crate::request::Request;

/// Whether the request is gRPC for Envoy: by its content type, and it has a path.
pub(super) fn is_grpc(request: &Request) -> bool {
    let mut types = request.header("content-type");
    let rest = types
        .next()
        .and_then(|it| it.strip_prefix("application/grpc"));
    let has_path = request.path.as_ref().is_none_or(|path| !path.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('+')) && has_path
}

/// A gRPC client is told in `grpc-status` and `grpc-message` of an answer with 200.
/// What the codec cannot read gets plain HTTP.
pub(super) fn to_grpc(outcome: &mut Outcome) {
    let details = outcome.response_code_details.as_deref().unwrap_or_default();
    let (Some(status), false) = (outcome.status, details.starts_with("http")) else {
        return;
    };
    if outcome.allowed {
        return;
    }
    outcome.status = Some(200);
    outcome.grpc_status = Some(grpc_status(status));
    let message = outcome.body.replace(String::new());
    outcome.grpc_message = message.filter(|it| !it.is_empty()).map(|it| encode(&it));
}

/// The answer to HEAD has no body.
pub(super) fn to_head(outcome: &mut Outcome) {
    if outcome.status.is_some() {
        outcome.body = Some(String::new());
    }
}

/// Envoy's mapping from HTTP (`source/common/grpc/status.cc`).
fn grpc_status(http: u16) -> u8 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// A `grpc-message` is percent-encoded where it is not printable.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
