//! token-client
