//! How the sidecar finds and verifies tokens: facts of Envoy's `jwt_authn`
//! under the configuration that istiod gives it.

mod support;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};
use policy::{KeySets, Passed, Token, Verdict};
use serde_json::{Value, json};
use support::{
    AUDIENCE, Ask, ISSUER, NOW, allow, base64, jwk, policy, request_authentication, sign, token,
    token_with, user,
};

/// Any verified token of the issuer passes; without one, 403.
fn any_token() -> Ask {
    Ask::new(&allow(
        r#"[{from: [{source: {requestPrincipals: ["*"]}}]}]"#,
    ))
}

fn status(token: &str) -> (u16, String) {
    let (status, body, details) = any_token().token(token).refusal();
    assert_eq!(
        details,
        format!("jwt_authn_access_denied{{{}}}", body.replace(' ', "_"))
    );
    (status, body)
}

fn with_claims(changes: &Value) -> Ask {
    any_token().claims(&user(changes))
}

#[test]
fn a_good_token_passes() {
    assert!(with_claims(&json!({})).allowed());
}

#[test]
fn no_token_passes_authentication_and_meets_rbac() {
    let refused = (
        403,
        "RBAC: access denied".into(),
        "rbac_access_denied_matched_policy[none]".into(),
    );
    assert_eq!(any_token().refusal(), refused);
    assert!(Ask::new(&request_authentication("")).allowed());
}

#[test]
fn a_token_that_is_there_must_be_good_even_without_a_policy() {
    let (status, ..) = Ask::new(&request_authentication(""))
        .token("junk")
        .refusal();
    assert_eq!(status, 401);
}

#[test]
fn a_refused_token_draws_a_challenge_with_the_url() {
    let outcome = any_token()
        .token("junk")
        .explain()
        .outcome
        .expect("one outcome");
    let challenge = "Bearer realm=\"http://backend.demo/data\", error=\"invalid_token\"";
    assert_eq!(outcome.www_authenticate.as_deref(), Some(challenge));
}

#[test]
fn the_challenge_has_at_most_256_bytes_of_the_path() {
    let path = format!("/{}", "a".repeat(300));
    let ask = any_token()
        .token("junk")
        .request(|request| request.path = Some(path.clone()));
    let challenge = ask
        .explain()
        .outcome
        .expect("one")
        .www_authenticate
        .expect("a challenge");
    assert_eq!(
        challenge,
        format!(
            "Bearer realm=\"http://backend.demo{}\", error=\"invalid_token\"",
            &path[..256]
        )
    );
}

#[test]
fn every_unreadable_token_has_its_own_text() {
    let good = token(&user(&json!({})));
    let [header, payload, signature]: [&str; 3] = good
        .split('.')
        .collect::<Vec<_>>()
        .try_into()
        .expect("three sections");
    let three = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
    let head = |text: &str| sign(&base64(text), payload);
    let body = |text: &str| sign(header, &base64(text));
    for (token, text) in [
        ("junk".to_owned(), three),
        (format!("{header}.{payload}"), three),
        (format!("{header}.{payload}."), three),
        (format!("{good}.x"), three),
        (
            format!("a!.{payload}.{signature}"),
            "Jwt header is an invalid Base64url encoded",
        ),
        (head("{"), "Jwt header is an invalid JSON"),
        (
            head("{}"),
            "Jwt header [alg] field is required and must be a string",
        ),
        (
            head(r#"{"alg":1}"#),
            "Jwt header [alg] field is required and must be a string",
        ),
        (
            head(r#"{"alg":"none"}"#),
            "Jwt header [alg] is not supported",
        ),
        (
            head(r#"{"alg":"HS256","kid":1}"#),
            "Jwt header [kid] field is not a string",
        ),
        (
            format!("{header}.!.{signature}"),
            "Jwt payload is an invalid Base64url encoded",
        ),
        (body("["), "Jwt payload is an invalid JSON"),
        (body(r#"{"a":1,"a":2}"#), "Jwt payload is an invalid JSON"),
        (
            body(r#"{"iss":1}"#),
            "Jwt payload [iss] field is not a string",
        ),
        (
            body(r#"{"sub":1}"#),
            "Jwt payload [sub] field is not a string",
        ),
        (
            body(r#"{"jti":1}"#),
            "Jwt payload [jti] field is not a string",
        ),
        (
            body(r#"{"iat":"1"}"#),
            "Jwt payload [iat] field is not an integer",
        ),
        (
            body(r#"{"iat":-1}"#),
            "Jwt payload [iat] field is not a positive 64 bit integer",
        ),
        (
            body(r#"{"nbf":"1"}"#),
            "Jwt payload [nbf] field is not an integer",
        ),
        (
            body(r#"{"nbf":1e30}"#),
            "Jwt payload [nbf] field is not a positive 64 bit integer",
        ),
        (
            body(r#"{"exp":true}"#),
            "Jwt payload [exp] field is not an integer",
        ),
        (
            body(r#"{"exp":-5}"#),
            "Jwt payload [exp] field is not a positive 64 bit integer",
        ),
        (
            body(r#"{"aud":1}"#),
            "Jwt payload [aud] field is not a string or string list",
        ),
        (
            body(r#"{"aud":["a",1]}"#),
            "Jwt payload [aud] field is not a string or string list",
        ),
        (
            body(r#"{"aud":null}"#),
            "Jwt payload [aud] field is not a string or string list",
        ),
        (
            format!("{header}.{payload}.!"),
            "Jwt signature is an invalid Base64url encoded",
        ),
    ] {
        assert_eq!(status(&token), (401, text.to_owned()), "{token}");
    }
}

#[test]
fn empty_sections_do_not_count() {
    let good = token(&user(&json!({})));
    assert!(any_token().token(&good.replacen('.', "..", 1)).allowed());
}

#[test]
fn padding_is_absent_or_exact() {
    let payload = base64(user(&json!({"x": ""})).to_string());
    let header = base64(r#"{"alg":"HS256"}"#);
    let exact = "=".repeat((4 - payload.len() % 4) % 4);
    assert!(
        any_token()
            .token(&sign(&header, &format!("{payload}{exact}")))
            .allowed()
    );
    let wrong = sign(&header, &format!("{payload}{exact}="));
    assert_eq!(
        status(&wrong).1,
        "Jwt payload is an invalid Base64url encoded"
    );
}

#[test]
fn null_is_an_empty_payload() {
    let unknown = "Jwt issuer is not configured".to_owned();
    assert_eq!(
        status(&sign(&base64(r#"{"alg":"HS256"}"#), &base64("null"))),
        (401, unknown)
    );
}

#[test]
fn a_payload_may_be_json_in_protobufs_old_syntax() {
    let payload = format!("{{'iss': '{ISSUER}', sub: 'f3b1', aud: ['{AUDIENCE}',],}}");
    let header = base64(json!({"alg": "HS256", "kid": "k1"}).to_string());
    assert!(
        any_token()
            .token(&sign(&header, &base64(payload)))
            .allowed()
    );
}

#[test]
fn an_issuer_is_compared_byte_for_byte() {
    let unknown = (401, "Jwt issuer is not configured".to_owned());
    for issuer in [
        json!(format!("{ISSUER}/")),
        json!(ISSUER.replace("http:", "https:")),
        json!(ISSUER.replace("/realms", ":80/realms")),
        json!("https://elsewhere"),
        Value::Null,
    ] {
        assert_eq!(status(&token(&user(&json!({"iss": issuer})))), unknown);
    }
}

#[test]
fn expiry_allows_sixty_seconds() {
    assert!(with_claims(&json!({"exp": NOW - 60})).allowed());
    assert_eq!(
        status(&token(&user(&json!({"exp": NOW - 61})))),
        (401, "Jwt is expired".into())
    );
}

#[test]
fn not_before_allows_sixty_seconds() {
    assert!(with_claims(&json!({"nbf": NOW + 60})).allowed());
    assert_eq!(
        status(&token(&user(&json!({"nbf": NOW + 61})))),
        (401, "Jwt not yet valid".into())
    );
}

#[test]
fn a_token_without_expiry_or_with_zero_never_expires() {
    assert!(with_claims(&json!({"exp": null})).allowed());
    assert!(with_claims(&json!({"exp": 0})).allowed());
}

#[test]
fn fractions_of_seconds_are_cut_off() {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let exp = (NOW - 61) as f64 + 0.9;
    assert_eq!(
        status(&token(&user(&json!({"exp": exp})))).1,
        "Jwt is expired"
    );
}

#[test]
fn when_it_was_issued_does_not_matter() {
    assert!(with_claims(&json!({"iat": NOW + 100_000})).allowed());
}

fn with_audiences(audiences: &str, aud: &Value) -> Ask {
    let yaml = request_authentication(&format!(", audiences: {audiences}"));
    Ask::new(&yaml).claims(&user(&json!({"aud": aud})))
}

#[test]
fn a_wrong_audience_is_403_by_authentication() {
    let refused = with_audiences("[other]", &json!(AUDIENCE)).refusal();
    let text = "Audiences in Jwt are not allowed";
    let details = "jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}";
    assert_eq!(refused, (403, text.to_owned(), details.to_owned()));
    assert_eq!(with_audiences("[other]", &Value::Null).refusal().0, 403);
}

#[test]
fn a_wrong_audience_draws_a_challenge_too() {
    let outcome = with_audiences("[other]", &json!("x"))
        .explain()
        .outcome
        .expect("one");
    assert!(
        outcome
            .www_authenticate
            .expect("a challenge")
            .contains("invalid_token")
    );
}

#[test]
fn one_audience_of_a_list_is_enough() {
    assert!(with_audiences("[a, b]", &json!(["x", "b"])).allowed());
}

#[test]
fn scheme_and_one_last_slash_of_an_audience_do_not_count() {
    assert!(with_audiences("[\"https://api/\"]", &json!("http://api")).allowed());
    assert!(!with_audiences("[\"https://api/\"]", &json!("api//")).allowed());
}

#[test]
fn without_audiences_any_will_do() {
    assert!(with_audiences("[]", &Value::Null).allowed());
}

#[test]
fn checks_run_in_order_format_issuer_times_audience_signature() {
    let ask = |claims: &Value| {
        let forged = token(claims) + "AAAA";
        Ask::new(&request_authentication(", audiences: [other]"))
            .token(&forged)
            .refusal()
            .1
    };
    assert_eq!(
        ask(&user(&json!({"iss": "x", "exp": 1}))),
        "Jwt issuer is not configured"
    );
    assert_eq!(ask(&user(&json!({"exp": 1}))), "Jwt is expired");
    assert_eq!(ask(&user(&json!({}))), "Audiences in Jwt are not allowed");
    assert_eq!(
        ask(&user(&json!({"aud": "other"}))),
        "Jwt verification fails"
    );
}

fn with_keys(set: &Value, header: &Value) -> Ask {
    let mut ask = any_token().token(&token_with(header, &user(&json!({}))));
    ask.keys = KeySets::from([(ISSUER.to_owned(), set.to_string())]);
    ask
}

#[test]
fn a_key_is_passed_over_only_if_both_sides_name_different_ids() {
    let none = "Jwks doesn't have key to match kid or alg from Jwt";
    let hs = |kid: &Value| json!({"alg": "HS256", "kid": kid});
    let no_kid = json!({"alg": "HS256"});
    assert_eq!(
        with_keys(&json!({"keys": [jwk("k2")]}), &hs(&json!("k1")))
            .refusal()
            .1,
        none
    );
    assert!(with_keys(&json!({"keys": [jwk("k2")]}), &no_kid).allowed());
    assert!(with_keys(&json!({"keys": [jwk("")]}), &hs(&json!("k1"))).allowed());
}

#[test]
fn a_key_of_another_algorithm_is_passed_over() {
    let mut key = jwk("k1");
    key["alg"] = json!("HS512");
    let none = "Jwks doesn't have key to match kid or alg from Jwt";
    let header = json!({"alg": "HS256", "kid": "k1"});
    assert_eq!(
        with_keys(&json!({"keys": [key]}), &header).refusal().1,
        none
    );
}

#[test]
fn every_key_that_may_be_meant_is_tried() {
    let mut wrong = jwk("k1");
    wrong["k"] = json!(base64("another secret"));
    let header = json!({"alg": "HS256", "kid": "k1"});
    assert!(with_keys(&json!({"keys": [wrong, jwk("k1")]}), &header).allowed());
    assert_eq!(
        with_keys(&json!({"keys": [wrong]}), &header).refusal().1,
        "Jwt verification fails"
    );
}

#[test]
fn the_use_of_a_key_is_ignored_and_bad_keys_beside_a_good_one_are_skipped() {
    let mut key = jwk("k1");
    key["use"] = json!("enc");
    let set = json!({"keys": [{"kty": "RSA", "n": "AQAB"}, {"kty": "none"}, key]});
    assert!(with_keys(&set, &json!({"alg": "HS256"})).allowed());
}

#[test]
fn a_set_without_a_valid_key_makes_the_sidecar_refuse_the_configuration() {
    for set in [
        json!({"keys": []}),
        json!({}),
        json!([]),
        json!({"keys": [{"kty": "RSA"}]}),
    ] {
        let explanation = with_keys(&set, &json!({"alg": "HS256"})).explain();
        assert_eq!(explanation.verdict, Verdict::Unknown);
        assert!(
            explanation.possible[0]
                .reason
                .contains("refuses this configuration")
        );
    }
}

#[test]
fn a_set_given_in_the_resource_wins() {
    let set = json!({"keys": [jwk("k1")]});
    let mut ask =
        Ask::new(&request_authentication(&format!(", jwks: '{set}'"))).claims(&user(&json!({})));
    ask.keys = KeySets::new();
    assert!(ask.allowed());
}

/// Whether a token with these header and signature verifies with this key.
fn verifies(header: &Value, key: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> bool {
    let signed = format!(
        "{}.{}",
        base64(header.to_string()),
        base64(user(&json!({})).to_string())
    );
    let token = format!("{signed}.{}", base64(sign(signed.as_bytes())));
    let mut ask = any_token().token(&token);
    ask.keys = KeySets::from([(ISSUER.to_owned(), json!({"keys": [key]}).to_string())]);
    ask.allowed()
}

#[test]
fn rsa_signatures_of_every_size_and_padding_verify() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public = pair.public_key();
    let n = public.modulus().big_endian_without_leading_zero();
    let e = public.exponent().big_endian_without_leading_zero();
    let key = json!({"kty": "RSA", "n": base64(n), "e": base64(e)});
    let algorithms: [(&str, &'static RsaSignatureEncoding); 6] = [
        ("RS256", &RSA_PKCS1_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    for (alg, encoding) in algorithms {
        let sign = |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
                .expect("signs");
            signature
        };
        assert!(verifies(&json!({"alg": alg}), &key, sign), "{alg}");
        let mut elsewhere = key.clone();
        elsewhere["alg"] = json!("RS111");
        assert!(!verifies(&json!({"alg": alg}), &elsewhere, sign), "{alg}");
    }
}

#[test]
fn elliptic_signatures_verify_on_their_curve() {
    let cases: [(&str, &str, &'static EcdsaSigningAlgorithm); 3] = [
        ("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        ("ES512", "P-521", &ECDSA_P521_SHA512_FIXED_SIGNING),
    ];
    for (alg, crv, algorithm) in cases {
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let key = json!({"kty": "EC", "crv": crv, "x": base64(x), "y": base64(y)});
        let sign = |message: &[u8]| {
            pair.sign(&SystemRandom::new(), message)
                .expect("signs")
                .as_ref()
                .to_vec()
        };
        assert!(verifies(&json!({"alg": alg}), &key, sign), "{alg}");

        // An odd byte at the end is not looked at.
        let longer = |message: &[u8]| [sign(message), vec![7]].concat();
        assert!(verifies(&json!({"alg": alg}), &key, longer), "{alg}");
    }
}

#[test]
fn the_hash_comes_from_the_token_and_the_curve_from_the_key() {
    // ES384 on P-256 and ES512 on P-384, signed by openssl with keys that were
    // not kept.
    let cases = [
        (
            "P-256",
            "tW6b1SMsTcBMybQYFoe2ce9m5lvieoicFsHLfZu0nFA",
            "qEqG5-2Tt3OZ3oQ0iOgfrZD9fElnbb7LQ9CxPnjpYRo",
            concat!(
                "eyJhbGciOiJFUzM4NCJ9.eyJpc3MiOiJodHRwOi8va2MvcmVhbG1zL2EifQ.",
                "w7b90iXQtxvMk9683n5R9jbXIVdpPNvWy75DwNlgfhx9R-dHkkJonHeBg6-I4wqJb0gsKP90FLOLeXbJzfdEtQ"
            ),
        ),
        (
            "P-384",
            "7_KzBYZgHIw2JW9Fs_Sm_MiB2iP7X-fzFSHax6Wd_5OMC3i99PZbNaqp_O5nGZK1",
            "bihrugrrzLcZ9ph2kMOJYFgn1O2e7DexnxidybDoSob-C3-nEbYylCCI6xrM6uww",
            concat!(
                "eyJhbGciOiJFUzUxMiJ9.eyJpc3MiOiJodHRwOi8va2MvcmVhbG1zL2EifQ.",
                "nIKtzuXl2yYul4EoQoZbNZo_0LuCj_vpBneV26UoOM6VnJt6eIH0WWHRDEd67kGqigG3MAhsfPtnG8c_SZTBpcKshDYIiiDj1Yga7RdxKNOkwXtJJECVBn9RKYmsz0rD"
            ),
        ),
    ];
    let rules = "{issuer: 'http://kc/realms/a'}";
    let yaml = request_authentication("").replace(&format!("{{issuer: \"{ISSUER}\"}}"), rules);
    for (crv, x, y, token) in cases {
        let key = json!({"kty": "EC", "crv": crv, "x": x, "y": y});
        let mut ask = Ask::new(&yaml).token(token);
        let set = json!({"keys": [key]}).to_string();
        ask.keys = KeySets::from([("http://kc/realms/a".to_owned(), set)]);
        assert!(ask.allowed(), "{crv}");
        // The first character of the signature is another.
        let (signed, signature) = token.rsplit_once('.').expect("three sections");
        let forged = ask.token(&format!("{signed}.A{}", &signature[1..]));
        assert_eq!(forged.refusal().1, "Jwt verification fails", "{crv}");
    }
}

#[test]
fn an_rsa_key_needs_an_odd_modulus_of_at_least_512_bits() {
    let none = "Jwks doesn't have key to match kid or alg from Jwt";
    let mut modulus = [0; 64];
    modulus[0] = 0x80;
    modulus[63] = 1;
    let mut small = modulus;
    small[0] = 0x40;
    let mut even = modulus;
    even[63] = 2;
    for (n, text) in [
        (&modulus[..], "Jwt verification fails"),
        (&small[..], none),
        (&even[..], none),
        (&[], none),
    ] {
        let key = json!({"kty": "RSA", "n": base64(n), "e": "AQAB"});
        let set = json!({"keys": [key, {"kty": "EC", "alg": "ES256", "crv": "P-256"}, jwk("k2")]});
        let header = json!({"alg": "RS256", "kid": "k1"});
        assert_eq!(with_keys(&set, &header).refusal().1, text, "{n:?}");
    }
}

#[test]
fn an_rsa_key_of_a_size_that_is_not_checked_leaves_the_answer_open() {
    for size in [64, 1032] {
        let mut modulus = vec![0x80; size];
        modulus[size - 1] |= 1;
        let key = json!({"kty": "RSA", "n": base64(&modulus), "e": "AQAB"});
        let claims = user(&json!({})).to_string();
        let signed = format!(
            "{}.{}",
            base64(json!({"alg": "RS256"}).to_string()),
            base64(claims)
        );
        let mut ask = any_token().token(&format!("{signed}.{}", base64(vec![1; size])));
        ask.keys = KeySets::from([(ISSUER.to_owned(), json!({"keys": [key]}).to_string())]);
        assert_eq!(ask.explain().verdict, Verdict::Unknown, "{size} bytes");
    }
}

#[test]
fn without_curve_and_algorithm_a_key_is_on_p256() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let key = json!({"kty": "EC", "x": base64(x), "y": base64(y)});
    assert!(verifies(&json!({"alg": "ES256"}), &key, |message| {
        pair.sign(&SystemRandom::new(), message)
            .expect("signs")
            .as_ref()
            .to_vec()
    }));
}

#[test]
fn edwards_signatures_verify_and_must_have_their_length() {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())});
    let header = json!({"alg": "EdDSA"});
    assert!(verifies(&header, &key, |message| pair
        .sign(message)
        .as_ref()
        .to_vec()));

    let short = token_with(&header, &user(&json!({})));
    let mut ask = any_token().token(&short);
    ask.keys = KeySets::from([(ISSUER.to_owned(), json!({"keys": [key]}).to_string())]);
    assert_eq!(ask.refusal().1, "Jwt ED25519 signature is wrong length");
}

#[test]
fn a_client_cannot_sign_with_the_public_key_as_a_shared_secret() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public = pair.public_key();
    let n = public.modulus().big_endian_without_leading_zero();
    let e = public.exponent().big_endian_without_leading_zero();
    let key = json!({"kty": "RSA", "n": base64(n), "e": base64(e)});
    let forged = |message: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, n);
        aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
    };
    assert!(!verifies(&json!({"alg": "HS256"}), &key, forged));
}

/// Where a token is found: any verified token passes.
fn located(fields: &str) -> Ask {
    Ask::new(
        &(request_authentication(fields)
            + &policy(
                "allow",
                "ALLOW",
                r#"[{from: [{source: {requestPrincipals: ["*"]}}]}]"#,
            )),
    )
}

fn good() -> String {
    token(&user(&json!({})))
}

#[test]
fn by_default_a_token_is_in_authorization_or_access_token() {
    assert!(
        located("")
            .header("authorization", &format!("Bearer {}", good()))
            .allowed()
    );
    let in_query = |request: &mut policy::Request| {
        request.path = Some(format!("/data?x=1&access_token={}", good()));
    };
    assert!(located("").request(in_query).allowed());
}

#[test]
fn blanks_around_a_header_value_are_not_part_of_it() {
    let good = token(&user(&json!({})));
    let padded = format!(" \tBearer {good}  ");
    assert!(any_token().header("authorization", &padded).allowed());
    let (status, body, _) = any_token().header("authorization", "Bearer ").refusal();
    assert_eq!(
        (status, body.as_str()),
        (403, "RBAC: access denied"),
        "`Bearer` without a blank is no scheme, so there is no token"
    );
}

#[test]
fn bearer_is_looked_for_with_its_case_anywhere_in_the_value() {
    assert!(
        !located("")
            .header("authorization", &format!("bearer {}", good()))
            .allowed()
    );
    assert!(!located("").header("authorization", "Basic abc").allowed());
    assert!(
        located("")
            .header("authorization", &format!("x Bearer   {}", good()))
            .allowed()
    );
}

#[test]
fn a_header_without_bearer_counts_as_no_token() {
    let (status, body, _) = located("").header("authorization", "Basic abc").refusal();
    assert_eq!((status, body.as_str()), (403, "RBAC: access denied"));
}

#[test]
fn any_location_replaces_both_defaults() {
    let bearer = format!("Bearer {}", good());
    assert!(
        !located(", fromHeaders: [{name: x-token}]")
            .header("authorization", &bearer)
            .allowed()
    );
    assert!(
        !located(", fromParams: [t]")
            .header("authorization", &bearer)
            .allowed()
    );
    assert!(
        !located(", fromCookies: [c]")
            .header("authorization", &bearer)
            .allowed()
    );
}

#[test]
fn a_header_without_prefix_is_the_token_as_a_whole() {
    let yaml = ", fromHeaders: [{name: X-Token}]";
    assert!(located(yaml).header("x-token", &good()).allowed());
    assert_eq!(
        located(yaml)
            .header("x-token", &format!("Bearer {}", good()))
            .refusal()
            .0,
        401
    );
}

#[test]
fn the_first_of_a_repeated_parameter_and_the_first_cookie_count() {
    let twice = |request: &mut policy::Request| {
        request.path = Some(format!("/data?t={}&t=junk", good()));
    };
    assert!(located(", fromParams: [t]").request(twice).allowed());
    let cookies = format!("a=1; session=\"{}\"; session=junk", good());
    assert!(
        located(", fromCookies: [session]")
            .header("cookie", &cookies)
            .allowed()
    );
}

#[test]
fn every_token_that_is_there_must_be_good() {
    let both = |in_header: &str, in_query: &str| {
        located("")
            .header("authorization", &format!("Bearer {in_header}"))
            .request(|request| request.path = Some(format!("/data?access_token={in_query}")))
    };
    assert!(both(&good(), &good()).allowed());
    assert_eq!(both("junk", &good()).refusal().0, 401);
    assert_eq!(both(&good(), "junk").refusal().0, 401);
}

#[test]
fn a_header_that_is_repeated_counts_each_time_but_authorization_is_one_value() {
    let yaml = ", fromHeaders: [{name: x-token}]";
    let (first, second) = (good(), "junk");
    assert_eq!(
        located(yaml)
            .header("x-token", &first)
            .header("x-token", second)
            .refusal()
            .0,
        401
    );
    let bearer = format!("Bearer {first}");
    let twice = located("")
        .header("authorization", &bearer)
        .header("authorization", &bearer);
    assert_eq!(
        twice.refusal().0,
        401,
        "joined with a comma they are no token"
    );
}

#[test]
fn a_cors_preflight_needs_no_token_and_is_not_looked_at() {
    let preflight = |origin: &str| {
        Ask::new(&request_authentication(""))
            .token("junk")
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .request(|request| request.method = Some("OPTIONS".to_owned()))
    };
    assert!(preflight("http://app").allowed());
    assert!(!preflight("").allowed());
}

#[test]
fn the_header_with_a_verified_token_is_gone_unless_forwarded() {
    let rules = r#"[{when: [{key: "request.headers[authorization]", values: ["*"]}]}]"#;
    let ask = |fields: &str| {
        Ask::new(&(request_authentication(fields) + &policy("allow", "ALLOW", rules)))
            .claims(&user(&json!({})))
    };
    assert!(!ask("").allowed());
    assert!(ask(", forwardOriginalToken: true").allowed());
}

#[test]
fn claims_become_headers_and_forged_ones_are_removed() {
    let outputs =
        ", outputClaimToHeaders: [{header: x-email, claim: email}, {header: x-n, claim: n.a}]";
    let ask = |key: &str, value: &str| {
        let rules =
            format!("[{{when: [{{key: \"request.headers[{key}]\", values: [\"{value}\"]}}]}}]");
        Ask::new(&(request_authentication(outputs) + &policy("allow", "ALLOW", &rules)))
    };
    let claims = user(&json!({"n": {"a": 7}}));
    assert!(ask("x-email", "user@example.com").claims(&claims).allowed());
    assert!(ask("x-n", "7").claims(&claims).allowed());
    assert!(
        !ask("x-email", "*").header("x-email", "forged").allowed(),
        "even without a token"
    );
}

#[test]
fn the_payload_becomes_a_header_as_it_came() {
    let rules = r#"[{when: [{key: "request.headers[x-payload]", values: ["eyJ*"]}]}]"#;
    let yaml =
        request_authentication(", outputPayloadToHeader: x-payload") + &policy("p", "ALLOW", rules);
    assert!(Ask::new(&yaml).claims(&user(&json!({}))).allowed());
}

const OTHER: &str = "https://other";

fn two_issuers() -> Ask {
    let other = format!(
        "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: other, namespace: demo}}
spec: {{jwtRules: [{{issuer: \"{OTHER}\"}}]}}
"
    );
    let mut ask = Ask::new(&(request_authentication("") + &other));
    let set = ask.keys[ISSUER].clone();
    ask.keys.insert(OTHER.to_owned(), set);
    ask
}

#[test]
fn with_two_issuers_a_good_token_of_either_passes() {
    assert!(two_issuers().claims(&user(&json!({}))).allowed());
    assert!(
        two_issuers()
            .claims(&user(&json!({"iss": OTHER})))
            .allowed()
    );
    assert!(two_issuers().allowed(), "and so does none");
}

#[test]
fn with_two_issuers_the_telling_error_is_said() {
    let expired = two_issuers().claims(&user(&json!({"exp": 1})));
    assert_eq!(expired.refusal().1, "Jwt is expired");
    let foreign = two_issuers().claims(&user(&json!({"iss": "https://third"})));
    assert_eq!(foreign.refusal().1, "Jwt issuer is not configured");
}

#[test]
fn without_the_keys_the_answer_is_open_and_they_are_asked_for() {
    let mut ask = any_token().claims(&user(&json!({})));
    ask.keys = KeySets::new();
    let explanation = ask.explain();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert_eq!(
        explanation.missing,
        [format!("keys (JWKS) of issuer {ISSUER}")]
    );
    assert_eq!(
        explanation.possible.len(),
        2,
        "a bad signature, or the workload's answer"
    );

    let mut expired = any_token().claims(&user(&json!({"exp": 1})));
    expired.keys = KeySets::new();
    assert_eq!(expired.refusal().1, "Jwt is expired", "that needs no key");
}

#[test]
fn a_token_that_was_not_given_is_asked_for_only_if_it_matters() {
    let mut ask = any_token();
    ask.token = Token::Unknown;
    let explanation = ask.explain();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert_eq!(explanation.missing, ["token"]);

    let mut elsewhere = Ask::new(&allow("[{to: [{operation: {paths: [/other]}}]}]"));
    elsewhere.token = Token::Unknown;
    assert_eq!(
        elsewhere.explain().verdict,
        Verdict::Refused,
        "with any token, or none"
    );
}

#[test]
fn each_check_says_what_was_wanted_and_what_was_there() {
    let explanation = any_token()
        .claims(&user(&json!({"exp": NOW - 200})))
        .explain();
    let step = explanation.steps.last().expect("a step");
    assert_eq!(step.filter, "envoy.filters.http.jwt_authn");
    let named: Vec<_> = step
        .checks
        .iter()
        .map(|check| (check.what.as_str(), check.passed))
        .collect();
    assert_eq!(
        named,
        [
            ("format", Passed::Yes),
            ("issuer", Passed::Yes),
            ("times", Passed::No)
        ]
    );
    assert_eq!(step.checks[2].had.as_deref(), Some("exp was 200 s ago"));
}
