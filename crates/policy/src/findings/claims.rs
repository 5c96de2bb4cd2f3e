//! What the token lacks that the nearest rule asks for.

pub(crate) mod nested_roles;
pub(crate) mod no_string;
pub(crate) mod service_account;
pub(crate) mod subject;
