//! Minted tokens verify with the realm's key; forged ones do not, and are
//! forged in the way that they claim to be. jsonwebtoken is the judge.

use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use super::*;

const NOW: i64 = 1_800_000_000;

/// A realm: its key, and the tokens it granted to `user`.
struct Realm {
    keyring: Keyring,
    granted: BTreeMap<String, Granted>,
}

impl Realm {
    fn new() -> Self {
        let keyring = Keyring::new([("myrealm", &generate_private_key().unwrap())]).unwrap();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": "realm-kid"});
        let claims = json!({
            "iss": "http://keycloak/realms/myrealm",
            "aud": "my-backend-client",
            "sub": "42",
            "email": "user@example.com",
            "iat": NOW,
            "exp": NOW + 300,
        });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let realm = keyring.realm("myrealm").unwrap();
        let signature = rsa_sign(realm, &json!("RS256"), message.as_bytes()).unwrap();
        let user = Granted {
            realm: "myrealm".to_owned(),
            access_token: format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)).into(),
            refresh_token: Some("a refresh token".into()),
        };
        Self {
            keyring,
            granted: BTreeMap::from([("user".to_owned(), user)]),
        }
    }

    fn try_make(&self, recipe: &str) -> Result<Token, MintError> {
        let recipe: Recipe = serde_saphyr::from_str(recipe).unwrap();
        let mint = Mint {
            granted: &self.granted,
            keyring: &self.keyring,
        };
        mint.make(&recipe, Timestamp::from_second(NOW).unwrap())
    }

    fn make(&self, recipe: &str) -> Token {
        self.try_make(recipe).unwrap()
    }

    fn original(&self) -> &str {
        self.granted["user"].access_token.expose_secret()
    }

    fn public_key(&self) -> DecodingKey {
        DecodingKey::from_rsa_der(self.keyring.realm("myrealm").unwrap().public_key().as_ref())
    }

    /// Whether the realm's public key vouches for the token by RS256.
    fn vouches_for(&self, token: &Token) -> bool {
        verifies(token, &self.public_key(), Algorithm::RS256)
    }
}

fn verifies(token: &Token, key: &DecodingKey, algorithm: Algorithm) -> bool {
    let (message, signature) = token.text.expose_secret().rsplit_once('.').unwrap();
    crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false)
}

fn parts(token: &Token) -> Parts {
    Parts::of(token.text.expose_secret()).unwrap()
}

// === Granted, raw, none ===

#[test]
fn granted_token_is_sent_as_it_is() {
    let realm = Realm::new();
    let token = realm.make("granted: user");
    assert_eq!(token.text.expose_secret(), realm.original());
    assert_eq!(token.provenance, Provenance::Granted);
    assert_eq!(token.claims["sub"], "42");
    assert!(realm.vouches_for(&token));
}

#[test]
fn refresh_token_is_sent_in_place_of_the_access_token() {
    let token = Realm::new().make("refresh_token: user");
    assert_eq!(token.text.expose_secret(), "a refresh token");
    assert!(token.claims.is_empty());
}

#[test]
fn raw_text_is_sent_as_it_is() {
    let token = Realm::new().make("raw: junk");
    assert_eq!(
        (token.text.expose_secret(), token.provenance),
        ("junk", Provenance::Raw)
    );
}

#[test]
fn no_token_is_empty() {
    let token = Realm::new().make("none");
    assert_eq!(
        (token.text.expose_secret(), token.provenance),
        ("", Provenance::None)
    );
}

#[test]
fn unknown_grant_is_an_error_that_names_it() {
    let error = Realm::new().try_make("granted: nobody").unwrap_err();
    assert_eq!(error.to_string(), "no token was granted for `nobody`");
}

#[test]
fn grant_that_is_not_a_jwt_is_an_error_without_the_token() {
    let mut realm = Realm::new();
    realm.granted.get_mut("user").unwrap().access_token = "opaque-secret".into();
    let error = realm.try_make("minted: {like: user}").unwrap_err();
    assert!(matches!(error, MintError::NotAJwt(_)));
    assert!(!error.to_string().contains("opaque-secret"));
}

// === Minted: as good as granted ===

#[test]
fn minted_token_verifies_and_has_the_model_s_header_and_claims() {
    let realm = Realm::new();
    let token = realm.make("minted: {like: user}");
    let model = Parts::of(realm.original()).unwrap();
    assert_eq!(token.provenance, Provenance::Minted);
    assert_eq!(
        (parts(&token).header, parts(&token).claims),
        (model.header, model.claims)
    );
    assert!(realm.vouches_for(&token));
}

#[test]
fn claims_are_set_removed_and_timed() {
    let realm = Realm::new();
    let token = realm.make(
        "minted: {like: user, claims: {exp: now-59s, nbf: now+1h, iat: now, email: null, aud: [a, b], n: 1}}",
    );
    assert_eq!(
        Value::Object(token.claims.clone()),
        json!({
            "iss": "http://keycloak/realms/myrealm",
            "aud": ["a", "b"],
            "sub": "42",
            "iat": NOW,
            "exp": NOW - 59,
            "nbf": NOW + 3600,
            "n": 1,
        })
    );
    assert!(realm.vouches_for(&token));
}

#[test]
fn header_without_a_kid_still_verifies() {
    let realm = Realm::new();
    let token = realm.make("minted: {like: user, header: {kid: null}}");
    assert!(!parts(&token).header.contains_key("kid"));
    assert!(realm.vouches_for(&token));
}

#[test]
fn other_rsa_algorithms_are_followed() {
    let realm = Realm::new();
    for (name, algorithm) in [
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
    ] {
        let token = realm.make(&format!("minted: {{like: user, header: {{alg: {name}}}}}"));
        assert!(verifies(&token, &realm.public_key(), algorithm), "{name}");
        assert!(!realm.vouches_for(&token), "{name}");
    }
}

#[test]
fn text_that_only_begins_like_a_time_stays_text() {
    let token = Realm::new().make("minted: {like: user, claims: {sub: nowhere}}");
    assert_eq!(token.claims["sub"], "nowhere");
}

// === Forged: really forged, and in the way intended ===

#[test]
fn foreign_key_is_under_the_right_kid_but_does_not_verify() {
    let realm = Realm::new();
    let token = realm.make("minted: {like: user, sign_with: foreign-key}");
    assert_eq!(token.provenance, Provenance::Forged);
    assert_eq!(parts(&token).header["kid"], "realm-kid");
    assert!(!realm.vouches_for(&token));
    let foreign = DecodingKey::from_rsa_der(realm.keyring.foreign.public_key().as_ref());
    assert!(
        verifies(&token, &foreign, Algorithm::RS256),
        "it is a real signature all the same"
    );
}

#[test]
fn every_keyring_has_a_foreign_key_of_its_own() {
    let (one, other) = (Realm::new(), Realm::new());
    let key = |realm: &Realm| realm.keyring.foreign.public_key().as_ref().to_vec();
    assert_ne!(key(&one), key(&other));
}

#[test]
fn public_key_as_hmac_secret_verifies_for_who_falls_for_it() {
    let realm = Realm::new();
    let token = realm
        .make("minted: {like: user, header: {alg: HS256}, sign_with: public-key-as-hmac-secret}");
    let pem = realm.keyring.public_key_pem("myrealm").unwrap();
    assert_eq!(parts(&token).header["alg"], "HS256");
    assert!(verifies(
        &token,
        &DecodingKey::from_secret(pem.as_bytes()),
        Algorithm::HS256
    ));
    assert!(!realm.vouches_for(&token));
}

#[test]
fn public_key_pem_holds_the_realm_s_public_key() {
    let realm = Realm::new();
    let pem = realm.keyring.public_key_pem("myrealm").unwrap();
    let lines: Vec<_> = pem.lines().collect();
    assert_eq!(lines[0], "-----BEGIN PUBLIC KEY-----");
    assert_eq!(lines[lines.len() - 1], "-----END PUBLIC KEY-----");
    assert!(lines.iter().all(|line| line.len() <= 64));
    let der = STANDARD.decode(lines[1..lines.len() - 1].concat()).unwrap();
    // SubjectPublicKeyInfo ends with the RSAPublicKey that it wraps.
    assert!(
        der.ends_with(
            realm
                .keyring
                .realm("myrealm")
                .unwrap()
                .public_key()
                .as_ref()
        )
    );
}

#[test]
fn unsigned_token_claims_alg_none_and_has_an_empty_signature() {
    let realm = Realm::new();
    let token = realm.make("minted: {like: user, header: {alg: none}, sign_with: nothing}");
    assert_eq!(parts(&token).header["alg"], "none");
    assert_eq!(parts(&token).signature, "");
    assert!(!realm.vouches_for(&token));
}

#[test]
fn alg_none_with_a_signature_keeps_the_signature_and_the_claims() {
    let realm = Realm::new();
    let token = realm.make("altered: {like: user, header: {alg: none}}");
    let model = Parts::of(realm.original()).unwrap();
    assert_eq!(parts(&token).header["alg"], "none");
    assert_eq!(parts(&token).signature, model.signature);
    assert_eq!(parts(&token).claims_part, model.claims_part);
    assert!(!realm.vouches_for(&token));
}

#[test]
fn edited_payload_keeps_header_and_signature_and_does_not_verify() {
    let realm = Realm::new();
    let token = realm.make("altered: {like: user, claims: {email: admin@example.com}}");
    let model = Parts::of(realm.original()).unwrap();
    assert_eq!(token.provenance, Provenance::Forged);
    assert_eq!(token.claims["email"], "admin@example.com");
    assert_eq!(parts(&token).header_part, model.header_part);
    assert_eq!(parts(&token).signature, model.signature);
    assert!(!realm.vouches_for(&token));
}

#[test]
fn appended_character_spoils_the_signature_only() {
    let realm = Realm::new();
    let token = realm.make("altered: {like: user, append: A}");
    assert_eq!(token.text.expose_secret(), format!("{}A", realm.original()));
    assert!(!realm.vouches_for(&token));
}

// === Secrets stay inside ===

#[test]
fn nothing_shows_a_token_or_a_key_in_debug() {
    let realm = Realm::new();
    let token = realm.make("minted: {like: user}");
    let mint = Mint {
        granted: &realm.granted,
        keyring: &realm.keyring,
    };
    let shown = format!("{mint:?} {:?}", token.text);
    assert!(!shown.contains("eyJ"), "{shown}");
    assert!(!shown.contains("a refresh token"), "{shown}");
    assert!(shown.contains("Keyring { .. }"), "{shown}");
}

#[test]
fn unreadable_realm_key_is_an_error_without_the_key() {
    let error = Keyring::new([("myrealm", &"not-a-key".into())]).unwrap_err();
    assert!(matches!(error, MintError::BadKey));
    assert!(!error.to_string().contains("not-a-key"));
}

// === Words for the report ===

#[test]
fn recipes_are_told_in_words() {
    let told = |yaml: &str| serde_saphyr::from_str::<Recipe>(yaml).unwrap().to_string();
    assert_eq!(told("none"), "none");
    assert_eq!(told("granted: user"), "user");
    assert_eq!(told("refresh_token: user"), "refresh token of user");
    assert_eq!(
        told(
            "minted: {like: user, header: {kid: null}, claims: {exp: now-61s, iat: now, nbf: now+1h}}"
        ),
        "user, kid removed, exp now-61s, iat now, nbf now+1h"
    );
    assert_eq!(
        told("minted: {like: user, claims: {aud: [a, b]}, sign_with: foreign-key}"),
        r#"user, aud ["a","b"], signed with foreign-key"#
    );
    assert_eq!(
        told("minted: {like: user, claims: {iss: http://keycloak/realms/otherrealm}}"),
        "user, iss …ycloak/realms/otherrealm"
    );
    assert_eq!(
        told("altered: {like: user, claims: {email: a@b.c}, append: A}"),
        "user, email a@b.c, plus `A`"
    );
}
