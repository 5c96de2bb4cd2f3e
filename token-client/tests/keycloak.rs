//! The same against a real Keycloak, with the realm of `manifests/keycloak`: in a
//! container, or, where `KEYCLOAK_HOME` names an unpacked distribution, as a
//! process.
//!
//! The clients that the mesh does not need (token exchange, a signed assertion,
//! short-lived tokens) are added to that realm here.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Url;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{IntoContainerPort, WaitFor},
    runners::AsyncRunner,
};
use token_client::{
    Algorithm, ClientAuth, Config, Endpoint, Exchanger, Grant, OAuthSource, Policy, Secret,
    SigningKey, SourceError, Token, TokenCache, TokenError, TokenResponse, TokenSource, jwt,
};

const IMAGE: (&str, &str) = ("quay.io/keycloak/keycloak", "26.7.3");
const SECRET: &str = "the same for all";
/// The first answers of a JVM on a busy machine take longer than services wait.
const PATIENCE: Duration = Duration::from_mins(1);

fn patient() -> Policy {
    Policy {
        fetch_timeout: PATIENCE,
        ..Policy::default()
    }
}

struct Keycloak {
    realm: String,
    _running: Running,
}

/// Ends with the test.
#[expect(dead_code, reason = "kept for what their drop does")]
enum Running {
    Container(Box<ContainerAsync<GenericImage>>),
    Process(Process),
}

impl Keycloak {
    async fn start(clients_key: &KeyPair) -> Self {
        let realm = realm(clients_key).to_string();
        let (address, running) = match std::env::var_os("KEYCLOAK_HOME") {
            Some(home) => Process::start(Path::new(&home), &realm),
            None => container(realm).await,
        };
        Self {
            realm: format!("http://{address}/realms/myrealm"),
            _running: running,
        }
    }

    fn token_endpoint(&self) -> Url {
        format!("{}/protocol/openid-connect/token", self.realm)
            .parse()
            .unwrap()
    }

    fn client(&self, id: &str) -> Config {
        Config {
            timeout: PATIENCE,
            ..Config::client_credentials(self.token_endpoint(), id, Secret::value(SECRET))
        }
    }

    async fn token(&self, config: Config) -> Token {
        cache(config).get().await.unwrap()
    }

    async fn users_token(&self) -> Token {
        self.users_token_for("demo-login").await
    }

    async fn users_token_for(&self, client: &str) -> Token {
        let password = Secret::value(SECRET);
        let grant = Grant::Password {
            username: "user@example.com".to_owned(),
            password,
        };
        self.token(Config {
            grant,
            ..self.client(client)
        })
        .await
    }
}

/// The values of the realm's `${NAMES}`.
fn environment() -> [(&'static str, String); 6] {
    let secret = |name| (name, SECRET.to_owned());
    [
        ("MYREALM_PRIVATE_KEY", base64_der(&new_key())),
        secret("FRONTEND_CLIENT_SECRET"),
        secret("DEMO_LOGIN_CLIENT_SECRET"),
        secret("REPORTING_CLIENT_SECRET"),
        secret("USER_PASSWORD"),
        secret("OTHER_PASSWORD"),
    ]
}

async fn container(realm: String) -> (String, Running) {
    let mut image = GenericImage::new(IMAGE.0, IMAGE.1)
        .with_exposed_port(8080.tcp())
        .with_wait_for(WaitFor::message_on_stdout("Listening on:"))
        .with_startup_timeout(Duration::from_mins(5))
        .with_cmd(["start-dev", "--import-realm"])
        .with_copy_to(
            "/opt/keycloak/data/import/myrealm-realm.json",
            realm.into_bytes(),
        )
        .with_env_var("KC_HTTP_HOST", "0.0.0.0");
    for (name, value) in environment() {
        image = image.with_env_var(name, value);
    }
    let container = image.start().await.expect(
        "Keycloak must start: is Docker running? Without it, set KEYCLOAK_HOME to an unpacked \
         distribution",
    );
    let host = container.get_host().await.unwrap();
    let port = container.get_host_port_ipv4(8080).await.unwrap();
    (
        format!("{host}:{port}"),
        Running::Container(Box::new(container)),
    )
}

/// A copy of a distribution, running.
struct Process {
    child: Child,
    _home: tempfile::TempDir,
}

impl Process {
    fn start(distribution: &Path, realm: &str) -> (String, Running) {
        let home = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .arg("-R")
            .args([distribution.join("."), home.path().to_owned()])
            .status()
            .unwrap();
        assert!(copied.success(), "KEYCLOAK_HOME: cannot copy it");
        let import = home.path().join("data/import");
        std::fs::create_dir_all(&import).unwrap();
        std::fs::write(import.join("myrealm-realm.json"), realm).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut child = Command::new(home.path().join("bin/kc.sh"))
            .args(["start-dev", "--import-realm", "--db=dev-mem"])
            .env("KC_HTTP_HOST", address.ip().to_string())
            .env("KC_HTTP_PORT", address.port().to_string())
            .envs(environment())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = output.by_ref().map_while(Result::ok);
        let listens = lines.any(|line| line.contains("Listening on:"));
        // What it still has to say must not stop it.
        std::thread::spawn(move || output.for_each(drop));
        let process = Self { child, _home: home };
        assert!(listens, "Keycloak ended");
        (address.to_string(), Running::Process(process))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process_group(group.expect("a process has an id"), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn cache(config: Config) -> TokenCache {
    TokenCache::new(OAuthSource::new(config).unwrap(), patient())
}

fn claims(token: &Token) -> serde_json::Map<String, Value> {
    jwt::decode(token.expose()).unwrap().claims
}

fn new_key() -> KeyPair {
    KeyPair::generate(KeySize::Rsa2048).unwrap()
}

fn base64_der(key: &KeyPair) -> String {
    let der: Pkcs8V1Der = key.as_der().unwrap();
    BASE64_STANDARD.encode(der.as_ref())
}

fn realm(clients_key: &KeyPair) -> Value {
    #[derive(serde::Deserialize)]
    struct ConfigMap {
        data: std::collections::BTreeMap<String, String>,
    }
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../manifests/keycloak/realms.yaml"
    );
    let yaml = std::fs::read_to_string(path).unwrap();
    let map: ConfigMap = serde_saphyr::from_str(&yaml).unwrap();
    let mut realm: Value = serde_json::from_str(&map.data["myrealm-realm.json"]).unwrap();
    let clients = realm["clients"].as_array_mut().unwrap();
    // The backend may exchange what it receives for a token to `reporting`.
    let backend = clients
        .iter_mut()
        .find(|client| client["clientId"] == "my-backend-client");
    let backend = backend.unwrap();
    backend["secret"] = SECRET.into();
    backend["attributes"] = json!({"standard.token.exchange.enabled": "true"});
    backend["protocolMappers"] = json!([{
        "name": "for reporting",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.client.audience": "reporting", "access.token.claim": "true"}
    }]);
    let public: PublicKeyX509Der = clients_key.public_key().as_der().unwrap();
    clients.push(json!({
        "clientId": "signer",
        "serviceAccountsEnabled": true,
        "clientAuthenticatorType": "client-jwt",
        "attributes": {
            "jwt.credential.public.key": BASE64_STANDARD.encode(public.as_ref()),
            "token.endpoint.auth.signing.alg": "RS256"
        }
    }));
    clients.push(json!({
        "clientId": "hasty",
        "secret": SECRET,
        "serviceAccountsEnabled": true,
        "attributes": {"access.token.lifespan": "4"}
    }));
    // Whose tokens a person may use on the own account.
    clients.push(json!({
        "clientId": "account-tool",
        "secret": SECRET,
        "directAccessGrantsEnabled": true,
        "fullScopeAllowed": true
    }));
    realm["users"][0]["clientRoles"] = json!({"account": ["manage-account", "view-profile"]});
    realm
}

#[tokio::test]
#[ignore = "needs Docker or a distribution: just test-docker, or just test-keycloak"]
async fn keycloak_and_the_client_understand_each_other() {
    let key = new_key();
    let keycloak = Keycloak::start(&key).await;
    client_credentials_bring_a_token_for_the_backend(&keycloak).await;
    endpoint_is_discovered(&keycloak).await;
    wrong_secret_is_a_rejection(&keycloak).await;
    unknown_realm_is_told(&keycloak).await;
    password_brings_the_users_token(&keycloak).await;
    exchange_keeps_the_user_and_narrows_the_audience(&keycloak).await;
    assertion_authenticates_the_client(&keycloak, &key).await;
    burst_makes_one_request(&keycloak).await;
    short_lived_tokens_turn_without_a_gap(&keycloak).await;
    email_is_the_administrators_to_set(&keycloak).await;
}

/// AuthorizationPolicy lets people in by their address, and cannot ask whether it
/// was verified.
async fn email_is_the_administrators_to_set(keycloak: &Keycloak) {
    let token = keycloak.users_token_for("account-tool").await;
    let account = format!("{}/account", keycloak.realm);
    let client = reqwest::Client::new();
    let read = async || -> Value {
        let request = client.get(&account).header("accept", "application/json");
        let answer = request.bearer_auth(token.expose()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    };
    let change = async |name: &str, value: &str| {
        let mut changed = read().await;
        changed[name] = value.into();
        let request = client.post(&account).json(&changed);
        let answer = request.bearer_auth(token.expose()).send().await.unwrap();
        answer.status().is_success()
    };
    assert!(change("firstName", "Another").await);
    assert_eq!(read().await["firstName"], "Another");
    for (name, value) in [("email", "admin@example.com"), ("username", "admin")] {
        change(name, value).await;
        assert_eq!(read().await[name], "user@example.com", "{name}");
    }
    assert_eq!(
        claims(&keycloak.users_token().await)["email"],
        "user@example.com"
    );
}

async fn client_credentials_bring_a_token_for_the_backend(keycloak: &Keycloak) {
    for auth in [
        ClientAuth::Basic(Secret::value(SECRET)),
        ClientAuth::Post(Secret::value(SECRET)),
    ] {
        let token = keycloak
            .token(Config {
                auth,
                ..keycloak.client("frontend")
            })
            .await;
        let claims = claims(&token);
        assert_eq!(claims["azp"], "frontend");
        assert!(
            claims["aud"].to_string().contains("my-backend-client"),
            "{}",
            claims["aud"]
        );
        // Keycloak reads the clock for each of `iat`, `exp` and `expires_in`, so a
        // minute is a second less or more where that ticks in between.
        let lifetime = token.lifetime().as_secs();
        assert!((59..=61).contains(&lifetime), "{lifetime} s");
    }
}

async fn endpoint_is_discovered(keycloak: &Keycloak) {
    let endpoint = Endpoint::Issuer(keycloak.realm.clone());
    let token = keycloak
        .token(Config {
            endpoint,
            ..keycloak.client("frontend")
        })
        .await;
    assert_eq!(claims(&token)["iss"], keycloak.realm);
    let endpoint = Endpoint::Issuer(format!("{}/", keycloak.realm));
    let error = cache(Config {
        endpoint,
        ..keycloak.client("frontend")
    })
    .get()
    .await
    .unwrap_err();
    assert!(
        error.to_string().contains("speaks of the issuer"),
        "{error}"
    );
}

async fn wrong_secret_is_a_rejection(keycloak: &Keycloak) {
    let auth = ClientAuth::Basic(Secret::value("wrong"));
    let error = cache(Config {
        auth,
        ..keycloak.client("frontend")
    })
    .get()
    .await
    .unwrap_err();
    let TokenError::Rejected {
        error, description, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(error, "unauthorized_client");
    assert_eq!(
        description.as_deref(),
        Some("Invalid client or Invalid client credentials")
    );
}

async fn unknown_realm_is_told(keycloak: &Keycloak) {
    let url = keycloak
        .token_endpoint()
        .as_str()
        .replace("myrealm", "norealm")
        .parse()
        .unwrap();
    let endpoint = Endpoint::Token(url);
    let error = cache(Config {
        endpoint,
        ..keycloak.client("frontend")
    })
    .get()
    .await
    .unwrap_err();
    assert!(
        error.to_string().contains("Realm does not exist"),
        "{error}"
    );
}

async fn password_brings_the_users_token(keycloak: &Keycloak) {
    let password = Secret::value(SECRET);
    let grant = Grant::Password {
        username: "user@example.com".to_owned(),
        password,
    };
    let source = OAuthSource::new(Config {
        grant,
        ..keycloak.client("demo-login")
    })
    .unwrap();
    let cache = TokenCache::new(
        source,
        Policy {
            floor: Duration::ZERO,
            ..patient()
        },
    );
    let first = cache.get().await.unwrap();
    cache.invalidate(&first);
    let second = cache.get().await.unwrap();
    assert_eq!(claims(&first)["email"], "user@example.com");
    // The refresh token keeps the session; a second login would begin another.
    assert_eq!(claims(&first)["sid"], claims(&second)["sid"]);
    assert_ne!(claims(&first)["jti"], claims(&second)["jti"]);
}

async fn exchange_keeps_the_user_and_narrows_the_audience(keycloak: &Keycloak) {
    let users = keycloak.users_token().await;
    let exchanger = Exchanger::new(
        keycloak.client("my-backend-client"),
        ["reporting"],
        patient(),
        10,
    )
    .unwrap();
    let narrowed = exchanger
        .cache_for(users.expose().into())
        .get()
        .await
        .unwrap();
    let claims = claims(&narrowed);
    assert_eq!(claims["sub"], self::claims(&users)["sub"]);
    assert_eq!(claims["aud"], "reporting");
    assert_eq!(claims["azp"], "my-backend-client");
}

async fn assertion_authenticates_the_client(keycloak: &Keycloak, key: &KeyPair) {
    let pem = |key| {
        let body = base64_der(key);
        Secret::value(format!(
            "-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
        ))
    };
    let signer = |key| Config {
        endpoint: Endpoint::Issuer(keycloak.realm.clone()),
        auth: ClientAuth::PrivateKeyJwt(SigningKey {
            pem: pem(key),
            algorithm: Algorithm::RS256,
            key_id: None,
        }),
        ..keycloak.client("signer")
    };
    let token = keycloak.token(signer(key)).await;
    assert_eq!(claims(&token)["azp"], "signer");
    let error = cache(signer(&new_key())).get().await.unwrap_err();
    assert!(matches!(error, TokenError::Rejected { .. }), "{error}");
}

async fn burst_makes_one_request(keycloak: &Keycloak) {
    let cache = cache(keycloak.client("frontend"));
    let tokens = futures::future::join_all((0..1000).map(|_| cache.get())).await;
    let ids: BTreeSet<_> = tokens
        .iter()
        .map(|token| claims(token.as_ref().unwrap())["jti"].to_string())
        .collect();
    assert_eq!((ids.len(), cache.counters().fetches), (1, 1));
}

/// A source, and how long its slowest answer took.
struct Timed {
    source: OAuthSource,
    longest: Arc<Mutex<Duration>>,
}

impl TokenSource for Timed {
    async fn fetch(&self) -> Result<TokenResponse, SourceError> {
        let begin = Instant::now();
        let answer = self.source.fetch().await;
        let mut longest = self.longest.lock().unwrap();
        *longest = begin.elapsed().max(*longest);
        answer
    }
}

async fn short_lived_tokens_turn_without_a_gap(keycloak: &Keycloak) {
    let source = Timed {
        source: OAuthSource::new(keycloak.client("hasty")).unwrap(),
        longest: Arc::default(),
    };
    let longest = source.longest.clone();
    let cache = TokenCache::new(source, patient());
    cache.get().await.unwrap();
    let end = Instant::now() + Duration::from_secs(12);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while Instant::now() < end {
        tick.tick().await;
        cache.get().await.unwrap();
    }
    // A token of 4 s is refreshed when 1.5 s of it are left, or less by the second
    // that its answer may have taken: who waits longer for the next has none.
    let longest = *longest.lock().unwrap();
    assert!(
        longest <= Duration::from_millis(500),
        "an answer took {longest:?}, so that how often callers waited says nothing: run it where \
         less is going on"
    );
    let counters = cache.counters();
    assert!((4..=7).contains(&counters.fetches), "{counters:?}");
    assert_eq!(
        counters.waited, 1,
        "only the first call may wait: {counters:?}"
    );
}
