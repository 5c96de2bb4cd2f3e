//! What keeps a run from happening: the machine or the mesh is not ready.

use std::path::Path;

use thiserror::Error;

/// A need that is not met, with the way to meet it.
#[derive(Debug, Error)]
#[error("{what}\n  fix: {fix}")]
pub struct Trouble {
    what: String,
    fix: String,
}

impl Trouble {
    /// `what` is wrong, and the command or change that mends it.
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// What is wrong, without the fix.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The command or change that mends it.
    pub fn fix(&self) -> &str {
        &self.fix
    }
}

/// Says plainly that the disk is full, where that is what an error is about.
pub fn explain_full_disk(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    if format!("{error:#}").contains("No space left on device") {
        let folder = folder.display();
        return Trouble::new(
            format!("no space left on the disk of {folder}"),
            "make room: Keycloak and Envoy take about 700 MB in the cache, and compiling 3 GB",
        )
        .into();
    }
    error
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::explain_full_disk;

    #[test]
    fn a_full_disk_is_named_whatever_program_found_it() {
        let said = anyhow::anyhow!("Errno 28: No space left on device: /x").context("pip failed");
        let error = explain_full_disk(said, Path::new("/cache"));
        assert!(
            error
                .to_string()
                .starts_with("no space left on the disk of /cache")
        );
        let other = explain_full_disk(anyhow::anyhow!("other"), Path::new("/cache"));
        assert_eq!(other.to_string(), "other");
    }
}
