//! A kind cluster in the making.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Kind;
use crate::cluster::Cluster;
use crate::images;
use crate::kubernetes::{self, KubernetesStage};
use crate::manifest::load_kustomization;
use crate::scratch::Scratch;
use crate::secrets;
use crate::tool::Tool;
use crate::versions::versions;
use harness::case::StageName;
use harness::poll::{Poll, Step, TimedOut, Timeouts};
use harness::report::phases::Phases;
use harness::secrets::RealmSecrets;
use harness::suite::Suite;

/// From the end of a `kind create` that was cut off to what Docker makes of it.
const SETTLED: Duration = Duration::from_secs(5);

/// A kind cluster that this run makes, and so may remove.
#[derive(Debug)]
pub struct Begun {
    kind: Kind,
    /// Tells what this run makes from what another one did.
    run: String,
    scratch: Scratch,
    /// Whether Docker was asked for it.
    asked: AtomicBool,
}

impl Begun {
    pub(super) fn new(kind: Kind) -> Result<Self> {
        Ok(Self {
            kind,
            run: Uuid::new_v4().simple().to_string(),
            scratch: Scratch::new()?,
            asked: AtomicBool::new(false),
        })
    }

    /// The cluster.
    pub fn kind(&self) -> &Kind {
        &self.kind
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
                images::build_services(&suite.programs, self.scratch.path())
            ),
            async {
                for image in [&versions().images.pilot, &versions().images.proxy] {
                    images::have_or_pull(image).await?;
                }
                phases
                    .time(
                        "build Keycloak's image",
                        images::build_keycloak(suite, self.scratch.path()),
                    )
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

    /// Removes the cluster, if this run has made one.
    pub async fn clear_up(&self) -> Result<()> {
        if !self.asked.load(Ordering::Relaxed) {
            return Ok(());
        }
        // What was begun when `kind create` was cut off may still come.
        let there = Poll::new("what Docker had begun", SETTLED)
            .until(async || {
                Ok(if self.kind.exists().await? {
                    Step::Done(())
                } else {
                    Step::NotYet("no cluster".to_owned())
                })
            })
            .await;
        match there {
            Err(error) if error.is::<TimedOut>() => return Ok(()),
            other => other?,
        }
        if self.kind.maker().await?.as_deref() == Some(self.run.as_str()) {
            self.kind.delete().await?;
        }
        Ok(())
    }

    async fn create(&self) -> Result<Cluster> {
        images::have_or_pull(&versions().images.node).await?;
        let kubeconfig = self.kind.kubeconfig();
        std::fs::create_dir_all(kubeconfig.parent().expect("the path has a folder"))?;
        self.asked.store(true, Ordering::Relaxed);
        Tool::new("kind")
            .args(["create", "cluster", "--name", self.kind.name.as_str()])
            .args([
                "--image",
                &versions().images.node,
                "--config",
                "-",
                "--kubeconfig",
            ])
            .args([kubeconfig])
            .stdin(include_str!("config.yaml").replace("RUN", &self.run))
            .env("TMPDIR", self.scratch.path())
            .run()
            .await?;
        self.kind.connect().await
    }

    async fn load(&self, images: &[String]) -> Result<()> {
        Tool::new("kind")
            .args(["load", "docker-image", "--name", self.kind.name.as_str()])
            .args(images)
            // Hundreds of megabytes, which kind leaves behind when it is cut off.
            .env("TMPDIR", self.scratch.path())
            .run()
            .await
            .context("cannot load images into the kind node")?;
        Ok(())
    }

    async fn install_istio(&self, suite: &Suite, secrets: &RealmSecrets) -> Result<()> {
        let trust = self.scratch.path().join("trust-for-keys.yaml");
        fs::write(&trust, trust_for_keys(&secrets.authorities()).to_string())?;
        let mut files = vec![suite.path(&suite.manifests.istio)];
        if let Some(file) = &suite.manifests.plain_envoy
            && images::proxy_is_plain_envoy().await?
        {
            files.push(suite.path(file));
        }
        files.push(trust);
        Tool::new("istioctl")
            .args(["install", "--skip-confirmation", "--kubeconfig"])
            .args([self.kind.kubeconfig()])
            .args(files.iter().flat_map(|file| ["-f".into(), file.clone()]))
            .run()
            .await?;
        Ok(())
    }
}

/// What `istioctl install` takes to have istiod trust these authorities (PEM) when it
/// fetches keys.
fn trust_for_keys(authorities: &[&str]) -> Value {
    let values = json!({"pilot": {"jwksResolverExtraRootCA": authorities.concat()}});
    json!({
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {"values": values},
    })
}
