use std::collections::BTreeMap;

use super::*;
use crate::token::{Granted, Keyring, generate_private_key};

/// What a recipe makes of a granted token `{"alg":"RS256","kid":"k"}.{"sub":"42"}`.
fn make(recipe: Value) -> (String, Object) {
    let key = generate_private_key().unwrap();
    let keyring = Keyring::new([("r", &key)]).unwrap();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = format!(
        "{}.{}.{}",
        encode(r#"{"alg":"RS256","kid":"k"}"#),
        encode(r#"{"sub":"42"}"#),
        encode("sig")
    );
    let granted = BTreeMap::from([(
        "user".to_owned(),
        Granted {
            realm: "r".to_owned(),
            access_token: token.into(),
            refresh_token: None,
        },
    )]);
    let mint = Mint {
        granted: &granted,
        keyring: &keyring,
    };
    let smith = Smith::new(mint).unwrap();
    let recipe: HostileToken = serde_json::from_value(recipe).unwrap();
    let (text, claims) = smith.make(&recipe, Timestamp::now()).unwrap();
    (String::from_utf8(text).unwrap(), claims)
}

fn decoded(token: &str, part: usize) -> String {
    let part = token.split('.').nth(part).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn texts_stand_in_the_place_of_objects() {
    let (token, claims) = make(json!({"jws": {
        "like": "user",
        "header_text": "{\"alg\":\"none\",<members>}",
        "claims_text": "[{<members>}]",
        "signature": "of-the-model",
    }}));
    assert_eq!(
        decoded(&token, 0),
        r#"{"alg":"none","alg":"RS256","kid":"k"}"#
    );
    assert_eq!(decoded(&token, 1), r#"[{"sub":"42"}]"#);
    assert_eq!(decoded(&token, 2), "sig");
    assert_eq!(claims["sub"], "42");
}

#[test]
fn the_header_offers_keys_of_the_attackers_own() {
    let (token, _) = make(json!({"jws": {
        "like": "user",
        "header": {"jwk": "{foreign_jwk}", "x5c": ["{foreign_x5c}"], "kid": "../{kid}{repeat:x:3}"},
        "sign_with": "foreign-key",
    }}));
    let header: Value = serde_json::from_str(&decoded(&token, 0)).unwrap();
    assert_eq!(header["jwk"]["kty"], "RSA");
    assert!(
        header["x5c"][0].as_str().unwrap().starts_with("MII"),
        "{header}"
    );
    assert_eq!(header["kid"], "../kxxx");
}

#[test]
fn parts_stand_as_the_layout_says() {
    let (token, _) = make(
        json!({"jws": {"like": "user", "sign_with": "nothing", "layout": "{claims}.{bytes:78}{header}"}}),
    );
    assert_eq!(decoded(&token, 0), r#"{"sub":"42"}"#);
    assert!(token.split('.').nth(1).unwrap().starts_with('x'));
}

#[test]
fn loose_bits_change_the_text_and_not_the_bytes() {
    let text = String::from_utf8(Encoding::LooseBits.encode(b"sig1")).unwrap();
    assert_ne!(text, URL_SAFE_NO_PAD.encode("sig1"));
    let lenient = base64::engine::GeneralPurpose::new(
        &base64::alphabet::URL_SAFE,
        base64::engine::general_purpose::NO_PAD.with_decode_allow_trailing_bits(true),
    );
    assert_eq!(lenient.decode(text).unwrap(), b"sig1");
}

#[test]
fn signatures_are_spoilt() {
    let signature = |how: Value| {
        let (token, _) = make(json!({"jws": {"like": "user", "signature": how}}));
        URL_SAFE_NO_PAD
            .decode(token.split('.').nth(2).unwrap())
            .unwrap()
    };
    assert_eq!(signature(json!({"zeros": 7})), [0; 7]);
    assert_eq!(signature(json!("drop-last-byte")).len(), 255);
    assert_eq!(signature(json!("twice")).len(), 512);
    assert_eq!(signature(json!("of-the-model")), b"sig");
}

#[test]
fn a_recipe_that_is_none_is_told() {
    let error =
        serde_json::from_value::<HostileToken>(json!({"jws": {"like": "user", "signature": "x"}}));
    assert!(error.unwrap_err().to_string().contains("as-signed"));
}
