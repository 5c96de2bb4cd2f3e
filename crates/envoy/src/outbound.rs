//! A sidecar's outbound side: where each host of the mesh is, and with what
//! certificate to go there.

use std::net::{IpAddr, SocketAddr};

use policy::PathNormalization;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{HTTP_CONNECTION_MANAGER, address, router};
use crate::settings::{message, settings};
use crate::{AccessLog, Certificate};

/// A sidecar's outbound listener with its routes.
#[derive(Debug)]
pub struct Outbound<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// The hosts that it knows; any other gets 502.
    pub upstreams: &'a [Upstream],
    /// The address that its connections come from.
    pub source: IpAddr,
    /// The workload's certificate.
    pub certificate: &'a Certificate,
    /// The authority that upstreams must be certified by, in PEM.
    pub root_pem: &'a str,
    /// Where each request is recorded.
    pub access_log: &'a AccessLog<'a>,
}

/// A port of a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upstream {
    /// The service's full name.
    pub host: String,
    /// The service's port.
    pub port: u16,
    /// Where the workload behind it listens.
    pub endpoint: SocketAddr,
    /// The workload's principal, if it has a sidecar: then mTLS is spoken.
    pub principal: Option<String>,
}

impl Upstream {
    fn cluster_name(&self) -> String {
        format!("outbound|{}||{}", self.port, self.host)
    }
}

impl Outbound<'_> {
    /// The listener.
    pub fn listener(&self) -> Value {
        let known = self.upstreams.iter().map(|upstream| {
            json!({
                "name": upstream.cluster_name(),
                "domains": [upstream.host, format!("{}:{}", upstream.host, upstream.port)],
                "routes": [{
                    "match": {"prefix": "/"},
                    "route": {
                        "cluster": upstream.cluster_name(),
                        "timeout": "0s",
                        // Only what the upstream cannot have seen is sent again.
                        "retryPolicy": {
                            "retryOn": "connect-failure,refused-stream,reset-before-request",
                            "numRetries": 2,
                        },
                    },
                }],
            })
        });
        let unknown = json!({
            "name": "unknown",
            "domains": ["*"],
            "routes": [{
                "match": {"prefix": "/"},
                "directResponse": {
                    "status": 502,
                    "body": {"inlineString": "no such host in this mesh"},
                },
            }],
        });
        let own = json!({
            "@type": HTTP_CONNECTION_MANAGER,
            "statPrefix": "outbound",
            "accessLog": [self.access_log.render()],
            "routeConfig": {"virtualHosts": known.chain([unknown]).collect::<Vec<_>>()},
            "httpFilters": [router()],
        });
        let settings = settings().outbound_manager(PathNormalization::Base);
        json!({
            "name": "outbound",
            "address": address(self.address),
            "trafficDirection": "OUTBOUND",
            "filterChains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typedConfig": message(&settings, own),
            }]}],
        })
    }

    /// The clusters that the routes lead to.
    pub fn clusters(&self) -> Vec<Value> {
        let cluster = |upstream: &Upstream| {
            let mut cluster = cluster(&upstream.cluster_name(), upstream.endpoint);
            cluster["upstreamBindConfig"] = json!({
                "sourceAddress": {"address": self.source, "portValue": 0},
            });
            if let Some(principal) = &upstream.principal {
                cluster["transportSocket"] = self.transport_socket(upstream, principal);
            }
            cluster
        };
        self.upstreams.iter().map(cluster).collect()
    }

    fn transport_socket(&self, upstream: &Upstream, principal: &str) -> Value {
        json!({
            "name": "envoy.transport_sockets.tls",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": format!("outbound_.{}_._.{}", upstream.port, upstream.host),
                "commonTlsContext": {
                    "alpnProtocols": ["istio"],
                    "tlsCertificates": [{
                        "certificateChain": {"inlineString": self.certificate.chain_pem},
                        "privateKey": {"inlineString": self.certificate.key_pem.expose_secret()},
                    }],
                    "validationContext": {
                        "trustedCa": {"inlineString": self.root_pem},
                        "matchTypedSubjectAltNames": [{
                            "sanType": "URI",
                            "matcher": {"exact": format!("spiffe://{principal}")},
                        }],
                    },
                },
            },
        })
    }
}

/// A cluster of one endpoint.
pub fn cluster(name: &str, endpoint: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connectTimeout": "10s",
        "loadAssignment": {
            "clusterName": name,
            "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address(endpoint)}}]}],
        },
    })
}
