//! Pods as processes: what of a Deployment's pod a process needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, Secret, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;

use harness::private;
use policy::Mesh;

/// The objects that pods are made of, by name in their namespace.
#[derive(Debug, Default)]
pub struct Objects {
    deployments: Vec<Deployment>,
    services: Vec<Service>,
    config_maps: Vec<ConfigMap>,
    secrets: Vec<Secret>,
}

impl Objects {
    /// Sorts objects by kind; other kinds are no part of a process.
    pub fn new(objects: impl IntoIterator<Item = DynamicObject>) -> Result<Self> {
        let mut sorted = Self::default();
        for object in objects {
            match object.types.as_ref().map(|types| types.kind.as_str()) {
                Some("Deployment") => sorted.deployments.push(typed(&object)?),
                Some("Service") => sorted.services.push(typed(&object)?),
                Some("ConfigMap") => sorted.config_maps.push(typed(&object)?),
                Some("Secret") => sorted.secrets.push(typed(&object)?),
                _ => {}
            }
        }
        Ok(sorted)
    }

    /// The pods, one for each Deployment.
    pub fn pods(&self) -> Result<Vec<Pod<'_>>> {
        self.deployments
            .iter()
            .map(|deployment| {
                let template = &deployment.spec.template;
                let labels = template.metadata.as_ref().and_then(|it| it.labels.clone());
                let name = deployment.metadata.name.as_deref();
                let name = name.context("a Deployment without name")?;
                let spec = template.spec.as_ref();
                let spec = spec.with_context(|| format!("Deployment {name} has no pod"))?;
                Ok(Pod {
                    name,
                    namespace: deployment
                        .metadata
                        .namespace
                        .as_deref()
                        .unwrap_or("default"),
                    labels: labels.unwrap_or_default(),
                    spec,
                    container: spec
                        .containers
                        .first()
                        .with_context(|| format!("Deployment {name} has no container"))?,
                    objects: self,
                })
            })
            .collect()
    }
}

fn typed<T: DeserializeOwned>(object: &DynamicObject) -> Result<T> {
    let name = object.metadata.name.clone().unwrap_or_default();
    serde_json::from_value(serde_json::to_value(object)?)
        .with_context(|| format!("object {name} is not what its kind says"))
}

/// A pod with one container.
#[derive(Debug)]
pub struct Pod<'a> {
    /// Its Deployment's name.
    pub name: &'a str,
    /// Where it lives.
    pub namespace: &'a str,
    /// What policies select it by.
    pub labels: BTreeMap<String, String>,
    spec: &'a PodSpec,
    container: &'a Container,
    objects: &'a Objects,
}

/// A port of a Service, by the name that clients use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Such as `backend.demo.svc.cluster.local`.
    pub host: String,
    /// The Service's port.
    pub port: u16,
}

impl Pod<'_> {
    /// Its mTLS identity, `TRUSTDOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
    pub fn principal(&self, mesh: &Mesh) -> String {
        let account = self.spec.service_account_name.as_deref();
        let (namespace, account) = (self.namespace, account.unwrap_or("default"));
        format!("{}/ns/{namespace}/sa/{account}", mesh.trust_domain)
    }

    /// The container's image.
    pub fn image(&self) -> &str {
        self.container.image.as_deref().unwrap_or_default()
    }

    /// The container's arguments.
    pub fn args(&self) -> &[String] {
        self.container.args.as_deref().unwrap_or_default()
    }

    /// Its port of this name: it serves HTTP on `http`, if any, and on `https` it
    /// speaks TLS itself.
    pub fn port(&self, name: &str) -> Option<u16> {
        let ports = self.container.ports.iter().flatten();
        let mut named = ports.filter(|port| port.name.as_deref() == Some(name));
        named.next()?.container_port.try_into().ok()
    }

    /// The Services that lead to the port of this name.
    pub fn services(&self, name: &str) -> Vec<ServicePort> {
        let selects = |service: &&Service| {
            let selector = service
                .spec
                .as_ref()
                .and_then(|spec| spec.selector.as_ref());
            service.metadata.namespace.as_deref() == Some(self.namespace)
                && selector.is_some_and(|labels| {
                    labels
                        .iter()
                        .all(|label| self.labels.get(label.0) == Some(label.1))
                })
        };
        let services = self.objects.services.iter().filter(selects);
        services
            .flat_map(|service| {
                let service_name = service.metadata.name.as_deref().unwrap_or_default();
                let host = format!("{service_name}.{}.svc.cluster.local", self.namespace);
                let ports = service
                    .spec
                    .iter()
                    .flat_map(|spec| spec.ports.iter().flatten());
                ports
                    .filter(|port| self.is_it(name, port.target_port.as_ref(), port.port))
                    .filter_map(move |port| {
                        Some(ServicePort {
                            host: host.clone(),
                            port: port.port.try_into().ok()?,
                        })
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Whether a Service's port leads to the port of this name.
    fn is_it(&self, name: &str, target: Option<&IntOrString>, port: i32) -> bool {
        match target {
            Some(IntOrString::String(target)) => target == name,
            Some(IntOrString::Int(target)) => self.port(name).map(i32::from) == Some(*target),
            None => self.port(name).map(i32::from) == Some(port),
        }
    }

    /// Writes the files of its volumes below `root`, which stands for `/`.
    pub fn write_files(&self, root: &Path) -> Result<()> {
        for (mount, files) in self.mounts()? {
            let folder = below(root, &mount);
            fs::create_dir_all(&folder)?;
            for (name, content) in files {
                private::write(&folder.join(name), content)?;
            }
        }
        Ok(())
    }

    /// The container's environment, with the paths of mounted files below
    /// `root`.
    pub fn env(&self, root: &Path) -> Result<BTreeMap<String, String>> {
        let mounts = self.mounts()?;
        let mut env = BTreeMap::new();
        for source in self.container.env_from.iter().flatten() {
            if let Some(secret) = &source.secret_ref {
                for (name, value) in self.secret(&secret.name)? {
                    env.insert(name, String::from_utf8(value)?);
                }
            }
        }
        for variable in self.container.env.iter().flatten() {
            let value = variable.value.clone().unwrap_or_default();
            let is_mounted = |mount: &String| value.starts_with(mount.as_str());
            let value = if mounts.keys().any(is_mounted) {
                below(root, &value).display().to_string()
            } else {
                value
            };
            env.insert(variable.name.clone(), value);
        }
        Ok(env)
    }

    /// What is mounted where.
    fn mounts(&self) -> Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
        let mut mounts = BTreeMap::new();
        for mount in self.container.volume_mounts.iter().flatten() {
            let mut volumes = self.spec.volumes.iter().flatten();
            let volume = volumes
                .find(|volume| volume.name == mount.name)
                .with_context(|| format!("Deployment {}: no volume {}", self.name, mount.name))?;
            if let Some(source) = &volume.config_map {
                mounts.insert(mount.mount_path.clone(), self.config_map(&source.name)?);
            } else if let Some(name) = volume.secret.as_ref().and_then(|it| it.secret_name.clone())
            {
                mounts.insert(mount.mount_path.clone(), self.secret(&name)?);
            }
        }
        Ok(mounts)
    }

    fn config_map(&self, name: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut maps = self.objects.config_maps.iter();
        let map = maps
            .find(|map| map.metadata.name.as_deref() == Some(name))
            .with_context(|| format!("Deployment {}: no ConfigMap {name}", self.name))?;
        let data = map.data.iter().flatten();
        Ok(data
            .map(|(name, text)| (name.clone(), text.clone().into_bytes()))
            .collect())
    }

    fn secret(&self, name: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut secrets = self.objects.secrets.iter();
        let secret = secrets
            .find(|secret| secret.metadata.name.as_deref() == Some(name))
            .with_context(|| format!("Deployment {}: no Secret {name}", self.name))?;
        let data = secret.data.iter().flatten();
        Ok(data
            .map(|(name, value)| (name.clone(), value.0.clone()))
            .collect())
    }
}

/// An absolute path of a container, below a folder that stands for its root.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
