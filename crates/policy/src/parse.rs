//! Manifests from YAML text.

pub(crate) mod attribute;
mod source;
pub(crate) mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::types::{
    AuthorizationPolicy, PeerAuthentication, RequestAuthentication, TrafficExtension,
};

pub use source::{Location, Origin, yaml_problem};

/// A Kubernetes object's name, namespace and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Namespace; `default` if the manifest has none, as for kubectl.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When the cluster created it (RFC 3339), if the manifest comes from one.
    pub creation_timestamp: Option<String>,
}

/// One resource and where it was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resource<T> {
    /// Name and namespace.
    pub meta: Meta,
    /// What it says.
    pub spec: T,
    /// Where it stands.
    pub origin: Origin,
}

impl<T> Resource<T> {
    /// `NAMESPACE/NAME`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.meta.namespace, self.meta.name)
    }

    /// A resource made by code rather than read from a file.
    pub fn new(namespace: &str, name: &str, spec: T) -> Self {
        let meta = Meta {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..Meta::default()
        };
        Self {
            meta,
            spec,
            origin: Origin::default(),
        }
    }
}

/// An object of another kind: read, listed, and no part of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Other {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// `NAMESPACE/NAME`.
    pub id: String,
    /// Where it stands.
    pub location: Location,
    /// Whether this kind can change what the proxy decides (`EnvoyFilter`,
    /// `WasmPlugin`), so that predictions hold only without it.
    pub may_interfere: bool,
}

/// A workload's pods, as far as policies see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pods {
    /// Kind of the workload (`Deployment`).
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Labels of its pods.
    pub labels: BTreeMap<String, String>,
}

/// A Service, as far as it says which ports speak HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Which pods it selects.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Where it stands.
    pub location: Location,
}

/// A port of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name; Istio reads the protocol from what stands before a dash.
    #[serde(default)]
    pub name: Option<String>,
    /// Its protocol, said outright.
    #[serde(default)]
    pub app_protocol: Option<String>,
    /// Its number.
    pub port: u16,
}

/// Everything read from a set of files.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Manifests {
    /// RequestAuthentication resources.
    pub request_authentications: Vec<Resource<RequestAuthentication>>,
    /// AuthorizationPolicy resources.
    pub authorization_policies: Vec<Resource<AuthorizationPolicy>>,
    /// PeerAuthentication resources.
    pub peer_authentications: Vec<Resource<PeerAuthentication>>,
    /// TrafficExtension resources.
    pub traffic_extensions: Vec<Resource<TrafficExtension>>,
    /// Objects of other kinds.
    pub others: Vec<Other>,
    /// Workloads among them.
    pub workloads: Vec<Pods>,
    /// Services among them.
    pub services: Vec<Service>,
    /// What Istio's webhook would warn about.
    pub warnings: Vec<Diagnostic>,
}

/// One thing wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Where.
    pub location: Location,
    /// What, and what to do.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}

/// Manifests that Istio would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct InvalidManifests(
    /// Everything that is wrong, in the order of the file.
    pub Vec<Diagnostic>,
);

impl Manifests {
    /// Reads one file's documents. `file` is only used in messages.
    ///
    /// Refused is what the API server or Istio's webhook would refuse: unknown
    /// fields, wrong types, and policies that mean nothing.
    pub fn parse(file: &str, text: &str) -> Result<Self, InvalidManifests> {
        Self::parse_all([(file, text)])
    }

    /// Reads several files as one set.
    pub fn parse_all<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, InvalidManifests> {
        let mut manifests = Self::default();
        let mut errors = Vec::new();
        for (file, text) in files {
            let file: Arc<str> = file.into();
            for (offset, document) in documents(text) {
                if let Err(error) = manifests.read(&file, &document, offset, &mut errors) {
                    errors.push(error);
                }
            }
        }
        manifests.refuse_duplicates(&mut errors);
        if errors.is_empty() {
            Ok(manifests)
        } else {
            Err(InvalidManifests(errors))
        }
    }

    /// Adds what `other` holds.
    pub fn extend(&mut self, other: Self) {
        self.request_authentications
            .extend(other.request_authentications);
        self.authorization_policies
            .extend(other.authorization_policies);
        self.peer_authentications.extend(other.peer_authentications);
        self.traffic_extensions.extend(other.traffic_extensions);
        self.others.extend(other.others);
        self.workloads.extend(other.workloads);
        self.services.extend(other.services);
        self.warnings.extend(other.warnings);
    }

    fn read(
        &mut self,
        file: &Arc<str>,
        document: &str,
        offset: u64,
        errors: &mut Vec<Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let Some(head) = yaml::<Option<Head>>(file, document, offset)? else {
            return Ok(());
        };
        let origin = Origin::read(file, document, offset);
        let (Some(api_version), Some(kind)) = (head.api_version, head.kind) else {
            return Err(Diagnostic {
                location: origin.locate(""),
                message: "not a Kubernetes object: `apiVersion` or `kind` is missing; \
                          give the manifests themselves, not a kustomization or values file"
                    .to_owned(),
            });
        };

        match (api_version.split_once('/'), kind.as_str()) {
            (Some(("security.istio.io", "v1" | "v1beta1")), "RequestAuthentication") => {
                let resource = resource(file, document, offset, origin)?;
                validate::request_authentication(&resource, errors, &mut self.warnings);
                self.request_authentications.push(resource);
            }
            (Some(("security.istio.io", "v1" | "v1beta1")), "AuthorizationPolicy") => {
                let resource = resource(file, document, offset, origin)?;
                validate::authorization_policy(&resource, errors, &mut self.warnings);
                self.authorization_policies.push(resource);
            }
            (Some(("security.istio.io", "v1" | "v1beta1")), "PeerAuthentication") => {
                let resource = resource(file, document, offset, origin)?;
                validate::peer_authentication(&resource, errors, &mut self.warnings);
                self.peer_authentications.push(resource);
            }
            (Some(("extensions.istio.io", "v1alpha1")), "TrafficExtension") => {
                let resource = resource(file, document, offset, origin)?;
                validate::traffic_extension(&resource, errors, &mut self.warnings);
                self.traffic_extensions.push(resource);
            }
            (Some(("security.istio.io", _)), _) | (_, "TrafficExtension") => {
                return Err(Diagnostic {
                    location: origin.locate("apiVersion"),
                    message: format!(
                        "`{api_version}` has no {kind}; use security.istio.io/v1 for \
                         RequestAuthentication, AuthorizationPolicy and PeerAuthentication, \
                         extensions.istio.io/v1alpha1 for TrafficExtension"
                    ),
                });
            }
            _ => self.read_other(file, document, offset, &origin, api_version, kind),
        }
        Ok(())
    }

    /// Other kinds are not checked: their own tools do that.
    fn read_other(
        &mut self,
        file: &Arc<str>,
        document: &str,
        offset: u64,
        origin: &Origin,
        api_version: String,
        kind: String,
    ) {
        let loose = yaml::<Loose>(file, document, offset).unwrap_or_default();
        let name = loose.metadata.name.unwrap_or_default();
        let namespace = loose
            .metadata
            .namespace
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let location = origin.locate("");

        if kind == "Service" && api_version == "v1" {
            self.services.push(Service {
                name: name.clone(),
                namespace: namespace.clone(),
                selector: yaml::<ServiceDocument>(file, document, offset)
                    .map(|service| service.spec.selector)
                    .unwrap_or_default(),
                ports: loose.spec.ports,
                location: location.clone(),
            });
        }
        let labels = match kind.as_str() {
            "Pod" => Some(loose.metadata.labels),
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
                Some(loose.spec.template.metadata.labels)
            }
            _ => None,
        };
        if let Some(labels) = labels {
            self.workloads.push(Pods {
                kind: kind.clone(),
                name: name.clone(),
                namespace: namespace.clone(),
                labels,
            });
        }
        self.others.push(Other {
            may_interfere: matches!(kind.as_str(), "EnvoyFilter" | "WasmPlugin"),
            id: format!("{namespace}/{name}"),
            api_version,
            kind,
            location,
        });
    }

    fn refuse_duplicates(&self, errors: &mut Vec<Diagnostic>) {
        fn check<T>(kind: &str, resources: &[Resource<T>], errors: &mut Vec<Diagnostic>) {
            let mut seen = BTreeMap::new();
            for resource in resources {
                let place = resource.origin.locate("metadata.name");
                if let Some(first) = seen.insert(resource.id(), place.clone()) {
                    errors.push(Diagnostic {
                        location: place,
                        message: format!(
                            "{kind} {} is defined twice, first at {first}; remove one",
                            resource.id()
                        ),
                    });
                }
            }
        }
        check(
            "RequestAuthentication",
            &self.request_authentications,
            errors,
        );
        check("AuthorizationPolicy", &self.authorization_policies, errors);
        check("PeerAuthentication", &self.peer_authentications, errors);
        check("TrafficExtension", &self.traffic_extensions, errors);
    }
}

const DEFAULT_NAMESPACE: &str = "default";

/// Splits a file at its document markers; with each document comes the number
/// of lines before it. A marker can only be a whole line: YAML allows `---` at
/// a line's start nowhere else.
fn documents(text: &str) -> Vec<(u64, String)> {
    let mut documents = vec![(0, String::new())];
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let marker = line.trim_end();
        if marker == "---" || line.starts_with("--- ") || line.starts_with("---\t") {
            documents.push((number, String::new()));
        } else if marker == "..." {
            documents.push((number + 1, String::new()));
            continue;
        }
        if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
        }
    }
    documents.retain(|(_, document)| {
        document.lines().any(|line| {
            let line = line.strip_prefix("---").unwrap_or(line).trim_start();
            !line.is_empty() && !line.starts_with('#')
        })
    });
    documents
}

fn yaml<T: DeserializeOwned>(
    file: &Arc<str>,
    document: &str,
    offset: u64,
) -> Result<T, Diagnostic> {
    let options = serde_saphyr::options! {
        // The API server takes `ports: [80]` for a number and refuses it.
        no_schema: true,
        // Source text stays out of messages: it may hold keys.
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(document, options).map_err(|error| {
        let (line, message) = yaml_problem(&error);
        Diagnostic {
            location: Location {
                file: file.to_string(),
                line: offset + line.max(1),
            },
            message,
        }
    })
}

fn resource<T: DeserializeOwned + Default>(
    file: &Arc<str>,
    document: &str,
    offset: u64,
    origin: Origin,
) -> Result<Resource<T>, Diagnostic> {
    let document: Document<T> = yaml(file, document, offset)?;
    let metadata = document.metadata;
    let Some(name) = metadata.name.filter(|name| !name.is_empty()) else {
        return Err(Diagnostic {
            location: origin.locate("metadata"),
            message: "`metadata.name` is missing".to_owned(),
        });
    };
    Ok(Resource {
        meta: Meta {
            name,
            namespace: metadata
                .namespace
                .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            creation_timestamp: metadata.creation_timestamp,
        },
        spec: document.spec.unwrap_or_default(),
        origin,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document<T> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: ObjectMeta,
    spec: Option<T>,
    #[serde(rename = "status", default)]
    _status: IgnoredAny,
}

/// Kubernetes' ObjectMeta; what no policy looks at is only known by name.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ObjectMeta {
    name: Option<String>,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<String>,
    #[serde(rename = "generateName", default)]
    _generate_name: IgnoredAny,
    #[serde(rename = "uid", default)]
    _uid: IgnoredAny,
    #[serde(rename = "resourceVersion", default)]
    _resource_version: IgnoredAny,
    #[serde(rename = "generation", default)]
    _generation: IgnoredAny,
    #[serde(rename = "selfLink", default)]
    _self_link: IgnoredAny,
    #[serde(rename = "deletionTimestamp", default)]
    _deletion_timestamp: IgnoredAny,
    #[serde(rename = "deletionGracePeriodSeconds", default)]
    _deletion_grace_period_seconds: IgnoredAny,
    #[serde(rename = "ownerReferences", default)]
    _owner_references: IgnoredAny,
    #[serde(rename = "finalizers", default)]
    _finalizers: IgnoredAny,
    #[serde(rename = "managedFields", default)]
    _managed_fields: IgnoredAny,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Loose {
    metadata: LooseMeta,
    spec: LooseSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LooseMeta {
    name: Option<String>,
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LooseSpec {
    template: LooseTemplate,
    ports: Vec<ServicePort>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LooseTemplate {
    metadata: LooseMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceDocument {
    spec: ServiceSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    selector: BTreeMap<String, String>,
}
