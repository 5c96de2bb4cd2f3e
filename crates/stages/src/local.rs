//! The local stage: Keycloak, Envoy and the services as processes, without
//! Docker, from the same manifests.
//!
//! Every pod with a sidecar gets an Envoy of its own, whose certificate carries
//! the pod's SPIFFE name. There are no iptables, so applications connect to
//! their Envoy in the first place ([`token_client::ConnectTo`]). What istiod
//! does is done here: inbound filters come from [`policy`]'s translation.

mod attacker;
mod keycloak;
mod network;
mod plan;
mod pod;
mod private;
mod process;
mod running;
mod state;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use futures::future;

use crate::artifacts;
use crate::secrets;
use crate::tool::Tool;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::suite::{Program, Suite};
use harness::trouble::{Trouble, explain_full_disk};
use harness::workspace;
use plan::Plan;
use process::Process;
pub use running::LocalStage;
use state::State;

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
    pub async fn up<'a>(
        &self,
        suite: &'a Suite,
        phases: &Phases,
        timeouts: &'a Timeouts,
    ) -> Result<LocalStage<'a>> {
        let stage = self.start(suite, phases, timeouts).await;
        stage.map_err(|error| explain_full_disk(error, &self.folder()))
    }

    async fn start<'a>(
        &self,
        suite: &'a Suite,
        phases: &Phases,
        timeouts: &'a Timeouts,
    ) -> Result<LocalStage<'a>> {
        let folder = self.folder();
        fs::create_dir_all(folder.parent().expect("the path has a parent"))?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| folder.display().to_string())?;
        let secrets = secrets::generate(suite)?;
        let plan = Plan::new(suite, &secrets)?;
        let laid_out = Mutex::new(plan.lay_out(&folder)?);
        let lock = || laid_out.lock().expect("lock must be whole");
        let keycloak = async {
            let prepared = phases
                .time("have Keycloak", keycloak::prepare(suite))
                .await?;
            let secrets = secrets
                .clone()
                .with_admin_password(prepared.admin_password()?);
            state::save_secrets(suite, &folder, &secrets)?;
            plan.start_keycloak(&prepared, &mut lock())?;
            Ok(secrets)
        };
        let sidecars = async {
            let envoy = phases.time("have Envoy", artifacts::envoy()).await?;
            plan::start_sidecars(&envoy, &mut lock())
        };
        let services = phases.time("compile the services", build_services(&suite.programs));
        let (secrets, (), ()) = tokio::try_join!(keycloak, sidecars, services)?;
        plan.start_apps(&mut lock())?;
        let stage = LocalStage::new(suite, lock().clone(), secrets);
        phases
            .time(
                "start Envoy and the services",
                stage.wait_for_workloads(timeouts),
            )
            .await?;
        Ok(stage)
    }

    /// The mesh that an earlier command started.
    pub fn open<'a>(&self, suite: &'a Suite) -> Result<LocalStage<'a>> {
        let folder = self.folder();
        if !State::is_in(&folder) {
            bail!(Trouble::new(
                format!("there is no local stage `{}`", self.name),
                "bring it up: mesh up --stage local, or mesh demo",
            ));
        }
        let stage = LocalStage::new(
            suite,
            State::load(&folder)?,
            state::load_secrets(suite, &folder)?,
        );
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

/// Compiles what the pods run. Outside a checkout the programs must be on PATH.
async fn build_services(programs: &[Program]) -> Result<()> {
    let checkout = workspace::path(".");
    if !checkout.join("Cargo.lock").exists() {
        return Ok(());
    }
    let serving = programs.iter().filter(|it| it.listens_by.is_some());
    // Of the whole workspace, or cargo would take other features than for the
    // harness, and compile what both use once more.
    Tool::new("cargo")
        .args(["build", "--release", "--quiet", "--workspace"])
        .args(serving.flat_map(|it| ["--bin", &it.package]))
        .current_dir(checkout)
        .stderr_shown()
        .run()
        .await?;
    Ok(())
}
