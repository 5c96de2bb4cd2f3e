//! What a sidecar is really configured with, held against the model.
//!
//! `policy` claims to know which filters istiod makes of the manifests. Here
//! its translation is compared with the inbound filters in the sidecar's own
//! `/config_dump`, chain by chain. The table proves what the filters do; this
//! proves that they are the ones that every explanation is about.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use policy::{Workload, http_filters, tcp_filters};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use similar::TextDiff;

use harness::rules::Rules;

/// The inbound side of a workload's sidecar, as it is right now.
#[derive(Debug, Clone)]
pub struct Sidecar {
    /// Whose it is.
    pub workload: Workload,
    /// The filter chains of its inbound listeners.
    pub chains: Vec<Chain>,
}

/// One filter chain: what one kind of connection goes through.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Its name in the listener, and the connections it is for.
    pub name: String,
    /// The pod's port; `None` for all that no other chain is for.
    pub port: Option<u16>,
    /// Whether HTTP is spoken in it.
    pub is_http: bool,
    /// The filters that may decide, in order, as `policy` writes them.
    pub filters: Vec<Value>,
}

const HTTP: &str = "envoy.filters.network.http_connection_manager";
/// Connections to the sidecar's own port, which lead nowhere.
const BLACKHOLE: &str = "virtualInbound-blackhole";

/// Filters of Envoy that decide nothing in the configuration istiod gives them.
/// Istio's own extensions (metadata exchange, statistics) are not Envoy's, and
/// stay out in the same way.
const PASSIVE: [&str; 5] = [
    "http.cors",
    "http.fault",
    "http.grpc_stats",
    "http.router",
    "network.tcp_proxy",
];

impl Sidecar {
    /// Reads the answer of the proxy's `/config_dump`.
    pub fn read(workload: Workload, config_dump: &str) -> Result<Self> {
        let dump: Dump = serde_json::from_str(config_dump).context("not a config dump")?;
        let inbound = dump
            .configs
            .into_iter()
            .flat_map(|section| section.dynamic_listeners)
            .filter_map(|listener| listener.active_state)
            .map(|state| state.listener)
            .filter(|listener| listener.traffic_direction == "INBOUND");
        let chains = inbound
            .flat_map(|listener| {
                let default = listener.default_filter_chain;
                listener.filter_chains.into_iter().chain(default)
            })
            .filter(|chain| chain.name != BLACKHOLE)
            .map(ChainDump::read)
            .collect::<Result<Vec<_>>>()?;
        if !chains.iter().any(|chain| chain.is_http) {
            bail!("the sidecar has no inbound HTTP filter chain");
        }
        Ok(Self { workload, chains })
    }

    /// What differs between the model and this sidecar as a unified diff, the
    /// model being the old side; `None` if they are equal.
    pub fn difference(&self, rules: &Rules) -> Result<Option<String>> {
        let mut differing: Vec<(Vec<&str>, Vec<Value>, &[Value])> = Vec::new();
        for chain in &self.chains {
            let wanted = self.wanted(chain, rules)?;
            if wanted == chain.filters {
                continue;
            }
            // One policy shows in every chain: say it once.
            let known = differing
                .iter_mut()
                .find(|(_, other, live)| *other == wanted && *live == chain.filters);
            match known {
                Some((names, ..)) => names.push(&chain.name),
                None => differing.push((vec![&chain.name], wanted, &chain.filters)),
            }
        }
        if differing.is_empty() {
            return Ok(None);
        }
        let mut text = String::new();
        for (names, wanted, live) in differing {
            let (wanted, live) = (
                serde_saphyr::to_string(&wanted)?,
                serde_saphyr::to_string(&live)?,
            );
            let diff = TextDiff::from_lines(&wanted, &live);
            let mut diff = diff.unified_diff();
            diff.header("model", "sidecar");
            let _ = write!(text, "# {}\n{diff}", names.join(", "));
        }
        Ok(Some(text))
    }

    /// The filters that the model has for a chain.
    fn wanted(&self, chain: &Chain, rules: &Rules) -> Result<Vec<Value>> {
        let Rules {
            mesh,
            manifests,
            keys,
            ..
        } = rules;
        let filters = if chain.is_http {
            // Rules for certain ports are never for the ports nobody named.
            let port = Some(chain.port.unwrap_or(0));
            http_filters(mesh, manifests, &self.workload, port, keys)?.filters
        } else {
            tcp_filters(mesh, manifests, &self.workload)?
        };
        filters
            .iter()
            .map(|filter| Ok(normal(serde_json::to_value(filter)?, Fields::Message)))
            .collect()
    }
}

// === The parts of a config dump that matter here ===

#[derive(Deserialize)]
struct Dump {
    configs: Vec<Section>,
}

#[derive(Deserialize)]
struct Section {
    #[serde(default)]
    dynamic_listeners: Vec<DynamicListener>,
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
struct Listener {
    #[serde(default)]
    traffic_direction: String,
    #[serde(default)]
    filter_chains: Vec<ChainDump>,
    default_filter_chain: Option<ChainDump>,
}

#[derive(Deserialize)]
struct ChainDump {
    #[serde(default)]
    name: String,
    #[serde(default)]
    filter_chain_match: Match,
    #[serde(default)]
    filters: Vec<FilterDump>,
}

#[derive(Default, Deserialize)]
struct Match {
    destination_port: Option<u16>,
    #[serde(default)]
    transport_protocol: String,
}

#[derive(Deserialize)]
struct FilterDump {
    name: String,
    /// A filter without one is delivered apart from the listener.
    #[serde(default)]
    typed_config: Map<String, Value>,
}

impl ChainDump {
    fn read(self) -> Result<Chain> {
        let (mut is_http, mut filters) = (false, Vec::new());
        for filter in self.filters {
            if filter.name == HTTP {
                is_http = true;
                let inner = filter.typed_config.get("http_filters").cloned();
                let inner: Vec<FilterDump> = serde_json::from_value(inner.unwrap_or_default())?;
                filters.extend(inner.into_iter().filter_map(FilterDump::read));
            } else {
                filters.extend(filter.read());
            }
        }
        let Match {
            destination_port: port,
            transport_protocol,
        } = self.filter_chain_match;
        Ok(Chain {
            name: format!("{} {transport_protocol}", self.name)
                .trim_end()
                .to_owned(),
            port,
            is_http,
            filters,
        })
    }
}

impl FilterDump {
    /// The filter as `policy` writes it; `None` if it cannot decide anything.
    fn read(self) -> Option<Value> {
        let kind = self.typed_config.get("@type").and_then(Value::as_str);
        if let Some(kind) = kind {
            let envoys = kind.strip_prefix("type.googleapis.com/envoy.extensions.filters.")?;
            if PASSIVE.iter().any(|passive| envoys.starts_with(passive)) {
                return None;
            }
        }
        let config = normal(Value::Object(self.typed_config), Fields::Message);
        Some(json!({"name": self.name, "typedConfig": config}))
    }
}

/// What the members of a JSON object are.
#[derive(Clone, Copy)]
enum Fields {
    /// Fields of a protobuf message: their names can be written in two ways.
    Message,
    /// Keys of a protobuf map, such as the names of policies.
    Map,
    /// Fields of a key set's place: the text in it is JSON as well.
    KeySet,
}

/// One form for what can be written in several: fields in lowerCamelCase as in
/// protobuf's own JSON mapping, key sets as the JSON that they are.
fn normal(value: Value, fields: Fields) -> Value {
    match value {
        Value::Array(items) => items
            .into_iter()
            .map(|item| normal(item, Fields::Message))
            .collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| member(name, value, fields))
            .collect(),
        scalar => scalar,
    }
}

fn member(name: String, value: Value, fields: Fields) -> (String, Value) {
    let name = match fields {
        Fields::Map => name,
        Fields::Message | Fields::KeySet => lower_camel_case(&name),
    };
    let value = match (fields, name.as_str(), value) {
        (Fields::Message, "providers" | "requirementMap" | "policies" | "sourceCodes", value) => {
            normal(value, Fields::Map)
        }
        (Fields::Message, "localJwks", value) => normal(value, Fields::KeySet),
        (Fields::KeySet, "inlineString", Value::String(text)) => {
            serde_json::from_str(&text).map_or(Value::String(text), verification_keys)
        }
        (_, _, value) => normal(value, Fields::Message),
    };
    (name, value)
}

/// A key set without keys for encryption (RFC 7517 §4.2): they verify nothing,
/// and Keycloak makes a new one at each start, which istiod learns later.
fn verification_keys(mut key_set: Value) -> Value {
    if let Some(keys) = key_set["keys"].as_array_mut() {
        keys.retain(|key| key["use"] != "enc");
    }
    key_set
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

#[cfg(test)]
mod tests;
