//! What a sidecar is really configured with, held against the model.
//!
//! `policy` claims to know which filters istiod makes of the manifests, and
//! [`settings`](crate::settings) what it sets besides. Here both are compared with
//! the inbound side of the sidecar's own `/config_dump`, chain by chain. The table
//! proves what the filters do; this proves that they are the ones that every
//! explanation is about.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use policy::types::MtlsMode;
use policy::{Mesh, Workload, http_filters, tcp_filters};
use serde_json::{Value, json};
use similar::TextDiff;

use crate::settings::{Fields, identities_of, settings};
pub use dump::Chain;
use dump::ConfigDump;
use harness::rules::Rules;
use normal::{Kind, normal};

mod dump;
mod normal;
#[cfg(test)]
mod tests;

/// The inbound side of a workload's sidecar, as it is right now.
#[derive(Debug, Clone)]
pub struct Sidecar {
    /// Whose it is.
    pub workload: Workload,
    /// The flags of its runtime.
    pub runtime: Fields,
    /// The settings of its inbound listeners, by their names.
    pub listeners: Vec<(String, Value)>,
    /// The filter chains of its inbound listeners.
    pub chains: Vec<Chain>,
}

impl Sidecar {
    /// Reads the answer of the proxy's `/config_dump`.
    pub fn read(workload: Workload, config_dump: &str) -> Result<Self> {
        let dump: ConfigDump = serde_json::from_str(config_dump).context("not a config dump")?;
        let runtime = dump.runtime();
        let inbound = dump.inbound_listeners();
        let listeners = inbound.iter().map(dump::Listener::read).collect();
        let chains = inbound
            .into_iter()
            .flat_map(dump::Listener::into_chains)
            .filter(|chain| !chain.is_blackhole())
            .map(dump::FilterChain::read)
            .collect::<Result<Vec<_>>>()?;
        if !chains.iter().any(|chain| chain.is_http) {
            bail!("the sidecar has no inbound HTTP filter chain");
        }
        Ok(Self {
            workload,
            runtime,
            listeners,
            chains,
        })
    }

    /// What differs between the model and this sidecar as a unified diff, the
    /// model being the old side; `None` if they are equal.
    pub fn difference(&self, rules: &Rules) -> Result<Option<String>> {
        let mut differing: Vec<(Vec<&str>, Value, Value)> = Vec::new();
        for (name, wanted, live) in self.compared(rules)? {
            if wanted == live {
                continue;
            }
            // One policy shows in every chain: say it once.
            let known = differing
                .iter_mut()
                .find(|(_, other, same)| *other == wanted && *same == live);
            match known {
                Some((names, ..)) => names.push(name),
                None => differing.push((vec![name], wanted, live)),
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

    /// Everything that is compared: its name, what the model has, what is there.
    fn compared(&self, rules: &Rules) -> Result<Vec<(&str, Value, Value)>> {
        let settings = settings();
        let mut compared = vec![("runtime", json!(settings.runtime), json!(self.runtime))];
        for (name, live) in &self.listeners {
            compared.push((name, json!(settings.listener), live.clone()));
        }
        for chain in &self.chains {
            let wanted = json!({
                "mutualTls": self.is_mutual(chain, rules),
                "filters": self.filters(chain, rules)?,
                "settings": wanted_settings(chain, &rules.mesh),
            });
            let live = json!({
                "mutualTls": chain.is_mutual,
                "filters": chain.filters,
                "settings": chain.settings,
            });
            compared.push((&chain.name, wanted, live));
        }
        Ok(compared)
    }

    /// Whether callers of a chain have to show a certificate: where some may and
    /// some need not, there are chains of both kinds.
    fn is_mutual(&self, chain: &Chain, rules: &Rules) -> bool {
        let mtls = rules.mesh.mtls(&rules.manifests, &self.workload);
        // Modes for certain ports are never for the ports nobody named.
        match mtls.of(Some(chain.port.unwrap_or(0))) {
            Some(MtlsMode::Strict) => true,
            Some(MtlsMode::Disable) => false,
            _ => chain.is_mutual,
        }
    }

    /// The filters that the model has for a chain.
    fn filters(&self, chain: &Chain, rules: &Rules) -> Result<Vec<Value>> {
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
        let mut filters = filters
            .iter()
            .map(|filter| Ok(normal(serde_json::to_value(filter)?, Kind::Message)))
            .collect::<Result<Vec<_>>>()?;
        if chain.is_http {
            filters.extend(settings().http_filters.iter().cloned());
        }
        Ok(filters)
    }
}

/// The settings that istiod gives such a chain.
fn wanted_settings(chain: &Chain, mesh: &Mesh) -> Fields {
    let settings = settings();
    let mut wanted = Fields::new();
    if !chain.is_http {
        return wanted;
    }
    let mut set = |name: &str, value| wanted.insert(name.to_owned(), value);
    let manager = settings.inbound_manager(mesh.path_normalization);
    set("connectionManager", Value::Object(manager));
    set("routeConfiguration", json!(settings.route_configuration));
    set("virtualHosts", json!([settings.virtual_host]));
    set("routes", json!([settings.route]));
    if chain.settings.contains_key("tls") {
        let mut tls = json!(settings.tls);
        tls["commonTlsContext"]["validationContext"] = json!({
            "matchSubjectAltNames": identities_of(mesh).collect::<Vec<_>>(),
        });
        set("tls", tls);
    }
    wanted
}
