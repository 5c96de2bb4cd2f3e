//! An attacker in a cluster: sends from a caller's pod, through that pod's own
//! sidecar, whatever bytes that sidecar takes.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use token_client::batch::{self, Outcome};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::kubernetes::KubernetesStage;
use crate::logs;
use harness::attack::{AppLine, Origin, RawAnswer, Sent, Shot};
use harness::stage::Stage as _;
use harness::suite::Suite;

/// Why an attack cannot be sent from a pod.
pub fn cannot_attack(from: &Origin, request: &Sent) -> Option<String> {
    let Origin::Caller(caller) = from else {
        return Some("a pod has no other certificate than its sidecar's".to_owned());
    };
    // Plain text has no sidecar on its way.
    caller.principal.as_ref()?;
    let by_the_sidecar = "the pod's own sidecar";
    if request.lines.is_some() || request.h2.is_some() {
        return Some(format!(
            "{by_the_sidecar} reads the bytes and writes others"
        ));
    }
    if request.server_name.is_some() || request.alpn != Sent::default().alpn {
        return Some(format!("{by_the_sidecar} shakes hands"));
    }
    if request.host.is_some() {
        return Some(format!("{by_the_sidecar} sends it where the host says"));
    }
    None
}

/// Sends an attack from the caller's pod.
pub async fn attack(stage: &KubernetesStage<'_>, shot: &Shot) -> Result<RawAnswer> {
    let Origin::Caller(caller) = &shot.from else {
        bail!("{} has no pod", shot.from);
    };
    let id = Uuid::new_v4().simple().to_string();
    let request = batch::Request {
        raw: Some(STANDARD.encode(&shot.bytes)),
        ..batch::Request::get(&id, format!("http://{}", shot.to.host))
    };
    let answers = stage.ask(&caller.name, &[request]).await?;
    let answer = answers.into_values().next().context("no answer")?;
    Ok(match answer.outcome {
        Outcome::Raw { raw, closed, local } => RawAnswer {
            local: local.filter(|_| caller.principal.is_none()),
            local_at_own_proxy: local.filter(|_| caller.principal.is_some()),
            bytes: STANDARD.decode(raw)?,
            closed,
        },
        Outcome::Failure { error } => RawAnswer {
            closed: Some(error),
            ..RawAnswer::default()
        },
        Outcome::Response(_) => bail!("the caller did not send bytes as they are"),
    })
}

/// Reads the services' own logs from now on.
pub async fn follow_apps(
    suite: &Suite,
    cluster: &Cluster,
    listeners: &mut JoinSet<()>,
) -> Result<Arc<Mutex<Vec<AppLine>>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    for workload in &suite.workloads {
        let namespace = &workload.namespace;
        let (at, heard) = (workload.name.clone(), heard.clone());
        let hear = move |text: &str| {
            heard.lock().expect("lock must be whole").push(AppLine {
                at: at.clone(),
                text: text.to_owned(),
            });
        };
        let of = (namespace.as_str(), workload.name.as_str());
        logs::follow(cluster, of, &workload.container, hear, listeners).await?;
    }
    Ok(heard)
}
