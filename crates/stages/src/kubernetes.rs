//! A mesh in a Kubernetes cluster: what `kind` and `cluster` have in common.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use futures::{StreamExt, future};
use kube::core::DynamicObject;
use policy::Workload;
use token_client::batch;
use tokio::task::JoinSet;

use crate::attacker;
use crate::cluster::{self, Cluster};
use crate::manifest::load_kustomization;
use crate::secrets::{self, KEYCLOAKS};
use crate::versions::versions;
use envoy::sidecar::Sidecar;
use harness::attack::{AppLine, Origin, RawAnswer, Sent, Shot, Target};
use harness::case::{Caller, Profile, StageName};
use harness::evidence::Evidence;
use harness::model::Model;
use harness::poll::Timeouts;
use harness::secrets::RealmSecrets;
use harness::stage::Stage;
use harness::trouble::Trouble;
use harness::workspace;

const KEYCLOAK: &str = "keycloak";
pub(crate) const DEMO: &str = "demo";
/// The namespaces that `up` makes and `down` removes.
pub const OUR_NAMESPACES: [&str; 2] = [DEMO, KEYCLOAK];
/// The workloads whose sidecar's access log is evidence.
const OBSERVED: [&str; 2] = ["backend", "frontend"];
/// The workloads that requests leave from.
const CALLERS: [Caller; 4] = [
    Caller::TokenClient,
    Caller::Frontend,
    Caller::Intruder,
    Caller::Outsider,
];

/// A caller's name in the cluster.
fn caller_app(caller: Caller) -> String {
    format!("caller-{caller}")
}

/// The objects of one folder of manifests.
pub fn manifests(folder: &str) -> Result<Vec<DynamicObject>> {
    Ok(load_kustomization(
        &workspace::path("manifests").join(folder),
    )?)
}

/// Fails where any manifest cannot be read, before a cluster is touched.
pub fn check_manifests() -> Result<()> {
    ["keycloak", "istio/mesh", "apps", "callers", "policy"]
        .into_iter()
        .try_for_each(|folder| manifests(folder).map(drop))
}

/// Hands Keycloak and the realm's secrets to the cluster. Secrets that are
/// there already stay, so that a second `up` changes no key.
pub async fn apply_keycloak(cluster: &Cluster) -> Result<()> {
    for namespace in OUR_NAMESPACES {
        cluster.check_namespace_is_ours(namespace).await?;
    }
    let (namespaces, rest): (Vec<_>, Vec<_>) = manifests(KEYCLOAK)?
        .into_iter()
        .chain(manifests("apps")?)
        .partition(is_namespace);
    cluster.apply(&namespaces).await?;
    let realm = match cluster.secrets(KEYCLOAK, &KEYCLOAKS).await? {
        Some(there) => secrets::from_secrets(&there)?,
        None => RealmSecrets::generate()?,
    };
    cluster.apply(&secrets::objects(&realm)?).await?;
    let of_keycloak: Vec<_> = rest
        .into_iter()
        .filter(|object| object.metadata.namespace.as_deref() == Some(KEYCLOAK))
        .collect();
    cluster.apply(&of_keycloak).await
}

/// Hands the services and the callers to the cluster. Istio's injection must
/// be in place.
pub async fn apply_apps(cluster: &Cluster) -> Result<()> {
    cluster.apply(&manifests("apps")?).await?;
    cluster.apply(&manifests("callers")?).await
}

/// Waits until Keycloak, the services and the callers are there.
pub async fn wait_for_workloads(cluster: &Cluster, timeouts: &Timeouts) -> Result<()> {
    let callers = CALLERS.map(caller_app);
    let names = OBSERVED
        .into_iter()
        .chain(callers.iter().map(String::as_str));
    let of_demo = names.map(|name| cluster.rollout(DEMO, name, timeouts.apps_ready));
    future::try_join(
        cluster.rollout(KEYCLOAK, KEYCLOAK, timeouts.keycloak_ready),
        future::try_join_all(of_demo),
    )
    .await?;
    Ok(())
}

fn is_namespace(object: &DynamicObject) -> bool {
    object
        .types
        .as_ref()
        .is_some_and(|types| types.kind == "Namespace")
}

/// A mesh in a cluster, with a line to each caller and an ear at each proxy.
pub struct KubernetesStage {
    name: StageName,
    cluster: Cluster,
    callers: BTreeMap<Caller, (tokio::sync::Mutex<cluster::Caller>, IpAddr)>,
    evidence: Arc<Mutex<Evidence>>,
    app_lines: Arc<Mutex<Vec<AppLine>>>,
    /// Ends with the stage.
    _listeners: JoinSet<()>,
}

impl KubernetesStage {
    /// Opens a line to each caller of a mesh that stands, and begins to read
    /// the access logs.
    pub async fn open(name: StageName, cluster: Cluster) -> Result<Self> {
        let open_callers = CALLERS.map(async |caller| {
            let pod = cluster.pod(DEMO, &caller_app(caller)).await?;
            let line = cluster.open_caller(DEMO, &pod).await?;
            let address = cluster.pod_address(DEMO, &pod).await?;
            anyhow::Ok((caller, (tokio::sync::Mutex::new(line), address)))
        });
        let callers = future::try_join_all(open_callers)
            .await?
            .into_iter()
            .collect();
        let evidence = Arc::new(Mutex::new(Evidence::default()));
        let mut listeners = JoinSet::new();
        for workload in OBSERVED {
            let pod = cluster.pod(DEMO, workload).await?;
            let mut lines = Box::pin(cluster.follow_log(DEMO, &pod, "istio-proxy").await?);
            let evidence = evidence.clone();
            listeners.spawn(async move {
                while let Some(Ok(line)) = lines.next().await {
                    evidence
                        .lock()
                        .expect("lock must be whole")
                        .read([line.as_str()]);
                }
            });
        }
        let app_lines = attacker::follow_apps(&cluster, &mut listeners).await?;
        Ok(Self {
            name,
            cluster,
            callers,
            evidence,
            app_lines,
            _listeners: listeners,
        })
    }

    /// The cluster that the mesh runs in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl Stage for KubernetesStage {
    fn name(&self) -> StageName {
        self.name
    }

    fn versions(&self) -> BTreeMap<String, String> {
        let v = versions();
        [
            ("istio", &v.istio),
            ("keycloak", &v.keycloak),
            ("kubernetes", &v.kubernetes),
        ]
        .map(|(name, version)| (name.to_owned(), version.clone()))
        .into()
    }

    async fn secrets(&self) -> Result<RealmSecrets> {
        let secret = self
            .cluster
            .secrets(KEYCLOAK, &KEYCLOAKS)
            .await?
            .with_context(|| {
                Trouble::new(
                    "the mesh has no realm secrets",
                    "bring it up: mesh down && mesh up",
                )
            })?;
        secrets::from_secrets(&secret)
    }

    async fn apply_policy(&self, profile: Profile) -> Result<()> {
        let stock = manifests("policy/stock")?;
        let all = manifests("policy")?;
        match profile {
            Profile::Full => self.cluster.apply(&all).await,
            Profile::Stock => {
                self.cluster.apply(&stock).await?;
                let extras: Vec<_> = all.into_iter().filter(|o| !stock.contains(o)).collect();
                self.cluster.delete(&extras).await
            }
        }
    }

    async fn ask(
        &self,
        caller: Caller,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>> {
        let (line, _) = self.callers.get(&caller).context("no such caller")?;
        line.lock()
            .await
            .ask(requests, Timeouts::default().batch)
            .await
            .with_context(|| format!("caller {caller}"))
    }

    fn evidence(&self) -> Evidence {
        self.evidence.lock().expect("lock must be whole").clone()
    }

    fn address_of(&self, caller: Caller) -> Result<IpAddr> {
        let (_, address) = self.callers.get(&caller).context("no such caller")?;
        Ok(*address)
    }

    fn comparable(&self) -> Vec<String> {
        let with_sidecar = CALLERS
            .into_iter()
            .filter(|caller| *caller != Caller::Outsider);
        let callers = with_sidecar.map(caller_app);
        OBSERVED
            .map(str::to_owned)
            .into_iter()
            .chain(callers)
            .collect()
    }

    async fn difference(&self, workload: &str, model: &Model) -> Result<Option<String>> {
        let pod = self.cluster.pod(DEMO, workload).await?;
        let labels = self.cluster.pod_labels(DEMO, &pod).await?;
        let workload = Workload {
            namespace: DEMO.to_owned(),
            labels,
        };
        let config = self.cluster.proxy_config(DEMO, &pod).await?;
        Sidecar::read(workload, &config)
            .with_context(|| format!("the sidecar of {pod}"))?
            .difference(model)
    }

    fn cannot_attack(&self, from: &Origin, request: &Sent) -> Option<String> {
        attacker::cannot_attack(from, request)
    }

    async fn attack(&self, shot: &Shot) -> Result<RawAnswer> {
        attacker::attack(self, shot).await
    }

    /// Nobody here can shake hands as no member does.
    async fn refused_connections(&self, _: Target) -> Result<Option<u64>> {
        Ok(None)
    }

    fn app_lines(&self) -> Vec<AppLine> {
        self.app_lines.lock().expect("lock must be whole").clone()
    }

    async fn dump(&self, folder: &Path) -> Result<()> {
        self.cluster
            .dump(&[DEMO, KEYCLOAK, "istio-system"], folder)
            .await
    }
}
