//! What the request lacks that the nearest rule asks for.

pub(crate) mod host_port;
pub(crate) mod plain_text;
