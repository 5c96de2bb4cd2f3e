//! One form for messages of Envoy that can be written in several.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the members of a JSON object are.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Fields of a protobuf message: their names can be written in two ways.
    Message,
    /// Keys of a protobuf map, such as the names of policies.
    Map,
    /// Fields of a key set's place: the text in it is JSON as well.
    KeySet,
}

/// One form for what can be written in several: fields in lowerCamelCase as in
/// protobuf's own JSON mapping, key sets as the JSON that they are.
pub(super) fn normal(value: Value, kind: Kind) -> Value {
    match value {
        Value::Array(items) => items
            .into_iter()
            .map(|item| normal(item, Kind::Message))
            .collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| member(name, value, kind))
            .collect(),
        scalar => scalar,
    }
}

fn member(name: String, value: Value, kind: Kind) -> (String, Value) {
    let name = match kind {
        Kind::Map => name,
        Kind::Message | Kind::KeySet => lower_camel_case(&name),
    };
    let value = match (kind, name.as_str(), value) {
        (Kind::Message, "providers" | "requirementMap" | "policies" | "sourceCodes", value) => {
            normal(value, Kind::Map)
        }
        (Kind::Message, "localJwks", value) => normal(value, Kind::KeySet),
        (Kind::KeySet, "inlineString", Value::String(text)) => {
            serde_json::from_str(&text).map_or(Value::String(text), verification_keys)
        }
        (_, _, value) => normal(value, Kind::Message),
    };
    (name, value)
}

/// What a key verifies with (RFC 7517 §4, RFC 7518 §6). Keycloak makes another
/// certificate (`x5c`, `x5t`) for the same key at each start.
const VERIFYING: [&str; 11] = [
    "kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y", "k",
];

/// A key set by what verifies, in any order. Keys for encryption verify nothing, and
/// Keycloak makes a new one at each start, which istiod learns later.
fn verification_keys(mut key_set: Value) -> Value {
    if let Some(keys) = key_set["keys"].as_array_mut() {
        keys.retain(|key| key["use"] != "enc");
        for key in keys.iter_mut().filter_map(Value::as_object_mut) {
            key.retain(|name, _| VERIFYING.contains(&name.as_str()));
        }
        keys.sort_by_cached_key(canonical);
    }
    key_set
}

/// The members of an object in order.
fn canonical(key: &Value) -> BTreeMap<String, String> {
    let members = key.as_object().into_iter().flatten();
    members
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect()
}

fn lower_camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
