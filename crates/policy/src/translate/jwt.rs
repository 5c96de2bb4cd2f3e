//! `envoy.filters.http.jwt_authn`.

use serde_json::{Map, Value, json};

use super::{Filter, KeySets, Translation};
use crate::select::Effective;
use crate::types::JwtRule;

/// A valid key that verifies nothing: its private half was never kept, so every
/// token is refused. istiod puts such a key in while it has no other; a set
/// without any valid key would make Envoy refuse the whole configuration.
const NO_KEYS: &str = concat!(
    r#"{"keys":[{"kty":"RSA","e":"AQAB","n":""#,
    "wIGtUWVEv3S6clJrG2a-vFb1BFNFtoeqzlHkeJur1R3lI7PCn2DazfShPcttPCpiDpCNt8Nq1tlDxVwL",
    "v_qFc76y9ydJLrAHC_lVRecHiv4s251LblHbJkJpqLR0TrKEXdHN8VYK_73z9Ss5YIjXU6apPu3wBp9R",
    "Z_fAwOy5OaZ7St3jOOGzngmOsK-C1flQj4Jj3wldy7AkriIlS7rBpwH2hPmkWFLjOHS6nqM9LRSW_Akt",
    "2mlItz9Wlkf-8rYJ6n9O-kytZoiSAt6Ljl6ozQpYvehwmM0_akMiKNhbAaDDpjUivw-IZHLjJ5N8Ntfm",
    "KwproQ9Yiw3K4oTRvcQpYw",
    r#""}]}"#
);

pub(super) fn filter(effective: &Effective<'_>, keys: &KeySets, translation: &mut Translation) {
    let rules = effective.jwt_rules();
    if rules.is_empty() {
        return;
    }
    let mut providers = Map::new();
    for (index, rule) in rules.iter().enumerate() {
        let inline = rule.jwks.as_ref().filter(|jwks| !jwks.is_empty());
        let jwks = inline.or_else(|| keys.get(&rule.issuer));
        if jwks.is_none() {
            translation.issuers_without_keys.push(rule.issuer.clone());
        }
        providers.insert(
            name(index),
            provider(rule, jwks.map_or(NO_KEYS, String::as_str)),
        );
    }

    let optional =
        |index| json!({"requiresAny": {"requirements": [required(index), {"allowMissing": {}}]}});
    let requires = if rules.len() == 1 {
        optional(0)
    } else {
        // A good token of any issuer will do; otherwise each that is there must be good.
        let mut any: Vec<Value> = (0..rules.len()).map(required).collect();
        let all: Vec<Value> = (0..rules.len()).map(optional).collect();
        any.push(json!({"requiresAll": {"requirements": all}}));
        json!({"requiresAny": {"requirements": any}})
    };
    translation.filters.push(Filter {
        name: "envoy.filters.http.jwt_authn".to_owned(),
        typed_config: json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{"match": {"prefix": "/"}, "requires": requires}],
            "bypassCorsPreflight": true,
        }),
    });
}

fn name(index: usize) -> String {
    format!("origins-{index}")
}

fn required(index: usize) -> Value {
    json!({"providerName": name(index)})
}

fn provider(rule: &JwtRule, jwks: &str) -> Value {
    let mut provider = Map::new();
    let mut set = |field: &str, value: Value| {
        // Protobuf's JSON leaves defaults out.
        let default = match &value {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Bool(flag) => !flag,
            _ => false,
        };
        if !default {
            provider.insert(field.to_owned(), value);
        }
    };
    set("issuer", json!(rule.issuer));
    set("audiences", json!(rule.audiences));
    set("localJwks", json!({"inlineString": jwks}));
    set("forward", json!(rule.forward_original_token));
    set("fromParams", json!(rule.from_params));
    set("fromCookies", json!(rule.from_cookies));
    set("forwardPayloadHeader", json!(rule.output_payload_to_header));
    set("payloadInMetadata", json!("payload"));
    set(
        "normalizePayloadInMetadata",
        json!({"spaceDelimitedClaims": rule.split_claims()}),
    );

    let headers = rule.from_headers.iter().map(|header| {
        let mut entry = Map::from_iter([("name".to_owned(), json!(header.name))]);
        if !header.prefix.is_empty() {
            entry.insert("valuePrefix".to_owned(), json!(header.prefix));
        }
        Value::Object(entry)
    });
    set("fromHeaders", headers.collect());
    let outputs = rule
        .output_claim_to_headers
        .iter()
        .map(|output| json!({"headerName": output.header, "claimName": output.claim}));
    set("claimToHeaders", outputs.collect());
    Value::Object(provider)
}
