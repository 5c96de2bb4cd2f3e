//! The local stage: Keycloak, Envoy and the services as processes, without
//! Docker, from the same manifests.
//!
//! Every pod with a sidecar gets an Envoy of its own, whose certificate carries
//! the pod's SPIFFE name. There are no iptables, so applications connect to
//! their Envoy in the first place ([`token_client::ConnectTo`]). What istiod
//! does is done here: inbound filters come from [`policy`]'s translation.

mod keycloak;
mod network;
mod pod;
mod process;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, future, stream};
use kube::core::DynamicObject;
use policy::http_filters;
use serde_json::Value;
use token_client::{ConnectTo, batch};

use super::Stage;
use crate::artifacts;
use crate::case::{Caller, Profile, StageName};
use crate::envoy::{self, Admin, Authority, Bootstrap, Inbound, Outbound, PortRules, Upstream};
use crate::evidence::Evidence;
use crate::manifest;
use crate::model::Model;
use crate::phases::Phases;
use crate::poll::{Poll, Step, Timeouts};
use crate::redact::redact;
use crate::secrets::RealmSecrets;
use crate::sidecar;
use crate::tool::Tool;
use crate::trouble::Trouble;
use crate::versions::versions;
use crate::workspace;
use pod::{Objects, Pod};
use process::Process;
use state::{Sidecar, State};

/// Requests of one batch under way at once.
const IN_FLIGHT: usize = 16;
/// Where istio-proxy has them, too.
const ADMIN_PORT: u16 = 15000;
const OUTBOUND_PORT: u16 = 15001;
/// What an application's own port is above that of its pod, where its Envoy is.
const APP_OFFSET: u16 = 10000;

/// A local stage by name.
#[derive(Debug, Clone)]
pub struct Local {
    name: String,
}

impl Local {
    /// The stage with this name, whether it is there or not.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Everything that belongs to it lies here.
    pub fn folder(&self) -> PathBuf {
        workspace::target_dir().join("mesh/local").join(&self.name)
    }

    /// Fails where a stage of this name is there already.
    pub fn refuse_if_there(&self) -> Result<()> {
        if self.folder().exists() {
            bail!(Trouble::new(
                format!("a local stage `{}` is already there", self.name),
                "ask it with `mesh verify --stage local`, remove it with `mesh down --stage local`, \
                 or choose another --name",
            ));
        }
        Ok(())
    }

    /// From nothing to a mesh without rules.
    pub async fn up(&self, phases: &Phases, timeouts: &Timeouts) -> Result<LocalStage> {
        let folder = self.folder();
        fs::create_dir_all(folder.parent().expect("the path has a parent"))?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| folder.display().to_string())?;
        let secrets = RealmSecrets::generate()?;
        let plan = Plan::new(&secrets)?;
        let laid_out = Mutex::new(plan.lay_out(&folder)?);
        let lock = || laid_out.lock().expect("lock must be whole");
        let keycloak = async {
            let prepared = phases.time("have Keycloak", keycloak::prepare()).await?;
            let secrets = secrets
                .clone()
                .with_admin_password(prepared.admin_password()?);
            secrets::save(&secrets, &folder)?;
            plan.start_keycloak(&prepared, &mut lock())?;
            Ok(secrets)
        };
        let sidecars = async {
            let envoy = phases.time("have Envoy", artifacts::envoy()).await?;
            plan.start_sidecars(&envoy, &mut lock())
        };
        let services = phases.time("compile the services", build_services());
        let (secrets, (), ()) = tokio::try_join!(keycloak, sidecars, services)?;
        plan.start_apps(&mut lock())?;
        let stage = LocalStage::new(lock().clone(), secrets);
        phases
            .time(
                "start Envoy and the services",
                stage.wait_for_workloads(timeouts),
            )
            .await?;
        Ok(stage)
    }

    /// The mesh that an earlier command started.
    pub fn open(&self) -> Result<LocalStage> {
        let folder = self.folder();
        if !State::is_in(&folder) {
            bail!(Trouble::new(
                format!("there is no local stage `{}`", self.name),
                "bring it up: mesh up --stage local, or mesh demo",
            ));
        }
        let stage = LocalStage::new(State::load(&folder)?, secrets::load(&folder)?);
        stage.check_alive()?;
        Ok(stage)
    }

    /// Ends its processes and removes its folder. Returns whether it was there.
    pub async fn down(&self) -> Result<bool> {
        let folder = self.folder();
        if !folder.exists() {
            return Ok(false);
        }
        if State::is_in(&folder) {
            let processes = State::load(&folder)?.processes;
            future::try_join_all(processes.iter().map(Process::end)).await?;
        }
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(true)
    }
}

/// Compiles what the pods of `manifests/apps` run.
async fn build_services() -> Result<()> {
    Tool::new("cargo")
        .args(["build", "--release", "--quiet"])
        .args(["--package", "backend", "--package", "frontend"])
        .current_dir(workspace::path("."))
        .stderr_shown()
        .run()
        .await?;
    Ok(())
}

/// What is to run, from the manifests.
struct Plan {
    keycloak: Objects,
    apps: Objects,
    callers: Objects,
    access_log: BTreeMap<String, String>,
}

impl Plan {
    fn new(secrets: &RealmSecrets) -> Result<Self> {
        let objects = |folder: &str| -> Result<Vec<DynamicObject>> {
            let path = workspace::path("manifests").join(folder);
            Ok(manifest::load_kustomization(&path)?)
        };
        let with_secrets = |folder| -> Result<Objects> {
            Objects::new(objects(folder)?.into_iter().chain(secrets.objects()?))
        };
        Ok(Self {
            keycloak: with_secrets("keycloak")?,
            apps: with_secrets("apps")?,
            callers: Objects::new(objects("callers")?)?,
            access_log: access_log_format()?,
        })
    }

    fn keycloak(&self) -> Result<Pod<'_>> {
        let pods = self.keycloak.pods()?;
        pods.into_iter().next().context("no Deployment of Keycloak")
    }

    /// Gives every pod its addresses and every sidecar its certificate.
    fn lay_out(&self, folder: &Path) -> Result<State> {
        let mut network = network::Network::new();
        let authority = Authority::generate()?;
        let keycloak = self.keycloak()?;
        let keycloak_address = network::free_port(
            network.pod(),
            keycloak.port().context("Keycloak has no port `http`")?,
        )?;
        let mut upstreams: Vec<_> = keycloak
            .services()
            .into_iter()
            .map(|service| Upstream {
                host: service.host,
                port: service.port,
                endpoint: keycloak_address,
                principal: None,
            })
            .collect();
        let mut sidecars = Vec::<Sidecar>::new();
        for pod in self.apps.pods()?.into_iter().chain(self.callers.pods()?) {
            let principal = pod.principal();
            let has_one = sidecars
                .iter()
                .any(|sidecar| sidecar.principal == principal);
            if !pod.has_sidecar() || has_one {
                continue;
            }
            let ip = network.pod();
            let place = |port| network::free_port(ip, port);
            let inbound = pod
                .port()
                .map(|port| {
                    anyhow::Ok(state::Inbound {
                        port,
                        address: place(port)?,
                        app: place(port + APP_OFFSET)?,
                    })
                })
                .transpose()?;
            if let Some(inbound) = &inbound {
                upstreams.extend(pod.services().into_iter().map(|service| Upstream {
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
            folder: folder.to_owned(),
            root_pem: authority.root_pem().to_owned(),
            keycloak: keycloak_address,
            sidecars,
            upstreams,
            processes: Vec::new(),
        };
        state.save()?;
        Ok(state)
    }

    fn start_keycloak(&self, prepared: &keycloak::Prepared, state: &mut State) -> Result<()> {
        let pod = self.keycloak()?;
        let root = state.folder.join("keycloak");
        pod.write_files(&root)?;
        let log = state.folder.join("keycloak.log");
        let env = pod.env(&root)?;
        state.started(prepared.start(&root, state.keycloak, pod.args(), env, &log)?)
    }

    /// They know where everything is, and let nothing in yet.
    fn start_sidecars(&self, envoy: &Path, state: &mut State) -> Result<()> {
        for sidecar in state.sidecars.clone() {
            let folder = state.folder_of(&sidecar);
            let fields = self.access_log();
            let access_log = envoy::AccessLog {
                path: &state.access_log_of(&sidecar),
                fields: &fields,
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
            keycloak::write_secret(
                &folder.join("bootstrap.json"),
                &bootstrap.to_string().into(),
            )?;
            keycloak::write_secret(
                &folder.join("listeners.json"),
                &envoy::listener_file("none", &[]).into(),
            )?;
            let name = format!("Envoy of {}", sidecar.name);
            let command = envoy::command(envoy, &folder, 1);
            let log = state.folder.join(format!("{}-envoy.log", sidecar.name));
            state.started(Process::spawn_under_shell(name, &command, &log)?)?;
        }
        Ok(())
    }

    fn start_apps(&self, state: &mut State) -> Result<()> {
        for pod in self.apps.pods()? {
            let sidecars = &state.sidecars;
            let sidecar = sidecars.iter().find(|sidecar| sidecar.name == pod.name);
            let sidecar = sidecar.with_context(|| format!("{} has no sidecar", pod.name))?;
            let inbound = sidecar.inbound.as_ref();
            let app = inbound.with_context(|| format!("{} has no port `http`", pod.name))?;
            let root = state.folder.join(pod.name);
            pod.write_files(&root)?;
            let program = workspace::target_dir().join("release").join(pod.name);
            let mut command = Command::new(program);
            command
                .env_clear()
                .envs(pod.env(&root)?)
                .env(
                    format!("{}_ADDR", pod.name.to_uppercase()),
                    app.app.to_string(),
                )
                .env("CONNECT_TO", sidecar.outbound.to_string())
                .args(pod.args());
            let log = state.folder.join(format!("{}.log", pod.name));
            state.started(Process::spawn(pod.name, command, &log)?)?;
        }
        Ok(())
    }

    fn access_log(&self) -> Vec<(&str, &str)> {
        self.access_log
            .iter()
            .map(|(name, format)| (name.as_str(), format.as_str()))
            .collect()
    }
}

/// The access log's fields, as the mesh's configuration has them.
fn access_log_format() -> Result<BTreeMap<String, String>> {
    let path = workspace::path("manifests/istio/istio.yaml");
    let mesh: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
    let format = mesh["spec"]["meshConfig"]["accessLogFormat"].as_str();
    let format = format.with_context(|| format!("{}: no accessLogFormat", path.display()))?;
    serde_json::from_str(format)
        .with_context(|| format!("{}: accessLogFormat is not JSON", path.display()))
}

/// A mesh of processes.
pub struct LocalStage {
    state: State,
    secrets: RealmSecrets,
    /// One for each identity.
    senders: HashMap<String, batch::Sender>,
    logs: Mutex<state::Logs>,
}

impl LocalStage {
    fn new(state: State, secrets: RealmSecrets) -> Self {
        let sender = |sidecar: &Sidecar| {
            let sender = batch::Sender::connecting_to(ConnectTo(sidecar.outbound));
            (sidecar.principal.clone(), sender)
        };
        let observed = state
            .sidecars
            .iter()
            .filter(|sidecar| sidecar.inbound.is_some());
        let logs = state::Logs::follow(observed.map(|sidecar| state.access_log_of(sidecar)));
        Self {
            senders: state.sidecars.iter().map(sender).collect(),
            logs: Mutex::new(logs),
            state,
            secrets,
        }
    }

    /// Says on stderr where everything is.
    pub fn introduce(&self) {
        let State {
            folder,
            keycloak,
            sidecars,
            ..
        } = &self.state;
        eprintln!("\nthe mesh stands, in {}", folder.display());
        for sidecar in sidecars {
            if let Some(inbound) = &sidecar.inbound {
                eprintln!(
                    "  {:<20} http://{}  (its Envoy: {})",
                    sidecar.name, inbound.app, inbound.address
                );
            }
        }
        eprintln!("  {:<20} http://{keycloak}", "keycloak");
        for sidecar in sidecars {
            eprintln!(
                "  {:<20} http://{}",
                format!("envoy of {}", sidecar.name),
                sidecar.admin
            );
        }
        eprintln!("edits of manifests/policy take effect at once; Ctrl-C ends it all");
    }

    /// Returns, with an error, when a process ends that should be there.
    pub async fn until_a_process_ends(&self) -> Result<()> {
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            look.tick().await;
            self.check_alive()?;
        }
    }

    /// Fails if a process has ended that should be there.
    pub fn check_alive(&self) -> Result<()> {
        match self
            .state
            .processes
            .iter()
            .find(|process| !process.is_alive())
        {
            Some(process) => bail!(keycloak::died(process)),
            None => Ok(()),
        }
    }

    /// Waits until the sidecars and the services are ready.
    async fn wait_for_workloads(&self, timeouts: &Timeouts) -> Result<()> {
        let ready = self.state.sidecars.iter().map(async |sidecar| {
            let admin = self.admin(sidecar);
            admin.wait_until_ready(|| self.check_alive()).await?;
            match &sidecar.inbound {
                Some(inbound) => {
                    self.wait_for_app(&sidecar.name, inbound.app, timeouts)
                        .await
                }
                None => Ok(()),
            }
        });
        future::try_join_all(ready).await?;
        Ok(())
    }

    async fn wait_for_app(&self, name: &str, app: SocketAddr, timeouts: &Timeouts) -> Result<()> {
        let sender = batch::Sender::new();
        let url = format!("http://{app}/readyz");
        Poll::new(format!("{name} ready"), timeouts.apps_ready)
            .every(Duration::from_millis(20))
            .until(async || {
                self.check_alive()?;
                let answer = sender.send(batch::Request::get("ready", &url)).await;
                Ok(match (answer.response(), answer.error()) {
                    (Some(response), _) if response.status == 200 => Step::Done(()),
                    (Some(response), _) => Step::NotYet(format!("status {}", response.status)),
                    (None, error) => Step::NotYet(error.unwrap_or_default().to_owned()),
                })
            })
            .await
    }

    fn admin(&self, sidecar: &Sidecar) -> Admin {
        Admin::new(self.state.folder_of(sidecar), sidecar.admin)
    }

    /// What istiod does for one sidecar.
    async fn put_rules(&self, sidecar: &Sidecar, model: &Model) -> Result<()> {
        let Some(inbound) = &sidecar.inbound else {
            return Ok(());
        };
        let Model {
            mesh,
            manifests,
            keys,
        } = model;
        let workload = sidecar.workload();
        let port = Some(inbound.port);
        let mtls = mesh.mtls(manifests, &workload).of(port);
        let filters = http_filters(mesh, manifests, &workload, port, keys)?.filters;
        let fields = access_log_format()?;
        let fields: Vec<_> = fields
            .iter()
            .map(|(n, f)| (n.as_str(), f.as_str()))
            .collect();
        let listener = Inbound {
            name: "inbound",
            address: inbound.address,
            ports: &[PortRules {
                port: inbound.port,
                mtls: mtls.unwrap_or_default(),
                filters,
            }],
            certificate: &self.state.certificate_of(sidecar)?,
            root_pem: &self.state.root_pem,
            trust_domains: &[&mesh.trust_domain],
            path_normalization: mesh.path_normalization,
            cluster: &inbound.cluster(),
            proxy_protocol: false,
            access_log: &envoy::AccessLog {
                path: &self.state.access_log_of(sidecar),
                fields: &fields,
            },
        };
        let swapped = self.admin(sidecar).swap(&[listener.render()]).await;
        swapped.with_context(|| format!("sidecar of {}", sidecar.name))
    }

    /// The sender that has a caller's identity; without a sidecar, one that
    /// goes straight to the workload behind the URL's host.
    fn sender(&self, caller: Caller, url: &str) -> Result<batch::Sender> {
        if caller == Caller::Outsider {
            let url: url::Url = url.parse()?;
            let upstreams = &self.state.upstreams;
            let upstream = upstreams
                .iter()
                .find(|it| Some(it.host.as_str()) == url.host_str());
            let upstream = upstream.with_context(|| format!("no service at {url}"))?;
            return Ok(batch::Sender::connecting_to(ConnectTo(upstream.endpoint)));
        }
        let principal = format!("cluster.local/ns/demo/sa/{caller}");
        let sender = self.senders.get(&principal).cloned();
        sender.with_context(|| format!("no workload is {principal}"))
    }
}

impl Stage for LocalStage {
    fn name(&self) -> StageName {
        StageName::Local
    }

    fn versions(&self) -> BTreeMap<String, String> {
        let v = versions();
        [("envoy", &v.envoy), ("keycloak", &v.keycloak)]
            .map(|(name, version)| (name.to_owned(), version.clone()))
            .into()
    }

    async fn secrets(&self) -> Result<RealmSecrets> {
        Ok(self.secrets.clone())
    }

    async fn apply_policy(&self, profile: Profile) -> Result<()> {
        // Broken manifests fail here, and the old rules stay.
        let model = Model::of(self, profile).await?;
        let sidecars = self.state.sidecars.iter();
        future::try_join_all(sidecars.map(|sidecar| self.put_rules(sidecar, &model))).await?;
        Ok(())
    }

    async fn ask(
        &self,
        caller: Caller,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>> {
        self.check_alive()?;
        let answers = stream::iter(requests.iter().cloned())
            .map(async |request| {
                let sender = self.sender(caller, &request.url)?;
                anyhow::Ok((request.id.clone(), sender.send(request).await))
            })
            .buffer_unordered(IN_FLIGHT)
            .collect::<Vec<_>>()
            .await;
        // A process that ended meanwhile explains what is missing.
        self.check_alive()?;
        answers.into_iter().collect()
    }

    fn evidence(&self) -> Evidence {
        self.logs.lock().expect("lock must be whole").read()
    }

    fn address_of(&self, caller: Caller) -> Result<IpAddr> {
        let principal = format!("cluster.local/ns/demo/sa/{caller}");
        let mut sidecars = self.state.sidecars.iter();
        let sidecar = sidecars.find(|sidecar| sidecar.principal == principal);
        Ok(sidecar.map_or(Ipv4Addr::LOCALHOST.into(), |it| it.outbound.ip()))
    }

    fn comparable(&self) -> Vec<String> {
        let sidecars = self.state.sidecars.iter();
        let inbound = sidecars.filter(|sidecar| sidecar.inbound.is_some());
        inbound.map(|sidecar| sidecar.name.clone()).collect()
    }

    /// Its filters were made from the model; here is what Envoy took.
    async fn sidecar(&self, workload: &str) -> Result<sidecar::Sidecar> {
        let mut sidecars = self.state.sidecars.iter();
        let found = sidecars.find(|sidecar| sidecar.name == workload);
        let found = found.with_context(|| format!("no sidecar of {workload}"))?;
        let config = self.admin(found).get("/config_dump").await?;
        let mut read = sidecar::Sidecar::read(found.workload(), &config)?;
        for chain in &mut read.chains {
            chain.port = found.inbound.as_ref().map(|inbound| inbound.port);
        }
        Ok(read)
    }

    async fn dump(&self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(&self.state.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let name = path.file_name().unwrap_or_default();
                fs::write(folder.join(name), redact(&fs::read_to_string(&path)?))?;
            }
        }
        for sidecar in &self.state.sidecars {
            let config = match self.admin(sidecar).get("/config_dump").await {
                Ok(config) => config,
                Err(error) => format!("no configuration: {error:#}\n"),
            };
            let name = format!("{}-config.json", sidecar.name);
            fs::write(folder.join(name), redact(&config))?;
        }
        Ok(())
    }
}

mod secrets {
    //! The realm's secrets in the stage's folder.

    use std::path::Path;

    use anyhow::{Context, Result};

    use super::keycloak;
    use crate::manifest;
    use crate::secrets::{REALM_SECRET, RealmSecrets};

    const FILE: &str = "secrets.yaml";

    pub(super) fn save(secrets: &RealmSecrets, folder: &Path) -> Result<()> {
        let text = manifest::to_yaml(&secrets.objects()?);
        keycloak::write_secret(&folder.join(FILE), &text.into())
    }

    pub(super) fn load(folder: &Path) -> Result<RealmSecrets> {
        let objects = manifest::load_file(&folder.join(FILE))?;
        let mut objects = objects.iter();
        let realm = objects.find(|object| object.metadata.name.as_deref() == Some(REALM_SECRET));
        let realm = realm.context("the stage has no realm secrets")?;
        RealmSecrets::from_secret(&serde_json::from_value(serde_json::to_value(realm)?)?)
    }
}
