//! An Envoy whose listeners are swapped many times a second.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::process::{Child, Command};

use envoy::{self, Admin, Bootstrap, listener_file};
use harness::poll::{Poll, Step};
use harness::trouble::Trouble;

/// From start to "ready"; it takes a fraction of a second.
const START: Duration = Duration::from_secs(30);
/// From a new listeners file to listeners that listen.
const SWAP: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(4);

/// An Envoy process. It ends with this value.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    admin: Admin,
    folder: PathBuf,
    /// Versions of the listeners file that were handed over.
    versions: u64,
}

impl Proxy {
    /// Starts `binary` with all its files in `folder`, and waits until it is
    /// ready.
    pub async fn start(binary: &Path, folder: &Path, bootstrap: &Bootstrap) -> Result<Self> {
        let listeners = folder.join("listeners.json");
        let rendered = bootstrap.render("differential", &listeners);
        fs::write(folder.join("bootstrap.json"), rendered.to_string())?;
        fs::write(&listeners, listener_file("0", &[]))?;
        let log = fs::File::create(folder.join("envoy.log"))?;
        let mut child = Command::from(envoy::command(binary, folder, 2))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let address = Poll::new("the address of Envoy's admin interface", START)
            .every(LOOK)
            .until(async || {
                check_alive(&mut child, folder)?;
                let address = fs::read_to_string(folder.join("admin")).unwrap_or_default();
                Ok(match address.parse::<SocketAddr>() {
                    Ok(address) => Step::Done(address),
                    Err(error) => Step::NotYet(error.to_string()),
                })
            })
            .await?;
        let admin = Admin::new(folder, address);
        admin.wait_until_ready(|| Ok(())).await?;
        Ok(Self {
            child,
            admin,
            folder: folder.to_owned(),
            // The empty file it starts with.
            versions: 1,
        })
    }

    /// Replaces all listeners, waits until the new ones listen, and returns the
    /// names of those that Envoy took: one that it refuses does not keep the
    /// others back. What drains goes on draining, so names and addresses must
    /// not be those of the swap before.
    pub async fn swap(&mut self, listeners: &[Value]) -> Result<BTreeSet<String>> {
        let next = self.folder.join("listeners.next");
        let file = listener_file(&self.versions.to_string(), listeners);
        fs::write(&next, file)?;
        fs::rename(&next, self.folder.join("listeners.json"))?;
        self.versions += 1;
        Poll::new("new listeners", SWAP)
            .every(LOOK)
            .until(async || {
                check_alive(&mut self.child, &self.folder)?;
                let read = self.versions_read().await?;
                Ok(if read < self.versions {
                    Step::NotYet(format!("{read} of {} versions read", self.versions))
                } else {
                    Step::Done(())
                })
            })
            .await?;
        let there: Listeners = self.ask("/listeners?format=json").await?;
        Ok(there
            .listener_statuses
            .into_iter()
            .map(|one| one.name)
            .collect())
    }

    /// How many versions of the listeners file Envoy took, or refused in part.
    /// The listeners here need nothing that they would have to wait for.
    async fn versions_read(&self) -> Result<u64> {
        let stats: Stats = self
            .ask("/stats?format=json&filter=^listener_manager.lds.update_(success|rejected)$")
            .await?;
        Ok(stats.stats.iter().map(|stat| stat.value).sum())
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let text = self.admin.get(path).await?;
        serde_json::from_str(&text).with_context(|| format!("Envoy's answer to {path}"))
    }
}

/// Fails with its last words if the process has ended.
fn check_alive(child: &mut Child, folder: &Path) -> Result<()> {
    let Some(status) = child.try_wait()? else {
        return Ok(());
    };
    let log = fs::read_to_string(folder.join("envoy.log")).unwrap_or_default();
    let last: Vec<_> = log.lines().rev().take(3).collect();
    let last: Vec<_> = last.into_iter().rev().collect();
    bail!(Trouble::new(
        format!("Envoy ended with {status}: {}", last.join("\n")),
        "run it again with the same seed; if it ends again, that is a bug of Envoy"
    ))
}

#[derive(Deserialize)]
struct Stats {
    stats: Vec<Stat>,
}

#[derive(Deserialize)]
struct Stat {
    value: u64,
}

#[derive(Deserialize)]
struct Listeners {
    #[serde(default)]
    listener_statuses: Vec<ListenerStatus>,
}

#[derive(Deserialize)]
struct ListenerStatus {
    name: String,
}
