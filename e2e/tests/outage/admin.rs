//! Keycloak's administrator, who works from inside the mesh.

use anyhow::{Context, Result, ensure};
use harness::secrets::RealmSecrets;
use harness::stage::Stage;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use stages::kubernetes::KubernetesStage;
use token_client::batch::{Request, Response};

use super::frontend::ask;

const KEYCLOAK: &str = "http://keycloak.keycloak.svc.cluster.local";

/// A session of the administrator of `myrealm`.
pub struct Admin<'a> {
    stage: &'a KubernetesStage<'a>,
    secrets: RealmSecrets,
}

/// A signing key of the realm.
pub struct SigningKey {
    component: String,
    /// The key's `kid` in tokens and in the published key set.
    pub kid: String,
}

impl<'a> Admin<'a> {
    pub async fn new(stage: &'a KubernetesStage<'a>) -> Result<Self> {
        let secrets = stage.secrets().await?;
        Ok(Self { stage, secrets })
    }

    /// Adds a new RSA key: published at once, and signed with if its priority
    /// is the highest.
    pub async fn add_signing_key(&self, priority: u32) -> Result<SigningKey> {
        let realm = self.get("").await?;
        let component = json!({
            "name": "next signing key",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm["id"],
            "config": {
                "priority": [priority.to_string()],
                "algorithm": ["RS256"],
                "active": ["true"],
                "enabled": ["true"],
            },
        });
        let created = self.call("POST", "/components", Some(&component)).await?;
        let location = created.header("location").context("no Location")?;
        let (_, component) = location.rsplit_once('/').context("no id in Location")?;
        let keys = self.get("/keys").await?;
        let key = keys["keys"].as_array().context("no keys")?.iter();
        let key = key
            .filter(|key| key["providerId"] == component)
            .find_map(|key| key["kid"].as_str());
        Ok(SigningKey {
            component: component.to_owned(),
            kid: key.context("the key is not among the realm's")?.to_owned(),
        })
    }

    /// Changes a key's priority; the key stays the same.
    pub async fn set_priority(&self, key: &SigningKey, priority: u32) -> Result<()> {
        let path = format!("/components/{}", key.component);
        let mut component = self.get(&path).await?;
        component["config"]["priority"] = json!([priority.to_string()]);
        self.call("PUT", &path, Some(&component)).await.map(drop)
    }

    /// Has Keycloak make a new secret for a client; the old one is worth
    /// nothing from then on.
    pub async fn renew_client_secret(&self, client_id: &str) -> Result<SecretString> {
        let found = self.get(&format!("/clients?clientId={client_id}")).await?;
        let id = found[0]["id"].as_str().context("no such client")?;
        let path = format!("/clients/{id}/client-secret");
        let answer = self.call("POST", &path, None).await?;
        let credential: Value = serde_json::from_str(&answer.body)?;
        let secret = credential["value"].as_str().context("no secret")?;
        Ok(secret.into())
    }

    /// A token as the frontend gets it.
    pub async fn frontends_token(&self) -> Result<SecretString> {
        let secret = self.secrets.get("FRONTEND_CLIENT_SECRET")?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "frontend"),
            ("client_secret", secret.expose_secret()),
        ];
        self.token("myrealm", &form).await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.call("GET", path, None).await?;
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// One call, with a token of its own: they live for a minute.
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
        let password = self.secrets.get("KC_BOOTSTRAP_ADMIN_PASSWORD")?;
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", "admin"),
            ("password", password.expose_secret()),
        ];
        let token = self.token("master", &form).await?;
        let mut request = Request::get("admin", format!("{KEYCLOAK}/admin/realms/myrealm{path}"));
        method.clone_into(&mut request.method);
        request.headers = vec![bearer(&token), header("content-type", "application/json")];
        request.body = body.map(Value::to_string);
        self.send(request).await
    }

    async fn token(&self, realm: &str, form: &[(&str, &str)]) -> Result<SecretString> {
        let endpoint = format!("{KEYCLOAK}/realms/{realm}/protocol/openid-connect/token");
        let mut request = Request::get("token", endpoint);
        "POST".clone_into(&mut request.method);
        request.headers = vec![header("content-type", "application/x-www-form-urlencoded")];
        request.body = Some(serde_urlencoded::to_string(form)?);
        let answer = self.send(request).await?;
        let answer: Value = serde_json::from_str(&answer.body)?;
        let token = answer["access_token"].as_str().context("no access_token")?;
        Ok(token.into())
    }

    async fn send(&self, request: Request) -> Result<Response> {
        let what = format!("{} {}", request.method, request.url);
        let answer = ask(self.stage, "token-client", request).await?;
        let response = answer
            .response()
            .with_context(|| format!("{what}: {}", answer.error().unwrap_or_default()))?;
        ensure!(
            (200..300).contains(&response.status),
            "{what}: {} {}",
            response.status,
            response.body
        );
        Ok(response.clone())
    }
}

/// The header that carries a token.
pub fn bearer(token: &SecretString) -> (String, String) {
    header("authorization", format!("Bearer {}", token.expose_secret()))
}

fn header(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}
