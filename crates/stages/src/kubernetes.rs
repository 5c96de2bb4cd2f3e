//! A mesh in a Kubernetes cluster: what `kind` and `cluster` have in common.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use async_trait::async_trait;
use envoy::sidecar::Sidecar;
use futures::future;
use harness::attack::{AppLine, Origin, RawAnswer, Sent, Shot, Target};
use harness::case::StageName;
use harness::evidence::Evidence;
use harness::poll::Timeouts;
use harness::rules::Rules;
use harness::secrets::RealmSecrets;
use harness::stage::{Parts, Stage};
use harness::suite::Suite;
use harness::suite::manifest::{deployments, objects};
use harness::trouble::Trouble;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use policy::Workload;
use token_client::batch;
use tokio::task::JoinSet;
use url::Url;

use crate::attacker;
use crate::cluster::{self, Cluster};
use crate::lock::turn_to_sign_in;
use crate::logs;
use crate::manifest::{dynamic, load_kustomization};
use crate::secrets;
use crate::tls;
use crate::versions::versions;

/// istiod's own namespace, which a dump looks into besides.
const ISTIO: &str = "istio-system";

/// The secrets of the mesh: those that the cluster has, so that a second `up`
/// changes no key, or new ones.
pub async fn secrets_of(suite: &Suite, cluster: &Cluster) -> Result<RealmSecrets> {
    match cluster.secrets(&suite.secrets).await? {
        Some(there) => secrets::from_secrets(suite, &there),
        None => secrets::generate(suite),
    }
}

/// Hands Keycloak and its secrets to the cluster.
pub async fn apply_keycloak(
    suite: &Suite,
    cluster: &Cluster,
    secrets: &RealmSecrets,
) -> Result<()> {
    for namespace in suite.namespaces()? {
        cluster.check_namespace_is_ours(&namespace).await?;
    }
    let load = |folder| load_kustomization(&suite.path(folder));
    let keycloak = load(&suite.manifests.keycloak)?;
    let (mut namespaces, keycloak): (Vec<_>, Vec<_>) = keycloak.into_iter().partition(is_namespace);
    for folder in [&suite.manifests.workloads, &suite.manifests.callers] {
        namespaces.extend(load(folder)?.into_iter().filter(is_namespace));
    }
    cluster.apply(&namespaces).await?;
    cluster.apply(&secrets::objects(suite, secrets)?).await?;
    cluster.apply(&keycloak).await
}

/// Hands the services and the callers to the cluster. Istio's injection must
/// be in place.
pub async fn apply_apps(suite: &Suite, cluster: &Cluster) -> Result<()> {
    for folder in [&suite.manifests.workloads, &suite.manifests.callers] {
        let objects = load_kustomization(&suite.path(folder))?;
        cluster.apply(&objects).await?;
    }
    Ok(())
}

/// Waits until Keycloak, the services and the callers are there.
pub async fn wait_for_workloads(
    suite: &Suite,
    cluster: &Cluster,
    timeouts: &Timeouts,
) -> Result<()> {
    let keycloak = deployments(&objects(&suite.path(&suite.manifests.keycloak))?);
    let keycloak = keycloak
        .iter()
        .map(|it| cluster.rollout(&it.namespace, &it.name, timeouts.keycloak_ready));
    let workloads = suite.workloads.iter().map(|it| (&it.namespace, &it.name));
    let callers = suite
        .callers
        .iter()
        .map(|it| (&it.namespace, &it.deployment));
    let others = workloads
        .chain(callers)
        .map(|(namespace, name)| cluster.rollout(namespace, name, timeouts.apps_ready));
    future::try_join(future::try_join_all(keycloak), future::try_join_all(others)).await?;
    Ok(())
}

fn is_namespace(object: &DynamicObject) -> bool {
    object
        .types
        .as_ref()
        .is_some_and(|types| types.kind == "Namespace")
}

/// What proxies have recorded by now.
type Heard = Arc<Mutex<Evidence>>;

/// Reads the access logs of the sidecars of a workload (namespace and name) from now
/// on.
async fn follow_proxies(
    cluster: &Cluster,
    of: (&str, &str),
    heard: &Heard,
    listeners: &mut JoinSet<()>,
) -> Result<()> {
    let heard = heard.clone();
    let hear = move |line: &str| heard.lock().expect("lock must be whole").read([line]);
    logs::follow(cluster, of, "istio-proxy", hear, listeners).await
}

/// A mesh in a cluster, with a line to each caller and an ear at each proxy.
pub struct KubernetesStage<'a> {
    name: StageName,
    suite: &'a Suite,
    timeouts: &'a Timeouts,
    cluster: Cluster,
    callers: BTreeMap<String, (tokio::sync::Mutex<cluster::Line>, IpAddr)>,
    evidence: Heard,
    callers_evidence: Heard,
    app_lines: Arc<Mutex<Vec<AppLine>>>,
    /// Ends with the stage.
    _listeners: JoinSet<()>,
}

impl<'a> KubernetesStage<'a> {
    /// Opens a line to each caller of a mesh that stands, and begins to read
    /// the access logs.
    pub async fn open(
        name: StageName,
        suite: &'a Suite,
        timeouts: &'a Timeouts,
        cluster: Cluster,
    ) -> Result<Self> {
        let open_callers = suite.callers.iter().map(async |caller| {
            let namespace = &caller.namespace;
            let pod = cluster.pod(namespace, &caller.deployment).await?;
            let line = cluster.open_line(namespace, &pod).await?;
            let address = cluster.pod_address(namespace, &pod).await?;
            let line = tokio::sync::Mutex::new(line);
            anyhow::Ok((caller.name.clone(), (line, address)))
        });
        let callers = future::try_join_all(open_callers)
            .await?
            .into_iter()
            .collect();
        let mut listeners = JoinSet::new();
        let (evidence, callers_evidence) = (Heard::default(), Heard::default());
        for workload in suite.workloads.iter().filter(|it| it.has_sidecar) {
            let of = (workload.namespace.as_str(), workload.name.as_str());
            follow_proxies(&cluster, of, &evidence, &mut listeners).await?;
        }
        for caller in suite.callers.iter().filter(|it| it.has_sidecar) {
            let of = (caller.namespace.as_str(), caller.deployment.as_str());
            follow_proxies(&cluster, of, &callers_evidence, &mut listeners).await?;
        }
        let app_lines = attacker::follow_apps(suite, &cluster, &mut listeners).await?;
        Ok(Self {
            name,
            suite,
            timeouts,
            cluster,
            callers,
            evidence,
            callers_evidence,
            app_lines,
            _listeners: listeners,
        })
    }

    /// The cluster that the mesh runs in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn caller(&self, name: &str) -> Result<&(tokio::sync::Mutex<cluster::Line>, IpAddr)> {
        let caller = self.callers.get(name);
        caller.with_context(|| format!("no line to a caller `{name}`"))
    }
}

#[async_trait(?Send)]
impl Stage for KubernetesStage<'_> {
    fn name(&self) -> StageName {
        self.name
    }

    fn place(&self) -> String {
        self.cluster.place().to_owned()
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
        let there = self
            .cluster
            .secrets(&self.suite.secrets)
            .await?
            .with_context(|| {
                Trouble::new(
                    "the mesh has no realm secrets",
                    format!(
                        "bring it up anew: mesh down {0} && mesh up {0}",
                        self.place()
                    ),
                )
            })?;
        secrets::from_secrets(self.suite, &there)
    }

    async fn apply(&self, rules: &Rules) -> Result<()> {
        let objects = dynamic(rules.objects.iter().cloned())?;
        let withdrawn = dynamic(rules.withdrawn.iter().cloned())?;
        self.cluster.apply(&objects).await?;
        self.cluster.delete(&withdrawn).await
    }

    async fn turn_to_sign_in(&self) -> Result<Box<dyn Any>> {
        Ok(Box::new(turn_to_sign_in(&self.place()).await?))
    }

    async fn ask(
        &self,
        caller: &str,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>> {
        let (line, _) = self.caller(caller)?;
        line.lock()
            .await
            .ask(requests, self.timeouts.batch)
            .await
            .with_context(|| format!("caller {caller}"))
    }

    async fn get_over_tls(&self, url: &str) -> Result<String> {
        let secrets = self.secrets().await?;
        let url: Url = url.parse()?;
        let stream = self.cluster.connect_to(&url).await?;
        tls::get(stream, &url, &secrets.authorities()).await
    }

    async fn parts(&self) -> Result<Parts> {
        self.cluster.parts(&self.suite.namespaces()?).await
    }

    fn evidence(&self) -> Evidence {
        self.evidence.lock().expect("lock must be whole").clone()
    }

    fn callers_evidence(&self) -> Evidence {
        let heard = self.callers_evidence.lock();
        heard.expect("lock must be whole").clone()
    }

    fn address_of(&self, caller: &str) -> Result<IpAddr> {
        let (_, address) = self.caller(caller)?;
        Ok(*address)
    }

    async fn difference(&self, workload: &str, rules: &Rules) -> Result<Option<String>> {
        let mut sidecars = self.suite.sidecars().into_iter();
        let found = sidecars.find(|sidecar| sidecar.title == workload);
        let found = found.with_context(|| format!("no sidecar of {workload}"))?;
        for pod in self.cluster.pods(found.namespace, found.deployment).await? {
            let name = pod.name_any();
            let workload = Workload {
                namespace: found.namespace.to_owned(),
                labels: pod.labels().clone(),
            };
            let config = self.cluster.proxy_config(found.namespace, &name).await?;
            let difference = Sidecar::read(workload, &config)
                .and_then(|sidecar| sidecar.difference(rules))
                .with_context(|| format!("the sidecar of {name}"))?;
            if difference.is_some() {
                return Ok(difference);
            }
        }
        Ok(None)
    }

    fn cannot_attack(&self, from: &Origin, request: &Sent) -> Option<String> {
        attacker::cannot_attack(from, request)
    }

    async fn attack(&self, shot: &Shot) -> Result<RawAnswer> {
        attacker::attack(self, shot).await
    }

    /// Nobody here can shake hands as no member does.
    async fn refused_connections(&self, _: &Target) -> Result<Option<u64>> {
        Ok(None)
    }

    fn app_lines(&self) -> Vec<AppLine> {
        self.app_lines.lock().expect("lock must be whole").clone()
    }

    async fn dump(&self, folder: &Path) -> Result<()> {
        let mut namespaces = self.suite.namespaces()?;
        namespaces.push(ISTIO.to_owned());
        self.cluster.dump(&namespaces, folder).await
    }
}
