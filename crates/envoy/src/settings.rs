//! What istiod and its agent set on every sidecar, whatever the policies say.

use std::sync::LazyLock;

use policy::{Mesh, PathNormalization};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Fields of one of Envoy's messages.
pub type Fields = Map<String, Value>;

/// The settings, by the message of Envoy that has them, with fields named as in
/// protobuf's JSON mapping.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Flags of the runtime, from the agent's bootstrap.
    pub runtime: Fields,
    /// The inbound listener.
    pub listener: Fields,
    /// TLS of the inbound listener.
    pub tls: Fields,
    /// The HTTP connection managers of both sides.
    pub connection_manager: Fields,
    /// What the inbound side's connection manager has besides.
    pub inbound: Fields,
    /// The HTTP filters behind those of the policies.
    pub http_filters: Vec<Value>,
    /// The inbound side's route configuration.
    pub route_configuration: Fields,
    /// Its only virtual host.
    pub virtual_host: Fields,
    /// The only route of that.
    pub route: Fields,
}

/// The settings of Istio 1.31.
pub fn settings() -> &'static Settings {
    static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
        serde_saphyr::from_str(include_str!("istiod.yaml")).expect("the list fits its type")
    });
    &SETTINGS
}

impl Settings {
    /// The inbound side's connection manager, without filters and routes.
    pub fn inbound_manager(&self, normalization: PathNormalization) -> Fields {
        let mut manager = self.outbound_manager(normalization);
        manager.extend(self.inbound.clone());
        manager
    }

    /// The outbound side's connection manager, without filters and routes.
    pub fn outbound_manager(&self, normalization: PathNormalization) -> Fields {
        let mut manager = self.connection_manager.clone();
        manager.extend(paths(normalization));
        manager
    }
}

/// How a connection manager normalizes paths (`MeshConfig.pathNormalization`).
fn paths(normalization: PathNormalization) -> Fields {
    let merges = matches!(
        normalization,
        PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes
    );
    let slashes = match normalization {
        PathNormalization::DecodeAndMergeSlashes => "UNESCAPE_AND_FORWARD",
        _ => "KEEP_UNCHANGED",
    };
    let mut fields = Fields::from_iter([
        (
            "normalizePath".to_owned(),
            json!(normalization != PathNormalization::None),
        ),
        ("pathWithEscapedSlashesAction".to_owned(), json!(slashes)),
    ]);
    if merges {
        fields.insert("mergeSlashes".to_owned(), json!(true));
    }
    fields
}

/// What the name in a caller's certificate has to match: one of these.
pub(crate) fn identities_of(mesh: &Mesh) -> impl Iterator<Item = Value> {
    let domains = mesh.trust_domains();
    domains.map(|domain| json!({"prefix": format!("spiffe://{domain}/")}))
}

/// One message of the fields of both.
pub(crate) fn message(fields: &Fields, more: Value) -> Value {
    let mut message = fields.clone();
    if let Value::Object(more) = more {
        message.extend(more);
    }
    Value::Object(message)
}
