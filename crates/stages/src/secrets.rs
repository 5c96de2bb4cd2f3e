//! A mesh's secrets as the Kubernetes Secrets that its pods read.

use anyhow::{Context, Result};
use envoy::Authority;
use harness::secrets::{CA_CRT, RealmSecrets, TLS_CRT, TLS_KEY, part_name};
use harness::suite::Suite;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DynamicObject, ObjectMeta};
use secrecy::{ExposeSecret, SecretString};

/// New secrets for everything that the suite's pods read.
pub fn generate(suite: &Suite) -> Result<RealmSecrets> {
    let mut secrets = RealmSecrets::generate(suite)?;
    let hosts = suite.secrets.iter();
    for host in hosts.filter_map(|secret| secret.certificate_for.as_ref()) {
        // It signs this once, and its key is gone.
        let authority = Authority::generate()?;
        let certificate = authority.issue_to_server(host)?;
        secrets = secrets.with([
            (part_name(host, CA_CRT), authority.root_pem().into()),
            (part_name(host, TLS_CRT), certificate.chain_pem.into()),
            (part_name(host, TLS_KEY), certificate.key_pem),
        ]);
    }
    Ok(secrets)
}

/// Reads the secrets back from the Secrets that the suite keeps them in.
pub fn from_secrets(suite: &Suite, secrets: &[Secret]) -> Result<RealmSecrets> {
    let mut values = Vec::new();
    for wanted in &suite.secrets {
        let is_it = |secret: &&Secret| {
            secret.metadata.namespace.as_ref() == Some(&wanted.namespace)
                && secret.metadata.name.as_ref() == Some(&wanted.name)
        };
        let data = secrets.iter().find(is_it).and_then(|it| it.data.as_ref());
        for (key, name) in wanted.content() {
            let value = data.and_then(|data| data.get(&key));
            let value = value.with_context(|| format!("no secret {name} in {}", wanted.name))?;
            let value = String::from_utf8(value.0.clone())
                .map_err(|_| anyhow::anyhow!("secret {name} is not text"))?;
            values.push((name, SecretString::from(value)));
        }
    }
    Ok(values.into_iter().collect())
}

/// The Secrets to apply, as the suite has them.
pub fn objects(suite: &Suite, secrets: &RealmSecrets) -> Result<Vec<DynamicObject>> {
    let objects = suite.secrets.iter().map(|wanted| {
        let values = wanted
            .content()
            .map(|(key, name)| Ok((key, secrets.get(&name)?)))
            .collect::<Result<Vec<_>>>()?;
        secret(&wanted.namespace, &wanted.name, values)
    });
    objects.collect()
}

fn secret<'a>(
    namespace: &str,
    name: &str,
    values: impl IntoIterator<Item = (String, &'a SecretString)>,
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
                    let value = value.expose_secret().as_bytes().to_vec();
                    (name, ByteString(value))
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
    use k8s_openapi::api::core::v1::Secret;
    use secrecy::ExposeSecret;

    use super::{from_secrets, generate, objects};

    fn made() -> (Suite, RealmSecrets, Vec<Secret>) {
        let suite = Suite::load(&workspace::path("e2e")).unwrap();
        let made = generate(&suite).unwrap();
        let objects = objects(&suite, &made).unwrap().into_iter();
        let secrets = objects
            .map(|object| serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap());
        let secrets = secrets.collect();
        (suite, made, secrets)
    }

    #[test]
    fn every_consumer_is_shown_its_own_secrets_only() {
        let (_, _, secrets) = made();
        let names = |home: &str| -> Vec<_> {
            let named = |it: &&Secret| it.metadata.name.as_deref() == Some(home);
            let secret = secrets.iter().find(named).unwrap();
            secret
                .data
                .iter()
                .flatten()
                .map(|it| it.0.as_str())
                .collect()
        };
        assert_eq!(names("keycloak-admin"), ["KC_BOOTSTRAP_ADMIN_PASSWORD"]);
        assert_eq!(names("frontend-client"), ["client-secret"]);
        assert_eq!(names("realm-users"), ["OTHER_PASSWORD", "USER_PASSWORD"]);
        assert!(names("realm-keys").contains(&"MYREALM_PRIVATE_KEY"));
        assert!(names("realm-clients").contains(&"FRONTEND_CLIENT_SECRET"));
    }

    #[test]
    fn secrets_survive_the_way_through_the_cluster() {
        let (suite, made, secrets) = made();
        let read = from_secrets(&suite, &secrets).unwrap();
        for (name, value) in made.all() {
            assert_eq!(
                read.get(name).unwrap().expose_secret(),
                value.expose_secret()
            );
        }
        assert_eq!(read.all().count(), made.all().count());
        assert!(from_secrets(&suite, &secrets[1..]).is_err());
    }
}
