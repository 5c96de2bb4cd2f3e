//! A mesh's secrets as the Kubernetes Secrets that its pods read.

use anyhow::Result;
use harness::secrets::RealmSecrets;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DynamicObject, ObjectMeta};
use secrecy::{ExposeSecret, SecretString};

/// The Secrets in namespace `keycloak` that fill the realm import, one for each
/// kind of consumer, so that nobody needs to be shown more than their own.
pub const KEYCLOAKS: [&str; 4] = [ADMIN, KEYS, CLIENTS, USERS];
const ADMIN: &str = "keycloak-admin";
const KEYS: &str = "realm-keys";
const CLIENTS: &str = "realm-clients";
const USERS: &str = "realm-users";
const KEYCLOAK_NAMESPACE: &str = "keycloak";

/// The Secret that a value of this name is kept in.
fn home_of(name: &str) -> &'static str {
    match name {
        "KC_BOOTSTRAP_ADMIN_PASSWORD" => ADMIN,
        key if key.ends_with("_PRIVATE_KEY") => KEYS,
        client if client.ends_with("_CLIENT_SECRET") => CLIENTS,
        _ => USERS,
    }
}

/// Reads the secrets back from the Secrets in the cluster.
pub fn from_secrets<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Result<RealmSecrets> {
    let data = secrets.into_iter().flat_map(|it| it.data.iter().flatten());
    data.map(|(name, value)| {
        let value = String::from_utf8(value.0.clone())
            .map_err(|_| anyhow::anyhow!("secret {name} is not text"))?;
        Ok((name.clone(), SecretString::from(value)))
    })
    .collect()
}

/// The Secrets to apply: those of [`KEYCLOAKS`], and the frontend's own.
pub fn objects(secrets: &RealmSecrets) -> Result<Vec<DynamicObject>> {
    let of_keycloak = KEYCLOAKS.into_iter().map(|home| {
        let values = secrets.all().filter(|(name, _)| home_of(name) == home);
        secret(KEYCLOAK_NAMESPACE, home, values)
    });
    let of_frontend = secret(
        "demo",
        "frontend-client",
        [("client-secret", secrets.get("FRONTEND_CLIENT_SECRET")?)],
    );
    of_keycloak.chain([of_frontend]).collect()
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

    use k8s_openapi::api::core::v1::Secret;

    use super::{KEYCLOAKS, from_secrets, objects};

    fn made() -> (RealmSecrets, Vec<Secret>) {
        let made = RealmSecrets::generate().unwrap();
        let objects = objects(&made).unwrap().into_iter();
        let secrets = objects
            .map(|object| serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap());
        let secrets = secrets.collect();
        (made, secrets)
    }

    #[test]
    fn every_consumer_is_shown_its_own_secrets_only() {
        let (_, secrets) = made();
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
        let (made, secrets) = made();
        let read = from_secrets(&secrets[..KEYCLOAKS.len()]).unwrap();
        for (name, value) in made.all() {
            assert_eq!(
                read.get(name).unwrap().expose_secret(),
                value.expose_secret()
            );
        }
        assert_eq!(read.all().count(), made.all().count());
    }
}
