//! The kind stage: a cluster of our own in Docker, from nothing to a mesh.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::cluster::Cluster;
use crate::images;
use crate::kubernetes::{self, KubernetesStage};
use crate::manifest::load_kustomization;
use crate::secrets;
use crate::tool::Tool;
use crate::versions::versions;
use harness::case::StageName;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::secrets::RealmSecrets;
use harness::suite::Suite;
use harness::trouble::Trouble;
use harness::workspace;

/// A kind cluster by name.
#[derive(Debug, Clone)]
pub struct Kind {
    name: String,
}

impl Kind {
    /// The cluster with this name, whether it is there or not.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Whether the cluster is there.
    pub async fn exists(&self) -> Result<bool> {
        let clusters = Tool::new("kind").args(["get", "clusters"]).run().await?;
        Ok(clusters.lines().any(|line| line == self.name))
    }

    /// Brings the mesh up in a new cluster, up to where the rules can be applied.
    pub async fn up<'a>(
        &self,
        suite: &'a Suite,
        phases: &Phases,
        timeouts: &'a Timeouts,
    ) -> Result<KubernetesStage<'a>> {
        let ((), cluster) = tokio::try_join!(
            phases.time(
                "build service images",
                images::build_services(&suite.programs)
            ),
            async {
                for image in [&versions().images.pilot, &versions().images.proxy] {
                    images::have_or_pull(image).await?;
                }
                phases
                    .time("build Keycloak's image", images::build_keycloak(suite))
                    .await?;
                phases.time("create the cluster", self.create()).await
            },
        )?;
        let secrets = secrets::generate(suite)?;
        let keycloak = async {
            phases
                .time(
                    "load Keycloak's image",
                    self.load(&[images::keycloak_image()]),
                )
                .await?;
            kubernetes::apply_keycloak(suite, &cluster, &secrets).await
        };
        let istio = async {
            let images = &versions().images;
            let upstream = [images.pilot.clone(), images.proxy.clone()];
            phases
                .time("load Istio's images", self.load(&upstream))
                .await?;
            phases
                .time("install Istio", self.install_istio(suite, &secrets))
                .await?;
            // The cluster is our own: what holds for all of it is ours to say.
            match &suite.manifests.mesh_wide {
                Some(folder) => {
                    cluster
                        .apply(&load_kustomization(&suite.path(folder))?)
                        .await
                }
                None => Ok(()),
            }
        };
        tokio::try_join!(keycloak, istio)?;
        let images: Vec<_> = suite.programs.iter().map(|it| it.image.clone()).collect();
        phases
            .time("load service images", self.load(&images))
            .await?;
        kubernetes::apply_apps(suite, &cluster).await?;
        phases
            .time(
                "wait for workloads",
                kubernetes::wait_for_workloads(suite, &cluster, timeouts),
            )
            .await?;
        KubernetesStage::open(StageName::Kind, suite, timeouts, cluster).await
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
                "bring it up: mesh up",
            ));
        }
        let cluster = self.connect().await?;
        KubernetesStage::open(StageName::Kind, suite, timeouts, cluster).await
    }

    /// Removes the cluster, if it is there. Returns whether it was.
    pub async fn down(&self) -> Result<bool> {
        let there = self.exists().await?;
        if there {
            Tool::new("kind")
                .args(["delete", "cluster", "--name", &self.name])
                .args(["--kubeconfig".into(), self.kubeconfig()])
                .run()
                .await?;
            let _ = std::fs::remove_file(self.kubeconfig());
        }
        Ok(there)
    }

    /// A kubeconfig of the cluster's own: the user's keeps its current context.
    pub fn kubeconfig(&self) -> PathBuf {
        workspace::target_dir()
            .join("mesh")
            .join(&self.name)
            .with_extension("kubeconfig")
    }

    /// Fails where a cluster of this name is there already.
    pub async fn refuse_if_there(&self) -> Result<()> {
        if self.exists().await? {
            bail!(Trouble::new(
                format!("a kind cluster `{}` is already there", self.name),
                "ask it with `mesh verify`, remove it with `mesh down`, or choose another --name",
            ));
        }
        Ok(())
    }

    async fn create(&self) -> Result<Cluster> {
        images::have_or_pull(&versions().images.node).await?;
        let kubeconfig = self.kubeconfig();
        std::fs::create_dir_all(kubeconfig.parent().expect("the path has a folder"))?;
        Tool::new("kind")
            .args(["create", "cluster", "--name", &self.name])
            .args([
                "--image",
                &versions().images.node,
                "--config",
                "-",
                "--kubeconfig",
            ])
            .args([kubeconfig])
            .stdin(include_str!("kind-config.yaml"))
            .run()
            .await?;
        self.connect().await
    }

    async fn connect(&self) -> Result<Cluster> {
        let kubeconfig = Tool::new("kind")
            .args(["get", "kubeconfig", "--name", &self.name])
            .run()
            .await?;
        Cluster::connect(Some(&kubeconfig), &format!("kind-{}", self.name)).await
    }

    async fn load(&self, images: &[String]) -> Result<()> {
        Tool::new("kind")
            .args(["load", "docker-image", "--name", &self.name])
            .args(images)
            .run()
            .await
            .context("cannot load images into the kind node")?;
        Ok(())
    }

    async fn install_istio(&self, suite: &Suite, secrets: &RealmSecrets) -> Result<()> {
        let trust = trust_for_keys(&secrets.authorities())?;
        let mut files = vec![suite.path(&suite.manifests.istio)];
        if let Some(file) = &suite.manifests.plain_envoy
            && images::proxy_is_plain_envoy().await?
        {
            files.push(suite.path(file));
        }
        files.push(trust.path().to_owned());
        Tool::new("istioctl")
            .args(["install", "--skip-confirmation", "--kubeconfig"])
            .args([self.kubeconfig()])
            .args(files.iter().flat_map(|file| ["-f".into(), file.clone()]))
            .run()
            .await?;
        Ok(())
    }
}

/// A file for `istioctl install` that has istiod trust these authorities (PEM) when
/// it fetches keys.
fn trust_for_keys(authorities: &[&str]) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::with_suffix(".yaml")?;
    let values = json!({"pilot": {"jwksResolverExtraRootCA": authorities.concat()}});
    let operator = json!({
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {"values": values},
    });
    write!(file, "{operator}")?;
    Ok(file)
}
