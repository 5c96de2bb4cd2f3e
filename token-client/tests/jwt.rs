//! Looking into a JWT.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use token_client::jwt::{DecodeError, decode};

fn jwt(header: &str, claims: &str) -> String {
    let encode = |text| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.c2lnbmF0dXJl", encode(header), encode(claims))
}

#[test]
fn header_and_claims_are_decoded() {
    let token = decode(&jwt(r#"{"alg":"RS256"}"#, r#"{"iss":"me","exp":1300.5}"#)).unwrap();
    assert_eq!(token.header["alg"], "RS256");
    assert_eq!(token.claims["iss"], "me");
    let end = SystemTime::UNIX_EPOCH + Duration::from_millis(1_300_500);
    assert_eq!(token.moment("exp"), Some(end));
}

#[test]
fn claims_that_are_no_moment_are_none() {
    for exp in ["\"1300\"", "-1", "1e300", "null", "[]"] {
        let token = decode(&jwt("{}", &format!(r#"{{"exp":{exp}}}"#))).unwrap();
        assert_eq!(token.moment("exp"), None, "{exp}");
    }
}

#[test]
fn what_is_no_jwt_is_told_without_quoting_it() {
    for (text, error) in [
        ("s3cret", DecodeError::Parts(1)),
        ("a.b.c.d.e", DecodeError::Parts(5)),
        ("s3cret!.e30.x", DecodeError::Base64("header")),
        ("e30.s3cret!.x", DecodeError::Base64("payload")),
        ("W10.e30.x", DecodeError::Json("header")),
        ("e30.bm8.x", DecodeError::Json("payload")),
    ] {
        assert_eq!(decode(text), Err(error.clone()));
        assert!(!error.to_string().contains("s3cret"));
    }
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in any::<String>()) {
        let _ = decode(&text);
    }

    #[test]
    fn whatever_claims_are_encoded_are_decoded(issuer in any::<String>(), end in any::<u32>()) {
        let claims = serde_json::json!({"iss": issuer, "exp": end});
        let token = decode(&jwt("{}", &claims.to_string())).unwrap();
        prop_assert_eq!(serde_json::Value::from(token.claims), claims);
    }
}
