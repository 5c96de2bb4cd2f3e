//! The parts of a config dump that can change a decision: runtime, inbound listeners
//! and their filters, filter chains, TLS, connection managers with their filters,
//! virtual hosts and routes. What is left out, and why:
//!
//! | left out | because |
//! |---|---|
//! | names, addresses, logs, tags of spans | they name things and record what was decided |
//! | `original_dst`, TLS and HTTP inspectors | they find out which chain is meant; istiod has them where a chain needs them |
//! | Istio's own filters ([`ISTIOS`]) | they tell each other's metadata and count |
//! | certificates and authorities | they come by SDS, from istiod's CA; whose names are accepted is compared |
//! | the cluster of a route or TCP proxy | who answers is seen by the application's log |
//! | the chain to the sidecar's own port | it leads nowhere, and is told by that, not by its name |
//! | listeners of the workload's own requests | nobody else can connect to them |

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::normal::{Kind, normal};
use crate::settings::Fields;

/// Where a sidecar itself takes what comes in; nobody is led there.
const INBOUND_PORT: u16 = 15006;
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
    /// Whether callers have to show a certificate.
    pub is_mutual: bool,
    /// Its filters in order, as `policy` writes them. Istio's extensions (metadata
    /// exchange, statistics) decide nothing and are left out.
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
            .filter(|listener| !listener.is_outbound())
            .collect()
    }
}

impl Listener {
    /// Whether only the workload itself can connect to it: it has no port of its
    /// own, or is where iptables lead what the workload sends.
    fn is_outbound(&self) -> bool {
        let has_port = self.fields.get("bind_to_port") != Some(&json!(false));
        self.traffic_direction == "OUTBOUND" && (!has_port || self.name == "virtualOutbound")
    }

    /// Its name and its settings.
    pub(super) fn read(&self) -> (String, Value) {
        let mut settings = without(
            message(self.fields.clone()),
            &["@type", "address", "accessLog"],
        );
        let filters = objects(settings.remove("listenerFilters"));
        let strange: Vec<_> = filters.into_iter().filter(|it| !inspects(it)).collect();
        if !strange.is_empty() {
            settings.insert("listenerFilters".to_owned(), json!(strange));
        }
        (format!("listener {}", self.name), json!(settings))
    }

    pub(super) fn into_chains(self) -> impl Iterator<Item = FilterChain> {
        self.filter_chains
            .into_iter()
            .chain(self.default_filter_chain)
    }
}

/// Whether a listener filter only finds out where a connection was going to and
/// what is spoken on it.
fn inspects(filter: &Fields) -> bool {
    const INSPECT: [&str; 3] = [
        "listener.original_dst.v3.OriginalDst",
        "listener.tls_inspector.v3.TlsInspector",
        "listener.http_inspector.v3.HttpInspector",
    ];
    let config = filter.get("typedConfig").and_then(Value::as_object);
    let envoys = config.and_then(kind).and_then(|it| it.strip_prefix(ENVOYS));
    envoys.is_some_and(|it| INSPECT.contains(&it))
}

impl FilterChain {
    /// Whether it is the one for connections to the sidecar's own port, which
    /// lead nowhere.
    pub(super) fn is_blackhole(&self) -> bool {
        let [filter] = self.filters.as_slice() else {
            return false;
        };
        self.connections.destination_port == Some(INBOUND_PORT)
            && filter.typed_config.get("cluster") == Some(&json!("BlackHoleCluster"))
    }

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
        let tls = self.transport_socket.map(|it| message(it.typed_config));
        let is_mutual = tls
            .as_ref()
            .is_some_and(|it| it.get("requireClientCertificate") == Some(&json!(true)));
        if let (true, Some(tls)) = (is_http, tls) {
            settings.insert("tls".to_owned(), tls_settings(tls));
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
            is_mutual,
            filters,
            settings,
        })
    }
}

/// Takes a connection manager's filters out of it.
fn http_filters(manager: &mut Fields) -> Result<Vec<Value>> {
    let filters = manager.remove("httpFilters").unwrap_or(json!([]));
    let filters: Vec<Value> = serde_json::from_value(filters)?;
    let decides = |filter: &Value| !filter["typedConfig"].as_object().is_some_and(is_istios);
    Ok(filters.into_iter().filter(decides).collect())
}

/// The types of filters that are Envoy's own.
const ENVOYS: &str = "type.googleapis.com/envoy.extensions.filters.";

/// The types of Istio's own filters (pilot/pkg/xds/filters, pilot/pkg/model/telemetry):
/// they tell who is who and count, and decide nothing.
const ISTIOS: [&str; 3] = [
    "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange",
    "type.googleapis.com/io.istio.http.peer_metadata.Config",
    "type.googleapis.com/stats.PluginConfig",
];

fn is_istios(config: &Fields) -> bool {
    kind(config).is_some_and(|kind| ISTIOS.contains(&kind))
}

/// The type of a configuration, also where it comes as a structure without one of
/// its own (`xds.type.v3.TypedStruct` and its forerunner). A filter without any is
/// delivered apart from the listener.
fn kind(config: &Fields) -> Option<&str> {
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let kind = text("@type")?;
    if kind.ends_with(".TypedStruct") {
        return text("typeUrl");
    }
    Some(kind)
}

impl Filter {
    /// A network filter as `policy` writes it; `None` if it cannot decide anything.
    fn read(self) -> Option<Value> {
        let config = message(self.typed_config);
        let envoys = kind(&config).and_then(|kind| kind.strip_prefix(ENVOYS));
        let leads_on = envoys.is_some_and(|it| it.starts_with("network.tcp_proxy"));
        if leads_on || is_istios(&config) {
            return None;
        }
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
    let mut common = object(context.remove("commonTlsContext"));
    let validation = validation(&mut common);
    let mut common = only(common, &["alpnProtocols", "tlsParams"]);
    common.insert("validationContext".to_owned(), json!(validation));
    let mut settings = only(context, &["requireClientCertificate"]);
    settings.insert("commonTlsContext".to_owned(), json!(common));
    json!(settings)
}

/// Whose certificates are accepted, besides the authority that signs them.
fn validation(common: &mut Fields) -> Fields {
    let mut combined = object(common.remove("combinedValidationContext"));
    let place = match combined.remove("defaultValidationContext") {
        Some(default) => Some(default),
        None => common.remove("validationContext"),
    };
    let mut context = object(place);
    context.remove("trustedCa");
    let typed = objects(context.remove("matchTypedSubjectAltNames"));
    let matchers = typed.into_iter().filter_map(|mut it| it.remove("matcher"));
    let mut names: Vec<_> = matchers.collect();
    names.extend(
        objects(context.remove("matchSubjectAltNames"))
            .into_iter()
            .map(Value::Object),
    );
    context.insert("matchSubjectAltNames".to_owned(), json!(names));
    context
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
