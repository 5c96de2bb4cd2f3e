//! Tokens and questions for the tests.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use policy::{
    Explanation, Finding, KeySets, Manifests, Mesh, Peer, Question, Request, Token, Verdict,
    Workload, explain,
};
use secrecy::SecretString;
use serde_json::{Value, json};

pub const ISSUER: &str = "http://keycloak.keycloak.svc.cluster.local/realms/myrealm";
pub const AUDIENCE: &str = "my-backend-client";
pub const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret that only the tests know";

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

/// A token with an HMAC signature over exactly these two sections.
pub fn sign(header: &str, payload: &str) -> String {
    let signed = format!("{header}.{payload}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    format!("{signed}.{}", base64(hmac::sign(&key, signed.as_bytes())))
}

pub fn token_with(header: &Value, claims: &Value) -> String {
    sign(&base64(header.to_string()), &base64(claims.to_string()))
}

pub fn token(claims: &Value) -> String {
    token_with(&json!({"alg": "HS256", "kid": "k1"}), claims)
}

/// The claims of the demo's user, with changes; null takes a claim away.
pub fn user(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "f3b1",
        "azp": "frontend",
        "email": "user@example.com",
        "exp": NOW + 300,
        "iat": NOW,
    });
    for (name, value) in changes.as_object().expect("changes are an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// The claims of the demo's frontend, which has fetched a token for itself.
pub fn service_account() -> Value {
    user(&json!({
        "email": null,
        "aud": ["my-backend-client", "account"],
        "preferred_username": "service-account-frontend",
        "client_id": "frontend",
    }))
}

pub fn jwk(kid: &str) -> Value {
    json!({"kty": "oct", "kid": kid, "k": base64(SECRET)})
}

pub fn keys() -> KeySets {
    KeySets::from([(ISSUER.to_owned(), json!({"keys": [jwk("k1")]}).to_string())])
}

/// One question, with a default for everything.
pub struct Ask {
    pub yaml: String,
    pub request: Request,
    pub token: Token,
    pub keys: KeySets,
    pub mesh: Mesh,
    pub now: u64,
}

impl Ask {
    pub fn new(yaml: &str) -> Self {
        let mut request = Request::new("GET", "/data");
        request.host = Some("backend.demo".to_owned());
        request.port = Some(8080);
        request.peer = Peer::mtls("cluster.local/ns/demo/sa/caller");
        request.source_ip = Some([10, 1, 2, 3].into());
        request.remote_ip = Some([203, 0, 113, 7].into());
        request.destination_ip = Some([10, 9, 9, 9].into());
        request.sni = Some("backend.example.com".to_owned());
        Self {
            yaml: yaml.to_owned(),
            request,
            token: Token::None,
            keys: keys(),
            mesh: Mesh::default(),
            now: NOW,
        }
    }

    /// The demo's manifests, asked by the frontend's pod.
    pub fn demo() -> Self {
        Self::new(&demo()).request(|request| {
            request.peer = Peer::mtls("cluster.local/ns/demo/sa/frontend");
        })
    }

    pub fn token(self, token: &str) -> Self {
        Self {
            token: Token::Bearer(SecretString::from(token)),
            ..self
        }
    }

    pub fn claims(self, claims: &Value) -> Self {
        self.token(&token(claims))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request
            .headers
            .push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn request(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.request);
        self
    }

    pub fn explain(&self) -> Explanation {
        let manifests = Manifests::parse("policy.yaml", &self.yaml).expect("valid manifests");
        explain(&Question {
            mesh: &self.mesh,
            manifests: &manifests,
            workload: &Workload::app("demo", "backend"),
            keys: &self.keys,
            request: &self.request,
            token: &self.token,
            now: self.now,
        })
    }

    pub fn allowed(&self) -> bool {
        let explanation = self.explain();
        assert_ne!(explanation.verdict, Verdict::Unknown, "{explanation:#?}");
        explanation.verdict == Verdict::Allowed
    }

    /// The first finding with a code.
    pub fn finding(&self, code: &str) -> Option<Finding> {
        let mut findings = self.explain().findings.into_iter();
        findings.find(|finding| finding.code == code)
    }

    pub fn shows(&self, code: &str) -> bool {
        self.finding(code).is_some()
    }

    /// Status, body and details of a refusal.
    pub fn refusal(&self) -> (u16, String, String) {
        let outcome = self.explain().outcome.expect("one outcome");
        assert!(!outcome.allowed, "{outcome:?}");
        (
            outcome.status.expect("a status"),
            outcome.body.expect("a body"),
            outcome.response_code_details.expect("details"),
        )
    }
}

/// The codes of the findings, except that the demo lets in by an email.
pub fn codes(explanation: &Explanation) -> Vec<&'static str> {
    let findings = explanation.findings.iter();
    let codes = findings.map(|finding| finding.code);
    codes.filter(|code| *code != "MO0022").collect()
}

pub fn request_authentication(fields: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: keycloak, namespace: demo}}
spec:
  jwtRules:
    - {{issuer: \"{ISSUER}\"{fields}}}
"
    )
}

pub fn policy(name: &str, action: &str, rules: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: demo}}
spec:
  action: {action}
  rules: {rules}
"
    )
}

/// A RequestAuthentication and an ALLOW policy with these rules.
pub fn allow(rules: &str) -> String {
    request_authentication("") + &policy("allow", "ALLOW", rules)
}

/// A mesh in small: one user and one service may read from a backend.
pub fn demo() -> String {
    include_str!("demo.yaml").to_owned()
}
