//! The container images of the kind stage: ours are built here, upstream's
//! must be present or pulled.

use std::path::Path;

use anyhow::{Context, Result};

use crate::tool::{Tool, cargo_build};
use crate::versions::versions;
use harness::suite::{Program, Suite};
use harness::trouble::Trouble;
use harness::workspace;

/// Keycloak's image after its build step.
pub fn keycloak_image() -> String {
    format!("mesh-oidc/keycloak:{}", versions().keycloak)
}

/// Compiles programs as static binaries and puts each into its image. Each is a
/// package of this checkout, in a folder of its name with a Dockerfile.
pub async fn build_services(programs: &[Program], scratch: &Path) -> Result<()> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let packages = programs.iter().flat_map(|it| ["--package", &it.package]);
    // Static, because the images hold nothing else; the services resolve
    // names without libc.
    let built = cargo_build(|cargo| {
        cargo
            .args(["--target", &target])
            .args(packages)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("TMPDIR", scratch)
    })
    .await?;
    for Program { image, package, .. } in programs {
        let context = tempfile::tempdir_in(scratch)?;
        let binary = built.get(package);
        let binary = binary.with_context(|| format!("cargo left no binary `{package}`"))?;
        std::fs::copy(binary, context.path().join(package))
            .with_context(|| binary.display().to_string())?;
        let recipe = workspace::path(package).join("Dockerfile");
        build(image, &recipe, context.path()).await?;
    }
    Ok(())
}

/// Builds Keycloak's image on top of upstream's.
pub async fn build_keycloak(suite: &Suite, scratch: &Path) -> Result<()> {
    have_or_pull(&versions().images.keycloak).await?;
    let context = tempfile::tempdir_in(scratch)?;
    build(
        &keycloak_image(),
        &suite.path(&suite.manifests.keycloak_image),
        context.path(),
    )
    .await
}

async fn build(image: &str, recipe: &Path, context: &Path) -> Result<()> {
    Tool::new("docker")
        .args(["build", "--quiet", "--tag", image, "--file"])
        .args([recipe, context])
        .run()
        .await
        .with_context(|| format!("cannot build image {image}"))?;
    Ok(())
}

/// Makes sure that an upstream image is in Docker's store.
pub async fn have_or_pull(image: &str) -> Result<()> {
    if Tool::new("docker")
        .args(["image", "inspect", "--format", "{{.Id}}", image])
        .run()
        .await
        .is_ok()
    {
        return Ok(());
    }
    Tool::new("docker")
        .args(["pull", "--quiet", image])
        .run()
        .await
        .map_err(|error| {
            Trouble::new(
                format!("image {image} is not here and cannot be pulled: {error}"),
                format!(
                    "make the registry reachable, or load it: docker load -i IMAGE.tar  ({image})"
                ),
            )
        })?;
    Ok(())
}

/// Whether proxyv2 was built on this machine, and so holds upstream Envoy
/// without Istio's extensions: an image that was pulled has a registry digest.
pub async fn proxy_is_plain_envoy() -> Result<bool> {
    let digests = Tool::new("docker")
        .args([
            "image",
            "inspect",
            "--format",
            "{{len .RepoDigests}}",
            &versions().images.proxy,
        ])
        .run()
        .await?;
    Ok(digests.trim() == "0")
}
