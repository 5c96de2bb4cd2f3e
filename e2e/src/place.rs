//! Where the mesh runs, and what has to be done there.

use anyhow::Result;
use clap::Args;
use harness::asking::{Asker, wait_for_discovery};
use harness::case::StageName;
use harness::output::say;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::rules::Rules;
use harness::stage::Stage;
use harness::suite::Suite;
use stages::cluster::Cluster;
use stages::doctor;
use stages::kind::{self, Kind};
use stages::kubernetes::{self, KubernetesStage};
use stages::local::{self, Local};
use stages::lock::NameLock;
use stages::name::MeshName;
use stages::scratch::Scratch;

/// Where the mesh runs.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the mesh runs: `kind` (a cluster of our own in Docker) or `local`
    /// (processes, without Docker); an existing cluster is meant by --context
    #[arg(long, value_parser = ["kind", "local"], default_value = "kind", conflicts_with = "context")]
    stage: String,
    /// Name of the kind cluster or the local stage: a DNS label
    #[arg(long, default_value = MeshName::USUAL, conflicts_with = "context")]
    name: MeshName,
    /// Use an existing cluster that has Istio, through this context of the
    /// kubeconfig; only namespaces that `up` makes there are touched
    #[arg(long)]
    context: Option<String>,
}

/// A place, by what has to be done there.
enum Target {
    Kind(Kind),
    Local(Local),
    Cluster(String),
}

impl Place {
    /// A local stage.
    pub fn local(name: MeshName) -> Self {
        Self {
            stage: "local".to_owned(),
            name,
            context: None,
        }
    }

    /// The stage's name.
    pub fn stage(&self) -> StageName {
        match self.target() {
            Target::Kind(_) => StageName::Kind,
            Target::Local(_) => StageName::Local,
            Target::Cluster(_) => StageName::Cluster,
        }
    }

    fn target(&self) -> Target {
        match (&self.context, self.stage.as_str()) {
            (Some(context), _) => Target::Cluster(context.clone()),
            (None, "local") => Target::Local(Local::new(self.name.clone())),
            (None, _) => Target::Kind(Kind::new(self.name.clone())),
        }
    }

    /// The mesh that stands there.
    pub async fn open<'a>(
        &self,
        suite: &'a Suite,
        timeouts: &'a Timeouts,
    ) -> Result<Box<dyn Stage + 'a>> {
        Ok(match self.target() {
            Target::Kind(kind) => Box::new(Box::pin(kind.open(suite, timeouts)).await?),
            Target::Local(local) => Box::new(local.open(suite)?),
            Target::Cluster(context) => {
                let cluster = connect(&context).await?;
                let name = StageName::Cluster;
                Box::new(Box::pin(KubernetesStage::open(name, suite, timeouts, cluster)).await?)
            }
        })
    }

    /// Takes the name for a command, such as `mesh demo`, and begins to make a mesh
    /// there. Fails before anything is touched where somebody else has the name,
    /// where a mesh stands already, or where `up` cannot work.
    pub async fn begin(&self, suite: &Suite, command: &str) -> Result<Begun> {
        let lock = self.target().take(command)?;
        Scratch::sweep()?;
        let mesh = match self.target() {
            Target::Kind(kind) => {
                doctor::require(doctor::kind_stage().await)?;
                Mesh::Kind(kind.begin().await?)
            }
            Target::Local(local) => {
                doctor::require(doctor::local_stage().await)?;
                Mesh::Local(local.begin()?)
            }
            Target::Cluster(context) => {
                let cluster = connect(&context).await?;
                cluster.version().await?;
                let stood = !cluster
                    .our_namespaces(&suite.namespaces()?)
                    .await?
                    .is_empty();
                Mesh::Cluster { context, stood }
            }
        };
        Ok(Begun { mesh, _lock: lock })
    }

    /// Removes what `up` made; says what that was. `suite` tells what is ours in a
    /// cluster that is not.
    pub async fn down(&self, suite: impl FnOnce() -> Result<Suite>) -> Result<String> {
        Scratch::sweep()?;
        let target = self.target();
        if let Target::Cluster(context) = &target {
            let _lock = target.take("mesh down")?;
            return remove_from(&suite()?, context).await;
        }
        target.down().await
    }
}

/// Removes every mesh that `up` made for this user and that nobody works with: local
/// stages of whatever checkout, and kind clusters if Docker is there. Says what
/// became of each.
pub async fn down_all() -> Result<Vec<Result<String>>> {
    Scratch::sweep()?;
    let mut targets: Vec<_> = Local::all()?.into_iter().map(Target::Local).collect();
    match Kind::all().await {
        Ok(all) => targets.extend(all.into_iter().map(Target::Kind)),
        Err(error) => say(format!("kind clusters are not looked for: {error:#}")),
    }
    let mut done = Vec::new();
    for target in targets {
        done.push(target.down().await);
    }
    Ok(done)
}

impl Target {
    /// Removes a mesh that is all our own.
    async fn down(&self) -> Result<String> {
        let _lock = self.take("mesh down")?;
        let there = match self {
            Self::Kind(kind) => kind.down().await?,
            Self::Local(local) => local.down().await?,
            Self::Cluster(_) => false,
        };
        let end = if there { "removed" } else { "is not there" };
        Ok(format!("{} `{}` {end}", self.kind(), self.name()))
    }

    fn name(&self) -> &str {
        match self {
            Self::Kind(kind) => kind.name().as_str(),
            Self::Local(local) => local.name().as_str(),
            Self::Cluster(context) => context,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Kind(_) => "kind cluster",
            Self::Local(_) => "local stage",
            Self::Cluster(_) => "context",
        }
    }

    /// Nobody else makes or removes it meanwhile.
    fn take(&self, command: &str) -> Result<NameLock> {
        NameLock::take(self.kind(), self.name(), command)
    }
}

/// A mesh that this run makes, and so may remove. Nobody else touches it as long
/// as this value lives.
pub struct Begun {
    mesh: Mesh,
    _lock: NameLock,
}

enum Mesh {
    Kind(kind::Begun),
    Local(local::Begun),
    Cluster {
        context: String,
        /// Whether there was one of ours before, which is not this run's to remove.
        stood: bool,
    },
}

impl Begun {
    /// From nothing to a mesh with the rules of the usual profile handed over.
    pub async fn up<'a>(
        &self,
        suite: &'a Suite,
        phases: &Phases,
        timeouts: &'a Timeouts,
    ) -> Result<Standing<'a>> {
        let stage: Box<dyn Stage + 'a> = match &self.mesh {
            Mesh::Kind(kind) => Box::new(Box::pin(kind.up(suite, phases, timeouts)).await?),
            Mesh::Local(local) => Box::new(Box::pin(local.up(suite, phases, timeouts)).await?),
            Mesh::Cluster { context, .. } => {
                let up = up_in_cluster(context, suite, phases, timeouts);
                Box::new(Box::pin(up).await?)
            }
        };
        let discovery = wait_for_discovery(suite, &*stage, timeouts);
        phases.time("wait for discovery", discovery).await?;
        let rules = Rules::read(suite, suite.usual_profile())?;
        let rules = rules.with_keys(suite, &*stage).await?;
        let asker = Asker::new(suite, &*stage, timeouts).await?;
        let in_force = Box::pin(asker.put_in_force(&rules, phases)).await?;
        Ok(Standing {
            stage,
            rules,
            in_force,
        })
    }

    /// Removes the mesh, or says how to reach the one that is kept. What goes
    /// wrong here must not hide what went wrong before.
    pub async fn clear_up(self, suite: &Suite, keep: bool) {
        if keep {
            match &self.mesh {
                Mesh::Kind(it) => say(format!(
                    "the mesh stands: export KUBECONFIG={}",
                    it.kind().kubeconfig().display()
                )),
                Mesh::Local(it) => say(format!("the mesh stands: {}", it.folder().display())),
                Mesh::Cluster { .. } => {}
            }
            return;
        }
        match self.remove(suite).await {
            Ok(done) => say(done),
            Err(error) => say(format!("warning: the mesh could not be removed: {error:#}")),
        }
    }

    async fn remove(&self, suite: &Suite) -> Result<String> {
        match &self.mesh {
            Mesh::Kind(begun) => {
                begun.clear_up().await?;
                Ok(format!("kind cluster `{}` removed", begun.kind().name()))
            }
            Mesh::Local(begun) => {
                begun.clear_up().await?;
                Ok(format!("local stage `{}` removed", begun.name()))
            }
            Mesh::Cluster { stood: true, .. } => {
                Ok("the mesh stood before, and is left there".to_owned())
            }
            Mesh::Cluster { context, .. } => remove_from(suite, context).await,
        }
    }
}

/// A mesh that was brought up.
pub struct Standing<'a> {
    /// Where it stands.
    pub stage: Box<dyn Stage + 'a>,
    /// The rules that were handed over.
    pub rules: Rules,
    /// Whether they are in force.
    pub in_force: bool,
}

async fn connect(context: &str) -> Result<Cluster> {
    let quoted = context.replace('\'', r"'\''");
    Cluster::connect(None, context, format!("--context '{quoted}'")).await
}

async fn up_in_cluster<'a>(
    context: &str,
    suite: &'a Suite,
    phases: &Phases,
    timeouts: &'a Timeouts,
) -> Result<KubernetesStage<'a>> {
    let cluster = connect(context).await?;
    let secrets = kubernetes::secrets_of(suite, &cluster).await?;
    kubernetes::apply_keycloak(suite, &cluster, &secrets).await?;
    kubernetes::apply_apps(suite, &cluster).await?;
    let ready = kubernetes::wait_for_workloads(suite, &cluster, timeouts);
    phases.time("wait for workloads", ready).await?;
    KubernetesStage::open(StageName::Cluster, suite, timeouts, cluster).await
}

async fn remove_from(suite: &Suite, context: &str) -> Result<String> {
    let cluster = connect(context).await?;
    let deadline = Timeouts::default().namespace_gone;
    let gone = cluster
        .delete_our_namespaces(&suite.namespaces()?, deadline)
        .await?;
    Ok(if gone.is_empty() {
        "nothing of ours is there".to_owned()
    } else {
        format!("removed namespaces {}", gone.join(", "))
    })
}
