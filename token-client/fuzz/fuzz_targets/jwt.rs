//! No text is too odd for a look into it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use token_client::jwt::decode;

fuzz_target!(|text: &str| {
    if let Ok(token) = decode(text) {
        for claim in ["exp", "iat", "nbf"] {
            let _ = token.moment(claim);
        }
    }
});
