//! A line of a batch that is a request survives being written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use token_client::batch::Request;

fuzz_target!(|line: &[u8]| {
    let Ok(request) = serde_json::from_slice::<Request>(line) else { return };
    let once = serde_json::to_string(&request).unwrap();
    let again: Request = serde_json::from_str(&once).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), once);
});
