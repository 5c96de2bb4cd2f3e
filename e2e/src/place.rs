//! Where the mesh runs, and what has to be done there.

use anyhow::Result;
use clap::Args;
use harness::asking::{Asker, wait_for_discovery};
use harness::case::StageName;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::rules::Rules;
use harness::stage::Stage;
use harness::suite::Suite;
use stages::cluster::Cluster;
use stages::doctor;
use stages::kind::Kind;
use stages::kubernetes::{self, KubernetesStage};
use stages::local::Local;

/// What a kind cluster or a local stage is called unless the user says.
pub const NAME: &str = "mesh-oidc";

/// Where the mesh runs.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the mesh runs: `kind` (a cluster of our own in Docker) or `local`
    /// (processes, without Docker); an existing cluster is meant by --context
    #[arg(long, value_parser = ["kind", "local"], default_value = "kind", conflicts_with = "context")]
    stage: String,
    /// Name of the kind cluster or the local stage
    #[arg(long, default_value = NAME, conflicts_with = "context")]
    name: String,
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
    pub fn local(name: String) -> Self {
        Self {
            stage: "local".to_owned(),
            name,
            context: None,
        }
    }

    fn target(&self) -> Target {
        match (&self.context, self.stage.as_str()) {
            (Some(context), _) => Target::Cluster(context.clone()),
            (None, "local") => Target::Local(Local::new(&self.name)),
            (None, _) => Target::Kind(Kind::new(&self.name)),
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
                let cluster = Cluster::connect(None, &context).await?;
                let name = StageName::Cluster;
                Box::new(Box::pin(KubernetesStage::open(name, suite, timeouts, cluster)).await?)
            }
        })
    }

    /// From nothing to a mesh with the rules of the usual profile handed over.
    pub async fn up<'a>(
        &self,
        suite: &'a Suite,
        phases: &Phases,
        timeouts: &'a Timeouts,
    ) -> Result<Standing<'a>> {
        let stage: Box<dyn Stage + 'a> = match self.target() {
            Target::Kind(kind) => Box::new(Box::pin(kind.up(suite, phases, timeouts)).await?),
            Target::Local(local) => Box::new(Box::pin(local.up(suite, phases, timeouts)).await?),
            Target::Cluster(context) => {
                let up = up_in_cluster(&context, suite, phases, timeouts);
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

    /// Fails before anything is touched where `up` cannot work.
    pub async fn check(&self) -> Result<()> {
        match self.target() {
            Target::Kind(kind) => {
                doctor::require(doctor::kind_stage().await)?;
                kind.refuse_if_there().await
            }
            Target::Local(local) => {
                doctor::require(doctor::local_stage().await)?;
                local.refuse_if_there()
            }
            Target::Cluster(_) => Ok(()),
        }
    }

    /// Removes what `up` made; says what that was.
    pub async fn down(&self, suite: &Suite) -> Result<String> {
        let (what, there) = match self.target() {
            Target::Kind(kind) => ("kind cluster", kind.down().await?),
            Target::Local(local) => ("local stage", local.down().await?),
            Target::Cluster(context) => return remove_from(suite, &context).await,
        };
        let end = if there { "removed" } else { "is not there" };
        Ok(format!("{what} `{}` {end}", self.name))
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

async fn up_in_cluster<'a>(
    context: &str,
    suite: &'a Suite,
    phases: &Phases,
    timeouts: &'a Timeouts,
) -> Result<KubernetesStage<'a>> {
    let cluster = Cluster::connect(None, context).await?;
    cluster.version().await?;
    let secrets = kubernetes::secrets_of(suite, &cluster).await?;
    kubernetes::apply_keycloak(suite, &cluster, &secrets).await?;
    kubernetes::apply_apps(suite, &cluster).await?;
    let ready = kubernetes::wait_for_workloads(suite, &cluster, timeouts);
    phases.time("wait for workloads", ready).await?;
    KubernetesStage::open(StageName::Cluster, suite, timeouts, cluster).await
}

async fn remove_from(suite: &Suite, context: &str) -> Result<String> {
    let cluster = Cluster::connect(None, context).await?;
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

/// Removes the mesh, or says how to reach the one that is kept. What goes wrong
/// here must not hide what went wrong before.
pub async fn clear_up(place: &Place, suite: &Suite, keep: bool) {
    if keep {
        match place.target() {
            Target::Kind(kind) => eprintln!(
                "the mesh stands: export KUBECONFIG={}",
                kind.kubeconfig().display()
            ),
            Target::Local(local) => eprintln!("the mesh stands: {}", local.folder().display()),
            Target::Cluster(_) => {}
        }
        return;
    }
    match place.down(suite).await {
        Ok(done) => eprintln!("{done}"),
        Err(error) => eprintln!("warning: the mesh could not be removed: {error:#}"),
    }
}
