//! What the workload's own policies show, whatever the request.

pub(crate) mod email;
pub(crate) mod no_authentication;
pub(crate) mod satisfied_by_nothing;
pub(crate) mod star;
pub(crate) mod token_removed;
pub(crate) mod unknown_issuer;
