//! The command line of `mesh`.
#![expect(
    clippy::large_futures,
    reason = "one a process: where it lies matters to nobody"
)]

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::attacks::Attacks;
use crate::case::{Profile, StageName};
use crate::cluster::Cluster;
use crate::differential::Differential;
use crate::doctor;
use crate::explain::Explain;
use crate::manifest;
use crate::phases::Phases;
use crate::poll::Timeouts;
use crate::report::Run;
use crate::run;
use crate::secrets::RealmSecrets;
use crate::stage::kind::Kind;
use crate::stage::kubernetes::{self, KubernetesStage};
use crate::stage::local::{Local, LocalStage};
use crate::stage::{AnyStage, Stage};
use crate::translate::Translate;
use crate::watch;
use crate::workspace;

/// What a kind cluster or a local stage is called unless the user says.
const NAME: &str = "mesh-oidc";

/// Brings a mesh of Istio and Keycloak up and proves, request by request, who
/// is let through to a service and which filter decided.
///
/// Exit codes: 0 all as expected; 1 a verdict differs; 2 the machine or the
/// mesh is not ready, with the fix.
#[derive(Debug, Parser)]
#[command(name = "mesh", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mesh up without Docker, the whole table; then it stays, until Ctrl-C,
    /// and follows edits of manifests/policy
    Demo {
        /// Name of the local stage; two with different names may run side by side
        #[arg(long, default_value = NAME)]
        name: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Mesh up, the whole table under both profiles, mesh down again
    E2e {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        ask: Ask,
        /// Leave the mesh standing at the end
        #[arg(long)]
        keep: bool,
    },
    /// Bring the mesh up and leave it standing
    Up {
        #[command(flatten)]
        place: Place,
        /// Leave what is there when something fails
        #[arg(long)]
        keep: bool,
    },
    /// Ask a mesh that stands every case of the table
    Verify {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        ask: Ask,
        /// The rules that are expected to be in force
        #[arg(long, value_enum, default_value_t)]
        profile: Profile,
    },
    /// Put the rules in manifests/policy in force, as they are now
    Apply {
        #[command(flatten)]
        place: Place,
        /// Which of the rules
        #[arg(long, value_enum, default_value_t)]
        profile: Profile,
        /// Go on with every edit, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Remove what `up` made, and nothing else
    Down {
        #[command(flatten)]
        place: Place,
    },
    Explain(Box<Explain>),
    Translate(Translate),
    Differential(Differential),
    Attacks(Attacks),
    /// Say what this machine lacks, each with the command that fixes it
    Doctor,
    /// Print new realm keys and secrets as Kubernetes Secrets, for `kubectl apply -f -`
    Secrets,
}

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

/// What to ask and how to report.
#[derive(Debug, Args)]
struct Ask {
    /// Only cases and checks whose name contains this, or matches it as a
    /// glob; the cases' positive controls come along
    #[arg(long)]
    filter: Vec<String>,
    /// How to print the result on standard output
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The form of the result on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// report.json
    Json,
}

impl Cli {
    /// Runs the command. Errors mean exit code 2.
    pub async fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Demo { name, ask } => demo(name, &ask).await,
            Command::E2e { place, ask, keep } => e2e(&place, &ask, keep).await,
            Command::Up { place, keep } => up(&place, keep).await,
            Command::Verify {
                place,
                ask,
                profile,
            } => {
                let phases = Phases::default();
                interruptible(async {
                    run::load_cases()?;
                    let stage = place.open().await?;
                    let run = ask.verify(&stage, profile, &phases).await?;
                    Ok(exit(&[run]))
                })
                .await
            }
            Command::Apply {
                place,
                profile,
                watch,
            } => apply_once_or_watch(&place, profile, watch).await,
            Command::Down { place } => down(&place).await,
            Command::Explain(question) if question.needs_stage() => {
                interruptible(async { question.run_on(&question.place.open().await?).await }).await
            }
            Command::Explain(question) => question.run(),
            Command::Translate(question) => question.run(),
            Command::Differential(question) => interruptible(question.run()).await,
            Command::Attacks(attacks) => {
                interruptible(async { attacks.run_on(&attacks.place.open().await?).await }).await
            }
            Command::Doctor => say_what_is_missing().await,
            Command::Secrets => {
                print!(
                    "{}",
                    manifest::to_yaml(&RealmSecrets::generate()?.objects()?)
                );
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Ask {
    async fn verify(&self, stage: &impl Stage, profile: Profile, phases: &Phases) -> Result<Run> {
        let run = run::verify(stage, profile, &self.filter, phases, &Timeouts::default()).await?;
        run::show(&run, self.output == Output::Json)?;
        Ok(run)
    }
}

impl Place {
    fn local(name: String) -> Self {
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

    pub(crate) async fn open(&self) -> Result<AnyStage> {
        Ok(match self.target() {
            Target::Kind(kind) => AnyStage::Kubernetes(Box::new(kind.open().await?)),
            Target::Local(local) => AnyStage::Local(Box::new(local.open()?)),
            Target::Cluster(context) => {
                let cluster = Cluster::connect(None, &context).await?;
                let stage = KubernetesStage::open(StageName::Cluster, cluster).await?;
                AnyStage::Kubernetes(Box::new(stage))
            }
        })
    }

    /// From nothing to a mesh with the rules handed over; whether they are in
    /// force comes with it.
    async fn up(&self, phases: &Phases) -> Result<(AnyStage, bool)> {
        let timeouts = Timeouts::default();
        let stage = match self.target() {
            Target::Kind(kind) => AnyStage::Kubernetes(Box::new(kind.up(phases, &timeouts).await?)),
            Target::Local(local) => AnyStage::Local(Box::new(local.up(phases, &timeouts).await?)),
            Target::Cluster(context) => {
                let cluster = Cluster::connect(None, &context).await?;
                cluster.version().await?;
                kubernetes::apply_keycloak(&cluster).await?;
                kubernetes::apply_apps(&cluster).await?;
                let ready = kubernetes::wait_for_workloads(&cluster, &timeouts);
                phases.time("wait for workloads", ready).await?;
                let stage = KubernetesStage::open(StageName::Cluster, cluster).await?;
                AnyStage::Kubernetes(Box::new(stage))
            }
        };
        phases
            .time("wait for discovery", stage.wait_for_discovery(&timeouts))
            .await?;
        let in_force = run::put_in_force(&stage, Profile::Full, phases, &timeouts).await?;
        Ok((stage, in_force))
    }

    /// Fails before anything is touched where `up` cannot work.
    async fn check(&self) -> Result<()> {
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
    async fn down(&self) -> Result<String> {
        let (what, there) = match self.target() {
            Target::Kind(kind) => ("kind cluster", kind.down().await?),
            Target::Local(local) => ("local stage", local.down().await?),
            Target::Cluster(context) => return remove_from(&context).await,
        };
        let end = if there { "removed" } else { "is not there" };
        Ok(format!("{what} `{}` {end}", self.name))
    }
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

async fn demo(name: String, ask: &Ask) -> Result<ExitCode> {
    let phases = Phases::default();
    let place = Place::local(name);
    place.check().await?;
    let outcome = interruptible(async {
        let (stage, _) = place.up(&phases).await?;
        let run = ask.verify(&stage, Profile::Full, &phases).await?;
        eprintln!("{:>7.1} s  all of it", phases.total().as_secs_f64());
        Ok((stage, run))
    })
    .await;
    let outcome = match outcome {
        Ok((AnyStage::Local(stage), run)) => stand(&stage).await.map(|()| exit(&[run])),
        Ok((AnyStage::Kubernetes(_), _)) => unreachable!("the place is local"),
        Err(error) => Err(error),
    };
    clear_up(&place, false).await;
    outcome
}

/// Follows edits of the rules until Ctrl-C, which is how a demo ends.
async fn stand(stage: &LocalStage) -> Result<()> {
    stage.introduce();
    let policy = workspace::path("manifests/policy");
    let stood = interruptible(async {
        tokio::select! {
            watched = watch::each_change(&policy, || apply(stage, Profile::Full)) => watched,
            died = stage.until_a_process_ends() => died,
        }
    });
    match stood.await {
        Err(error) if error.is::<Interrupted>() => Ok(()),
        other => other,
    }
}

/// Puts edited rules in force. Broken ones change nothing, and it is said why.
async fn apply(stage: &impl Stage, profile: Profile) {
    match stage.apply_policy(profile).await {
        Ok(()) => eprintln!("rules of profile {profile} applied"),
        Err(error) => eprintln!("error: the rules in force stay as they are: {error:#}"),
    }
}

async fn apply_once_or_watch(place: &Place, profile: Profile, watch: bool) -> Result<ExitCode> {
    let done = interruptible(async {
        let stage = place.open().await?;
        stage.apply_policy(profile).await?;
        eprintln!("rules of profile {profile} applied");
        if watch {
            let policy = workspace::path("manifests/policy");
            watch::each_change(&policy, || apply(&stage, profile)).await?;
        }
        Ok(())
    });
    match done.await {
        Err(error) if watch && error.is::<Interrupted>() => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

async fn e2e(place: &Place, ask: &Ask, keep: bool) -> Result<ExitCode> {
    let phases = Phases::default();
    place.check().await?;
    let outcome = interruptible(async {
        let (stage, _) = place.up(&phases).await?;
        let full = ask.verify(&stage, Profile::Full, &phases).await?;
        run::put_in_force(&stage, Profile::Stock, &phases, &Timeouts::default()).await?;
        let stock = ask.verify(&stage, Profile::Stock, &phases).await?;
        if keep {
            run::put_in_force(&stage, Profile::Full, &phases, &Timeouts::default()).await?;
        }
        Ok(exit(&[full, stock]))
    })
    .await;
    clear_up(place, keep).await;
    outcome
}

async fn up(place: &Place, keep: bool) -> Result<ExitCode> {
    let phases = Phases::default();
    place.check().await?;
    let outcome = interruptible(async { Ok(place.up(&phases).await?.1) }).await;
    clear_up(place, outcome.is_ok() || keep).await;
    if outcome? {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("`mesh verify` says which rows differ");
    Ok(ExitCode::from(1))
}

async fn down(place: &Place) -> Result<ExitCode> {
    println!("{}", place.down().await?);
    Ok(ExitCode::SUCCESS)
}

/// Removes the mesh, or says how to reach the one that is kept. What goes wrong
/// here must not hide what went wrong before.
async fn clear_up(place: &Place, keep: bool) {
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

async fn say_what_is_missing() -> Result<ExitCode> {
    let mut checks = doctor::local_stage().await;
    checks.extend(doctor::kind_stage().await);
    for check in &checks {
        match &check.found {
            Ok(found) => println!("ok       {:<14} {found}", check.need),
            Err(trouble) => {
                println!("missing  {:<14} {}", check.need, trouble.what());
                println!("         {:<14} fix: {}", "", trouble.fix());
            }
        }
    }
    Ok(if checks.iter().all(|check| check.found.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

fn exit(runs: &[Run]) -> ExitCode {
    ExitCode::from(u8::from(!runs.iter().all(Run::succeeded)))
}

/// Ctrl-C or SIGTERM.
#[derive(Debug, thiserror::Error)]
#[error("interrupted\n  fix: run it again")]
struct Interrupted;

/// Runs until done, or until Ctrl-C or SIGTERM: then the work is dropped,
/// with every program it started, and the caller can clear up.
async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => bail!(Interrupted),
        _ = terminate.recv() => bail!(Interrupted),
    }
}
