//! The secrets of a mesh: made at set-up, and kept in the cluster or, on the
//! local stage, in a folder that only its owner can read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DynamicObject, ObjectMeta};
use secrecy::{ExposeSecret, SecretString};

use crate::manifest;
use crate::token::generate_private_key;
use crate::workspace;

/// The name of the Secret that fills the realm import, in namespace `keycloak`.
pub const REALM_SECRET: &str = "realm-secrets";
const ADMIN_PASSWORD: &str = "KC_BOOTSTRAP_ADMIN_PASSWORD";
const KEYCLOAK_NAMESPACE: &str = "keycloak";

/// The value of every `${NAME}` in the realm import.
#[derive(Debug, Clone)]
pub struct RealmSecrets(BTreeMap<String, SecretString>);

impl RealmSecrets {
    /// New values for every name the realm import asks for: an RSA key of 2048
    /// bits (PKCS#8 DER in base64) for a name that ends in `_PRIVATE_KEY`, and
    /// 192 random bits for any other.
    pub fn generate() -> Result<Self> {
        let mut secrets = BTreeMap::new();
        for name in names_in_realm_import()? {
            let value = if name.ends_with("_PRIVATE_KEY") {
                generate_private_key()?
            } else {
                password()?
            };
            secrets.insert(name, value);
        }
        Ok(Self(secrets))
    }

    /// Reads them back from the Secret in the cluster.
    pub fn from_secret(secret: &Secret) -> Result<Self> {
        let data = secret.data.iter().flatten();
        let secrets = data
            .map(|(name, value)| {
                let value = String::from_utf8(value.0.clone())
                    .map_err(|_| anyhow::anyhow!("secret {name} is not text"))?;
                Ok((name.clone(), value.into()))
            })
            .collect::<Result<_>>()?;
        Ok(Self(secrets))
    }

    /// The same with an administrator who was there before.
    #[must_use]
    pub fn with_admin_password(mut self, password: SecretString) -> Self {
        self.0.insert(ADMIN_PASSWORD.to_owned(), password);
        self
    }

    /// The value of one name.
    pub fn get(&self, name: &str) -> Result<&SecretString> {
        self.0.get(name).with_context(|| {
            format!("the mesh has no secret {name}; realm and grants must use the same names")
        })
    }

    /// The Secrets to apply: all of it for Keycloak, and the frontend's own.
    pub fn objects(&self) -> Result<Vec<DynamicObject>> {
        let all = self.0.iter().map(|(name, value)| (name.as_str(), value));
        Ok(vec![
            secret(KEYCLOAK_NAMESPACE, REALM_SECRET, all)?,
            secret(
                "demo",
                "frontend-client",
                [("client-secret", self.get("FRONTEND_CLIENT_SECRET")?)],
            )?,
        ])
    }
}

fn secret<'a>(
    namespace: &str,
    name: &str,
    values: impl IntoIterator<Item = (&'a str, &'a SecretString)>,
) -> Result<DynamicObject> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(
            values
                .into_iter()
                .map(|(name, value)| {
                    (
                        name.to_owned(),
                        ByteString(value.expose_secret().as_bytes().to_vec()),
                    )
                })
                .collect(),
        ),
        ..Secret::default()
    };
    let json = serde_json::to_value(&secret)?;
    Ok(serde_json::from_value(json)?)
}

/// The `${NAMES}` of every realm in the import, and the administrator's password.
fn names_in_realm_import() -> Result<BTreeSet<String>> {
    let path = workspace::path("manifests/keycloak/realms.yaml");
    let mut names = BTreeSet::from([ADMIN_PASSWORD.to_owned()]);
    for object in manifest::load_file(&path)? {
        let data = object.data.get("data").and_then(|data| data.as_object());
        for text in data
            .into_iter()
            .flat_map(|data| data.values())
            .filter_map(|v| v.as_str())
        {
            for rest in text.split("${").skip(1) {
                let (name, _) = rest
                    .split_once('}')
                    .with_context(|| format!("{}: `${{` without `}}`", path.display()))?;
                names.insert(name.to_owned());
            }
        }
    }
    ensure!(names.len() > 1, "{}: no ${{NAME}} found", path.display());
    Ok(names)
}

/// 192 random bits in base64url.
pub fn password() -> Result<SecretString> {
    let mut bytes = [0; 24];
    rand::fill(&mut bytes).context("no random numbers to be had")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::RealmSecrets;

    #[test]
    fn every_set_up_has_secrets_of_its_own() {
        let (one, two) = (
            RealmSecrets::generate().unwrap(),
            RealmSecrets::generate().unwrap(),
        );
        for name in [
            "MYREALM_PRIVATE_KEY",
            "FRONTEND_CLIENT_SECRET",
            "USER_PASSWORD",
        ] {
            let (one, two) = (one.get(name).unwrap(), two.get(name).unwrap());
            assert_ne!(one.expose_secret(), two.expose_secret(), "{name}");
        }
    }

    #[test]
    fn secrets_survive_the_way_through_the_cluster() {
        let made = RealmSecrets::generate().unwrap();
        let object = serde_json::to_value(&made.objects().unwrap()[0]).unwrap();
        let read = RealmSecrets::from_secret(&serde_json::from_value(object).unwrap()).unwrap();
        for (name, value) in &made.0 {
            assert_eq!(
                read.get(name).unwrap().expose_secret(),
                value.expose_secret()
            );
        }
        assert_eq!(read.0.len(), made.0.len());
    }

    #[test]
    fn debug_output_has_no_secret() {
        let secrets = RealmSecrets::generate().unwrap();
        let debug = format!("{secrets:?}");
        for value in secrets.0.values() {
            assert!(!debug.contains(value.expose_secret()));
        }
    }
}
