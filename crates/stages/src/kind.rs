//! The kind stage: a cluster of our own in Docker, from nothing to a mesh.

mod begun;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::cluster::Cluster;
use crate::kubernetes::KubernetesStage;
use crate::name::MeshName;
use crate::tool::Tool;
pub use begun::Begun;
use harness::case::StageName;
use harness::poll::Timeouts;
use harness::redact::know;
use harness::suite::Suite;
use harness::trouble::Trouble;
use harness::workspace;

/// Mount points that tell who made a node. Nothing is in them; they are there
/// before anything in the cluster runs, and as long as the node.
const MADE_BY: &str = "/etc/mesh-oidc/made-by/";

/// A kind cluster by name.
#[derive(Debug, Clone)]
pub struct Kind {
    name: MeshName,
}

impl Kind {
    /// The cluster with this name, whether it is there or not.
    pub fn new(name: MeshName) -> Self {
        Self { name }
    }

    /// All clusters that `up` made.
    pub async fn all() -> Result<Vec<Self>> {
        let names = Tool::new("kind").args(["get", "clusters"]).run().await?;
        let mut ours = Vec::new();
        for kind in names
            .lines()
            .filter_map(|it| it.parse().ok())
            .map(Self::new)
        {
            if kind.maker().await?.is_some() {
                ours.push(kind);
            }
        }
        Ok(ours)
    }

    /// What it is called.
    pub fn name(&self) -> &MeshName {
        &self.name
    }

    /// Whether the cluster is there.
    pub async fn exists(&self) -> Result<bool> {
        let clusters = Tool::new("kind").args(["get", "clusters"]).run().await?;
        Ok(clusters.lines().any(|line| line == self.name.as_str()))
    }

    /// Fails where a cluster of this name is there already.
    pub async fn begin(&self) -> Result<Begun> {
        if self.exists().await? {
            bail!(Trouble::new(
                format!("a kind cluster `{}` is already there", self.name),
                format!(
                    "ask it with `mesh verify{0}`, remove it with `mesh down{0}`, or choose \
                     another --name",
                    self.name.argument()
                ),
            ));
        }
        Begun::new(self.clone())
    }

    /// The mesh in a cluster that stands.
    pub async fn open<'a>(
        &self,
        suite: &'a Suite,
        timeouts: &'a Timeouts,
    ) -> Result<KubernetesStage<'a>> {
        if !self.exists().await? {
            bail!(Trouble::new(
                format!("there is no kind cluster `{}`", self.name),
                format!("bring it up: mesh up{}", self.name.argument()),
            ));
        }
        let cluster = self.connect().await?;
        KubernetesStage::open(StageName::Kind, suite, timeouts, cluster).await
    }

    /// Removes the cluster, if it is there. Returns whether it was. One that `up`
    /// did not make is left alone, with an error.
    pub async fn down(&self) -> Result<bool> {
        if !self.exists().await? {
            return Ok(false);
        }
        if self.maker().await?.is_none() {
            bail!(Trouble::new(
                format!("kind cluster `{}` was not made by `mesh up`", self.name),
                format!(
                    "if nobody needs it: kind delete cluster --name {}",
                    self.name
                ),
            ));
        }
        self.delete().await?;
        Ok(true)
    }

    async fn delete(&self) -> Result<()> {
        Tool::new("kind")
            .args(["delete", "cluster", "--name", self.name.as_str()])
            .args(["--kubeconfig".into(), self.kubeconfig()])
            .run()
            .await?;
        let _ = std::fs::remove_file(self.kubeconfig());
        Ok(())
    }

    /// The run that made the cluster, if it was one of ours.
    async fn maker(&self) -> Result<Option<String>> {
        let nodes = Tool::new("kind")
            .args(["get", "nodes", "--name", self.name.as_str()])
            .run()
            .await?;
        let Some(node) = nodes.lines().next() else {
            return Ok(None);
        };
        let mounts = Tool::new("docker")
            .args(["inspect", "--type", "container", "--format"])
            .args(["{{range .Mounts}}{{println .Destination}}{{end}}", node])
            .run()
            .await?;
        let mut mounts = mounts.lines();
        Ok(mounts.find_map(|mount| Some(mount.strip_prefix(MADE_BY)?.to_owned())))
    }

    /// A kubeconfig of the cluster's own: the user's keeps its current context.
    pub fn kubeconfig(&self) -> PathBuf {
        workspace::target_dir()
            .join("mesh")
            .join(self.name.as_str())
            .with_extension("kubeconfig")
    }

    async fn connect(&self) -> Result<Cluster> {
        let kubeconfig = Tool::new("kind")
            .args(["get", "kubeconfig", "--name", self.name.as_str()])
            .run()
            .await?;
        let lines = kubeconfig.lines().map(str::trim_start);
        for key in lines.filter_map(|line| line.strip_prefix("client-key-data: ")) {
            know(&key.into());
        }
        let context = format!("kind-{}", self.name);
        let place = format!("--stage kind{}", self.name.argument());
        Cluster::connect(Some(&kubeconfig), &context, place).await
    }
}
