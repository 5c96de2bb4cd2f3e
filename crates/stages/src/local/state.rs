//! What a local stage consists of, as one command leaves it for the next.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use policy::Workload;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::mark::Mark;
use super::process::{self, Process};
use crate::java;
use crate::manifest;
use crate::secrets;
use envoy::{Certificate, Upstream};
use harness::evidence::Evidence;
use harness::private;
use harness::redact::know;
use harness::secrets::RealmSecrets;
use harness::suite::Suite;
use k8s_openapi::api::core::v1::Secret;

const FILE: &str = "state.json";
const SECRETS: &str = "secrets.yaml";
/// Where the stage's programs put what they would else leave in the system's.
pub const TEMPORARY: &str = "tmp";

/// A local stage. Certificates and secrets are in files beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// What its processes are known by.
    pub id: String,
    /// Where all of it lies.
    pub folder: PathBuf,
    /// The authority of the sidecars' certificates, in PEM.
    pub root_pem: String,
    /// Where Keycloak listens.
    pub keycloak: SocketAddr,
    /// Where it speaks TLS, if it does.
    pub keycloak_over_tls: Option<SocketAddr>,
    /// The Envoys.
    pub sidecars: Vec<Sidecar>,
    /// What services there are.
    pub upstreams: Vec<Upstream>,
    /// Services that speak TLS themselves, and whom no sidecar asks.
    pub speaking_tls: Vec<Upstream>,
    /// The access log's fields, by name.
    pub access_log: BTreeMap<String, String>,
    /// What was started, in that order.
    pub processes: Vec<Process>,
}

/// A pod's Envoy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sidecar {
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The identity in its certificate.
    pub principal: String,
    /// What it protects, if the pod serves anything.
    pub inbound: Option<Inbound>,
    /// Where the pod's own requests go first.
    pub outbound: SocketAddr,
    /// Its admin interface.
    pub admin: SocketAddr,
}

/// A port that an Envoy stands before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inbound {
    /// The pod's port, as policies know it.
    pub port: u16,
    /// Where the Envoy listens.
    pub address: SocketAddr,
    /// Where the application listens.
    pub app: SocketAddr,
}

impl Inbound {
    /// The application as an upstream.
    pub fn cluster(&self) -> String {
        format!("inbound|{}||", self.port)
    }
}

impl Sidecar {
    /// What policies select.
    pub fn workload(&self) -> Workload {
        Workload {
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
        }
    }
}

impl State {
    /// Reads it back. Fails for one that is of another stage.
    pub fn of(mark: &Mark) -> Result<Self> {
        let path = mark.folder.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let state: Self =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        ensure!(
            (&state.id, &state.folder) == (&mark.id, &mark.folder),
            "{} tells of {}",
            path.display(),
            state.folder.display()
        );
        Ok(state)
    }

    /// Writes it for the next command.
    pub fn save(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        private::replace(&self.folder.join(FILE), text)
    }

    /// Starts a process of the stage. What it writes goes to a file of its name.
    pub fn start(&mut self, name: &str, mut command: Command, log: &str) -> Result<()> {
        process::mark(&mut command, &self.id);
        let temporary = self.folder.join(TEMPORARY);
        command
            .env("TMPDIR", &temporary)
            .env(java::OPTIONS, java::options(&temporary));
        let process = Process::spawn(name, command, &self.folder.join(log))?;
        self.processes.push(process);
        self.save()
    }

    /// The Envoy of a pod.
    pub fn sidecar(&self, name: &str) -> Result<&Sidecar> {
        let found = self.sidecars.iter().find(|sidecar| sidecar.name == name);
        found.with_context(|| format!("no sidecar of {name}"))
    }

    /// Where an Envoy's files are.
    pub fn folder_of(&self, sidecar: &Sidecar) -> PathBuf {
        self.folder.join("sidecars").join(&sidecar.name)
    }

    /// Where an Envoy records requests.
    pub fn access_log_of(&self, sidecar: &Sidecar) -> PathBuf {
        self.folder.join(format!("{}-access.log", sidecar.name))
    }

    /// What an Envoy records of each.
    pub fn access_log_fields(&self) -> Vec<(&str, &str)> {
        self.access_log
            .iter()
            .map(|(name, format)| (name.as_str(), format.as_str()))
            .collect()
    }

    /// An Envoy's certificate.
    pub fn certificate_of(&self, sidecar: &Sidecar) -> Result<Certificate> {
        let folder = self.folder_of(sidecar);
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let key_pem = read("key.pem")?.into();
        know(&key_pem);
        Ok(Certificate {
            chain_pem: read("chain.pem")?,
            key_pem,
        })
    }
}

/// Keeps an Envoy's certificate.
pub fn save_certificate(folder: &Path, sidecar: &Sidecar, certificate: &Certificate) -> Result<()> {
    let folder = folder.join("sidecars").join(&sidecar.name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("chain.pem"), &certificate.chain_pem)?;
    private::write(&folder.join("key.pem"), certificate.key_pem.expose_secret())
}

/// Keeps the realm's secrets.
pub fn save_secrets(suite: &Suite, folder: &Path, secrets: &RealmSecrets) -> Result<()> {
    let text = manifest::to_yaml(&secrets::objects(suite, secrets)?);
    private::replace(&folder.join(SECRETS), text)
}

/// Reads the realm's secrets back.
pub fn load_secrets(suite: &Suite, folder: &Path) -> Result<RealmSecrets> {
    let path = folder.join(SECRETS);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let objects: Vec<Secret> = serde_saphyr::from_multiple(&text)
        .map_err(|error| anyhow::anyhow!("{}: {}", path.display(), error.without_snippet()))?;
    secrets::from_secrets(suite, &objects)
}

/// Access logs, read from where they ended when this began.
#[derive(Debug)]
pub struct Logs {
    files: Vec<(PathBuf, u64)>,
    evidence: Evidence,
}

impl Logs {
    /// Follows these files; one that is not there yet begins empty.
    pub fn follow(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let end = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        Self {
            files: paths
                .into_iter()
                .map(|path| (path.clone(), end(&path)))
                .collect(),
            evidence: Evidence::default(),
        }
    }

    /// All records since the beginning.
    pub fn read(&mut self) -> Evidence {
        for (path, offset) in &mut self.files {
            // Before Envoy's first connection there is no file.
            let Ok(text) = read_lines(path, offset) else {
                continue;
            };
            self.evidence.read(text.lines());
        }
        self.evidence.clone()
    }
}

/// The whole lines after `offset`, which moves on.
pub fn read_lines(path: &Path, offset: &mut u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(*offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    *offset += whole as u64;
    Ok(String::from_utf8_lossy(&bytes[..whole]).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::read_lines;

    #[test]
    fn a_line_is_read_once_and_only_when_it_is_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut offset = 0;
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(read_lines(file.path(), &mut offset).unwrap(), "one\n");
        assert_eq!(read_lines(file.path(), &mut offset).unwrap(), "");
        file.write_all(b"o\n").unwrap();
        assert_eq!(read_lines(file.path(), &mut offset).unwrap(), "two\n");
        fs::remove_file(file.path()).unwrap();
    }
}
