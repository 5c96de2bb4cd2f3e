//! A mesh's secrets as the Kubernetes Secrets that its pods read.

use anyhow::Result;
use harness::secrets::RealmSecrets;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DynamicObject, ObjectMeta};
use secrecy::{ExposeSecret, SecretString};

/// The name of the Secret that fills the realm import, in namespace `keycloak`.
pub const REALM_SECRET: &str = "realm-secrets";
const KEYCLOAK_NAMESPACE: &str = "keycloak";

/// Reads the secrets back from the Secret in the cluster.
pub fn from_secret(secret: &Secret) -> Result<RealmSecrets> {
    let data = secret.data.iter().flatten();
    data.map(|(name, value)| {
        let value = String::from_utf8(value.0.clone())
            .map_err(|_| anyhow::anyhow!("secret {name} is not text"))?;
        Ok((name.clone(), SecretString::from(value)))
    })
    .collect()
}

/// The Secrets to apply: all of it for Keycloak, and the frontend's own.
pub fn objects(secrets: &RealmSecrets) -> Result<Vec<DynamicObject>> {
    Ok(vec![
        secret(KEYCLOAK_NAMESPACE, REALM_SECRET, secrets.all())?,
        secret(
            "demo",
            "frontend-client",
            [("client-secret", secrets.get("FRONTEND_CLIENT_SECRET")?)],
        )?,
    ])
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

#[cfg(test)]
mod tests {
    use harness::secrets::RealmSecrets;
    use secrecy::ExposeSecret;

    use super::{from_secret, objects};

    #[test]
    fn secrets_survive_the_way_through_the_cluster() {
        let made = RealmSecrets::generate().unwrap();
        let object = serde_json::to_value(&objects(&made).unwrap()[0]).unwrap();
        let read = from_secret(&serde_json::from_value(object).unwrap()).unwrap();
        for (name, value) in made.all() {
            assert_eq!(
                read.get(name).unwrap().expose_secret(),
                value.expose_secret()
            );
        }
        assert_eq!(read.all().count(), made.all().count());
    }
}
