//! A Kubernetes cluster as the harness needs it: apply, wait, exec and logs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{
    AttachParams, DeleteParams, DynamicObject, GroupVersionKind, ListParams, LogParams, Patch,
    PatchParams, PropagationPolicy,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::discovery::{ApiResource, Scope};
use kube::{Api, Client, Config, ResourceExt};
use token_client::batch;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt,
    BufReader, Lines,
};
use url::Url;

use harness::poll::{Poll, Step};
use harness::stage::{Part, Parts};
use harness::suite::SecretObject;
use harness::trouble::Trouble;

const FIELD_MANAGER: &str = "mesh-oidc";
/// A container that was restarted this often is not waited for any longer.
const CRASHES: i32 = 3;
/// The label that tells what `up` made from what was there before.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A connection to one cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    place: String,
    resources: Arc<Mutex<HashMap<GroupVersionKind, (ApiResource, Scope)>>>,
}

impl Cluster {
    /// Connects with a kubeconfig's text, or the user's own where there is
    /// none, through the named context. `place` means it on the command line.
    pub async fn connect(
        kubeconfig: Option<&str>,
        context: &str,
        place: impl Into<String>,
    ) -> Result<Self> {
        let kubeconfig = match kubeconfig {
            Some(text) => Kubeconfig::from_yaml(text),
            None => Kubeconfig::read(),
        }
        .context("the kubeconfig cannot be read")?;
        if !kubeconfig
            .contexts
            .iter()
            .any(|known| known.name == context)
        {
            let known: Vec<_> = kubeconfig
                .contexts
                .iter()
                .map(|c| c.name.as_str())
                .collect();
            bail!(Trouble::new(
                format!("the kubeconfig has no context `{context}`"),
                format!("name one of: {}", known.join(", ")),
            ));
        }
        let options = KubeConfigOptions {
            context: Some(context.to_owned()),
            ..Default::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Self {
            client: Client::try_from(config)?,
            place: place.into(),
            resources: Arc::default(),
        })
    }

    /// What means it on the command line.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The server's version; fails where there is no answer.
    pub async fn version(&self) -> Result<String> {
        let version = self.client.apiserver_version().await.map_err(|error| {
            Trouble::new(
                format!("the cluster does not answer: {error}"),
                "start it, or name another with --context",
            )
        })?;
        Ok(version.git_version)
    }

    /// Applies objects server-side, in order, each labelled as ours.
    pub async fn apply(&self, objects: &[DynamicObject]) -> Result<()> {
        for object in objects {
            let mut object = object.clone();
            object
                .labels_mut()
                .insert(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
            let name = object.name_any();
            self.api(&object)
                .await?
                .patch(
                    &name,
                    &PatchParams::apply(FIELD_MANAGER).force(),
                    &Patch::Apply(&object),
                )
                .await
                .with_context(|| format!("cannot apply {}", describe(&object)))?;
        }
        Ok(())
    }

    /// Deletes objects; those that are not there are no error.
    pub async fn delete(&self, objects: &[DynamicObject]) -> Result<()> {
        for object in objects {
            let deleted = self
                .api(object)
                .await?
                .delete(&object.name_any(), &DeleteParams::default())
                .await;
            not_found_is_fine(deleted.map(drop))
                .with_context(|| format!("cannot delete {}", describe(object)))?;
        }
        Ok(())
    }

    /// Refuses a namespace that somebody else made.
    pub async fn check_namespace_is_ours(&self, name: &str) -> Result<()> {
        match Api::<Namespace>::all(self.client.clone())
            .get_opt(name)
            .await?
        {
            Some(found) if !is_ours(&found) => bail!(Trouble::new(
                format!("namespace `{name}` is there and was not made by `mesh up`"),
                "use another cluster, or move what is in that namespace",
            )),
            _ => Ok(()),
        }
    }

    /// Those of the namespaces that are there and that `up` made.
    pub async fn our_namespaces(&self, names: &[String]) -> Result<Vec<String>> {
        let api = Api::<Namespace>::all(self.client.clone());
        let mut ours = Vec::new();
        for name in names {
            if api.get_opt(name).await?.as_ref().is_some_and(is_ours) {
                ours.push(name.clone());
            }
        }
        Ok(ours)
    }

    /// Deletes those of the namespaces that `up` made, and waits until they
    /// are gone. Returns their names.
    pub async fn delete_our_namespaces(
        &self,
        names: &[String],
        wait: Duration,
    ) -> Result<Vec<String>> {
        let api = Api::<Namespace>::all(self.client.clone());
        let deleted = self.our_namespaces(names).await?;
        for name in &deleted {
            let params = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Foreground),
                ..DeleteParams::default()
            };
            api.delete(name, &params).await?;
        }
        for name in &deleted {
            Poll::new(format!("namespace {name} gone"), wait)
                .until(async || {
                    Ok(match api.get_opt(name).await? {
                        None => Step::Done(()),
                        Some(_) => Step::NotYet("still terminating".to_owned()),
                    })
                })
                .await?;
        }
        Ok(deleted)
    }

    /// Waits until a Deployment runs its latest template with every replica
    /// available. A pod that cannot start ends the wait with the reason.
    pub async fn rollout(&self, namespace: &str, name: &str, deadline: Duration) -> Result<()> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        Poll::new(format!("deployment {namespace}/{name} available"), deadline)
            .until(async || {
                let deployment = api.get(name).await?;
                if is_rolled_out(&deployment) {
                    return Ok(Step::Done(()));
                }
                let listed = pods.list(&pods_of(&deployment)).await?;
                let reasons: Vec<_> = listed.iter().filter_map(waiting_reason).collect();
                if let Some(fatal) = reasons.iter().find(|r| r.contains("ImagePullBackOff")) {
                    bail!(Trouble::new(
                        format!("{namespace}/{name} cannot start: {fatal}"),
                        "make the image reachable from the cluster (`mesh up` builds and loads \
                         ours into kind)",
                    ));
                }
                if let Some((pod, container)) = listed.iter().find_map(crashing_container) {
                    let last_words = last_words(&pods, &pod, &container).await;
                    bail!(Trouble::new(
                        format!("{namespace}/{name} keeps crashing; its last words:\n{last_words}"),
                        format!(
                            "mend what they say; `mesh up {} --keep` leaves the pod there to \
                             look at",
                            self.place
                        ),
                    ));
                }
                Ok(Step::NotYet(if reasons.is_empty() {
                    "pods not ready".to_owned()
                } else {
                    reasons.join("; ")
                }))
            })
            .await
    }

    /// Deletes the pods of a Deployment, which makes new ones.
    pub async fn delete_pods(&self, namespace: &str, deployment: &str) -> Result<()> {
        let selected = self.selected(namespace, deployment).await?;
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        api.delete_collection(&DeleteParams::default(), &selected)
            .await?;
        Ok(())
    }

    /// Sets the number of a Deployment's replicas.
    pub async fn scale(&self, namespace: &str, name: &str, replicas: u32) -> Result<()> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        let patch = serde_json::json!({"spec": {"replicas": replicas}});
        api.patch_scale(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(())
    }

    /// Every pod of a Deployment that is ready and stays; one at least.
    pub async fn pods(&self, namespace: &str, deployment: &str) -> Result<Vec<Pod>> {
        let selected = self.selected(namespace, deployment).await?;
        let ready = self.ready(namespace, &selected).await?;
        if ready.is_empty() {
            bail!(Trouble::new(
                format!("no pod of Deployment {namespace}/{deployment} is ready"),
                format!("wait for it, or bring the mesh up: mesh up {}", self.place),
            ));
        }
        Ok(ready)
    }

    async fn ready(&self, namespace: &str, selected: &ListParams) -> Result<Vec<Pod>> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let pods = api.list(selected).await?.into_iter();
        Ok(pods
            .filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod))
            .collect())
    }

    /// Any of them, by its name.
    pub async fn pod(&self, namespace: &str, deployment: &str) -> Result<String> {
        Ok(self.pods(namespace, deployment).await?[0].name_any())
    }

    async fn selected(&self, namespace: &str, deployment: &str) -> Result<ListParams> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(deployment).await?.with_context(|| {
            Trouble::new(
                format!("there is no Deployment {namespace}/{deployment}"),
                format!("bring the mesh up: mesh up {}", self.place),
            )
        })?;
        Ok(pods_of(&found))
    }

    /// The pods of these namespaces, as parts of a mesh.
    pub async fn parts(&self, namespaces: &[String]) -> Result<Parts> {
        let mut parts = Parts::new();
        for namespace in namespaces {
            let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
            let pods = pods.list(&ListParams::default()).await?;
            parts.extend(pods.iter().filter_map(part));
        }
        Ok(parts)
    }

    /// The address of a pod.
    pub async fn pod_address(&self, namespace: &str, pod: &str) -> Result<IpAddr> {
        let pod = Api::<Pod>::namespaced(self.client.clone(), namespace)
            .get(pod)
            .await?;
        let address = pod
            .status
            .and_then(|status| status.pod_ip)
            .context("a pod without address")?;
        Ok(address.parse()?)
    }

    /// A Secret, if it is there.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>> {
        Ok(Api::namespaced(self.client.clone(), namespace)
            .get_opt(name)
            .await?)
    }

    /// The Secrets that a suite keeps; `None` unless all of them are there.
    pub async fn secrets(&self, wanted: &[SecretObject]) -> Result<Option<Vec<Secret>>> {
        let found = wanted.iter().map(|it| self.secret(&it.namespace, &it.name));
        let found = futures::future::try_join_all(found).await?;
        Ok(found.into_iter().collect())
    }

    /// Starts `token-client call --batch` in a pod and holds the line to it.
    pub async fn open_line(&self, namespace: &str, pod: &str) -> Result<Line> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let attach = AttachParams::default()
            .container("caller")
            .stdin(true)
            .stderr(false);
        let mut process = api
            .exec(pod, ["/token-client", "call", "--batch"], &attach)
            .await
            .with_context(|| format!("cannot start a caller in {namespace}/{pod}"))?;
        let stdin = process.stdin().context("exec has no standard input")?;
        let stdout = process.stdout().context("exec has no standard output")?;
        Ok(Line {
            stdin: Box::new(stdin),
            answers: (Box::new(BufReader::new(stdout)) as Box<dyn AsyncBufRead + Send + Unpin>)
                .lines(),
            _process: Box::new(process),
        })
    }

    /// A connection to a pod behind the Service that a URL names, by way of the API
    /// server.
    pub async fn connect_to(&self, url: &Url) -> Result<impl AsyncRead + AsyncWrite + use<>> {
        let mut labels = url.host_str().unwrap_or_default().split('.');
        let (Some(name), Some(namespace)) = (labels.next(), labels.next()) else {
            bail!("{url} names no Service");
        };
        let wanted = url.port_or_known_default().map(i32::from);
        let service = Api::<Service>::namespaced(self.client.clone(), namespace);
        let spec = service.get(name).await?.spec.unwrap_or_default();
        let mut ports = spec.ports.into_iter().flatten();
        let port = ports.find(|port| Some(port.port) == wanted);
        let target = port.and_then(|port| port.target_port);
        let selected = selected_by(spec.selector.iter().flatten());
        let ready = self.ready(namespace, &selected).await?;
        let pod = ready
            .first()
            .with_context(|| format!("no ready pod is behind {url}"))?;
        let target = container_port(pod, target.as_ref());
        let target = target.with_context(|| format!("no container port behind {url}"))?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let mut forwarder = pods.portforward(&pod.name_any(), &[target]).await?;
        forwarder
            .take_stream(target)
            .context("no port was forwarded")
    }

    /// Writes what helps to understand a failure into a folder, redacted:
    /// pods, events, the logs of every container and the configuration of every
    /// sidecar of these namespaces.
    pub async fn dump(&self, namespaces: &[String], folder: &Path) -> Result<()> {
        for namespace in namespaces {
            let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
            let list = pods.list(&ListParams::default()).await?;
            write_redacted(
                &folder.join(format!("{namespace}-pods.json")),
                &pretty(&list.items)?,
            )?;
            let events = Api::<k8s_openapi::api::core::v1::Event>::namespaced(
                self.client.clone(),
                namespace,
            );
            let events = events.list(&ListParams::default()).await?;
            write_redacted(
                &folder.join(format!("{namespace}-events.json")),
                &pretty(&events.items)?,
            )?;
            for pod in list {
                let name = pod.name_any();
                if container_names(&pod)
                    .iter()
                    .any(|name| name == "istio-proxy")
                {
                    let config = match self.proxy_config(namespace, &name).await {
                        Ok(config) => config,
                        Err(error) => format!("no configuration: {error:#}\n"),
                    };
                    write_redacted(
                        &folder.join(format!("{namespace}-{name}-config.json")),
                        &config,
                    )?;
                }
                for container in container_names(&pod) {
                    let params = LogParams {
                        container: Some(container.clone()),
                        tail_lines: Some(2000),
                        ..LogParams::default()
                    };
                    let log = match pods.logs(&name, &params).await {
                        Ok(log) => log,
                        Err(error) => format!("no log: {error}\n"),
                    };
                    write_redacted(
                        &folder.join(format!("{namespace}-{name}-{container}.log")),
                        &log,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// The configuration that a pod's sidecar has right now, as JSON.
    pub async fn proxy_config(&self, namespace: &str, pod: &str) -> Result<String> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let attach = AttachParams::default()
            .container("istio-proxy")
            .stderr(false);
        let command = ["pilot-agent", "request", "GET", "config_dump"];
        let mut process = api.exec(pod, command, &attach).await?;
        let mut config = String::new();
        process
            .stdout()
            .context("exec has no standard output")?
            .read_to_string(&mut config)
            .await?;
        Ok(config)
    }

    async fn api(&self, object: &DynamicObject) -> Result<Api<DynamicObject>> {
        let types = object.types.as_ref().context("an object without kind")?;
        let gvk = GroupVersionKind::try_from(types)?;
        let known = self
            .resources
            .lock()
            .expect("lock must be whole")
            .get(&gvk)
            .cloned();
        let (resource, scope) = if let Some(known) = known {
            known
        } else {
            let (resource, capabilities) = kube::discovery::pinned_kind(&self.client, &gvk)
                .await
                .map_err(|error| {
                Trouble::new(
                    format!(
                        "the cluster does not know {} {}: {error}",
                        gvk.api_version(),
                        gvk.kind
                    ),
                    "install Istio 1.31 there (istioctl install -f manifests/istio/istio.yaml)",
                )
            })?;
            let found = (resource, capabilities.scope);
            self.resources
                .lock()
                .expect("lock must be whole")
                .insert(gvk, found.clone());
            found
        };
        Ok(match (scope, object.namespace()) {
            (Scope::Namespaced, Some(namespace)) => {
                Api::namespaced_with(self.client.clone(), &namespace, &resource)
            }
            (Scope::Namespaced, None) => bail!("{} names no namespace", describe(object)),
            (Scope::Cluster, _) => Api::all_with(self.client.clone(), &resource),
        })
    }
}

/// The line to a `token-client call --batch` that runs inside the mesh.
pub struct Line {
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    answers: Lines<Box<dyn AsyncBufRead + Send + Unpin>>,
    /// Kept alive: the process ends with it.
    _process: Box<dyn Send>,
}

impl Line {
    /// Sends requests, many in flight, and returns their answers by request id.
    pub async fn ask(
        &mut self,
        requests: &[batch::Request],
        deadline: Duration,
    ) -> Result<HashMap<String, batch::Answer>> {
        let mut lines = Vec::new();
        for request in requests {
            serde_json::to_writer(&mut lines, request)?;
            lines.push(b'\n');
        }
        // At the same time: each side stops reading while its own output is full.
        let Self { stdin, answers, .. } = self;
        let send = async {
            stdin
                .write_all(&lines)
                .await
                .context("the caller's input is closed")?;
            Ok(stdin.flush().await?)
        };
        let receive = async {
            let mut received = HashMap::new();
            while received.len() < requests.len() {
                let line = answers
                    .next_line()
                    .await?
                    .context("the caller ended early")?;
                let answer: batch::Answer = serde_json::from_str(&line).with_context(|| {
                    format!("the caller answered `{}`", harness::redact::redact(&line))
                })?;
                let id = answer
                    .id
                    .clone()
                    .context("the caller did not understand a request")?;
                received.insert(id, answer);
            }
            anyhow::Ok(received)
        };
        let both = async { tokio::try_join!(send, receive) };
        let ((), answers) = tokio::time::timeout(deadline, both)
            .await
            .with_context(|| format!("no answer to every request within {deadline:?}"))??;
        Ok(answers)
    }
}

fn not_found_is_fine(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

fn is_ours(namespace: &Namespace) -> bool {
    namespace
        .labels()
        .get(MANAGED_BY)
        .is_some_and(|by| by == FIELD_MANAGER)
}

fn describe(object: &DynamicObject) -> String {
    let kind = object
        .types
        .as_ref()
        .map_or("object", |types| types.kind.as_str());
    match object.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{}", object.name_any()),
        None => format!("{kind} {}", object.name_any()),
    }
}

fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation >= deployment.metadata.generation
            && status.updated_replicas == Some(wanted)
            && status.available_replicas == Some(wanted)
            && status.replicas == Some(wanted)
    })
}

/// The port of a pod that a Service's `targetPort` means.
fn container_port(pod: &Pod, target: Option<&IntOrString>) -> Option<u16> {
    match target? {
        IntOrString::Int(port) => (*port).try_into().ok(),
        IntOrString::String(name) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|it| it.ports.iter().flatten());
            let named = ports.find(|port| port.name.as_ref() == Some(name))?;
            named.container_port.try_into().ok()
        }
    }
}

/// The pods that have all of these labels.
fn selected_by<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> ListParams {
    let labels: Vec<_> = labels
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    ListParams::default().labels(&labels.join(","))
}

fn pods_of(deployment: &Deployment) -> ListParams {
    selected_by(deployment.spec.selector.match_labels.iter().flatten())
}

/// A pod, as long as it is to stay, by the containers that it has right now.
fn part(pod: &Pod) -> Option<(String, Part)> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let namespace = pod.namespace().unwrap_or_default();
    let ids = container_statuses(pod).map(|status| status.container_id.clone());
    let ended = container_statuses(pod).filter_map(|status| {
        let ended = status.last_state.as_ref()?.terminated.as_ref()?;
        let reason = ended.reason.as_deref().unwrap_or("ended");
        let code = ended.exit_code;
        Some(format!("{}: {reason}, exit code {code}", status.name))
    });
    let state: Vec<_> = waiting_reason(pod).into_iter().chain(ended).collect();
    Some((
        format!("pod {namespace}/{}", pod.name_any()),
        Part {
            id: format!("{:?} {:?}", pod.uid(), ids.collect::<Vec<_>>()),
            state: state.join("; "),
        },
    ))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

pub(crate) fn container_statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    })
}

fn waiting_reason(pod: &Pod) -> Option<String> {
    container_statuses(pod).find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        let message = waiting.message.as_deref().unwrap_or_default();
        Some(
            format!("{}: {reason} {message}", status.name)
                .trim_end()
                .to_owned(),
        )
    })
}

/// Pod and container of one that was restarted so often that it will not heal.
fn crashing_container(pod: &Pod) -> Option<(String, String)> {
    let crashing = container_statuses(pod).find(|status| status.restart_count >= CRASHES)?;
    Some((pod.name_any(), crashing.name.clone()))
}

async fn last_words(pods: &Api<Pod>, pod: &str, container: &str) -> String {
    let params = LogParams {
        container: Some(container.to_owned()),
        previous: true,
        tail_lines: Some(12),
        ..LogParams::default()
    };
    match pods.logs(pod, &params).await {
        Ok(log) => harness::redact::redact(&log),
        Err(error) => format!("(no log: {error})"),
    }
}

fn container_names(pod: &Pod) -> Vec<String> {
    container_statuses(pod)
        .map(|status| status.name.clone())
        .collect()
}

fn pretty<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

fn write_redacted(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, harness::redact::redact(text))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use harness::stage::broken;

    use super::*;

    fn pod(name: &str, id: &str, more: &serde_json::Value) -> Pod {
        let mut pod = serde_json::json!({
            "metadata": {"namespace": "demo", "name": name, "uid": name},
            "status": {"containerStatuses": [{"name": "backend", "image": "", "imageID": "",
                "ready": true, "restartCount": 0, "containerID": id,
                "state": {"running": {}}}]},
        });
        let status = pod.pointer_mut("/status/containerStatuses/0").unwrap();
        status
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(pod).unwrap()
    }

    fn parts(pods: &[Pod]) -> Parts {
        pods.iter().filter_map(part).collect()
    }

    #[test]
    fn pod_that_is_deleted_or_restarted_is_told_with_its_end() {
        let nothing = serde_json::json!({});
        let ended = serde_json::json!({"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}});
        let before = parts(&[
            pod("a", "1", &nothing),
            pod("b", "2", &nothing),
            pod("c", "3", &nothing),
        ]);
        let mut leaving = pod("c", "3", &nothing);
        leaving.metadata.deletion_timestamp =
            serde_json::from_value("2026-12-01T00:00:00Z".into()).unwrap();
        let after = parts(&[
            pod("a", "1", &nothing),
            pod("b", "4", &ended),
            leaving,
            pod("d", "5", &nothing),
        ]);
        assert_eq!(
            broken(&before, &after),
            [
                "pod demo/b has been restarted: backend: OOMKilled, exit code 137",
                "pod demo/c is gone"
            ]
        );
        assert!(broken(&before, &before).is_empty());
    }

    #[test]
    fn pods_are_selected_by_all_labels_of_their_deployment() {
        let deployment = serde_json::json!({"spec": {
            "selector": {"matchLabels": {"app": "backend", "version": "v1"}}, "template": {}}});
        let selected = pods_of(&serde_json::from_value(deployment).unwrap());
        assert_eq!(
            selected.label_selector.as_deref(),
            Some("app=backend,version=v1")
        );
    }
}
