//! A running Envoy, as seen from outside: its admin interface, and its listeners
//! in a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use token_client::batch;
use uuid::Uuid;

use harness::poll::{Poll, Step};
use harness::private;

/// From start to "ready"; it takes a fraction of a second.
const START: Duration = Duration::from_secs(30);
/// From a new listeners file to listeners that listen, old ones drained.
const SWAP: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// The command that starts Envoy with all its files in `folder`: its bootstrap,
/// its listeners and, once it runs, the address of its admin interface.
pub fn command(binary: &Path, folder: &Path, concurrency: usize) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("--config-path")
        .arg(folder.join("bootstrap.json"))
        .arg("--admin-address-path")
        .arg(folder.join("admin"))
        .args(["--concurrency", &concurrency.to_string()])
        // `misc` warns of every field that istiod uses and Envoy deprecates.
        .args(["--log-level", "warning"])
        .args(["--component-log-level", "misc:error"])
        // It would leave shared memory behind.
        .arg("--disable-hot-restart")
        // A changed listener ends old connections after a second, and the
        // access log is there at once.
        .args(["--drain-time-s", "1", "--drain-strategy", "immediate"])
        .args(["--file-flush-interval-msec", "10"]);
    command
}

/// The admin interface of one Envoy, whoever started it.
#[derive(Debug)]
pub struct Admin {
    folder: PathBuf,
    address: SocketAddr,
}

impl Admin {
    /// The Envoy whose files are in `folder`.
    pub fn new(folder: impl Into<PathBuf>, address: SocketAddr) -> Self {
        Self {
            folder: folder.into(),
            address,
        }
    }

    /// Waits until it is ready. `check` fails when that is hopeless.
    pub async fn wait_until_ready(&self, check: impl Fn() -> Result<()>) -> Result<()> {
        Poll::new(format!("Envoy at {}", self.address), START)
            .every(LOOK)
            .until(async || {
                check()?;
                Ok(match self.get("/ready").await {
                    Ok(_) => Step::Done(()),
                    Err(error) => Step::NotYet(format!("{error:#}")),
                })
            })
            .await
    }

    /// Replaces the listeners that come from the file, and waits until the new
    /// ones listen and connections under old ones have ended. If Envoy refuses
    /// them, the old ones stay.
    pub async fn swap(&self, listeners: &[Value]) -> Result<()> {
        let refused = self.stats().await?.number("lds.update_rejected");
        let version = Uuid::new_v4().to_string();
        let file = listener_file(&version, listeners);
        private::replace(&self.folder.join("listeners.json"), file)?;
        Poll::new("new listeners", SWAP)
            .every(LOOK)
            .until(async || {
                let stats = self.stats().await?;
                if stats.number("lds.update_rejected") > refused {
                    bail!("Envoy refuses the listeners: {}", self.refusal().await?);
                }
                if stats.text("lds.version_text") != version {
                    return Ok(Step::NotYet("not read yet".to_owned()));
                }
                let unsettled = [
                    "total_listeners_warming",
                    "total_listeners_draining",
                    "total_filter_chains_draining",
                ]
                .map(|name| stats.number(name));
                Ok(if unsettled == [0, 0, 0] {
                    Step::Done(())
                } else {
                    Step::NotYet(format!("warming, draining, chains draining: {unsettled:?}"))
                })
            })
            .await
    }

    async fn stats(&self) -> Result<Stats> {
        let text = self
            .get("/stats?format=json&filter=^listener_manager.(lds|total)")
            .await?;
        serde_json::from_str(&text).context("Envoy's statistics")
    }

    async fn refusal(&self) -> Result<String> {
        let dump: Value =
            serde_json::from_str(&self.get("/config_dump?resource=dynamic_listeners").await?)?;
        let reasons: Vec<_> = dump["configs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|listener| listener["error_state"]["details"].as_str())
            .collect();
        Ok(reasons.join("\n"))
    }

    /// The answer to a GET.
    pub async fn get(&self, path: &str) -> Result<String> {
        let url = format!("http://{}{path}", self.address);
        let answer = batch::Sender::new()
            .send(batch::Request::get("admin", url))
            .await;
        let Some(response) = answer.response() else {
            bail!("Envoy: {}", answer.error().unwrap_or_default());
        };
        let status = response.status;
        ensure!(status == 200, "Envoy answers {path} with {status}");
        Ok(response.body.clone())
    }
}

/// The file that listeners come from (`DiscoveryResponse` in JSON).
pub fn listener_file(version: &str, listeners: &[Value]) -> String {
    json!({"versionInfo": version, "resources": listeners}).to_string()
}

#[derive(Deserialize)]
struct Stats {
    stats: Vec<Stat>,
}

#[derive(Deserialize)]
struct Stat {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: Value,
}

impl Stats {
    fn get(&self, name: &str) -> Option<&Value> {
        let full = format!("listener_manager.{name}");
        let stat = self.stats.iter().find(|stat| stat.name == full)?;
        Some(&stat.value)
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or("")
    }
}
