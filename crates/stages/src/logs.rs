//! The logs of a Deployment's pods, whichever they are: replicas, and those that come
//! in the place of others.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, ResourceExt as _};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, container_statuses};

/// How often it is looked for pods that have come.
const LOOK: Duration = Duration::from_secs(2);

/// Reads a container's log in every pod of a Deployment (namespace and name) from now
/// on, as long as `listeners` is there.
pub async fn follow(
    cluster: &Cluster,
    (namespace, deployment): (&str, &str),
    container: &str,
    hear: impl Fn(&str) + Clone + Send + 'static,
    listeners: &mut JoinSet<()>,
) -> Result<()> {
    let mut follower = Follower {
        cluster: cluster.clone(),
        namespace: namespace.to_owned(),
        deployment: deployment.to_owned(),
        container: container.to_owned(),
        hear,
        known: BTreeSet::new(),
        readers: JoinSet::new(),
    };
    let from_now = LogParams {
        tail_lines: Some(0),
        ..LogParams::default()
    };
    follower
        .look(&from_now)
        .await
        .with_context(|| format!("the log of {container} in {namespace}/{deployment}"))?;
    listeners.spawn(async move {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            // Who does not answer now may do so the next time; what is missed by then,
            // the verdict misses, too.
            let _ = follower.look(&LogParams::default()).await;
        }
    });
    Ok(())
}

struct Follower<H> {
    cluster: Cluster,
    namespace: String,
    deployment: String,
    container: String,
    hear: H,
    /// The containers whose logs are read, by their ids: one that is restarted has
    /// another.
    known: BTreeSet<String>,
    /// End with the follower.
    readers: JoinSet<()>,
}

impl<H: Fn(&str) + Clone + Send + 'static> Follower<H> {
    /// Begins to read the logs of containers that were not there before.
    async fn look(&mut self, params: &LogParams) -> Result<()> {
        let api = Api::<Pod>::namespaced(self.cluster.client(), &self.namespace);
        let params = LogParams {
            container: Some(self.container.clone()),
            follow: true,
            ..params.clone()
        };
        let pods = self.cluster.pods(&self.namespace, &self.deployment).await?;
        for pod in pods {
            let Some(id) = running(&pod, &self.container) else {
                continue;
            };
            if self.known.contains(&id) {
                continue;
            }
            let lines = api.log_stream(&pod.name_any(), &params).await?.lines();
            self.known.insert(id);
            let hear = self.hear.clone();
            self.readers.spawn(async move {
                let mut lines = pin!(lines);
                while let Some(Ok(line)) = lines.next().await {
                    hear(&line);
                }
            });
        }
        while self.readers.try_join_next().is_some() {}
        Ok(())
    }
}

/// The id of a pod's container of this name, if it runs.
fn running(pod: &Pod, container: &str) -> Option<String> {
    let mut statuses = container_statuses(pod).filter(|it| it.name == container);
    let status = statuses.next()?;
    status.state.as_ref()?.running.as_ref()?;
    status.container_id.clone()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::running;

    fn pod(state: &str) -> Pod {
        let status = |name: &str, id: &str| {
            serde_json::json!({"name": name, "image": "", "imageID": "", "ready": true,
                "restartCount": 1, "containerID": id, "state": {state: {}}})
        };
        serde_json::from_value(serde_json::json!({"status": {
            "initContainerStatuses": [status("istio-proxy", "containerd://1")],
            "containerStatuses": [status("backend", "containerd://2")],
        }}))
        .unwrap()
    }

    #[test]
    fn log_is_that_of_the_container_that_runs_wherever_it_stands() {
        let up = pod("running");
        assert_eq!(
            running(&up, "istio-proxy").as_deref(),
            Some("containerd://1")
        );
        assert_eq!(running(&up, "backend").as_deref(), Some("containerd://2"));
        assert_eq!(running(&up, "other"), None);
        assert_eq!(running(&pod("waiting"), "backend"), None);
    }
}
