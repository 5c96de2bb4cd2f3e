//! A mesh in a Kubernetes cluster: what `kind` and `cluster` have in common.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, future};
use kube::core::DynamicObject;
use token_client::batch;
use tokio::task::JoinSet;

use super::Stage;
use crate::case::Profile;
use crate::cluster::{Caller, Cluster};
use crate::evidence::AccessRecord;
use crate::manifest::load_kustomization;
use crate::poll::{Poll, Step, Timeouts};
use crate::secrets::{REALM_SECRET, RealmSecrets};
use crate::trouble::Trouble;
use crate::workspace;

const KEYCLOAK: &str = "keycloak";
const DEMO: &str = "demo";
/// The namespaces that `up` makes and `down` removes.
pub const OUR_NAMESPACES: [&str; 2] = [DEMO, KEYCLOAK];
/// The workloads whose sidecar's access log is evidence.
const OBSERVED: [&str; 2] = ["backend", "frontend"];
/// The workloads that requests leave from; each is `caller-NAME` in the cluster.
const CALLERS: [&str; 4] = ["token-client", "frontend", "intruder", "outsider"];

/// The objects of one folder of manifests.
pub fn manifests(folder: &str) -> Result<Vec<DynamicObject>> {
    Ok(load_kustomization(&workspace::path("manifests").join(folder))?)
}

/// Hands Keycloak and the realm's secrets to the cluster. Secrets that are
/// there already stay, so that a second `up` changes no key.
pub async fn apply_keycloak(cluster: &Cluster) -> Result<()> {
    for namespace in OUR_NAMESPACES {
        cluster.check_namespace_is_ours(namespace).await?;
    }
    let (namespaces, rest): (Vec<_>, Vec<_>) =
        manifests(KEYCLOAK)?.into_iter().chain(manifests("apps")?).partition(is_namespace);
    cluster.apply(&namespaces).await?;
    let secrets = match cluster.secret(KEYCLOAK, REALM_SECRET).await? {
        Some(secret) => RealmSecrets::from_secret(&secret)?,
        None => RealmSecrets::generate()?,
    };
    cluster.apply(&secrets.objects()?).await?;
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
    let callers = CALLERS.map(|name| format!("caller-{name}"));
    let names = OBSERVED.into_iter().chain(callers.iter().map(String::as_str));
    let of_demo = names.map(|name| cluster.rollout(DEMO, name, timeouts.rollout));
    future::try_join(
        cluster.rollout(KEYCLOAK, KEYCLOAK, timeouts.keycloak),
        future::try_join_all(of_demo),
    )
    .await?;
    Ok(())
}

fn is_namespace(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| types.kind == "Namespace")
}

/// A mesh in a cluster, with a line to each caller and an ear at each proxy.
pub struct KubernetesStage {
    name: &'static str,
    cluster: Cluster,
    callers: BTreeMap<&'static str, (tokio::sync::Mutex<Caller>, String)>,
    records: Arc<Mutex<HashMap<&'static str, Vec<AccessRecord>>>>,
    /// Ends with the stage.
    _listeners: JoinSet<()>,
}

impl KubernetesStage {
    /// Opens a line to each caller of a mesh that stands, and begins to read
    /// the access logs.
    pub async fn open(name: &'static str, cluster: Cluster) -> Result<Self> {
        let open_callers = CALLERS.map(async |caller| {
            let pod = cluster.pod(DEMO, &format!("caller-{caller}")).await?;
            let line = cluster.open_caller(DEMO, &pod).await?;
            let address = cluster.pod_address(DEMO, &pod).await?;
            anyhow::Ok((caller, (tokio::sync::Mutex::new(line), address)))
        });
        let callers = future::try_join_all(open_callers).await?.into_iter().collect();
        let records = Arc::new(Mutex::new(HashMap::<_, Vec<_>>::new()));
        let mut listeners = JoinSet::new();
        for workload in OBSERVED {
            let pod = cluster.pod(DEMO, workload).await?;
            let mut lines = Box::pin(cluster.follow_log(DEMO, &pod, "istio-proxy").await?);
            let records = records.clone();
            listeners.spawn(async move {
                while let Some(Ok(line)) = lines.next().await {
                    if let Some(record) = AccessRecord::parse(&line) {
                        let mut records = records.lock().expect("lock must be whole");
                        records.entry(workload).or_default().push(record);
                    }
                }
            });
        }
        Ok(Self { name, cluster, callers, records, _listeners: listeners })
    }

    /// Waits until Keycloak's discovery document answers from inside the mesh:
    /// only then may the rules be applied, because istiod reads the keys once.
    pub async fn wait_for_discovery(&self, issuer: &str, timeouts: &Timeouts) -> Result<()> {
        let url = format!("{issuer}/.well-known/openid-configuration");
        Poll::new(format!("discovery at {url}"), timeouts.keycloak)
            .until(async || {
                let request = batch::Request::get("discovery", &url);
                let answers = self.ask("token-client", &[request]).await?;
                let answer = answers.values().next().context("no answer")?;
                Ok(match (answer.status, &answer.error) {
                    (Some(200), _) => Step::Done(()),
                    (Some(status), _) => Step::NotYet(format!("status {status}")),
                    (None, error) => Step::NotYet(error.clone().unwrap_or_default()),
                })
            })
            .await
    }
}

impl Stage for KubernetesStage {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn secrets(&self) -> Result<RealmSecrets> {
        let secret = self.cluster.secret(KEYCLOAK, REALM_SECRET).await?.with_context(|| {
            Trouble::new("the mesh has no realm secrets", "bring it up: mesh down && mesh up")
        })?;
        RealmSecrets::from_secret(&secret)
    }

    async fn apply_policy(&self, profile: Profile) -> Result<()> {
        let stock = manifests("policy/stock")?;
        let all = manifests("policy")?;
        match profile {
            Profile::Standard => self.cluster.apply(&all).await,
            Profile::Stock => {
                self.cluster.apply(&stock).await?;
                let extras: Vec<_> = all.into_iter().filter(|o| !stock.contains(o)).collect();
                self.cluster.delete(&extras).await
            }
        }
    }

    async fn ask(
        &self,
        caller: &str,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>> {
        let Some((line, _)) = self.callers.get(caller) else {
            bail!("there is no caller `{caller}`; there are {}", CALLERS.join(", "));
        };
        line.lock().await.ask(requests).await.with_context(|| format!("caller {caller}"))
    }

    fn records(&self, workload: &str) -> Vec<AccessRecord> {
        let records = self.records.lock().expect("lock must be whole");
        records.get(workload).cloned().unwrap_or_default()
    }

    async fn address_of(&self, caller: &str) -> Result<String> {
        let (_, address) = self.callers.get(caller).context("no such caller")?;
        Ok(address.clone())
    }

    async fn dump(&self, folder: &Path) -> Result<()> {
        self.cluster.dump(&[DEMO, KEYCLOAK, "istio-system"], folder).await
    }
}
