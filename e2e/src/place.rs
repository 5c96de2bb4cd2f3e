//! Where the mesh runs, and what has to be done there.

use anyhow::Result;
use clap::Args;
use harness::case::{Profile, StageName};
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::run;
use harness::stage::Stage;
use stages::AnyStage;
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
    pub async fn open(&self) -> Result<AnyStage> {
        Ok(match self.target() {
            Target::Kind(kind) => AnyStage::Kubernetes(Box::new(Box::pin(kind.open()).await?)),
            Target::Local(local) => AnyStage::Local(Box::new(local.open()?)),
            Target::Cluster(context) => {
                let cluster = Cluster::connect(None, &context).await?;
                let stage = Box::pin(KubernetesStage::open(StageName::Cluster, cluster)).await?;
                AnyStage::Kubernetes(Box::new(stage))
            }
        })
    }

    /// From nothing to a mesh with the rules handed over; whether they are in
    /// force comes with it.
    pub async fn up(&self, phases: &Phases) -> Result<(AnyStage, bool)> {
        let timeouts = Timeouts::default();
        let stage = match self.target() {
            Target::Kind(kind) => {
                AnyStage::Kubernetes(Box::new(Box::pin(kind.up(phases, &timeouts)).await?))
            }
            Target::Local(local) => {
                AnyStage::Local(Box::new(Box::pin(local.up(phases, &timeouts)).await?))
            }
            Target::Cluster(context) => {
                let stage = Box::pin(up_in_cluster(&context, phases, &timeouts)).await?;
                AnyStage::Kubernetes(Box::new(stage))
            }
        };
        phases
            .time("wait for discovery", stage.wait_for_discovery(&timeouts))
            .await?;
        let in_force =
            Box::pin(run::put_in_force(&stage, Profile::Full, phases, &timeouts)).await?;
        Ok((stage, in_force))
    }

    /// Fails before anything is touched where `up` cannot work.
    pub async fn check(&self) -> Result<()> {
        run::load_cases()?;
        kubernetes::check_manifests()?;
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
    pub async fn down(&self) -> Result<String> {
        let (what, there) = match self.target() {
            Target::Kind(kind) => ("kind cluster", kind.down().await?),
            Target::Local(local) => ("local stage", local.down().await?),
            Target::Cluster(context) => return remove_from(&context).await,
        };
        let end = if there { "removed" } else { "is not there" };
        Ok(format!("{what} `{}` {end}", self.name))
    }
}

async fn up_in_cluster(
    context: &str,
    phases: &Phases,
    timeouts: &Timeouts,
) -> Result<KubernetesStage> {
    let cluster = Cluster::connect(None, context).await?;
    cluster.version().await?;
    kubernetes::apply_keycloak(&cluster).await?;
    kubernetes::apply_apps(&cluster).await?;
    let ready = kubernetes::wait_for_workloads(&cluster, timeouts);
    phases.time("wait for workloads", ready).await?;
    KubernetesStage::open(StageName::Cluster, cluster).await
}

async fn remove_from(context: &str) -> Result<String> {
    let cluster = Cluster::connect(None, context).await?;
    let deadline = Timeouts::default().namespace_gone;
    let gone = cluster
        .delete_our_namespaces(&kubernetes::OUR_NAMESPACES, deadline)
        .await?;
    Ok(if gone.is_empty() {
        "nothing of ours is there".to_owned()
    } else {
        format!("removed namespaces {}", gone.join(", "))
    })
}

/// Removes the mesh, or says how to reach the one that is kept. What goes wrong
/// here must not hide what went wrong before.
pub async fn clear_up(place: &Place, keep: bool) {
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
    match place.down().await {
        Ok(done) => eprintln!("{done}"),
        Err(error) => eprintln!("warning: the mesh could not be removed: {error:#}"),
    }
}
