//! Keycloak as a process.
//!
//! Most of its start is work that comes out the same every time, so it is done
//! once and kept: the build step, the database with its schema and the master
//! realm, and the classes as the JVM has them in memory (AppCDS). Realms, keys
//! and secrets are imported at each start.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use secrecy::{ExposeSecret, SecretString};
use token_client::batch;

use super::network::free_port;
use super::process::Process;
use crate::artifacts;
use crate::doctor;
use crate::java;
use crate::tool::Tool;
use crate::versions::versions;
use harness::poll::Poll;
use harness::private;
use harness::secrets;
use harness::stage::done_when_ok;
use harness::suite::Suite;

/// From the first start ever to the master realm's keys.
const FIRST_START: Duration = Duration::from_mins(10);
/// Holds the private keys of the master realm.
const DATABASE: &str = "data/h2/keycloakdb.mv.db";
/// For a JVM that serves a handful of requests: what starts fastest.
const JVM: &str = "-Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable";

/// A Keycloak that needs only realms.
#[derive(Debug)]
pub struct Prepared {
    folder: PathBuf,
}

/// Fetches and prepares Keycloak, unless that is done.
pub async fn prepare(suite: &Suite) -> Result<Prepared> {
    // The kept classes are of one JVM, the build of one set of options.
    let options = build_options(&suite.path(&suite.manifests.keycloak_image))?;
    let name = folder_name(&options, &doctor::java().await?);
    let folder = artifacts::cached(&name, async |folder| {
        let prepared = Prepared { folder };
        artifacts::unpack_keycloak(&prepared.home()).await?;
        prepared.build(&options).await?;
        prepared.start_once().await
    })
    .await?;
    let prepared = Prepared { folder };
    // An earlier version made it at the umask's mode.
    private::restrict(&prepared.home().join(DATABASE), 0o600)?;
    Ok(prepared)
}

fn folder_name(options: &[(String, String)], java: &str) -> String {
    let keycloak = &versions().keycloak;
    format!("keycloak-{keycloak}-java-{java}-{:08x}", checksum(options))
}

/// The folder of the user's cache that holds a suite's Keycloak for a Java of this
/// version, once it is prepared.
pub fn keycloak_in_cache(suite: &Suite, java: &str) -> Result<String> {
    let options = build_options(&suite.path(&suite.manifests.keycloak_image))?;
    Ok(folder_name(&options, java))
}

impl Prepared {
    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    fn classes(&self) -> PathBuf {
        self.folder.join("classes.jsa")
    }

    fn password_file(&self) -> PathBuf {
        self.folder.join("admin-password")
    }

    /// The administrator of the kept master realm. It is made once on each
    /// machine, and not with the secrets of a mesh.
    pub fn admin_password(&self) -> Result<SecretString> {
        let path = self.password_file();
        let password = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(password.into())
    }

    async fn build(&self, options: &[(String, String)]) -> Result<()> {
        let script = self.home().join("bin/kc.sh").display().to_string();
        let temporary = tempfile::tempdir_in(&self.folder)?;
        let build = options.iter().fold(
            Tool::new(&script)
                .args(["build"])
                .env(java::OPTIONS, java::options(temporary.path())),
            |tool, (name, value)| tool.env(name, value),
        );
        build.run().await.context("Keycloak's build step")?;
        Ok(())
    }

    /// Leaves database and classes behind.
    async fn start_once(&self) -> Result<()> {
        let temporary = self.folder.join("tmp");
        private::create_folder(&temporary)?;
        let password = secrets::password()?;
        private::write(&self.password_file(), password.expose_secret())?;
        let address = free_port(Ipv4Addr::LOCALHOST.into(), 0)?;
        let classes = format!("-XX:ArchiveClassesAtExit='{}'", self.classes().display());
        let mut command = command(&self.home(), &classes);
        listen(&mut command, address, None)?;
        command
            .args(["start", "--optimized"])
            .env(java::OPTIONS, java::options(&temporary))
            .env("KC_HOSTNAME", format!("http://{address}"))
            .env("KC_HTTP_ENABLED", "true")
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin")
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", password.expose_secret());
        let process = Process::spawn("Keycloak", command, &self.folder.join("first-start.log"))?;
        let guard = process.killed_on_drop();
        wait_for_master_realm(&process, address).await?;
        // Its orderly end writes the classes.
        process.end().await?;
        guard.forgive();
        fs::remove_dir_all(&temporary)?;
        Ok(())
    }

    /// The command that starts a Keycloak of a stage's own: `root` stands for the
    /// root of its container, with the realms to import in it. It listens on an
    /// address for HTTP and, if it has a certificate, one for HTTPS.
    pub fn command(
        &self,
        root: &Path,
        (http, https): (SocketAddr, Option<SocketAddr>),
        args: &[String],
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Command> {
        let home = root.join("opt/keycloak");
        fs::create_dir_all(home.join("bin"))?;
        fs::create_dir_all(home.join("data/h2"))?;
        // Its home is where its script lies.
        fs::copy(self.home().join("bin/kc.sh"), home.join("bin/kc.sh"))?;
        for part in ["lib", "conf", "providers", "themes"] {
            symlink(self.home().join(part), home.join(part))?;
        }
        fs::copy(self.home().join(DATABASE), home.join(DATABASE))?;
        let classes = format!("-XX:SharedArchiveFile='{}'", self.classes().display());
        let mut command = command(&home, &classes);
        command.envs(env).args(args);
        // After the manifest's: every pod has the same address there.
        listen(&mut command, http, https)?;
        Ok(command)
    }
}

/// The options of the build step, `KC_…` by name, as the image has them.
fn build_options(recipe: &Path) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(recipe).with_context(|| recipe.display().to_string())?;
    let settings = text.lines().filter_map(|line| line.strip_prefix("ENV "));
    let options: Vec<_> = settings
        .flat_map(str::split_whitespace)
        .filter_map(|setting| setting.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    ensure!(
        !options.is_empty(),
        "{}: no build options (`ENV KC_…`)",
        recipe.display()
    );
    Ok(options)
}

/// Tells sets of options apart in a folder's name.
fn checksum(options: &[(String, String)]) -> u32 {
    options
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes(), b"\n"])
        .flatten()
        // FNV-1a: the same on every machine and in every version of the compiler.
        .fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        })
}

fn command(home: &Path, jvm: &str) -> Command {
    let mut command = Command::new("sh");
    // What Keycloak writes is for its owner alone.
    command
        .args(["-c", r#"umask 077; exec "$@""#, "sh"])
        .arg(home.join("bin/kc.sh"));
    // What the user has set is for another Keycloak.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KC_") || name == "JAVA_OPTS_APPEND" {
            command.env_remove(name);
        }
    }
    command
        .env("JAVA_OPTS", format!("{JVM} {jvm}"))
        // One node: no cluster to join.
        .env("KC_CACHE", "local");
    command
}

/// Keeps to one address with all that Keycloak listens on: others may run beside it,
/// each with health and metrics on a port of its own.
fn listen(command: &mut Command, http: SocketAddr, https: Option<SocketAddr>) -> Result<()> {
    let management = free_port(http.ip(), 0)?;
    let https = https.map(|address| address.port().to_string());
    command
        .env("KC_HTTP_HOST", http.ip().to_string())
        .env("KC_HTTP_PORT", http.port().to_string())
        .envs(https.map(|port| ("KC_HTTPS_PORT", port)))
        .env("KC_HTTP_MANAGEMENT_HOST", management.ip().to_string())
        .env("KC_HTTP_MANAGEMENT_PORT", management.port().to_string());
    Ok(())
}

async fn wait_for_master_realm(process: &Process, address: SocketAddr) -> Result<()> {
    let url = format!("http://{address}/realms/master/protocol/openid-connect/certs");
    let sender = batch::Sender::new();
    Poll::new("Keycloak's first start", FIRST_START)
        .until(async || {
            process.check_alive("")?;
            let answer = sender.send(batch::Request::get("certs", &url)).await;
            Ok(done_when_ok(&answer))
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_keycloak_listens_on_the_address_of_its_pod_alone() {
        let mut command = Command::new("kc.sh");
        command.env("KC_HTTP_MANAGEMENT_HOST", "0.0.0.0");
        listen(&mut command, "127.0.0.1:8080".parse().unwrap(), None).unwrap();
        let hosts = command
            .get_envs()
            .filter(|(name, _)| name.to_string_lossy().ends_with("_HOST"))
            .map(|(_, value)| value.unwrap());
        assert_eq!(hosts.collect::<Vec<_>>(), [OsStr::new("127.0.0.1"); 2]);
        let port = |(name, value): (&OsStr, Option<&OsStr>)| {
            (name == "KC_HTTP_MANAGEMENT_PORT").then(|| value.unwrap().to_owned())
        };
        assert_ne!(command.get_envs().find_map(port).unwrap(), "9000");
    }
}
