//! Secrets that may change while the process runs.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use crate::ConfigError;

/// A client secret or password: held in memory, or read from a file each time
/// it is needed, so that a replaced file (a rotated Kubernetes Secret) counts
/// from the next fetch on.
#[derive(Clone, Debug)]
pub struct Secret(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Value(SecretString),
    File(PathBuf),
}

impl Secret {
    /// A secret that is already in memory.
    pub fn value(secret: impl Into<SecretString>) -> Self {
        Self(Kind::Value(secret.into()))
    }

    /// A secret in a file; surrounding line ends are not part of it.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self(Kind::File(path.as_ref().to_owned()))
    }

    /// The secret as it is now.
    pub fn read(&self) -> Result<SecretString, ConfigError> {
        match &self.0 {
            Kind::Value(secret) => Ok(secret.clone()),
            Kind::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map(Zeroizing::new)
                    .map_err(|source| ConfigError::SecretFile {
                        path: path.clone(),
                        source,
                    })?;
                let secret = SecretString::from(text.trim_matches(['\r', '\n']));
                if secret.expose_secret().is_empty() {
                    return Err(ConfigError::EmptySecretFile { path: path.clone() });
                }
                Ok(secret)
            }
        }
    }
}
