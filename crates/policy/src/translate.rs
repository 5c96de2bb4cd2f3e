//! The Envoy filters that istiod makes of the resources, as JSON in
//! protobuf's own mapping (what `istioctl proxy-config listener -o json` prints).

mod jwt;
mod rbac;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::parse::Manifests;
use crate::rbac as rules;
use crate::select::{Effective, Mesh, Workload};
use crate::types::{Action, Phase};

/// One filter of a chain.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Its name in the chain.
    pub name: String,
    /// Its configuration, with `@type`.
    pub typed_config: Value,
}

/// Verification keys by issuer, as the text of a JSON Web Key Set.
///
/// istiod fetches them itself and puts them into the proxy's configuration; here
/// the caller gives them.
pub type KeySets = BTreeMap<String, String>;

/// Filters in chain order, and what was lacking to make them as istiod would.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Translation {
    /// The filters.
    pub filters: Vec<Filter>,
    /// Issuers without keys; in their place is one that refuses every token, as
    /// istiod does while Keycloak does not answer.
    pub issuers_without_keys: Vec<String>,
}

/// Resources that cannot be translated from manifests alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// A CUSTOM policy.
    #[error(
        "AuthorizationPolicy {policy} has action CUSTOM: its external authorizer `{provider}` is \
         defined in the mesh configuration (extensionProviders), not in manifests; \
         leave the policy out to see the other filters"
    )]
    Custom {
        /// `NAMESPACE/NAME`.
        policy: String,
        /// The authorizer's name.
        provider: String,
    },
    /// A Wasm module.
    #[error(
        "TrafficExtension {extension} is a Wasm module, which istiod delivers apart from the chain; \
         leave it out to see the other filters"
    )]
    Wasm {
        /// `NAMESPACE/NAME`.
        extension: String,
    },
}

/// The inbound HTTP filters of a workload's sidecar: Lua of phase AUTHN,
/// `jwt_authn`, Lua of phase AUTHZ, RBAC for AUDIT, DENY and ALLOW, and the
/// remaining Lua. `port` is the pod's port, needed only where an extension is
/// limited to some.
///
/// # Errors
/// What manifests alone do not say: CUSTOM policies and Wasm modules.
pub fn http_filters(
    mesh: &Mesh,
    manifests: &Manifests,
    workload: &Workload,
    port: Option<u16>,
    keys: &KeySets,
) -> Result<Translation, TranslateError> {
    let effective = mesh.effective(manifests, workload);
    refuse_custom(&effective)?;
    let mut translation = Translation::default();
    lua(&effective, Phase::Authn, port, &mut translation.filters)?;
    jwt::filter(&effective, keys, &mut translation);
    lua(&effective, Phase::Authz, port, &mut translation.filters)?;
    translation.filters.extend(rbac(mesh, &effective, false));
    lua(&effective, Phase::Stats, port, &mut translation.filters)?;
    lua(
        &effective,
        Phase::Unspecified,
        port,
        &mut translation.filters,
    )?;
    Ok(translation)
}

/// The network RBAC filters of a workload's TCP ports. Attributes of HTTP are
/// dropped there: an ALLOW rule with one goes away, a DENY rule becomes wider.
///
/// # Errors
/// CUSTOM policies, as for [`http_filters`].
pub fn tcp_filters(
    mesh: &Mesh,
    manifests: &Manifests,
    workload: &Workload,
) -> Result<Vec<Filter>, TranslateError> {
    let effective = mesh.effective(manifests, workload);
    refuse_custom(&effective)?;
    Ok(rbac(mesh, &effective, true))
}

fn refuse_custom(effective: &Effective<'_>) -> Result<(), TranslateError> {
    let custom = effective
        .policies
        .iter()
        .find(|policy| policy.spec.action == Action::Custom);
    match custom {
        None => Ok(()),
        Some(policy) => Err(TranslateError::Custom {
            policy: policy.id(),
            provider: policy.spec.provider.clone().unwrap_or_default().name,
        }),
    }
}

fn rbac(mesh: &Mesh, effective: &Effective<'_>, tcp: bool) -> Vec<Filter> {
    [Action::Audit, Action::Deny, Action::Allow]
        .into_iter()
        .filter_map(|action| rules::build(mesh, &effective.policies, action, tcp))
        .map(|rules| rbac::filter(&rules, tcp))
        .collect()
}

fn lua(
    effective: &Effective<'_>,
    phase: Phase,
    port: Option<u16>,
    filters: &mut Vec<Filter>,
) -> Result<(), TranslateError> {
    for (extension, _) in effective.inbound(phase, port) {
        let Some(lua) = &extension.spec.lua else {
            return Err(TranslateError::Wasm {
                extension: extension.id(),
            });
        };
        filters.push(Filter {
            name: format!(
                "extensions.istio.io/trafficextension/{}.{}",
                extension.meta.namespace, extension.meta.name
            ),
            typed_config: json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "defaultSourceCode": {"inlineString": lua.inline_code},
            }),
        });
    }
    Ok(())
}
