//! A local stage that stands.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, future, stream};
use token_client::{ConnectTo, batch};
use tokio::net::TcpStream;
use url::Url;

use super::attacker::{self, AppLogs};
use super::state::{self, Sidecar, State};
use super::understood;
use crate::lock::turn_to_sign_in;
use crate::name::MeshName;
use crate::tls;
use crate::versions::versions;
use async_trait::async_trait;
use envoy::sidecar;
use envoy::{self, Admin, Inbound, PortRules, Upstream};
use harness::attack::{AppLine, Origin, RawAnswer, Sent, Shot, Target};
use harness::case::StageName;
use harness::evidence::Evidence;
use harness::poll::{Poll, Timeouts};
use harness::redact::redact;
use harness::rules::Rules;
use harness::secrets::RealmSecrets;
use harness::stage::{Stage, done_when_ok};
use harness::suite::Suite;

/// Requests of one batch under way at once.
const IN_FLIGHT: usize = 16;

/// A mesh of processes.
pub struct LocalStage<'a> {
    suite: &'a Suite,
    name: MeshName,
    state: State,
    secrets: RealmSecrets,
    /// One for each identity.
    senders: HashMap<String, batch::Sender>,
    logs: Mutex<state::Logs>,
    app_logs: Mutex<AppLogs>,
}

impl<'a> LocalStage<'a> {
    /// With a line to each caller, and an ear at each proxy from now on.
    pub fn new(suite: &'a Suite, name: MeshName, state: State, secrets: RealmSecrets) -> Self {
        let sender = |sidecar: &Sidecar| {
            let sender = batch::Sender::connecting_to(ConnectTo(sidecar.outbound));
            (sidecar.principal.clone(), sender)
        };
        let observed = state
            .sidecars
            .iter()
            .filter(|sidecar| sidecar.inbound.is_some());
        for sidecar in &state.sidecars {
            // A key that is read is known. One that cannot be is missed where it is needed.
            let _ = state.certificate_of(sidecar);
        }
        let logs = state::Logs::follow(observed.map(|sidecar| state.access_log_of(sidecar)));
        Self {
            suite,
            name,
            senders: state.sidecars.iter().map(sender).collect(),
            logs: Mutex::new(logs),
            app_logs: Mutex::new(AppLogs::follow(suite, &state.folder)),
            state,
            secrets,
        }
    }

    /// Fails if a process has ended that should be there.
    pub fn check_alive(&self) -> Result<()> {
        let down = format!("; remove what is left with `mesh down {}`", self.place());
        let mut processes = self.state.processes.iter();
        Ok(processes.try_for_each(|it| it.check_alive(&down))?)
    }

    /// Waits until the sidecars and the services are ready.
    pub async fn wait_for_workloads(&self, timeouts: &Timeouts) -> Result<()> {
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
                Ok(done_when_ok(&answer))
            })
            .await
    }

    fn admin(&self, sidecar: &Sidecar) -> Admin {
        Admin::new(self.state.folder_of(sidecar), sidecar.admin)
    }

    /// What istiod does for one sidecar.
    async fn put_rules(&self, sidecar: &Sidecar, rules: &Rules) -> Result<()> {
        let Some(inbound) = &sidecar.inbound else {
            return Ok(());
        };
        let Rules {
            mesh,
            manifests,
            keys,
            ..
        } = rules;
        let workload = sidecar.workload();
        let (on_port, _) = PortRules::of(mesh, manifests, keys, &workload, inbound.port)?;
        let listener = Inbound {
            name: "inbound",
            address: inbound.address,
            ports: &[on_port],
            certificate: &self.state.certificate_of(sidecar)?,
            root_pem: &self.state.root_pem,
            mesh,
            cluster: &inbound.cluster(),
            proxy_protocol: false,
            access_log: &envoy::AccessLog {
                path: &self.state.access_log_of(sidecar),
                fields: &self.state.access_log_fields(),
            },
        };
        let swapped = self.admin(sidecar).swap(&[listener.render()]).await;
        swapped.with_context(|| format!("sidecar of {}", sidecar.name))
    }

    /// The principal of a caller; `None` if it has no sidecar.
    fn principal(&self, caller: &str) -> Result<Option<String>> {
        Ok(self.suite.caller(caller)?.principal(&self.suite.mesh))
    }

    /// The sender that has a caller's identity; without a sidecar, one that
    /// goes straight to the workload behind the URL's host.
    fn sender(&self, caller: &str, url: &str) -> Result<batch::Sender> {
        let Some(principal) = self.principal(caller)? else {
            let endpoint = endpoint_of(&self.state.upstreams, &url.parse()?)?;
            return Ok(batch::Sender::connecting_to(ConnectTo(endpoint)));
        };
        let sender = self.senders.get(&principal).cloned();
        sender.with_context(|| format!("no workload is {principal}"))
    }
}

/// Where the service is that a URL names.
fn endpoint_of(upstreams: &[Upstream], url: &Url) -> Result<SocketAddr> {
    let port = url.port_or_known_default();
    let mut upstreams = upstreams.iter();
    let found =
        upstreams.find(|it| Some(it.host.as_str()) == url.host_str() && Some(it.port) == port);
    Ok(found
        .with_context(|| format!("no service at {url}"))?
        .endpoint)
}

#[async_trait(?Send)]
impl Stage for LocalStage<'_> {
    fn name(&self) -> StageName {
        StageName::Local
    }

    fn place(&self) -> String {
        format!("--stage local{}", self.name.argument())
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

    async fn apply(&self, rules: &Rules) -> Result<()> {
        understood::check_rules(&rules.objects)?;
        let sidecars = self.state.sidecars.iter();
        future::try_join_all(sidecars.map(|sidecar| self.put_rules(sidecar, rules))).await?;
        Ok(())
    }

    async fn turn_to_sign_in(&self) -> Result<Box<dyn Any>> {
        Ok(Box::new(turn_to_sign_in(&self.place()).await?))
    }

    async fn ask(
        &self,
        caller: &str,
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

    async fn get_over_tls(&self, url: &str) -> Result<String> {
        let url: Url = url.parse()?;
        let endpoint = endpoint_of(&self.state.speaking_tls, &url)?;
        let stream = TcpStream::connect(endpoint).await?;
        tls::get(stream, &url, &self.secrets.authorities()).await
    }

    fn evidence(&self) -> Evidence {
        self.logs.lock().expect("lock must be whole").read()
    }

    fn address_of(&self, caller: &str) -> Result<IpAddr> {
        let principal = self.principal(caller)?;
        let mut sidecars = self.state.sidecars.iter();
        let sidecar = sidecars.find(|sidecar| Some(&sidecar.principal) == principal.as_ref());
        Ok(sidecar.map_or(Ipv4Addr::LOCALHOST.into(), |it| it.outbound.ip()))
    }

    fn introduction(&self) -> String {
        let State {
            folder,
            keycloak,
            sidecars,
            ..
        } = &self.state;
        let mut text = format!("the mesh stands, in {}\n", folder.display());
        for sidecar in sidecars {
            if let Some(inbound) = &sidecar.inbound {
                let _ = writeln!(
                    text,
                    "  {:<20} http://{}  (its Envoy: {})",
                    sidecar.name, inbound.app, inbound.address
                );
            }
        }
        let _ = writeln!(text, "  {:<20} http://{keycloak}", "keycloak");
        for sidecar in sidecars {
            let name = format!("envoy of {}", sidecar.name);
            let _ = writeln!(text, "  {name:<20} http://{}", sidecar.admin);
        }
        text
    }

    async fn until_it_breaks(&self) -> Result<()> {
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            look.tick().await;
            self.check_alive()?;
        }
    }

    /// Its filters were made from the model; here is what Envoy took.
    async fn difference(&self, workload: &str, rules: &Rules) -> Result<Option<String>> {
        let mut sidecars = self.state.sidecars.iter();
        let found = sidecars.find(|sidecar| sidecar.name == workload);
        let found = found.with_context(|| format!("no sidecar of {workload}"))?;
        let config = self.admin(found).get("/config_dump").await?;
        let mut read = sidecar::Sidecar::read(found.workload(), &config)?;
        for chain in &mut read.chains {
            chain.port = found.inbound.as_ref().map(|inbound| inbound.port);
        }
        read.difference(rules)
    }

    /// Any bytes, with any certificate.
    fn cannot_attack(&self, _: &Origin, _: &Sent) -> Option<String> {
        None
    }

    async fn attack(&self, shot: &Shot) -> Result<RawAnswer> {
        let usual = self.suite.attacks.as_ref();
        let member = usual.map(|usual| self.principal(&usual.from)).transpose()?;
        attacker::attack(&self.state, member.flatten().as_deref(), shot).await
    }

    async fn refused_connections(&self, of: &Target) -> Result<Option<u64>> {
        let sidecar = self.state.sidecar(&of.name)?;
        let stats = self.admin(sidecar).get("/stats").await?;
        attacker::refused_connections(&stats).map(Some)
    }

    fn app_lines(&self) -> Vec<AppLine> {
        self.app_logs.lock().expect("lock must be whole").read()
    }

    async fn dump(&self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(&self.state.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let name = path.file_name().unwrap_or_default();
                let log = fs::read(&path)?;
                fs::write(folder.join(name), redact(&String::from_utf8_lossy(&log)))?;
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
