//! The parts of a config dump that matter here.

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::normal::{Kind, normal};
use crate::settings::Fields;

const HTTP: &str = "envoy.filters.network.http_connection_manager";

/// One filter chain: what one kind of connection goes through.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Its name in the listener, and the connections it is for.
    pub name: String,
    /// The pod's port; `None` for all that no other chain is for.
    pub port: Option<u16>,
    /// Whether HTTP is spoken in it.
    pub is_http: bool,
    /// Envoy's own filters in order, as `policy` writes them. Istio's extensions
    /// (metadata exchange, statistics) decide nothing and are left out.
    pub filters: Vec<Value>,
    /// Settings of TLS, connection manager and routes.
    pub settings: Fields,
}

#[derive(Deserialize)]
pub(super) struct ConfigDump {
    configs: Vec<Section>,
}

#[derive(Deserialize)]
struct Section {
    #[serde(default)]
    bootstrap: Bootstrap,
    #[serde(default)]
    dynamic_listeners: Vec<DynamicListener>,
}

#[derive(Default, Deserialize)]
struct Bootstrap {
    #[serde(default)]
    layered_runtime: LayeredRuntime,
}

#[derive(Default, Deserialize)]
struct LayeredRuntime {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(default)]
    static_layer: Fields,
}

#[derive(Deserialize)]
struct DynamicListener {
    active_state: Option<ActiveState>,
}

#[derive(Deserialize)]
struct ActiveState {
    listener: Listener,
}

#[derive(Deserialize)]
pub(super) struct Listener {
    #[serde(default)]
    name: String,
    #[serde(default)]
    traffic_direction: String,
    #[serde(default)]
    filter_chains: Vec<FilterChain>,
    default_filter_chain: Option<FilterChain>,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Deserialize)]
pub(super) struct FilterChain {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, rename = "filter_chain_match")]
    connections: Match,
    #[serde(default)]
    filters: Vec<Filter>,
    transport_socket: Option<TransportSocket>,
}

#[derive(Default, Deserialize)]
struct Match {
    destination_port: Option<u16>,
    #[serde(default)]
    transport_protocol: String,
}

#[derive(Deserialize)]
struct Filter {
    name: String,
    /// A filter without one is delivered apart from the listener.
    #[serde(default)]
    typed_config: Fields,
}

#[derive(Deserialize)]
struct TransportSocket {
    #[serde(default)]
    typed_config: Fields,
}

impl ConfigDump {
    /// The flags that the bootstrap sets.
    pub(super) fn runtime(&self) -> Fields {
        let layers = self
            .configs
            .iter()
            .flat_map(|section| &section.bootstrap.layered_runtime.layers);
        layers
            .flat_map(|layer| layer.static_layer.clone())
            .collect()
    }

    pub(super) fn inbound_listeners(self) -> Vec<Listener> {
        self.configs
            .into_iter()
            .flat_map(|section| section.dynamic_listeners)
            .filter_map(|listener| listener.active_state)
            .map(|state| state.listener)
            .filter(|listener| listener.traffic_direction == "INBOUND")
            .collect()
    }
}

impl Listener {
    /// Its name and its settings.
    pub(super) fn read(&self) -> (String, Value) {
        let places = ["@type", "address", "accessLog", "listenerFilters"];
        let settings = without(message(self.fields.clone()), &places);
        (format!("listener {}", self.name), json!(settings))
    }

    pub(super) fn into_chains(self) -> impl Iterator<Item = FilterChain> {
        self.filter_chains
            .into_iter()
            .chain(self.default_filter_chain)
    }
}

impl FilterChain {
    pub(super) fn read(self) -> Result<Chain> {
        let (mut is_http, mut filters, mut settings) = (false, Vec::new(), Fields::new());
        for filter in self.filters {
            if filter.name == HTTP {
                is_http = true;
                let mut manager = message(filter.typed_config);
                filters.extend(http_filters(&mut manager)?);
                settings = manager_settings(manager);
            } else {
                filters.extend(filter.read());
            }
        }
        if let (true, Some(socket)) = (is_http, self.transport_socket) {
            settings.insert("tls".to_owned(), tls_settings(message(socket.typed_config)));
        }
        let Match {
            destination_port: port,
            transport_protocol,
        } = self.connections;
        Ok(Chain {
            name: format!("{} {transport_protocol}", self.name)
                .trim_end()
                .to_owned(),
            port,
            is_http,
            filters,
            settings,
        })
    }
}

/// Takes a connection manager's filters out of it.
fn http_filters(manager: &mut Fields) -> Result<Vec<Value>> {
    let filters = manager.remove("httpFilters").unwrap_or(json!([]));
    let filters: Vec<Value> = serde_json::from_value(filters)?;
    let is_envoys = |filter: &Value| match filter["typedConfig"]["@type"].as_str() {
        Some(kind) => kind.starts_with(ENVOYS),
        None => true,
    };
    Ok(filters.into_iter().filter(is_envoys).collect())
}

/// The types of filters that are Envoy's own.
const ENVOYS: &str = "type.googleapis.com/envoy.extensions.filters.";

impl Filter {
    /// A network filter as `policy` writes it; `None` if it cannot decide anything.
    fn read(self) -> Option<Value> {
        let kind = self.typed_config.get("@type").and_then(Value::as_str);
        if let Some(kind) = kind {
            let envoys = kind.strip_prefix(ENVOYS)?;
            if envoys.starts_with("network.tcp_proxy") {
                return None;
            }
        }
        let config = Value::Object(message(self.typed_config));
        Some(json!({"name": self.name, "typedConfig": config}))
    }
}

/// What a connection manager is set to, apart from names, logs and where it leads.
fn manager_settings(mut manager: Fields) -> Fields {
    let mut config = object(manager.remove("routeConfig"));
    let mut hosts = objects(config.remove("virtualHosts"));
    let routes: Vec<_> = hosts
        .iter_mut()
        .flat_map(|host| objects(host.remove("routes")))
        .map(|mut route| {
            if let Some(Value::Object(action)) = route.get_mut("route") {
                action.remove("cluster");
            }
            without(route, &["name", "decorator"])
        })
        .collect();
    let hosts: Vec<_> = hosts
        .into_iter()
        .map(|host| without(host, &["name"]))
        .collect();
    // The tags of a span name the workload.
    if let Some(Value::Object(tracing)) = manager.get_mut("tracing") {
        tracing.remove("customTags");
    }
    let manager = without(manager, &["@type", "statPrefix", "accessLog"]);
    Fields::from_iter([
        ("connectionManager".to_owned(), json!(manager)),
        (
            "routeConfiguration".to_owned(),
            json!(without(config, &["name"])),
        ),
        ("virtualHosts".to_owned(), json!(hosts)),
        ("routes".to_owned(), json!(routes)),
    ])
}

/// What is asked of TLS. Certificates come from elsewhere.
fn tls_settings(mut context: Fields) -> Value {
    let common = object(context.remove("commonTlsContext"));
    let common = only(common, &["alpnProtocols", "tlsParams"]);
    let mut settings = only(context, &["requireClientCertificate"]);
    settings.insert("commonTlsContext".to_owned(), json!(common));
    json!(settings)
}

fn message(fields: Fields) -> Fields {
    object(Some(normal(Value::Object(fields), Kind::Message)))
}

fn object(value: Option<Value>) -> Fields {
    match value {
        Some(Value::Object(fields)) => fields,
        _ => Fields::new(),
    }
}

fn objects(value: Option<Value>) -> Vec<Fields> {
    match value {
        Some(Value::Array(items)) => items.into_iter().map(|item| object(Some(item))).collect(),
        _ => Vec::new(),
    }
}

fn without(mut fields: Fields, names: &[&str]) -> Fields {
    fields.retain(|name, _| !names.contains(&name.as_str()));
    fields
}

fn only(mut fields: Fields, names: &[&str]) -> Fields {
    fields.retain(|name, _| names.contains(&name.as_str()));
    fields
}
