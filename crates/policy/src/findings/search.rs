//! Looks for the mistakes.

use serde_json::{Map, Value};

use crate::explain::{Evidence, Question, Verdict};
use crate::jwt::Status;
use crate::matcher::{Leaf, Pattern, claim};
use crate::parse::{Resource, ServicePort};
use crate::rbac::{self, Condition};
use crate::request::{Peer, Token};
use crate::select::{Effective, is_subset};
use crate::source::Location;
use crate::types::{Action, AuthorizationPolicy, WorkloadSelector};

use super::identity;
use super::{
    ANY_AUDIENCE, AUDIENCE, CLOCK, Finding, HOST_PORT, ISSUER_DIFFERS, ISSUER_UNKNOWN, KEYS,
    NESTED_ROLES, NO_AUTHENTICATION, NO_IDENTITY, NO_SUBJECT, NOT_A_STRING, SATISFIED_BY_NOTHING,
    SELECTS_NOTHING, SERVICE_ACCOUNT_EMAIL, STAR, TARGET_REFS, TCP_PORT, TOKEN_NOT_FOUND,
    TOKEN_REMOVED,
};

pub(crate) fn find(
    question: &Question<'_>,
    effective: &Effective<'_>,
    evidence: &Evidence,
    missed: &[Condition],
    verdict: Verdict,
) -> Vec<Finding> {
    let mut search = Search {
        question,
        effective,
        evidence,
        missed,
        found: Vec::new(),
    };
    search.token();
    search.missed();
    search.policies();
    search.resources();
    let lets_in = verdict != Verdict::Refused;
    for finding in identity::find(effective, lets_in) {
        search.say(finding);
    }
    search.found
}

struct Search<'a> {
    question: &'a Question<'a>,
    effective: &'a Effective<'a>,
    evidence: &'a Evidence,
    missed: &'a [Condition],
    found: Vec<Finding>,
}

/// The two sides on which a mistake can be put right.
#[derive(Default)]
struct Fix {
    keycloak: Option<String>,
    istio: Option<String>,
}

impl Fix {
    fn keycloak(text: impl Into<String>) -> Self {
        Self {
            keycloak: Some(text.into()),
            istio: None,
        }
    }

    fn istio(text: impl Into<String>) -> Self {
        Self {
            keycloak: None,
            istio: Some(text.into()),
        }
    }

    fn or_istio(self, text: impl Into<String>) -> Self {
        Self {
            istio: Some(text.into()),
            ..self
        }
    }
}

impl Search<'_> {
    fn add(
        &mut self,
        (code, title): (&'static str, &'static str),
        location: Option<Location>,
        message: impl Into<String>,
        fix: Fix,
    ) {
        let finding = Finding {
            code,
            title,
            message: message.into(),
            keycloak: fix.keycloak,
            istio: fix.istio,
            location,
        };
        self.say(finding);
    }

    /// What is the same word for word is said once.
    fn say(&mut self, finding: Finding) {
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    /// What the refusal of a token shows.
    fn token(&mut self) {
        let payload = self.evidence.payload.as_ref();
        let text = |name: &str| {
            payload
                .and_then(|claims| claims.get(name))
                .and_then(Value::as_str)
        };
        match self.evidence.status {
            Some(Status::UnknownIssuer) => {
                let issuer = text("iss").unwrap_or_default().to_owned();
                let rules = self.effective.jwt_rules();
                let alike = rules.iter().find(|rule| alike(&rule.issuer, &issuer));
                if let Some(rule) = alike {
                    let message = format!(
                        "the token's issuer is `{issuer}`, the RequestAuthentication's `{}`; \
                         they are compared byte for byte",
                        rule.issuer
                    );
                    let fix = Fix::keycloak(format!(
                        "set KC_HOSTNAME to the full URL, so that every token has `{}`",
                        rule.issuer
                    ));
                    self.add(
                        ISSUER_DIFFERS,
                        None,
                        message,
                        fix.or_istio(format!("write `issuer: {issuer}`")),
                    );
                }
            }
            Some(Status::AudienceNotAllowed) => self.audience(payload),
            Some(Status::Expired | Status::NotYetValid) => self.add(
                CLOCK,
                None,
                "exp and nbf may be off by 60 seconds, and Istio has no setting for more",
                Fix::keycloak("fetch a new token, or lengthen the client's access token lifespan")
                    .or_istio("compare the clocks of Keycloak and the node"),
            ),
            Some(Status::NoMatchingKey | Status::VerificationFails) => {
                let message = match &self.evidence.key_ids {
                    Some((kid, ids)) if !ids.contains(kid) => format!(
                        "the token's key id is `{kid}`; the issuer's key set has `{}`",
                        ids.join("`, `")
                    ),
                    _ => "no key of the issuer made this signature".to_owned(),
                };
                self.add(
                    KEYS,
                    None,
                    message,
                    Fix::keycloak("fetch a new token if the realm's keys were changed").or_istio(
                        "istiod reads keys every 20 minutes and puts in a key that fits nothing \
                         while it cannot: let Keycloak answer first, then change the \
                         RequestAuthentication's spec so that istiod reads again",
                    ),
                );
            }
            _ => {}
        }
        let request = self.question.request;
        let sent = matches!(self.question.token, Token::Bearer(_))
            || request.header("authorization").next().is_some();
        if !self.evidence.token_found && sent && !self.effective.jwt_rules().is_empty() {
            let default = self.effective.jwt_rules().iter().any(|rule| {
                rule.from_headers.is_empty()
                    && rule.from_params.is_empty()
                    && rule.from_cookies.is_empty()
            });
            let message = if default {
                "the Authorization header does not have `Bearer ` with a capital B and a space, \
                 so the request counts as one without a token"
            } else {
                "fromHeaders, fromParams or fromCookies replace the Authorization header, so a \
                 token there is not seen"
            };
            self.add(
                TOKEN_NOT_FOUND,
                None,
                message,
                Fix::istio("send the token where the rule looks, or name the place in fromHeaders"),
            );
        }
    }

    fn audience(&mut self, payload: Option<&Map<String, Value>>) {
        let rules = self.effective.jwt_rules();
        let wanted: Vec<_> = rules
            .iter()
            .flat_map(|rule| &rule.audiences)
            .cloned()
            .collect();
        let had = match payload.and_then(|claims| claims.get("aud")) {
            None => "the token has no `aud`".to_owned(),
            Some(had) => format!("the token's `aud` is {had}"),
        };
        let wanted = wanted.join("` or `");
        self.add(
            AUDIENCE,
            None,
            format!("{had}, wanted is `{wanted}`"),
            Fix::keycloak(format!(
                "give the client that fetches the token an audience mapper for `{wanted}` \
                 (client scope, mapper type oidc-audience-mapper)"
            ))
            .or_istio("name the audience that the tokens really have in `audiences`"),
        );
    }

    /// What the nearest rule did not get.
    fn missed(&mut self) {
        let Some(payload) = self.evidence.payload.clone() else {
            self.missed_identity();
            return;
        };
        for condition in self.missed.iter().filter(|condition| !condition.negated) {
            for leaf in &condition.any_of {
                match leaf {
                    Leaf::Claim { path, .. } => self.missed_claim(&payload, path, condition),
                    Leaf::RequestPrincipal { .. } if !payload.contains_key("sub") => self.add(
                        NO_SUBJECT,
                        None,
                        "requestPrincipals compare issuer and subject, and the token has no `sub`",
                        Fix::keycloak(
                            "add the client scope `basic`, which holds `sub` since Keycloak 25, to \
                             the client's default scopes",
                        )
                        .or_istio("ask for other claims: request.auth.claims[azp]"),
                    ),
                    _ => {}
                }
            }
        }
        self.missed_identity();
    }

    fn missed_claim(
        &mut self,
        payload: &Map<String, Value>,
        path: &[String],
        condition: &Condition,
    ) {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let value = claim(payload, path);
        let service_account = payload
            .get("preferred_username")
            .and_then(Value::as_str)
            .is_some_and(|name| name.starts_with("service-account-"))
            || payload.contains_key("client_id")
            || payload.contains_key("clientHost");
        match (&names[..], value) {
            (["email"], None) if service_account => self.add(
                SERVICE_ACCOUNT_EMAIL,
                None,
                "the token is a client's own (client_credentials): service accounts have no email, \
                 and the scope `email` does not give them one",
                Fix::keycloak(
                    "give the service account's user an email, if it really is to have one",
                )
                .or_istio("allow the client by request.auth.claims[azp] in a rule of its own"),
            ),
            (["aud"], _) => {
                let had = value.map_or("no `aud`".to_owned(), |had| format!("`aud` {had}"));
                let wanted = condition.values.join("` or `");
                self.add(
                    AUDIENCE,
                    None,
                    format!("the token has {had}, the rule wants `{wanted}`"),
                    Fix::keycloak(format!(
                        "give the client that fetches the token an audience mapper for `{wanted}`"
                    )),
                );
            }
            (["iss"], Some(Value::String(had))) => {
                if let Some(wanted) = condition.values.iter().find(|wanted| alike(wanted, had)) {
                    self.add(
                        ISSUER_DIFFERS,
                        None,
                        format!("the token's issuer is `{had}`, the rule wants `{wanted}`"),
                        Fix::istio(format!("write `{had}` in the rule")),
                    );
                }
            }
            ([name], None) if nested(payload, name).is_some() => {
                let place = nested(payload, name).unwrap_or_default();
                self.add(
                    NESTED_ROLES,
                    None,
                    format!("the token has no top-level `{name}`, but {place}"),
                    Fix::keycloak(format!(
                        "add a role mapper whose token claim name is `{name}`"
                    ))
                    .or_istio(format!("ask for request.auth.claims{place}")),
                );
            }
            (_, Some(value)) if !matches!(value, Value::String(_) | Value::Array(_)) => self.add(
                NOT_A_STRING,
                None,
                format!(
                    "claim {} is {}; only strings and lists of strings can match",
                    names.join(" > "),
                    kind(value)
                ),
                Fix::keycloak("set the mapper's claim JSON type to String")
                    .or_istio("ask for a field inside it: request.auth.claims[a][b]"),
            ),
            _ => {}
        }
    }

    fn missed_identity(&mut self) {
        let request = self.question.request;
        for condition in self.missed.iter().filter(|condition| !condition.negated) {
            for leaf in &condition.any_of {
                match leaf {
                    Leaf::Authenticated(_) if request.peer == Peer::Plaintext => self.add(
                        NO_IDENTITY,
                        None,
                        format!("{} need mTLS, and the caller has no certificate", condition.attribute),
                        Fix::istio("give the caller a sidecar, and make mTLS STRICT so that it shows early"),
                    ),
                    Leaf::Header { name, .. } if name == ":authority" => self.host(condition),
                    _ => {}
                }
            }
        }
    }

    fn host(&mut self, condition: &Condition) {
        let Some((bare, port)) = self
            .question
            .request
            .host
            .as_deref()
            .and_then(|host| host.rsplit_once(':'))
        else {
            return;
        };
        if condition
            .values
            .iter()
            .any(|value| value.eq_ignore_ascii_case(bare))
        {
            self.add(
                HOST_PORT,
                None,
                format!(
                    "the Host header is `{bare}:{port}`, and hosts are compared with their port"
                ),
                Fix::istio(format!("write both `{bare}` and `{bare}:*`")),
            );
        }
    }

    /// What the workload's own policies show, whatever the request.
    fn policies(&mut self) {
        let jwt_rules = self.effective.jwt_rules();
        for policy in &self.effective.policies {
            let action = policy.spec.action;
            let rules = rbac::build(self.question.mesh, &[policy], action, false);
            let all: Vec<_> = rules
                .into_iter()
                .flat_map(|rbac| rbac.rules.into_iter().chain(rbac.shadow))
                .flatten()
                .map(|(_, rule)| rule)
                .collect();
            let asks_token = |condition: &Condition| {
                let about = |leaf: &Leaf| {
                    matches!(leaf, Leaf::Claim { .. } | Leaf::RequestPrincipal { .. })
                };
                condition.any_of.iter().any(about)
            };
            for rule in &all {
                let about_tokens: Vec<_> =
                    rule.conditions().filter(|one| asks_token(one)).collect();
                if let (Some(first), true) = (about_tokens.first(), jwt_rules.is_empty()) {
                    self.add(
                        NO_AUTHENTICATION,
                        Some(policy.origin.locate(&first.path)),
                        format!(
                            "policy {} asks for {}, but no RequestAuthentication applies to the \
                             workload, so no token is ever verified and no claim is ever there",
                            policy.id(),
                            first.attribute
                        ),
                        Fix::istio(
                            "add a RequestAuthentication with the issuer for the same workload",
                        ),
                    );
                }
                let only_negative =
                    !about_tokens.is_empty() && about_tokens.iter().all(|one| one.negated);
                if let (true, Action::Allow, Some(first)) =
                    (only_negative, action, about_tokens.first())
                {
                    self.add(
                        SATISFIED_BY_NOTHING,
                        Some(policy.origin.locate(&first.path)),
                        format!(
                            "{} is satisfied by a request without any token",
                            first.attribute
                        ),
                        Fix::istio("ask for a token, too: requestPrincipals: [\"*\"]"),
                    );
                }
                for condition in rule.conditions() {
                    self.condition(policy, condition);
                }
            }
            self.stars(policy);
        }
    }

    fn condition(&mut self, policy: &Resource<AuthorizationPolicy>, condition: &Condition) {
        let rules = self.effective.jwt_rules();
        let location = Some(policy.origin.locate(&condition.path));
        for leaf in &condition.any_of {
            let wanted: Vec<&str> = match leaf {
                Leaf::Claim { path, values } if path[..] == ["iss"] => values
                    .iter()
                    .filter_map(|one| exact(&one.pattern))
                    .collect(),
                Leaf::RequestPrincipal { issuer, .. } => {
                    exact(&issuer.pattern).into_iter().collect()
                }
                Leaf::Header { name, .. } if name.eq_ignore_ascii_case("authorization") => {
                    let removed = |rule: &&crate::types::JwtRule| !rule.forward_original_token;
                    if rules.iter().any(removed) {
                        self.add(
                            TOKEN_REMOVED,
                            location.clone(),
                            "jwt_authn takes the Authorization header away once the token is \
                             verified, so this condition sees none",
                            Fix::istio("set forwardOriginalToken: true, or ask for claims instead"),
                        );
                    }
                    continue;
                }
                _ => continue,
            };
            for issuer in wanted {
                if rules.is_empty() || rules.iter().any(|rule| rule.issuer == issuer) {
                    continue;
                }
                match rules.iter().find(|rule| alike(&rule.issuer, issuer)) {
                    Some(rule) => self.add(
                        ISSUER_DIFFERS,
                        location.clone(),
                        format!(
                            "the policy wants issuer `{issuer}`, tokens are verified for `{}`; \
                             they are compared byte for byte",
                            rule.issuer
                        ),
                        Fix::istio(format!("write `{}`", rule.issuer)),
                    ),
                    None => self.add(
                        ISSUER_UNKNOWN,
                        location.clone(),
                        format!(
                            "no RequestAuthentication of the workload verifies issuer `{issuer}`"
                        ),
                        Fix::istio("add a jwtRule for it, or take the value out"),
                    ),
                }
            }
        }
    }

    fn stars(&mut self, policy: &Resource<AuthorizationPolicy>) {
        for (index, rule) in policy.spec.rules.iter().enumerate() {
            let mut principals: Vec<(String, &Vec<String>)> = Vec::new();
            let mut plain: Vec<(String, &Vec<String>)> = Vec::new();
            for (at, from) in rule.from.iter().enumerate() {
                let Some(source) = &from.source else { continue };
                let path = format!("spec.rules[{index}].from[{at}].source");
                principals.push((
                    format!("{path}.requestPrincipals"),
                    &source.request_principals,
                ));
                principals.push((
                    format!("{path}.notRequestPrincipals"),
                    &source.not_request_principals,
                ));
                plain.push((format!("{path}.principals"), &source.principals));
                plain.push((format!("{path}.notPrincipals"), &source.not_principals));
            }
            for (at, to) in rule.to.iter().enumerate() {
                let Some(operation) = &to.operation else {
                    continue;
                };
                let path = format!("spec.rules[{index}].to[{at}].operation");
                for (name, values) in [
                    ("hosts", &operation.hosts),
                    ("notHosts", &operation.not_hosts),
                    ("methods", &operation.methods),
                    ("paths", &operation.paths),
                    ("notPaths", &operation.not_paths),
                ] {
                    plain.push((format!("{path}.{name}"), values));
                }
            }
            for (at, when) in rule.when.iter().enumerate() {
                let path = format!("spec.rules[{index}].when[{at}]");
                let list = match when.key.as_str() {
                    "request.auth.principal" => &mut principals,
                    key if key.starts_with("request.") || key == "source.principal" => &mut plain,
                    _ => continue,
                };
                list.push((format!("{path}.values"), &when.values));
                list.push((format!("{path}.notValues"), &when.not_values));
            }
            for (path, values) in principals {
                for (at, value) in values.iter().enumerate() {
                    if let Some(meaning) = principal_trap(value) {
                        let place = policy.origin.locate(&format!("{path}[{at}]"));
                        self.add(
                            STAR,
                            Some(place),
                            format!("`{value}` means {meaning}"),
                            Fix::istio(
                                "write ISSUER/* for every subject of one issuer, or match \
                             request.auth.claims[iss] and [sub] apart",
                            ),
                        );
                    }
                }
            }
            for (path, values) in plain {
                for (at, value) in values.iter().enumerate() {
                    let inner = value
                        .strip_prefix('*')
                        .or_else(|| value.strip_suffix('*'))
                        .unwrap_or(value);
                    if inner.contains('*') && !crate::template::is_template(value) {
                        let place = policy.origin.locate(&format!("{path}[{at}]"));
                        let message = format!(
                            "in `{value}`, a `*` that is neither first nor last is just a star"
                        );
                        let fix = if path.contains("aths") {
                            "write {*} for one segment of a path"
                        } else {
                            "use one `*`, at the beginning or at the end"
                        };
                        self.add(STAR, Some(place), message, Fix::istio(fix));
                    }
                }
            }
        }
    }

    /// What stands in the manifests around them.
    fn resources(&mut self) {
        self.any_audience();
        self.tcp_ports();
        let manifests = self.question.manifests;
        for policy in &manifests.authorization_policies {
            let targets = !policy.spec.target_refs.is_empty() || policy.spec.target_ref.is_some();
            self.reach(
                "AuthorizationPolicy",
                policy,
                policy.spec.selector.as_ref(),
                targets,
            );
        }
        for resource in &manifests.request_authentications {
            let targets =
                !resource.spec.target_refs.is_empty() || resource.spec.target_ref.is_some();
            self.reach(
                "RequestAuthentication",
                resource,
                resource.spec.selector.as_ref(),
                targets,
            );
        }
        for resource in &manifests.peer_authentications {
            self.reach(
                "PeerAuthentication",
                resource,
                resource.spec.selector.as_ref(),
                false,
            );
        }
        for resource in &manifests.traffic_extensions {
            let targets = !resource.spec.target_refs.is_empty();
            self.reach(
                "TrafficExtension",
                resource,
                resource.spec.selector.as_ref(),
                targets,
            );
        }
    }

    fn any_audience(&mut self) {
        for resource in self.effective.request_authentications.clone() {
            for (index, rule) in resource.spec.jwt_rules.iter().enumerate() {
                if rule.audiences.is_empty() {
                    self.add(
                        ANY_AUDIENCE,
                        Some(resource.origin.locate(&format!("spec.jwtRules[{index}]"))),
                        format!(
                            "RequestAuthentication {} accepts every token of `{}`, whichever \
                             service it was made for",
                            resource.id(),
                            rule.issuer
                        ),
                        Fix::istio("set `audiences`"),
                    );
                }
            }
        }
    }

    fn tcp_ports(&mut self) {
        let http_only = self.effective.policies.iter().any(|policy| {
            let count = |tcp| {
                rbac::build(self.question.mesh, &[policy], policy.spec.action, tcp)
                    .and_then(|rbac| rbac.rules)
                    .map(|rules| {
                        rules
                            .values()
                            .map(|rule| rule.conditions().count())
                            .sum::<usize>()
                    })
            };
            count(false) != count(true)
        });
        if !http_only {
            return;
        }
        let workload = self.question.workload;
        for service in &self.question.manifests.services {
            let selected = service.namespace == workload.namespace
                && !service.selector.is_empty()
                && service
                    .selector
                    .iter()
                    .all(|(key, value)| workload.labels.get(key) == Some(value));
            if !selected {
                continue;
            }
            for port in service.ports.iter().filter(|port| !may_be_http(port)) {
                self.add(
                    TCP_PORT,
                    Some(service.location.clone()),
                    format!(
                        "port {} of Service {}/{} is not HTTP to Istio: there, ALLOW rules with \
                         HTTP attributes are dropped and DENY rules apply without them",
                        port.port, service.namespace, service.name
                    ),
                    Fix::istio("name the port http-…, or set appProtocol: http"),
                );
            }
        }
    }

    fn reach<T>(
        &mut self,
        kind: &str,
        resource: &Resource<T>,
        selector: Option<&WorkloadSelector>,
        targets: bool,
    ) {
        let gateway = self
            .question
            .workload
            .labels
            .contains_key("gateway.networking.k8s.io/gateway-name");
        if targets && !gateway {
            self.add(
                TARGET_REFS,
                Some(resource.origin.locate("spec.targetRefs")),
                format!(
                    "{kind} {} has targetRefs: sidecars ignore it altogether",
                    resource.id()
                ),
                Fix::istio(
                    "use `selector` for sidecars; targetRefs are for gateways and waypoints",
                ),
            );
            return;
        }
        let root = resource.meta.namespace == self.question.mesh.root_namespace;
        let reaches = |namespace: &str, labels: &std::collections::BTreeMap<String, String>| {
            (root || namespace == resource.meta.namespace) && is_subset(selector, labels)
        };
        let workloads = &self.question.manifests.workloads;
        let known = workloads
            .iter()
            .any(|pods| root || pods.namespace == resource.meta.namespace);
        let asked = self.question.workload;
        let hit = workloads
            .iter()
            .any(|pods| reaches(&pods.namespace, &pods.labels))
            || reaches(&asked.namespace, &asked.labels);
        let selective = selector.is_some_and(|selector| !selector.match_labels.is_empty());
        if selective && !hit && (known || resource.meta.namespace == asked.namespace) {
            self.add(
                SELECTS_NOTHING,
                Some(resource.origin.locate("spec.selector.matchLabels")),
                format!("the selector of {kind} {} matches no workload given here", resource.id()),
                Fix::istio("compare it with the labels of the pods (not of the Deployment), and with their namespace"),
            );
        }
    }
}

fn exact(pattern: &Pattern) -> Option<&str> {
    match pattern {
        Pattern::Exact(text) => Some(text),
        _ => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
        Value::Null => "null",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::String(_) => "a string",
    }
}

/// Where Keycloak puts what a rule looks for at the top.
fn nested(payload: &Map<String, Value>, name: &str) -> Option<String> {
    if name != "roles" && name != "groups" {
        return None;
    }
    if payload
        .get("realm_access")
        .is_some_and(|access| access.get(name).is_some())
    {
        return Some(format!("[realm_access][{name}]"));
    }
    let clients = payload.get("resource_access")?.as_object()?;
    let (client, _) = clients
        .iter()
        .find(|(_, access)| access.get(name).is_some())?;
    Some(format!("[resource_access][{client}][{name}]"))
}

/// Two issuers that differ only by what people overlook.
fn alike(one: &str, other: &str) -> bool {
    fn bare(issuer: &str) -> String {
        let (scheme, rest) = issuer.split_once("://").unwrap_or(("", issuer));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match scheme {
            "http" => host.strip_suffix(":80").unwrap_or(host),
            "https" => host.strip_suffix(":443").unwrap_or(host),
            _ => host,
        };
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let path = path.strip_prefix("auth/").unwrap_or(path);
        format!(
            "{}/{}",
            host.to_ascii_lowercase(),
            path.trim_end_matches('/').to_ascii_lowercase()
        )
    }
    one != other && bare(one) == bare(other)
}

/// Traps of `ISSUER/SUBJECT` with a star.
fn principal_trap(value: &str) -> Option<String> {
    match value.rsplit_once('/') {
        Some((issuer, subject))
            if subject.len() > 1 && subject.ends_with('*') && !value.starts_with('*') =>
        {
            let start = &subject[..subject.len() - 1];
            Some(format!(
                "issuer `{issuer}` and a subject that begins with `{start}`"
            ))
        }
        Some((issuer, "*")) if issuer.starts_with('*') => {
            Some("a subject that is a star".to_owned())
        }
        Some((issuer, subject)) if issuer.len() > 1 && issuer.starts_with('*') => Some(format!(
            "an issuer that ends with `{}` and the subject `{subject}`",
            &issuer[1..]
        )),
        None if value.len() > 1 && value.starts_with('*') => Some(format!(
            "any issuer and a subject that ends with `{}`",
            &value[1..]
        )),
        None if !value.contains('*') => Some(format!("issuer `{value}` with an empty subject")),
        _ => None,
    }
}

/// Whether Istio takes, or may take, a port for HTTP.
fn may_be_http(port: &ServicePort) -> bool {
    let name = port
        .app_protocol
        .as_deref()
        .or(port.name.as_deref())
        .unwrap_or_default();
    let protocol = name
        .split('-')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    !matches!(
        protocol.as_str(),
        "tcp" | "tls" | "https" | "udp" | "mongo" | "mysql" | "redis"
    )
}
