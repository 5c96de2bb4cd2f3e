//! Whatever a `WWW-Authenticate` says, only a 401 can refuse a token.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use token_client::token_is_refused;

fuzz_target!(|value: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]);
    let _ = token_is_refused(StatusCode::UNAUTHORIZED, &headers);
    assert!(!token_is_refused(StatusCode::FORBIDDEN, &headers));
});
