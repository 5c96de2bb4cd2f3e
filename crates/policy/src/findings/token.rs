//! Why the token is refused, or not seen at all.

pub(crate) mod audience;
pub(crate) mod clock;
pub(crate) mod issuer;
pub(crate) mod keys;
pub(crate) mod not_found;
