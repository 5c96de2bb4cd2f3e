//! Manifests: the files that `kubectl apply -k` takes, and the workloads that
//! are in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::yaml::{LoadError, read_documents, read_yaml};

/// The part of a kustomization that a suite uses: a list of files and folders.
/// Everything in it that would change objects is refused, because then
/// `kubectl apply -k` and the harness would apply different things.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kustomization {
    resources: Vec<PathBuf>,
}

/// All files of a kustomization folder, in the order of its `resources`.
pub fn kustomization_files(dir: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let kustomization: Kustomization = read_yaml(&dir.join("kustomization.yaml"))?;
    let mut files = Vec::new();
    for resource in kustomization.resources {
        let resource = dir.join(resource);
        if resource.is_dir() {
            files.extend(kustomization_files(&resource)?);
        } else {
            files.push(resource);
        }
    }
    Ok(files)
}

/// All objects of a kustomization folder, in the order of its `resources`.
pub fn objects(dir: &Path) -> Result<Vec<Value>, LoadError> {
    let mut objects = Vec::new();
    for file in kustomization_files(dir)? {
        objects.extend(read_documents::<Value>(&file)?);
    }
    Ok(objects)
}

/// The kind of an object, such as `Deployment`.
pub fn kind(object: &Value) -> &str {
    text(object, "/kind")
}

/// The namespace that an object is in, and its name.
pub fn namespace_and_name(object: &Value) -> (&str, &str) {
    let namespace = match text(object, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    };
    (namespace, text(object, "/metadata/name"))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let value = object.pointer(pointer).and_then(Value::as_str);
    value.unwrap_or_default()
}

fn labels(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let members = object.pointer(pointer).and_then(Value::as_object);
    let members = members.into_iter().flatten();
    members
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A Deployment, by what the mesh sees of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The service account of its pods, and so the end of their mTLS identity.
    pub account: String,
    /// The labels of its pods, which policies select by.
    pub labels: BTreeMap<String, String>,
    /// Whether its pods get a sidecar.
    pub has_sidecar: bool,
    /// The port named `http` of its container, if it serves any.
    pub port: Option<u16>,
    /// The name of its first container.
    pub container: String,
}

/// The Deployments among these objects. Namespaces that are among them say
/// whether pods get a sidecar there.
pub fn deployments(objects: &[Value]) -> Vec<Deployment> {
    let injection = |namespace: &str| {
        let mut namespaces = objects.iter().filter(|object| kind(object) == "Namespace");
        let found = namespaces.find(|object| text(object, "/metadata/name") == namespace);
        found.map_or("enabled", |it| text(it, "/metadata/labels/istio-injection"))
    };
    let deployments = objects.iter().filter(|object| kind(object) == "Deployment");
    deployments
        .map(|object| {
            let (namespace, name) = namespace_and_name(object);
            let labels = labels(object, "/spec/template/metadata/labels");
            let asked_for = labels.get("sidecar.istio.io/inject").map(String::as_str);
            let has_sidecar = match (injection(namespace), asked_for) {
                (_, Some("false")) | ("disabled", _) => false,
                (namespace, asked_for) => namespace == "enabled" || asked_for == Some("true"),
            };
            let account = match text(object, "/spec/template/spec/serviceAccountName") {
                "" => "default",
                account => account,
            };
            Deployment {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                account: account.to_owned(),
                has_sidecar,
                port: http_port(object),
                container: text(object, "/spec/template/spec/containers/0/name").to_owned(),
                labels,
            }
        })
        .collect()
}

fn http_port(deployment: &Value) -> Option<u16> {
    let ports = deployment
        .pointer("/spec/template/spec/containers/0/ports")?
        .as_array()?;
    let port = ports.iter().find(|port| port["name"] == "http")?;
    port["containerPort"].as_u64()?.try_into().ok()
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The labels of the pods behind it.
    pub selector: BTreeMap<String, String>,
}

impl Service {
    /// Whether a host is this service's name: `NAME.NAMESPACE`, alone or with
    /// `svc` and more behind it.
    pub fn is_named(&self, host: &str) -> bool {
        let mut labels = host.split('.');
        labels.next() == Some(&self.name) && labels.next() == Some(&self.namespace)
    }

    /// Whether the pods of a Deployment are behind it.
    pub fn leads_to(&self, deployment: &Deployment) -> bool {
        let has = |(name, value): (&String, &String)| deployment.labels.get(name) == Some(value);
        self.namespace == deployment.namespace
            && !self.selector.is_empty()
            && self.selector.iter().all(has)
    }
}

/// The Services among these objects.
pub fn services(objects: &[Value]) -> Vec<Service> {
    let services = objects.iter().filter(|object| kind(object) == "Service");
    services
        .map(|object| {
            let (namespace, name) = namespace_and_name(object);
            Service {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                selector: labels(object, "/spec/selector"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{deployments, objects, services};

    #[test]
    fn a_kustomization_that_would_change_objects_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let text = "resources: []\nnamePrefix: x-\n";
        fs::write(dir.path().join("kustomization.yaml"), text).unwrap();
        let error = objects(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("namePrefix") && error.contains("kustomization.yaml:2:"),
            "{error}"
        );
    }

    #[test]
    fn a_broken_manifest_is_reported_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("kustomization.yaml", "resources: [broken.yaml]\n");
        write("broken.yaml", "apiVersion: v1\nkind: [\n");
        let error = objects(dir.path()).unwrap_err().to_string();
        assert!(error.contains("broken.yaml:"), "{error}");
    }

    #[test]
    fn sidecars_come_by_the_namespace_and_go_by_the_pod() {
        let yaml = "
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
kind: Namespace
metadata: {name: plain}
---
kind: Deployment
metadata: {name: a, namespace: shop}
spec: {template: {metadata: {labels: {app: a}}, spec: {containers: [{ports: [{name: http, containerPort: 80}]}]}}}
---
kind: Deployment
metadata: {name: b, namespace: shop}
spec: {template: {metadata: {labels: {sidecar.istio.io/inject: 'false'}}, spec: {serviceAccountName: bob}}}
---
kind: Deployment
metadata: {name: c, namespace: plain}
---
kind: Deployment
metadata: {name: d, namespace: plain}
spec: {template: {metadata: {labels: {sidecar.istio.io/inject: 'true'}}}}
---
kind: Namespace
metadata: {name: outside, labels: {istio-injection: disabled}}
---
kind: Deployment
metadata: {name: e, namespace: outside}
spec: {template: {metadata: {labels: {sidecar.istio.io/inject: 'true'}}}}
---
kind: Service
metadata: {name: x, namespace: shop}
spec: {selector: {app: a}}
";
        let objects: Vec<_> = serde_saphyr::from_multiple(yaml).unwrap();
        let found = deployments(&objects);
        let told: Vec<_> = found
            .iter()
            .map(|it| {
                (
                    it.name.as_str(),
                    it.account.as_str(),
                    it.has_sidecar,
                    it.port,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a", "default", true, Some(80)),
                ("b", "bob", false, None),
                ("c", "default", false, None),
                ("d", "default", true, None),
                ("e", "default", false, None)
            ]
        );
        let service = &services(&objects)[0];
        assert!(service.leads_to(&found[0]) && !service.leads_to(&found[1]));
        assert!(service.is_named("x.shop.svc.cluster.local"));
        assert!(!service.is_named("x.other"));
    }
}
