//! From the manifests to running processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::keycloak;
use super::mark::Mark;
use super::network;
use super::pod::{Objects, Pod};
use super::process;
use super::state::{self, Sidecar, State};
use super::understood;
use crate::manifest;
use crate::secrets;
use crate::tool;
use envoy::{self, Authority, Bootstrap, Outbound, Upstream};
use harness::private;
use harness::secrets::RealmSecrets;
use harness::suite::{Program, Suite};
use harness::trouble::Trouble;

/// Where istio-proxy has them, too.
const ADMIN_PORT: u16 = 15000;
const OUTBOUND_PORT: u16 = 15001;
/// What an application's own port is above that of its pod, where its Envoy is.
const APP_OFFSET: u16 = 10000;

/// What is to run, from the manifests.
pub struct Plan<'a> {
    suite: &'a Suite,
    keycloak: Objects,
    apps: Objects,
    callers: Objects,
}

impl<'a> Plan<'a> {
    /// Reads the manifests, and refuses what it could not honour.
    pub fn new(suite: &'a Suite, secrets: &RealmSecrets) -> Result<Self> {
        understood::check(suite)?;
        let secrets = secrets::objects(suite, secrets)?;
        let load = |folder: &Path| -> Result<Objects> {
            let objects = manifest::load_kustomization(&suite.path(folder))?;
            Objects::new(objects.into_iter().chain(secrets.iter().cloned()))
        };
        Ok(Self {
            suite,
            keycloak: load(&suite.manifests.keycloak)?,
            apps: load(&suite.manifests.workloads)?,
            callers: load(&suite.manifests.callers)?,
        })
    }

    fn keycloak(&self) -> Result<Pod<'_>> {
        let pods = self.keycloak.pods()?;
        pods.into_iter().next().context("no Deployment of Keycloak")
    }

    fn has_sidecar(&self, pod: &Pod<'_>) -> bool {
        let mut sidecars = self.suite.sidecars().into_iter();
        sidecars.any(|it| (it.namespace, it.deployment) == (pod.namespace, pod.name))
    }

    /// Gives every pod its addresses and every sidecar its certificate.
    pub fn lay_out(&self, mark: &Mark) -> Result<State> {
        let folder = &mark.folder;
        private::create_folder(&folder.join(state::TEMPORARY))?;
        let mut network = network::Network::new();
        let authority = Authority::generate()?;
        let keycloak = self.keycloak()?;
        let ip = network.pod();
        let place = |port| network::free_port(ip, port);
        let http = keycloak.port("http");
        let keycloak_address = place(http.context("Keycloak has no port `http`")?)?;
        let keycloak_over_tls = keycloak.port("https").map(place).transpose()?;
        let upstreams_at = |port, endpoint| -> Vec<_> {
            let services = keycloak.services(port).into_iter();
            services
                .map(|service| Upstream {
                    host: service.host,
                    port: service.port,
                    endpoint,
                    principal: None,
                })
                .collect()
        };
        let mut upstreams = upstreams_at("http", keycloak_address);
        let speaking_tls = keycloak_over_tls.map(|endpoint| upstreams_at("https", endpoint));
        let mut sidecars = Vec::<Sidecar>::new();
        for pod in self.apps.pods()?.into_iter().chain(self.callers.pods()?) {
            let principal = pod.principal(&self.suite.mesh);
            let has_one = sidecars
                .iter()
                .any(|sidecar| sidecar.principal == principal);
            if !self.has_sidecar(&pod) || has_one {
                continue;
            }
            let ip = network.pod();
            let place = |port| network::free_port(ip, port);
            let inbound = pod
                .port("http")
                .map(|port| {
                    anyhow::Ok(state::Inbound {
                        port,
                        address: place(port)?,
                        app: place(port + APP_OFFSET)?,
                    })
                })
                .transpose()?;
            if let Some(inbound) = &inbound {
                upstreams.extend(pod.services("http").into_iter().map(|service| Upstream {
                    host: service.host,
                    port: service.port,
                    endpoint: inbound.address,
                    principal: Some(principal.clone()),
                }));
            }
            let sidecar = Sidecar {
                name: pod.name.to_owned(),
                namespace: pod.namespace.to_owned(),
                labels: pod.labels.clone(),
                inbound,
                outbound: place(OUTBOUND_PORT)?,
                admin: place(ADMIN_PORT)?,
                principal,
            };
            state::save_certificate(folder, &sidecar, &authority.issue(&sidecar.principal, &[])?)?;
            sidecars.push(sidecar);
        }
        let state = State {
            id: mark.id.clone(),
            folder: folder.clone(),
            root_pem: authority.root_pem().to_owned(),
            keycloak: keycloak_address,
            keycloak_over_tls,
            sidecars,
            upstreams,
            speaking_tls: speaking_tls.unwrap_or_default(),
            access_log: access_log_format(self.suite)?,
            processes: Vec::new(),
        };
        state.save()?;
        Ok(state)
    }

    /// Keycloak, with its realms to import.
    pub fn start_keycloak(&self, prepared: &keycloak::Prepared, state: &mut State) -> Result<()> {
        let pod = self.keycloak()?;
        let root = state.folder.join("keycloak");
        pod.write_files(&root)?;
        let env = pod.env(&root)?;
        let listening = (state.keycloak, state.keycloak_over_tls);
        let command = prepared.command(&root, listening, pod.args(), env)?;
        state.start("Keycloak", command, "keycloak.log")
    }

    /// The services, each behind its sidecar; `built` says where the programs are.
    pub fn start_apps(&self, built: &BTreeMap<String, PathBuf>, state: &mut State) -> Result<()> {
        for pod in self.apps.pods()? {
            let sidecars = &state.sidecars;
            let principal = pod.principal(&self.suite.mesh);
            let sidecar = sidecars
                .iter()
                .find(|sidecar| sidecar.name == pod.name && sidecar.principal == principal);
            let sidecar = sidecar.with_context(|| format!("{} has no sidecar", pod.name))?;
            let inbound = sidecar.inbound.as_ref();
            let app = inbound.with_context(|| format!("{} has no port `http`", pod.name))?;
            let root = state.folder.join(pod.name);
            pod.write_files(&root)?;
            let program = program(self.suite, &pod)?;
            let mut command = Command::new(binary(built, &program.package)?);
            command
                .env_clear()
                .envs(pod.env(&root)?)
                .envs(
                    program
                        .listens_by
                        .iter()
                        .map(|it| (it, app.app.to_string())),
                )
                .env("CONNECT_TO", sidecar.outbound.to_string())
                .args(pod.args());
            state.start(pod.name, command, &format!("{}.log", pod.name))?;
        }
        Ok(())
    }
}

/// What runs a pod's image.
fn program<'a>(suite: &'a Suite, pod: &Pod<'_>) -> Result<&'a Program> {
    let mut programs = suite.programs.iter();
    let image = pod.image();
    programs.find(|it| it.image == image).with_context(|| {
        Trouble::new(
            format!("nothing runs the image `{image}` of {} here", pod.name),
            format!(
                "name what does under `programs` of {}",
                harness::suite::FILE
            ),
        )
    })
}

/// The binary of a package: from this checkout, or from PATH.
fn binary(built: &BTreeMap<String, PathBuf>, package: &str) -> Result<PathBuf> {
    let found = built.get(package).cloned().or_else(|| tool::find(package));
    found.with_context(|| {
        Trouble::new(
            format!("there is no program `{package}`"),
            "put it on PATH, or run in a checkout that has its package",
        )
    })
}

/// The sidecars: they know where everything is, and let nothing in yet.
pub fn start_sidecars(envoy: &Path, state: &mut State) -> Result<()> {
    for sidecar in state.sidecars.clone() {
        let folder = state.folder_of(&sidecar);
        let access_log = envoy::AccessLog {
            path: &state.access_log_of(&sidecar),
            fields: &state.access_log_fields(),
        };
        let certificate = state.certificate_of(&sidecar)?;
        let outbound = Outbound {
            address: sidecar.outbound,
            upstreams: &state.upstreams,
            source: sidecar.outbound.ip(),
            certificate: &certificate,
            root_pem: &state.root_pem,
            access_log: &access_log,
        };
        let mut clusters = outbound.clusters();
        if let Some(inbound) = &sidecar.inbound {
            clusters.push(envoy::cluster(&inbound.cluster(), inbound.app));
        }
        let bootstrap = Bootstrap {
            admin: Some(sidecar.admin),
            listeners: vec![outbound.listener()],
            clusters,
        };
        let bootstrap = bootstrap.render(&sidecar.name, &folder.join("listeners.json"));
        private::write(&folder.join("bootstrap.json"), bootstrap.to_string())?;
        private::write(
            &folder.join("listeners.json"),
            envoy::listener_file("none", &[]),
        )?;
        let name = format!("Envoy of {}", sidecar.name);
        let command = envoy::command(envoy, &folder, 1);
        let log = format!("{}-envoy.log", sidecar.name);
        state.start(&name, process::under_shell(&command), &log)?;
    }
    Ok(())
}

/// The access log's fields, as the mesh's configuration has them.
fn access_log_format(suite: &Suite) -> Result<BTreeMap<String, String>> {
    let path = suite.path(&suite.manifests.istio);
    let mesh: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
    let format = mesh["spec"]["meshConfig"]["accessLogFormat"].as_str();
    let format = format.with_context(|| format!("{}: no accessLogFormat", path.display()))?;
    serde_json::from_str(format)
        .with_context(|| format!("{}: accessLogFormat is not JSON", path.display()))
}
