//! Which resources apply to a workload.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::parse::{Manifests, Meta, Resource};
use crate::request::Identity;
use crate::types::{
    AuthorizationPolicy, JwtRule, MtlsMode, PeerAuthentication, Phase, RequestAuthentication,
    TargetRef, TrafficExtension, WorkloadMode, WorkloadSelector,
};

/// The pods that the question is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Their namespace.
    pub namespace: String,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
}

impl Workload {
    /// Pods with one label, `app`, as in most examples.
    pub fn app(namespace: &str, app: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        }
    }

    /// Whether they are a gateway of the Gateway API.
    pub(crate) fn is_gateway(&self) -> bool {
        self.labels.contains_key(GATEWAY_LABEL)
    }
}

/// Mesh-wide settings that change what policies mean (`MeshConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Mesh {
    /// Policies in this namespace apply everywhere.
    pub root_namespace: String,
    /// Trust domain of the mesh's certificates.
    pub trust_domain: String,
    /// Other names of it.
    pub trust_domain_aliases: Vec<String>,
    /// What sidecars do to a path before they look at it.
    pub path_normalization: PathNormalization,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            path_normalization: PathNormalization::default(),
        }
    }
}

/// `MeshConfig.pathNormalization`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PathNormalization {
    /// Paths are taken as they come.
    None,
    /// Dot segments, backslashes and needless escapes are resolved.
    #[default]
    Base,
    /// Repeated slashes become one, too.
    MergeSlashes,
    /// `%2F` and `%5C` become slashes, too.
    DecodeAndMergeSlashes,
}

/// The resources that apply to one workload, in istiod's order.
#[derive(Debug, Clone)]
pub(crate) struct Effective<'a> {
    pub(crate) request_authentications: Vec<&'a Resource<RequestAuthentication>>,
    pub(crate) policies: Vec<&'a Resource<AuthorizationPolicy>>,
    pub(crate) extensions: Vec<&'a Resource<TrafficExtension>>,
    pub(crate) mtls: Mtls,
}

/// The mTLS modes of a workload's ports, from its PeerAuthentications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mtls {
    /// Of every port that is not named below.
    pub mode: MtlsMode,
    /// Of single ports of the pod.
    pub ports: BTreeMap<u32, MtlsMode>,
    /// `NAMESPACE/NAME` of the resource that said so.
    pub from: Option<String>,
}

impl Mtls {
    /// The mode of a port; `None` if it depends on which port it is.
    pub fn of(&self, port: Option<u16>) -> Option<MtlsMode> {
        match port {
            Some(port) => Some(
                self.ports
                    .get(&u32::from(port))
                    .copied()
                    .unwrap_or(self.mode),
            ),
            None if self.ports.values().all(|mode| *mode == self.mode) => Some(self.mode),
            None => None,
        }
    }
}

const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

impl Mesh {
    /// The trust domains whose identities are accepted: the mesh's own and its
    /// aliases.
    pub fn trust_domains(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.trust_domain)
            .chain(&self.trust_domain_aliases)
            .map(String::as_str)
    }

    /// Whether sidecars accept a certificate with this identity: its trust
    /// domain has to be the mesh's own or an alias of it.
    pub(crate) fn trusts(&self, identity: &Identity) -> bool {
        let domain = identity.principal().split('/').next();
        self.trust_domains().any(|own| Some(own) == domain)
    }

    pub(crate) fn effective<'a>(
        &self,
        manifests: &'a Manifests,
        workload: &Workload,
    ) -> Effective<'a> {
        let own = [workload.namespace.as_str(), self.root_namespace.as_str()];
        let root_first = [self.root_namespace.as_str(), workload.namespace.as_str()];
        let mut extensions = pick(&manifests.traffic_extensions, own, |resource| {
            let spec = &resource.spec;
            attaches(
                &resource.meta,
                spec.selector.as_ref(),
                None,
                &spec.target_refs,
                workload,
            )
        });
        // Highest first; one without a priority comes last.
        extensions.sort_by_key(|extension| {
            std::cmp::Reverse(extension.spec.priority.unwrap_or(i32::MIN))
        });
        Effective {
            request_authentications: pick(&manifests.request_authentications, own, |resource| {
                let spec = &resource.spec;
                let (selector, target) = (spec.selector.as_ref(), spec.target_ref.as_ref());
                attaches(
                    &resource.meta,
                    selector,
                    target,
                    &spec.target_refs,
                    workload,
                )
            }),
            policies: pick(&manifests.authorization_policies, root_first, |resource| {
                let spec = &resource.spec;
                let (selector, target) = (spec.selector.as_ref(), spec.target_ref.as_ref());
                attaches(
                    &resource.meta,
                    selector,
                    target,
                    &spec.target_refs,
                    workload,
                )
            }),
            extensions,
            mtls: self.mtls(manifests, workload),
        }
    }

    /// What kind of connection a workload accepts: the narrowest setting wins;
    /// within one scope, the oldest resource.
    pub fn mtls(&self, manifests: &Manifests, workload: &Workload) -> Mtls {
        let sorted = pick(
            &manifests.peer_authentications,
            [&workload.namespace, &self.root_namespace],
            |resource| is_subset(resource.spec.selector.as_ref(), &workload.labels),
        );
        let unselective = |resource: &&&Resource<PeerAuthentication>| {
            let selector = resource.spec.selector.as_ref();
            selector.is_none_or(|selector| selector.match_labels.is_empty())
        };
        let in_root = |resource: &&&Resource<PeerAuthentication>| {
            resource.meta.namespace == self.root_namespace
        };
        let mesh = sorted.iter().filter(unselective).find(in_root);
        let namespace = sorted
            .iter()
            .filter(unselective)
            .find(|resource| !in_root(resource));
        let selective = sorted
            .iter()
            .find(|resource| !in_root(resource) && !unselective(resource));

        let mut mtls = Mtls {
            mode: MtlsMode::Permissive,
            ..Mtls::default()
        };
        for resource in [mesh, namespace, selective].into_iter().flatten() {
            let mode = resource.spec.mtls.unwrap_or_default().mode;
            if mode != MtlsMode::Unset {
                mtls.mode = mode;
                mtls.from = Some(resource.id());
            }
        }
        if let Some(resource) = selective {
            for (port, setting) in resource.spec.port_level_mtls.iter().flatten() {
                let mode = match setting.mode {
                    MtlsMode::Unset => mtls.mode,
                    mode => mode,
                };
                mtls.ports.insert(*port, mode);
                mtls.from = Some(resource.id());
            }
        }
        mtls
    }
}

impl<'a> Effective<'a> {
    /// The extensions of one phase that see inbound traffic; with `None`, only
    /// the port would tell.
    pub(crate) fn inbound(
        &self,
        phase: Phase,
        port: Option<u16>,
    ) -> Vec<(&'a Resource<TrafficExtension>, Option<bool>)> {
        self.extensions
            .iter()
            .filter(|extension| extension.spec.phase == phase)
            .map(|extension| (*extension, sees(&extension.spec, port)))
            .filter(|(_, sees)| *sees != Some(false))
            .collect()
    }
}

/// Whether an extension sees inbound traffic to a port; `None` if that depends
/// on the port.
fn sees(extension: &TrafficExtension, port: Option<u16>) -> Option<bool> {
    if extension.matches.is_empty() {
        return Some(true);
    }
    let mut open = false;
    for selector in &extension.matches {
        if selector.mode == WorkloadMode::Client {
            continue;
        }
        if selector.ports.is_empty() {
            return Some(true);
        }
        match port {
            Some(port)
                if selector
                    .ports
                    .iter()
                    .any(|one| one.number == u32::from(port)) =>
            {
                return Some(true);
            }
            Some(_) => {}
            None => open = true,
        }
    }
    if open { None } else { Some(false) }
}

/// Resources of the two namespaces, oldest first within each.
fn pick<'a, T>(
    all: &'a [Resource<T>],
    namespaces: [&str; 2],
    applies: impl Fn(&Resource<T>) -> bool,
) -> Vec<&'a Resource<T>> {
    let mut picked: Vec<_> = all.iter().filter(|resource| applies(resource)).collect();
    picked.sort_by_key(|resource| age(&resource.meta));
    let count = if namespaces[0] == namespaces[1] { 1 } else { 2 };
    namespaces[..count]
        .iter()
        .flat_map(|namespace| {
            picked
                .iter()
                .filter(move |resource| resource.meta.namespace == *namespace)
                .copied()
        })
        .collect()
}

/// Istio's order: creation time, then name, then namespace.
fn age(meta: &Meta) -> (Option<String>, String, String) {
    (
        meta.creation_timestamp.clone(),
        meta.name.clone(),
        meta.namespace.clone(),
    )
}

/// Sidecars ignore a resource with `targetRefs`. A gateway of the Gateway API
/// follows those that name it, and a selector where there are none. Waypoints
/// are not modelled.
fn attaches(
    meta: &Meta,
    selector: Option<&WorkloadSelector>,
    target_ref: Option<&TargetRef>,
    target_refs: &[TargetRef],
    workload: &Workload,
) -> bool {
    let mut targets = target_ref
        .into_iter()
        .filter(|_| target_refs.is_empty())
        .chain(target_refs);
    if target_ref.is_none() && target_refs.is_empty() {
        return is_subset(selector, &workload.labels);
    }
    workload.labels.get(GATEWAY_LABEL).is_some_and(|gateway| {
        meta.namespace == workload.namespace
            && targets.any(|target| {
                target.group == "gateway.networking.k8s.io"
                    && target.kind == "Gateway"
                    && target.name == *gateway
            })
    })
}

pub(crate) fn is_subset(
    selector: Option<&WorkloadSelector>,
    labels: &BTreeMap<String, String>,
) -> bool {
    selector.is_none_or(|selector| {
        selector
            .match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    })
}

impl Effective<'_> {
    /// The rules of all RequestAuthentications, sorted by issuer: their place is
    /// their provider's name.
    pub(crate) fn jwt_rules(&self) -> Vec<&JwtRule> {
        let mut rules: Vec<_> = self
            .request_authentications
            .iter()
            .flat_map(|resource| &resource.spec.jwt_rules)
            .collect();
        rules.sort_by_key(|rule| rule.issuer.as_str());
        rules
    }
}

impl JwtRule {
    /// Claims that are split at spaces.
    pub(crate) fn split_claims(&self) -> Vec<&str> {
        let own = self.space_delimited_claims.iter().map(String::as_str);
        own.chain(["permission", "scope"])
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}
