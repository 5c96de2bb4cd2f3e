//! Evidence: what the proxy's own access log says of a request.
//!
//! A status alone proves little: 403 may come from three different filters or
//! from the app. Envoy's `response_code_details` tells which one it was.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Who decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, JsonSchema)]
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
    /// The listener, made of PeerAuthentication: not mTLS, so no HTTP was spoken.
    Mtls,
    /// A proxy that had nowhere to send the request to, or answered by its
    /// routes alone.
    Gateway,
}

impl DecidedBy {
    /// Whose `response_code_details` these are.
    pub fn of_details(details: &str) -> Option<Self> {
        match details {
            "via_upstream" | "websocket_handshake_unsuccessful" => Some(Self::App),
            "lua_response" => Some(Self::MissingToken),
            "direct_response" | "route_not_found" | "cluster_not_found" => Some(Self::Gateway),
            _ if details.starts_with("jwt_authn_access_denied") => Some(Self::Authn),
            _ if details.starts_with("rbac_access_denied") => Some(Self::Authz),
            _ => None,
        }
    }
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
        let details = self
            .response_code_details
            .as_deref()
            .unwrap_or("no details");
        let flags = self.response_flags.as_deref().unwrap_or("-");
        if self.method.is_none() && self.response_code == 0 && flags.contains("NR") {
            return Ok(DecidedBy::Mtls);
        }
        DecidedBy::of_details(details)
            .ok_or_else(|| Unrecognised(format!("{details} (flags {flags})")))
    }

    /// The record in short: details, flags and the caller's identity.
    pub fn in_words(&self) -> String {
        format!(
            "{}, flags {}, from {}",
            self.response_code_details
                .as_deref()
                .unwrap_or("no details"),
            self.response_flags.as_deref().unwrap_or("-"),
            self.downstream_peer_principal
                .as_deref()
                .unwrap_or("no mTLS identity"),
        )
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
        let host = host.split(':').next().unwrap_or_default();
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

    /// Every record, in the order it was read.
    pub fn records(&self) -> &[AccessRecord] {
        &self.records
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
        // Envoy cuts its times to the millisecond.
        let since = since.as_millisecond();
        self.records
            .iter()
            .filter(|record| record.method.is_none())
            .filter(|record| record.start_time.as_millisecond() >= since)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the sidecar of the backend writes it, with these changes.
    fn record(changes: &Value) -> AccessRecord {
        let mut line = serde_json::json!({
            "start_time": "2026-11-24T08:00:00.123Z",
            "request_id": "4f2c",
            "method": "GET",
            "authority": "backend.demo.svc.cluster.local",
            "path": "/data",
            "response_code": 200,
            "response_code_details": "via_upstream",
            "response_flags": "-",
            "connection_termination_details": null,
            "downstream_peer_principal": "spiffe://cluster.local/ns/demo/sa/frontend",
            "downstream_remote_address": "10.244.0.9:41234",
            "upstream_cluster": "inbound|8080||",
            "duration": 3
        });
        let changes = changes.as_object().unwrap();
        line.as_object_mut().unwrap().extend(changes.clone());
        AccessRecord::parse(&line.to_string()).unwrap()
    }

    fn decided(details: &str) -> Result<DecidedBy, Unrecognised> {
        record(&serde_json::json!({"response_code": 403, "response_code_details": details}))
            .decided_by()
    }

    /// A connection that was closed before any HTTP.
    fn refused() -> AccessRecord {
        record(&serde_json::json!({
            "request_id": null,
            "method": null,
            "authority": null,
            "path": null,
            "response_code": 0,
            "response_code_details": "filter_chain_not_found",
            "response_flags": "NR",
            "downstream_peer_principal": null,
            "upstream_cluster": null
        }))
    }

    // === Reading ===

    #[test]
    fn record_keeps_every_field() {
        let record = record(&serde_json::json!({}));
        assert_eq!(record.request_id.as_deref(), Some("4f2c"));
        assert_eq!(record.response_code, 200);
        assert_eq!(record.response_flags, None, "a dash is nothing");
        assert_eq!(record.other["duration"], 3);
        assert_eq!(record.start_time.to_string(), "2026-11-24T08:00:00.123Z");
    }

    #[test]
    fn status_may_be_text() {
        let record = record(&serde_json::json!({"response_code": "401"}));
        assert_eq!(record.response_code, 401);
    }

    #[test]
    fn other_lines_are_passed_over() {
        let mut evidence = Evidence::default();
        evidence.read([
            "2026-11-24T08:00:00Z\tinfo\tEnvoy proxy is ready",
            r#"{"level":"info","msg":"not an access record"}"#,
            "",
            "{ broken",
        ]);
        assert!(evidence.records.is_empty());
    }

    // === Who decided ===

    #[test]
    fn every_filter_is_told_by_its_details() {
        assert_eq!(decided("via_upstream"), Ok(DecidedBy::App));
        assert_eq!(
            decided("jwt_authn_access_denied{Jwt_is_expired}"),
            Ok(DecidedBy::Authn)
        );
        assert_eq!(decided("lua_response"), Ok(DecidedBy::MissingToken));
        assert_eq!(
            decided("rbac_access_denied_matched_policy[none]"),
            Ok(DecidedBy::Authz)
        );
        assert_eq!(decided("route_not_found"), Ok(DecidedBy::Gateway));
    }

    #[test]
    fn unknown_details_are_no_filter_and_are_told() {
        let error = decided("upstream_reset_before_response_started{connection_failure}");
        assert_eq!(
            error.unwrap_err().to_string(),
            "unrecognised: upstream_reset_before_response_started{connection_failure} (flags -)"
        );
        let none =
            record(&serde_json::json!({"response_code_details": null, "response_flags": "UH"}));
        assert_eq!(
            none.decided_by().unwrap_err().to_string(),
            "unrecognised: no details (flags UH)"
        );
    }

    #[test]
    fn plain_text_connection_is_refused_by_mtls() {
        assert_eq!(refused().decided_by(), Ok(DecidedBy::Mtls));
        let without_details = AccessRecord {
            response_code_details: None,
            ..refused()
        };
        assert_eq!(without_details.decided_by(), Ok(DecidedBy::Mtls));
    }

    #[test]
    fn request_without_a_route_is_not_taken_for_mtls() {
        let record = record(&serde_json::json!({
            "response_code": 404, "response_code_details": null, "response_flags": "NR"
        }));
        assert!(record.decided_by().is_err());
    }

    // === Finding ===

    #[test]
    fn only_the_proxy_before_the_app_counts() {
        let at_the_caller = serde_json::json!({"upstream_cluster": "outbound|80||backend.demo"});
        let another_app = serde_json::json!({"authority": "frontend.demo.svc.cluster.local"});
        let another_request = serde_json::json!({"request_id": "beef"});
        let with_port = serde_json::json!({"authority": "backend.demo.svc.cluster.local:80"});
        let evidence = Evidence {
            records: [at_the_caller, another_app, another_request, with_port]
                .iter()
                .map(record)
                .collect(),
        };
        let found = evidence.of_request("4f2c", "backend.demo.svc.cluster.local");
        assert_eq!(found, [&evidence.records[3]]);
    }

    #[test]
    fn refused_connections_are_found_by_address_and_time() {
        let evidence = Evidence {
            records: vec![record(&serde_json::json!({})), refused()],
        };
        let find = |client: &str, since: &str| {
            evidence
                .of_refused_connections(client.parse().unwrap(), since.parse().unwrap())
                .len()
        };
        assert_eq!(find("10.244.0.9", "2026-11-24T08:00:00Z"), 1);
        assert_eq!(find("10.244.0.9", "2026-11-24T08:00:01Z"), 0);
        assert_eq!(find("10.244.0.10", "2026-11-24T08:00:00Z"), 0);
    }
}
