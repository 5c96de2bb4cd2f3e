//! A mesh's secrets as the Kubernetes Secrets that its pods read.

use anyhow::{Context, Result};
use harness::secrets::RealmSecrets;
use harness::suite::Suite;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DynamicObject, ObjectMeta};
use secrecy::{ExposeSecret, SecretString};

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

/// Namespace and name of the Secret that fills the realm import.
pub fn of_realms(suite: &Suite) -> Result<(&str, &str)> {
    let mut secrets = suite.secrets.iter();
    let realms = secrets
        .find(|secret| secret.keys.is_none())
        .context("the suite names no Secret that fills the realm import (one without `keys`)")?;
    Ok((&realms.namespace, &realms.name))
}

/// The Secrets to apply, as the suite has them.
pub fn objects(suite: &Suite, secrets: &RealmSecrets) -> Result<Vec<DynamicObject>> {
    let objects = suite.secrets.iter().map(|wanted| {
        let values: Vec<_> = match &wanted.keys {
            None => secrets.all().collect(),
            Some(keys) => keys
                .iter()
                .map(|(key, name)| Ok((key.as_str(), secrets.get(name)?)))
                .collect::<Result<_>>()?,
        };
        secret(&wanted.namespace, &wanted.name, values)
    });
    objects.collect()
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
    use harness::suite::Suite;
    use harness::workspace;
    use secrecy::ExposeSecret;

    use super::{from_secret, objects};

    #[test]
    fn secrets_survive_the_way_through_the_cluster() {
        let suite = Suite::load(&workspace::path("e2e")).unwrap();
        let made = RealmSecrets::generate(&suite).unwrap();
        let object = serde_json::to_value(&objects(&suite, &made).unwrap()[0]).unwrap();
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
