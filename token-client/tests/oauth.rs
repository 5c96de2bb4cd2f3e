//! What goes to a token endpoint, and what its answers come to.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime},
};

use reqwest::Url;
use secrecy::ExposeSecret;
use token_client::{
    ClientAuth, Config, ConnectTo, Endpoint, Exchanger, Grant, OAuthSource, Policy, Secret,
    SourceError, TokenSource,
};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{body_string_contains, method, path},
};

const SECRET: &str = "s3cret&more";

fn token() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(
        r#"{"access_token":"abc","token_type":"Bearer","expires_in":300,"scope":"email"}"#,
        "application/json",
    )
}

async fn endpoint(answer: ResponseTemplate) -> (MockServer, Config) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/token"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let config = Config::client_credentials(url(&server, "/token"), "me", Secret::value(SECRET));
    (server, config)
}

fn url(server: &MockServer, path: &str) -> Url {
    server.uri().parse::<Url>().unwrap().join(path).unwrap()
}

async fn fetch(config: Config) -> Result<String, SourceError> {
    let response = OAuthSource::new(config).unwrap().fetch().await?;
    Ok(response.access_token.expose_secret().to_owned())
}

async fn failure(answer: ResponseTemplate) -> SourceError {
    let (_server, config) = endpoint(answer).await;
    fetch(config).await.unwrap_err()
}

async fn requests(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

async fn form(server: &MockServer) -> Vec<(String, String)> {
    let requests = requests(server).await;
    let body = &requests.last().unwrap().body;
    url::form_urlencoded::parse(body).into_owned().collect()
}

#[tokio::test]
async fn requests_can_all_connect_to_one_place() {
    let (server, config) = endpoint(token()).await;
    let config = Config {
        endpoint: Endpoint::Token("http://keycloak.test/token".parse().unwrap()),
        ..config
    };
    let http =
        reqwest::Client::builder().dns_resolver(std::sync::Arc::new(ConnectTo(*server.address())));
    let source = OAuthSource::with_http(config, http).unwrap();
    assert!(source.fetch().await.is_ok());
    assert_eq!(requests(&server).await[0].headers["host"], "keycloak.test");
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

// === Requests ===

#[tokio::test]
async fn secret_goes_form_encoded_into_a_basic_header() {
    let (server, mut config) = endpoint(token()).await;
    config.scope = BTreeSet::from(["email".to_owned(), "address".to_owned()]);
    assert_eq!(fetch(config).await.unwrap(), "abc");
    assert_eq!(
        form(&server).await,
        pairs(&[
            ("grant_type", "client_credentials"),
            ("scope", "address email")
        ])
    );
    let sent = &requests(&server).await[0].headers["authorization"];
    assert_eq!(sent, "Basic bWU6czNjcmV0JTI2bW9yZQ==", "me:s3cret%26more");
}

#[tokio::test]
async fn secret_goes_into_the_body_if_so_configured() {
    let (server, mut config) = endpoint(token()).await;
    config.auth = ClientAuth::Post(Secret::value(SECRET));
    fetch(config).await.unwrap();
    assert_eq!(
        form(&server).await,
        pairs(&[
            ("grant_type", "client_credentials"),
            ("client_id", "me"),
            ("client_secret", SECRET)
        ])
    );
    assert!(
        !requests(&server).await[0]
            .headers
            .contains_key("authorization")
    );
}

#[tokio::test]
async fn changed_secret_file_counts_from_the_next_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let (server, mut config) = endpoint(token()).await;
    config.auth = ClientAuth::Post(Secret::file(&file));
    let source = OAuthSource::new(config).unwrap();

    let error = source.fetch().await.unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    for secret in ["old", "new"] {
        fs::write(&file, format!("{secret}\n")).unwrap();
        source.fetch().await.unwrap();
        assert!(
            form(&server)
                .await
                .contains(&("client_secret".to_owned(), secret.to_owned()))
        );
    }
    fs::write(&file, "\n").unwrap();
    let error = source.fetch().await.unwrap_err().to_string();
    assert!(error.ends_with("is empty"), "{error}");
}

#[tokio::test]
async fn token_exchange_names_the_audience() {
    let (server, mut config) = endpoint(token()).await;
    config.grant = Grant::TokenExchange {
        subject_token: Secret::value("users-token"),
        audience: BTreeSet::from(["next".to_owned()]),
    };
    fetch(config).await.unwrap();
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    assert_eq!(
        form(&server).await,
        pairs(&[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange"
            ),
            ("subject_token", "users-token"),
            ("subject_token_type", access_token),
            ("requested_token_type", access_token),
            ("audience", "next"),
        ])
    );
}

#[tokio::test]
async fn exchanger_asks_once_for_each_user() {
    let (server, config) = endpoint(token()).await;
    let exchanger = Exchanger::new(config, ["next"], Policy::default(), 100).unwrap();
    for user in ["one", "two", "one", "one", "two"] {
        exchanger.cache_for(user.into()).get().await.unwrap();
    }
    let bodies: Vec<_> = requests(&server)
        .await
        .iter()
        .map(|r| String::from_utf8_lossy(&r.body).into_owned())
        .collect();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].contains("subject_token=one&") && bodies[1].contains("subject_token=two&"));
}

#[tokio::test]
async fn password_grant_goes_on_with_the_refresh_token_and_falls_back() {
    let server = MockServer::start().await;
    let answer = |refresh: &str| {
        ResponseTemplate::new(200).set_body_raw(
            format!(
                r#"{{"access_token":"abc","token_type":"Bearer","refresh_token":"{refresh}"}}"#
            ),
            "application/json",
        )
    };
    let when = |text| Mock::given(body_string_contains(text));
    when("grant_type=password")
        .respond_with(answer("first"))
        .expect(2)
        .mount(&server)
        .await;
    when("refresh_token=first")
        .respond_with(answer("second"))
        .expect(1)
        .mount(&server)
        .await;
    let ended = ResponseTemplate::new(400).set_body_string(r#"{"error":"invalid_grant"}"#);
    when("refresh_token=second")
        .respond_with(ended)
        .expect(1)
        .mount(&server)
        .await;

    let mut config = Config::client_credentials(url(&server, "/"), "me", Secret::value(SECRET));
    config.grant = Grant::Password {
        username: "user".to_owned(),
        password: Secret::value("pass"),
    };
    let source = OAuthSource::new(config).unwrap();
    for _ in 0..3 {
        source.fetch().await.unwrap();
    }
}

// === Answers ===

#[tokio::test]
async fn oauth_error_is_a_rejection() {
    let error = failure(ResponseTemplate::new(401).set_body_string(
        r#"{"error":"unauthorized_client","error_description":"Invalid client\nor secret"}"#,
    ))
    .await;
    assert_eq!(
        error.to_string(),
        "the token endpoint refused: unauthorized_client (Invalid clientor secret)"
    );
    assert!(matches!(error, SourceError::Rejected { .. }));
}

#[tokio::test]
async fn busy_or_broken_endpoint_is_unavailable_even_with_an_oauth_error() {
    for status in [429, 500, 503] {
        let answer = ResponseTemplate::new(status)
            .set_body_string(r#"{"error":"temporarily_unavailable"}"#)
            .insert_header("retry-after", "7");
        let error = failure(answer).await;
        let SourceError::Unavailable {
            source,
            retry_after,
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
        assert!(source.to_string().contains(&status.to_string()), "{source}");
    }
}

/// What the cache is told of the endpoint's `Retry-After`, given the headers.
async fn retry_after(headers: &[(&str, &str)]) -> Option<Duration> {
    let mut answer = ResponseTemplate::new(503);
    for (name, value) in headers {
        answer = answer.insert_header(*name, *value);
    }
    match failure(answer).await {
        SourceError::Unavailable { retry_after, .. } => retry_after,
        error @ SourceError::Rejected { .. } => panic!("{error}"),
    }
}

#[tokio::test]
async fn retry_after_may_be_a_date_on_the_clock_of_the_endpoint() {
    let date = ("date", "Thu, 01 Jan 2015 07:28:00 GMT");
    for (moment, wait) in [
        ("Thu, 01 Jan 2015 07:28:20 GMT", Some(20)),
        ("Thursday, 01-Jan-15 07:29:00 GMT", Some(60)),
        ("Thu Jan  1 07:28:05 2015", Some(5)),
        ("Thu, 01 Jan 2015 07:27:00 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
    ] {
        let wait = wait.map(Duration::from_secs);
        assert_eq!(
            retry_after(&[date, ("retry-after", moment)]).await,
            wait,
            "{moment}"
        );
    }
    assert_eq!(retry_after(&[date]).await, None);
}

#[tokio::test]
async fn retry_after_without_a_date_of_the_answer_counts_from_now() {
    let past = retry_after(&[("retry-after", "Thu, 01 Jan 2015 07:28:20 GMT")]).await;
    assert_eq!(past, Some(Duration::ZERO));
    let moment = httpdate::fmt_http_date(SystemTime::now() + Duration::from_mins(10));
    let wait = retry_after(&[("retry-after", &moment)]).await.unwrap();
    assert!((595..=600).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn answers_that_are_no_token_are_failures_that_quote_nothing() {
    let bodies = [
        "",
        "<html>s3cret</html>",
        "[]",
        r#"{"access_token":"s3cret"}"#,
        r#"{"access_token":"s3cret","token_type":"mac"}"#,
        r#"{"access_token":["s3cret"],"token_type":"Bearer"}"#,
        r#"{"access_token":"","token_type":"Bearer"}"#,
        r#"{"access_token":"s3cret with\nbreak","token_type":"Bearer"}"#,
    ];
    for body in bodies {
        let error = failure(ResponseTemplate::new(200).set_body_string(body)).await;
        assert!(
            matches!(error, SourceError::Unavailable { .. }),
            "{body}: {error}"
        );
        assert!(
            !format!("{error} {error:?}").contains("s3cret"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn endless_answer_is_cut_off() {
    let error = failure(ResponseTemplate::new(200).set_body_bytes(vec![b' '; 2 << 20])).await;
    assert_eq!(error.to_string(), "the answer is too long");
}

#[tokio::test]
async fn lifetimes_are_read_leniently() {
    for (json, seconds) in [
        (r#""expires_in":300"#, Some(300)),
        (r#""expires_in":"300""#, Some(300)),
        (r#""expires_in":-5"#, Some(0)),
        (r#""expires_in":1e300"#, Some(u64::MAX)),
        (r#""expires_in":null"#, None),
        (r#""expires_in":"soon""#, None),
        (r#""x":1"#, None),
    ] {
        let body = format!(r#"{{"access_token":"abc","token_type":"bearer",{json}}}"#);
        let (_server, config) = endpoint(ResponseTemplate::new(200).set_body_string(body)).await;
        let response = OAuthSource::new(config).unwrap().fetch().await.unwrap();
        assert_eq!(
            response.expires_in.map(|lifetime| lifetime.as_secs()),
            seconds,
            "{json}"
        );
    }
}

#[tokio::test]
async fn redirect_of_the_token_endpoint_is_not_followed() {
    let (server, config) =
        endpoint(ResponseTemplate::new(307).insert_header("location", "/elsewhere")).await;
    let error = fetch(config).await.unwrap_err();
    assert!(error.to_string().contains("307"), "{error}");
    assert_eq!(requests(&server).await.len(), 1);
}

#[tokio::test]
async fn unreachable_endpoint_is_named_by_its_innermost_cause() {
    let vacant = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint: Url = format!("http://{vacant}/token").parse().unwrap();
    let config = Config::client_credentials(endpoint, "me", Secret::value(SECRET));
    let error = fetch(config).await.unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

// === Discovery ===

async fn discovery(issuer: impl Fn(&MockServer) -> String) -> (MockServer, Config) {
    let (server, mut config) = endpoint(token()).await;
    let metadata = serde_json::json!({
        "issuer": issuer(&server),
        "token_endpoint": url(&server, "/token"),
    });
    Mock::given(method("GET"))
        .and(path("/realms/r/.well-known/openid-configuration"))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(&server)
        .await;
    config.endpoint = Endpoint::Issuer(format!("{}/realms/r", server.uri()));
    (server, config)
}

#[tokio::test]
async fn token_endpoint_is_discovered_once() {
    let (server, config) = discovery(|server| format!("{}/realms/r", server.uri())).await;
    let source = OAuthSource::new(config).unwrap();
    source.fetch().await.unwrap();
    source.fetch().await.unwrap();
    let methods: Vec<_> = requests(&server)
        .await
        .iter()
        .map(|request| request.method.to_string())
        .collect();
    assert_eq!(methods, ["GET", "POST", "POST"]);
}

#[tokio::test]
async fn discovery_is_tried_again_and_its_retry_after_heeded() {
    let (server, config) = discovery(|server| format!("{}/realms/r", server.uri())).await;
    let source = OAuthSource::new(config).unwrap();
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(503).insert_header("retry-after", "7"))
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&server)
        .await;
    let error = source.fetch().await.unwrap_err();
    let SourceError::Unavailable { retry_after, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
    source.fetch().await.unwrap();
}

#[tokio::test]
async fn metadata_of_another_issuer_is_refused_and_no_secret_is_sent() {
    for other in ["http://evil/realms/r", "/realms/r/", "/realms/R"] {
        let (server, config) = discovery(|server| match other.strip_prefix('/') {
            Some(path) => format!("{}/{path}", server.uri()),
            None => other.to_owned(),
        })
        .await;
        let error = fetch(config).await.unwrap_err().to_string();
        assert!(error.contains("speaks of the issuer"), "{error}");
        assert_eq!(
            requests(&server).await.len(),
            1,
            "only the metadata may be asked for"
        );
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn https_without_tls_is_refused_at_once() {
    let endpoint: Url = "https://keycloak/token".parse().unwrap();
    let config = Config::client_credentials(endpoint, "me", Secret::value(SECRET));
    let error = OAuthSource::new(config).unwrap_err();
    assert!(matches!(error, token_client::ConfigError::NoTls { .. }));
    assert!(error.to_string().contains("`tls` feature"), "{error}");
}

// === Secrecy ===

#[tokio::test]
async fn debug_output_never_contains_the_secret_or_the_token() {
    let (_server, mut config) = endpoint(token()).await;
    config.grant = Grant::Password {
        username: "user".to_owned(),
        password: Secret::value(SECRET),
    };
    let source = OAuthSource::new(config.clone()).unwrap();
    let response = source.fetch().await.unwrap();
    let text = format!("{config:?} {source:?} {response:?}");
    assert!(!text.contains("s3cret") && !text.contains("abc"), "{text}");
}

// === Signed assertions ===

mod private_key_jwt {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use jsonwebtoken::{DecodingKey, Validation};
    use token_client::{Algorithm, SigningKey};

    use super::*;

    fn pem(der: &[u8]) -> String {
        use base64::{Engine, prelude::BASE64_STANDARD};
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(der)
        )
    }

    #[tokio::test]
    async fn assertion_is_signed_with_the_clients_key_for_the_token_endpoint() {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (server, mut config) = endpoint(token()).await;
        config.auth = ClientAuth::PrivateKeyJwt(SigningKey {
            pem: Secret::value(pem(key.to_pkcs8v1().unwrap().as_ref())),
            algorithm: Algorithm::ES256,
            key_id: Some("k1".to_owned()),
        });
        let source = OAuthSource::new(config).unwrap();
        let mut ids = BTreeSet::new();
        for _ in 0..2 {
            source.fetch().await.unwrap();
            let form = form(&server).await;
            let get = |name| &form.iter().find(|(key, _)| key == name).unwrap().1;
            assert_eq!(get("client_id"), "me");
            assert_eq!(
                get("client_assertion_type"),
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            );
            let mut validation = Validation::new(Algorithm::ES256);
            validation.set_audience(&[url(&server, "/token")]);
            validation.set_issuer(&["me"]);
            validation.sub = Some("me".to_owned());
            let public = DecodingKey::from_ec_der(key.public_key().as_ref());
            let assertion: jsonwebtoken::TokenData<serde_json::Value> =
                jsonwebtoken::decode(get("client_assertion"), &public, &validation).unwrap();
            assert_eq!(assertion.header.kid.as_deref(), Some("k1"));
            ids.insert(assertion.claims["jti"].to_string());
        }
        assert_eq!(ids.len(), 2, "each assertion must have an id of its own");
    }

    #[tokio::test]
    async fn key_that_is_none_is_a_clear_error() {
        let (_server, mut config) = endpoint(token()).await;
        config.auth = ClientAuth::PrivateKeyJwt(SigningKey {
            pem: Secret::value("s3cret"),
            algorithm: Algorithm::RS256,
            key_id: None,
        });
        let error = fetch(config).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot sign with the client's key"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}
