//! Envoy's configuration, shaped as istiod shapes a sidecar's inbound side.

use std::net::SocketAddr;
use std::path::Path;

use policy::types::MtlsMode;
use policy::{
    Filter, KeySets, Manifests, Mesh, PathNormalization, TranslateError, Workload, http_filters,
};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::Certificate;
use crate::settings::{identities_of, message, settings};

/// What Envoy starts with.
#[derive(Debug, Default)]
pub struct Bootstrap {
    /// Where its admin interface listens; by default on any free port of loopback.
    pub admin: Option<SocketAddr>,
    /// Listeners that never change.
    pub listeners: Vec<Value>,
    /// Where requests go.
    pub clusters: Vec<Value>,
}

impl Bootstrap {
    /// The bootstrap file. Listeners come from `listeners_file` besides.
    pub fn render(&self, id: &str, listeners_file: &Path) -> Value {
        let admin = self.admin.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        json!({
            "node": {"id": id, "cluster": id},
            "admin": {"address": address(admin)},
            "dynamicResources": {"ldsConfig": {
                "pathConfigSource": {"path": listeners_file},
                "resourceApiVersion": "V3",
            }},
            "layeredRuntime": {"layers": [
                {"name": "global config", "staticLayer": settings().runtime},
                {"name": "admin", "adminLayer": {}},
            ]},
            "staticResources": {"listeners": self.listeners, "clusters": self.clusters},
        })
    }
}

/// A sidecar's inbound listener.
#[derive(Debug)]
pub struct Inbound<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it listens; port 0 for any that is free.
    pub address: SocketAddr,
    /// What is in force on which of the workload's ports; the first is in force
    /// on every port that has no entry of its own.
    pub ports: &'a [PortRules],
    /// Certificate and key of the workload.
    pub certificate: &'a Certificate,
    /// The authority whose certificates are accepted, in PEM.
    pub root_pem: &'a str,
    /// Whose identities are accepted, and what happens to paths first.
    pub mesh: &'a Mesh,
    /// The cluster that requests go to.
    pub cluster: &'a str,
    /// Whether connections begin with a PROXY header, which then says their
    /// source and destination (what iptables and original_dst do in a pod).
    pub proxy_protocol: bool,
    /// Where each request is recorded.
    pub access_log: &'a AccessLog<'a>,
}

/// What is in force on one of a workload's ports.
#[derive(Debug, Clone, PartialEq)]
pub struct PortRules {
    /// The port.
    pub port: u16,
    /// Whether connections have to be, or can be, mTLS.
    pub mtls: MtlsMode,
    /// The filters of the policies, in order.
    pub filters: Vec<Filter>,
}

impl PortRules {
    /// What istiod puts in force on a port of a workload, and the issuers that it
    /// has no keys of.
    pub fn of(
        mesh: &Mesh,
        manifests: &Manifests,
        keys: &KeySets,
        workload: &Workload,
        port: u16,
    ) -> Result<(Self, Vec<String>), TranslateError> {
        let made = http_filters(mesh, manifests, workload, Some(port), keys)?;
        let mtls = mesh.mtls(manifests, workload).of(Some(port));
        let rules = Self {
            port,
            mtls: mtls.unwrap_or(MtlsMode::Permissive),
            filters: made.filters,
        };
        Ok((rules, made.issuers_without_keys))
    }
}

/// An access log in a file, one JSON object a line.
#[derive(Debug)]
pub struct AccessLog<'a> {
    /// The file.
    pub path: &'a Path,
    /// Fields by name, with Envoy's command operators (`%RESPONSE_CODE%`) as
    /// their values.
    pub fields: &'a [(&'a str, &'a str)],
}

impl AccessLog<'_> {
    /// The access logger.
    pub fn render(&self) -> Value {
        let fields: Map<_, _> = self
            .fields
            .iter()
            .map(|(name, format)| ((*name).to_owned(), json!(format)))
            .collect();
        json!({
            "name": "envoy.access_loggers.file",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": self.path,
                "logFormat": {
                    "jsonFormat": fields,
                    "formatters": [{
                        "name": "envoy.formatter.req_without_query",
                        "typedConfig": {
                            "@type": "type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery",
                        },
                    }],
                },
            },
        })
    }

    /// The same for connections that fit no filter chain, which no connection
    /// manager sees.
    pub fn render_for_refused_connections(&self) -> Value {
        let mut log = self.render();
        log["filter"] = json!({"responseFlagFilter": {"flags": ["NR"]}});
        log
    }
}

/// What sidecars offer each other, which tells them from other TLS clients.
const MESH_PROTOCOLS: [&str; 5] = [
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];

impl Inbound<'_> {
    /// The listener.
    pub fn render(&self) -> Value {
        let mut inspectors = vec![listener_filter("tls_inspector", "TlsInspector")];
        if self.proxy_protocol {
            inspectors.insert(0, listener_filter("proxy_protocol", "ProxyProtocol"));
        }
        let default = self.ports.first();
        let special = self.ports.iter().filter(|rules| {
            default.is_some_and(|default| {
                (rules.mtls, &rules.filters) != (default.mtls, &default.filters)
            })
        });
        let chains: Vec<Value> = default
            .into_iter()
            .map(|rules| (rules, None))
            .chain(special.map(|rules| (rules, Some(rules.port))))
            .flat_map(|(rules, port)| self.chains(rules, port))
            .collect();
        let own = json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": self.name,
            "address": address(self.address),
            "trafficDirection": "INBOUND",
            "accessLog": [self.access_log.render_for_refused_connections()],
            "listenerFilters": inspectors,
            "filterChains": chains,
        });
        message(&settings().listener, own)
    }

    /// A connection that fits none of the chains is closed: under STRICT there
    /// is none for plain text.
    fn chains(&self, rules: &PortRules, port: Option<u16>) -> Vec<Value> {
        let manager = connection_manager(
            &rules.filters,
            self.mesh.path_normalization,
            self.cluster,
            self.access_log,
        );
        let chain = |criteria: Value, socket: Option<Value>| {
            let mut criteria = criteria;
            if let Some(port) = port {
                criteria["destinationPort"] = json!(port);
            }
            let mut chain = json!({"filterChainMatch": criteria, "filters": [manager]});
            if let Some(socket) = socket {
                chain["transportSocket"] = socket;
            }
            chain
        };
        let mutual = |criteria| chain(criteria, Some(self.transport_socket()));
        match rules.mtls {
            MtlsMode::Disable => vec![chain(json!({}), None)],
            MtlsMode::Strict => vec![mutual(json!({"transportProtocol": "tls"}))],
            MtlsMode::Permissive | MtlsMode::Unset => vec![
                mutual(json!({
                    "transportProtocol": "tls",
                    "applicationProtocols": MESH_PROTOCOLS,
                })),
                chain(json!({}), None),
            ],
        }
    }

    fn transport_socket(&self) -> Value {
        let names =
            identities_of(self.mesh).map(|matcher| json!({"sanType": "URI", "matcher": matcher}));
        let mut context = message(
            &settings().tls,
            json!({
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            }),
        );
        context["commonTlsContext"]["tlsCertificates"] = json!([{
            "certificateChain": {"inlineString": self.certificate.chain_pem},
            "privateKey": {"inlineString": self.certificate.key_pem.expose_secret()},
        }]);
        context["commonTlsContext"]["validationContext"] = json!({
            "trustedCa": {"inlineString": self.root_pem},
            "matchTypedSubjectAltNames": names.collect::<Vec<_>>(),
        });
        json!({"name": "envoy.transport_sockets.tls", "typedConfig": context})
    }
}

fn listener_filter(name: &str, kind: &str) -> Value {
    json!({
        "name": format!("envoy.filters.listener.{name}"),
        "typedConfig": {
            "@type": format!("type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{kind}"),
        },
    })
}

/// A connection manager with the filters of the policies, then those of every
/// sidecar, then one cluster for everything.
fn connection_manager(
    filters: &[Filter],
    path_normalization: PathNormalization,
    cluster: &str,
    access_log: &AccessLog<'_>,
) -> Value {
    let settings = settings();
    let filters: Vec<Value> = filters
        .iter()
        .map(|filter| json!(filter))
        .chain(settings.http_filters.iter().cloned())
        .collect();
    let mut route = Value::Object(settings.route.clone());
    route["route"]["cluster"] = json!(cluster);
    let host = message(
        &settings.virtual_host,
        json!({"name": "inbound", "routes": [route]}),
    );
    let own = json!({
        "@type": HTTP_CONNECTION_MANAGER,
        "statPrefix": "inbound",
        "accessLog": [access_log.render()],
        "routeConfig": message(&settings.route_configuration, json!({"virtualHosts": [host]})),
        "httpFilters": filters,
    });
    let manager = message(&settings.inbound_manager(path_normalization), own);
    json!({"name": "envoy.filters.network.http_connection_manager", "typedConfig": manager})
}

/// The type of a connection manager's configuration.
pub(crate) const HTTP_CONNECTION_MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// The filter at the end of every chain.
pub fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    })
}

/// A socket address.
pub fn address(address: SocketAddr) -> Value {
    json!({"socketAddress": {"address": address.ip(), "portValue": address.port()}})
}
