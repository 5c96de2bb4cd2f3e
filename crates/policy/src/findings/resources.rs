//! What the other resources show, whatever the request.

pub(crate) mod any_audience;
pub(crate) mod selector;
pub(crate) mod several_tokens;
pub(crate) mod target_refs;
pub(crate) mod tcp_port;
