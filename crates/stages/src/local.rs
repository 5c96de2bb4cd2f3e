//! The local stage: Keycloak, Envoy and the services as processes, without
//! Docker, from the same manifests.
//!
//! Every pod with a sidecar gets an Envoy of its own, whose certificate carries
//! the pod's SPIFFE name. There are no iptables, so applications connect to
//! their Envoy in the first place ([`token_client::ConnectTo`]). What istiod
//! does is done here: inbound filters come from [`policy`]'s translation.

mod attacker;
mod keycloak;
mod mark;
mod network;
mod plan;
mod pod;
mod process;
mod running;
mod state;
mod understood;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use futures::future;

use crate::artifacts;
use crate::name::MeshName;
use crate::secrets;
use crate::tool::cargo_build;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::suite::{Program, Suite};
use harness::trouble::{Trouble, explain_full_disk};
use harness::workspace;
pub use keycloak::keycloak_in_cache;
use mark::Mark;
use plan::Plan;
use process::Process;
pub use running::LocalStage;
use state::State;

/// A local stage by name.
#[derive(Debug, Clone)]
pub struct Local {
    name: MeshName,
    folder: PathBuf,
}

/// A local stage that this run makes, and so may remove.
#[derive(Debug)]
pub struct Begun {
    mark: Mark,
}

impl Local {
    /// The stage with this name in this checkout, whether it is there or not.
    pub fn new(name: MeshName) -> Self {
        let folder = workspace::target_dir().join("mesh/local");
        Self {
            folder: folder.join(name.as_str()),
            name,
        }
    }

    /// All stages that are recorded for this user, whatever checkout made them.
    pub fn all() -> Result<Vec<Self>> {
        let stage = |Mark { name, folder, .. }| Self { name, folder };
        Ok(Mark::all()?.into_iter().map(stage).collect())
    }

    /// What it is called.
    pub fn name(&self) -> &MeshName {
        &self.name
    }

    /// Everything that belongs to it lies here.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes its folder; fails where one is there already.
    pub fn begin(&self) -> Result<Begun> {
        if Mark::find(&self.name, &self.folder)?.is_some() {
            bail!(Trouble::new(
                format!("a local stage `{}` is already there", self.name),
                format!(
                    "ask it with `mesh verify --stage local{0}`, remove it with `mesh down \
                     --stage local{0}`, or choose another --name",
                    self.name.argument()
                ),
            ));
        }
        let mark = Mark::make(&self.name, &self.folder)
            .map_err(|error| explain_full_disk(error, &self.folder))?;
        Ok(Begun { mark })
    }

    /// The mesh that an earlier command started.
    pub fn open<'a>(&self, suite: &'a Suite) -> Result<LocalStage<'a>> {
        let Some(mark) = Mark::find(&self.name, &self.folder)? else {
            bail!(Trouble::new(
                format!("there is no local stage `{}`", self.name),
                format!("bring it up: mesh up --stage local{}", self.name.argument()),
            ));
        };
        understood::check(suite)?;
        let read = || anyhow::Ok((State::of(&mark)?, state::load_secrets(suite, &mark.folder)?));
        let (saved, secrets) = read().with_context(|| {
            Trouble::new(
                format!("local stage `{}` is not whole", self.name),
                format!(
                    "remove it with `mesh down --stage local{}` and bring it up again",
                    self.name.argument()
                ),
            )
        })?;
        let stage = LocalStage::new(suite, self.name.clone(), saved, secrets);
        stage.check_alive()?;
        Ok(stage)
    }

    /// Ends its processes and removes its folder. Returns whether it was there.
    pub async fn down(&self) -> Result<bool> {
        let mark = Mark::find(&self.name, &self.folder)?;
        if let Some(mark) = &mark {
            remove(mark).await?;
        }
        Ok(mark.is_some())
    }
}

impl Begun {
    /// What the stage is called.
    pub fn name(&self) -> &MeshName {
        &self.mark.name
    }

    /// Everything that belongs to it lies here.
    pub fn folder(&self) -> &Path {
        &self.mark.folder
    }

    /// From nothing to a mesh without rules.
    pub async fn up<'a>(
        &self,
        suite: &'a Suite,
        phases: &Phases,
        timeouts: &'a Timeouts,
    ) -> Result<LocalStage<'a>> {
        let stage = self.start(suite, phases, timeouts).await;
        stage.map_err(|error| explain_full_disk(error, &self.mark.folder))
    }

    async fn start<'a>(
        &self,
        suite: &'a Suite,
        phases: &Phases,
        timeouts: &'a Timeouts,
    ) -> Result<LocalStage<'a>> {
        let folder = &self.mark.folder;
        let secrets = secrets::generate(suite)?;
        let plan = Plan::new(suite, &secrets)?;
        let laid_out = Mutex::new(plan.lay_out(&self.mark)?);
        let lock = || laid_out.lock().expect("lock must be whole");
        let keycloak = async {
            let prepared = phases
                .time("have Keycloak", keycloak::prepare(suite))
                .await?;
            let secrets = secrets
                .clone()
                .with_admin_password(prepared.admin_password()?);
            state::save_secrets(suite, folder, &secrets)?;
            plan.start_keycloak(&prepared, &mut lock())?;
            Ok(secrets)
        };
        let sidecars = async {
            let envoy = phases.time("have Envoy", artifacts::envoy()).await?;
            plan::start_sidecars(&envoy, &mut lock())
        };
        let services = phases.time("compile the services", self.build(&suite.programs));
        let (secrets, (), programs) = tokio::try_join!(keycloak, sidecars, services)?;
        plan.start_apps(&programs, &mut lock())?;
        let stage = LocalStage::new(suite, self.mark.name.clone(), lock().clone(), secrets);
        phases
            .time(
                "start Envoy and the services",
                stage.wait_for_workloads(timeouts),
            )
            .await?;
        Ok(stage)
    }

    /// Compiles what the pods run, and says where it is. Outside a checkout the programs
    /// must be on PATH.
    async fn build(&self, programs: &[Program]) -> Result<BTreeMap<String, PathBuf>> {
        if !workspace::path("Cargo.lock").exists() {
            return Ok(BTreeMap::new());
        }
        let serving = programs.iter().filter(|it| it.listens_by.is_some());
        // Of the whole workspace, or cargo would take other features than for the
        // harness, and compile what both use once more.
        let built = cargo_build(|cargo| {
            cargo
                .args(["--workspace"])
                .args(serving.flat_map(|it| ["--bin", &it.package]))
                .env(process::STAGE, &self.mark.id)
                .env("TMPDIR", self.mark.folder.join(state::TEMPORARY))
        });
        Ok(built.await?)
    }

    /// Removes all that was made.
    pub async fn clear_up(&self) -> Result<()> {
        remove(&self.mark).await
    }
}

/// Ends a stage's processes and removes its folder, as far as they are there.
async fn remove(mark: &Mark) -> Result<()> {
    process::end_stage(&mark.id).await?;
    // Where a system hides what a process has in its environment.
    if let Ok(state) = State::of(mark) {
        let ends = state.processes.iter().map(Process::end);
        future::try_join_all(ends).await?;
    }
    mark.remove()
}
