//! Evidence: what the proxy's own access log says of a request.
//!
//! A status alone proves little: 403 may come from three different filters or
//! from the app. Envoy's `response_code_details` tells which one it was.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Who decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum DecidedBy {
    /// The application: the request went through every filter.
    App,
    /// Envoy's jwt_authn filter, made of RequestAuthentication.
    Authn,
    /// The Lua filter that answers a request without a token, made of
    /// TrafficExtension.
    MissingToken,
    /// Envoy's RBAC filter, made of AuthorizationPolicy.
    Authz,
    /// The listener: not mTLS, so not even HTTP was spoken. PeerAuthentication.
    Mtls,
    /// A proxy that had nowhere to send the request to, or answered by its
    /// routes alone.
    Gateway,
}

/// One line of an Envoy access log in JSON, with the fields of
/// `manifests/istio`. What Envoy writes as `-` is absent here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// When the request began.
    pub start_time: Timestamp,
    /// The request's `x-request-id`.
    #[serde(default, deserialize_with = "dash_is_none")]
    pub request_id: Option<String>,
    /// The HTTP method; absent where no HTTP was spoken.
    #[serde(default, deserialize_with = "dash_is_none")]
    pub method: Option<String>,
    /// The host that was asked for, perhaps with a port.
    #[serde(default, deserialize_with = "dash_is_none")]
    pub authority: Option<String>,
    /// The path, without its query.
    #[serde(default, deserialize_with = "dash_is_none")]
    pub path: Option<String>,
    /// The status; 0 where there was no answer.
    #[serde(deserialize_with = "number_or_text")]
    pub response_code: u16,
    /// Who answered, and why: `via_upstream`, `rbac_access_denied_…`.
    #[serde(default, deserialize_with = "dash_is_none")]
    pub response_code_details: Option<String>,
    /// Envoy's short codes, such as `NR` for "no route or filter chain".
    #[serde(default, deserialize_with = "dash_is_none")]
    pub response_flags: Option<String>,
    /// The SPIFFE name in the caller's certificate.
    #[serde(default, deserialize_with = "dash_is_none")]
    pub downstream_peer_principal: Option<String>,
    /// Address and port of the caller.
    #[serde(default, deserialize_with = "dash_is_none")]
    pub downstream_remote_address: Option<String>,
    /// Where the request was sent on: `inbound|8080||` is the app itself.
    #[serde(default, deserialize_with = "dash_is_none")]
    pub upstream_cluster: Option<String>,
    /// Every other field.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl AccessRecord {
    /// Reads one line of a proxy's log; `None` if it is not an access record.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim_start()).ok()
    }

    /// Who decided; where the details are of no known filter, the details.
    pub fn decided_by(&self) -> Result<DecidedBy, Unrecognised> {
        let details = self.response_code_details.as_deref().unwrap_or_default();
        let no_http = self.method.is_none() && self.response_code == 0;
        Ok(match details {
            "via_upstream" => DecidedBy::App,
            "lua_response" => DecidedBy::MissingToken,
            "filter_chain_not_found" if no_http => DecidedBy::Mtls,
            "" if no_http && self.response_flags.as_deref() == Some("NR") => DecidedBy::Mtls,
            "direct_response" | "route_not_found" | "cluster_not_found" => DecidedBy::Gateway,
            _ if details.starts_with("jwt_authn_access_denied") => DecidedBy::Authn,
            _ if details.starts_with("rbac_access_denied") => DecidedBy::Authz,
            _ => {
                let flags = self.response_flags.as_deref().unwrap_or("-");
                return Err(Unrecognised(format!("{details} (flags {flags})")));
            }
        })
    }

    /// Whether the proxy stood before the app that was asked: the same request
    /// id is also logged by the caller's proxy and by those further down.
    fn is_inbound_for(&self, host: &str) -> bool {
        let outbound = self
            .upstream_cluster
            .as_deref()
            .is_some_and(|cluster| cluster.starts_with("outbound|"));
        let authority = self.authority.as_deref().unwrap_or_default();
        let name = authority.split(':').next().unwrap_or_default();
        !outbound && name.eq_ignore_ascii_case(host)
    }

    fn client_ip(&self) -> Option<IpAddr> {
        let address: SocketAddr = self.downstream_remote_address.as_ref()?.parse().ok()?;
        Some(address.ip())
    }
}

/// A record whose details are of no filter that this project knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unrecognised: {0}")]
pub struct Unrecognised(pub String);

/// Every access record read so far.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    records: Vec<AccessRecord>,
}

impl Evidence {
    /// Adds the access records of a proxy's log; other lines are passed over.
    pub fn read<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.records
            .extend(lines.into_iter().filter_map(AccessRecord::parse));
    }

    /// The records of one request, by the proxy before the app it was sent to.
    pub fn of_request(&self, request_id: &str, host: &str) -> Vec<&AccessRecord> {
        self.records
            .iter()
            .filter(|record| record.request_id.as_deref() == Some(request_id))
            .filter(|record| record.is_inbound_for(host))
            .collect()
    }

    /// The connections from `client` that ended before any HTTP was spoken,
    /// none of them older than `since`. They have no request id.
    pub fn of_refused_connections(&self, client: IpAddr, since: Timestamp) -> Vec<&AccessRecord> {
        self.records
            .iter()
            .filter(|record| record.method.is_none() && record.start_time >= since)
            .filter(|record| record.client_ip() == Some(client))
            .collect()
    }
}

fn dash_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| text != "-" && !text.is_empty()))
}

/// Envoy keeps a lone number a number; other loggers write text.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Code {
        Number(u16),
        Text(String),
    }
    match Code::deserialize(deserializer)? {
        Code::Number(code) => Ok(code),
        Code::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}
