//! A request on its way through the filters.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::{Arrival, Check, Explanation, NearMiss, Outcome, Passed, Step, Verdict};
use super::{lua, near, reply};
use crate::findings::{self, Case, Evidence};
use crate::head::{self, Stop};
use crate::matcher::Tri;
use crate::parse::{Location, Resource};
use crate::question::Question;
use crate::rbac::{self, CompiledRule, Condition, Policies};
use crate::request::{Claims, Peer, Request, Token};
use crate::select::Effective;
use crate::types::{Action, MtlsMode, Phase, TrafficExtension};

/// Name of the outcome's filter where no filter was reached.
const CONNECTION: &str = "connection";
/// Envoy's HTTP connection manager.
const CONNECTION_MANAGER: &str = "http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";
const RBAC: &str = "envoy.filters.http.rbac";
const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";

/// A request on its way through the filters.
pub(super) struct Chain<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) effective: &'a Effective<'a>,
    /// The request as the filters so far have changed it.
    pub(super) request: Request,
    pub(super) claims: Claims,
    pub(super) possible: Vec<Outcome>,
    pub(super) missing: BTreeSet<String>,
    assumptions: Vec<String>,
    steps: Vec<Step>,
    nearest: Vec<NearMiss>,
    /// What the nearest rule asks for and did not get.
    missed: Vec<Condition>,
    /// Whether Envoy answers it as gRPC.
    is_grpc: bool,
    /// Why the token was refused or what it holds, for the findings.
    pub(super) evidence: Evidence,
}

/// Whether the next filter is reached.
#[derive(PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Stop,
}

impl<'a> Chain<'a> {
    pub(super) fn new(question: &'a Question<'a>, effective: &'a Effective<'a>) -> Self {
        Self {
            question,
            effective,
            request: question.request.clone(),
            claims: Claims::None,
            possible: Vec::new(),
            missing: BTreeSet::new(),
            assumptions: Vec::new(),
            steps: Vec::new(),
            nearest: Vec::new(),
            missed: Vec::new(),
            is_grpc: false,
            evidence: Evidence::default(),
        }
    }

    pub(super) fn run(&mut self) {
        let steps: [fn(&mut Self) -> Flow; 12] = [
            Self::load,
            Self::connection,
            Self::prepare,
            Self::custom,
            |chain| chain.extensions(Phase::Authn),
            Self::authenticate,
            |chain| chain.extensions(Phase::Authz),
            Self::deny,
            Self::allow,
            |chain| chain.extensions(Phase::Stats),
            |chain| chain.extensions(Phase::Unspecified),
            Self::route,
        ];
        if steps.iter().all(|step| step(self) == Flow::Continue) {
            self.possible.push(Outcome {
                allowed: true,
                // Whether a WebSocket comes about is the workload's to say.
                response_code_details: (!head::asks_for_websocket(&self.request))
                    .then(|| "via_upstream".to_owned()),
                filter: ROUTER.to_owned(),
                reason: "the request reaches the workload, which answers it".to_owned(),
                ..Outcome::default()
            });
        }
        for outcome in &mut self.possible {
            if self.is_grpc {
                reply::to_grpc(outcome);
            }
            if self.question.request.is_method("HEAD") {
                reply::to_head(outcome);
            }
        }
    }

    pub(super) fn finish(mut self) -> Explanation {
        self.note_interference();
        let allowed = self
            .possible
            .iter()
            .filter(|outcome| outcome.allowed)
            .count();
        let opaque = self.possible.iter().any(|outcome| outcome.filter == OPAQUE);
        let verdict = match allowed {
            _ if opaque => Verdict::Unknown,
            0 => Verdict::Refused,
            count if count == self.possible.len() => Verdict::Allowed,
            _ => Verdict::Unknown,
        };
        self.possible.dedup();
        let outcome = match &self.possible[..] {
            [only] if !opaque => Some(only.clone()),
            _ => None,
        };
        if outcome.is_some() {
            self.missing.clear();
        }
        let arrival = (verdict == Verdict::Allowed)
            .then(|| Arrival::new(self.effective, self.question.request, &self.request));
        let findings = findings::find(&Case {
            question: self.question,
            effective: self.effective,
            evidence: &self.evidence,
            missed: &self.missed,
            lets_in: verdict != Verdict::Refused,
        });
        Explanation {
            verdict,
            outcome,
            possible: self.possible,
            arrival,
            missing: self.missing.into_iter().collect(),
            assumptions: self.assumptions,
            steps: self.steps,
            nearest: self.nearest,
            findings,
        }
    }

    fn note_interference(&mut self) {
        self.assumptions
            .push("a header that is not listed is not sent".to_owned());
        for other in self
            .question
            .manifests
            .others
            .iter()
            .filter(|other| other.may_interfere)
        {
            self.assumptions.push(format!(
                "{} {} ({}) changes nothing that matters here; it is not modelled",
                other.kind, other.id, other.location
            ));
        }
    }

    pub(super) fn step(
        &mut self,
        filter: &str,
        passed: Passed,
        summary: impl Into<String>,
        checks: Vec<Check>,
    ) {
        self.steps.push(Step {
            filter: filter.to_owned(),
            passed,
            summary: summary.into(),
            checks,
        });
    }

    /// Before HTTP: does the port take this kind of connection?
    fn connection(&mut self) -> Flow {
        let mtls = &self.effective.mtls;
        let Some(mode) = mtls.of(self.request.port) else {
            self.missing
                .insert("port (its mTLS mode differs)".to_owned());
            self.step(
                CONNECTION,
                Passed::Unknown,
                "mTLS mode depends on the port",
                Vec::new(),
            );
            return Flow::Continue;
        };
        let by = mtls.from.as_deref().unwrap_or("Istio's default");
        let foreign = match &self.request.peer {
            Peer::Mtls(identity) => !self.question.mesh.trusts(identity),
            Peer::Plaintext | Peer::Unknown => false,
        };
        let refused = match (mode, &self.request.peer) {
            (MtlsMode::Strict, Peer::Plaintext) => "plain text, but only mTLS is accepted",
            (MtlsMode::Disable, Peer::Mtls(_)) => "mTLS, but only plain text is accepted",
            _ if foreign => "a certificate of a trust domain that is not the mesh's",
            (MtlsMode::Strict, Peer::Unknown) => {
                self.assumptions.push(format!(
                    "the caller has a certificate of the mesh (STRICT mTLS by {by})"
                ));
                ""
            }
            (MtlsMode::Disable, Peer::Unknown) => {
                self.request.peer = Peer::Plaintext;
                ""
            }
            _ => "",
        };
        let mode = format!("{mode:?}").to_uppercase();
        if refused.is_empty() {
            self.step(
                CONNECTION,
                Passed::Yes,
                format!("mTLS {mode} by {by}"),
                Vec::new(),
            );
            return Flow::Continue;
        }
        self.step(
            CONNECTION,
            Passed::No,
            format!("mTLS {mode} by {by}: {refused}"),
            Vec::new(),
        );
        self.possible.push(Outcome {
            // No HTTP was spoken; the listener has no filter chain for plain text.
            response_code_details: (mode == "STRICT" && self.request.peer == Peer::Plaintext)
                .then(|| "filter_chain_not_found".to_owned()),
            filter: CONNECTION.to_owned(),
            policy: mtls.from.clone().filter(|_| !foreign),
            reason: format!("the connection is closed: {refused}"),
            ..Outcome::default()
        });
        Flow::Stop
    }

    /// What the connection manager does to a request before any filter.
    fn prepare(&mut self) -> Flow {
        merge_headers(&mut self.request);
        if let Token::Bearer(token) = self.question.token {
            let value = format!("Bearer {}", token.expose_secret());
            self.request
                .headers
                .push(("authorization".to_owned(), value));
            merge_headers(&mut self.request);
        }
        let sent = self.request.path.clone();
        let read = head::read(&mut self.request, self.question.mesh.path_normalization);
        self.is_grpc = reply::is_grpc(&self.request);
        let refusal = match read {
            Ok(()) => {
                if let Some(path) = self
                    .request
                    .path
                    .as_ref()
                    .filter(|_| self.request.path != sent)
                {
                    let seen = path.split('?').next().unwrap_or_default();
                    let summary = format!("path becomes `{seen}`");
                    self.step(CONNECTION_MANAGER, Passed::Yes, summary, Vec::new());
                }
                return Flow::Continue;
            }
            Err(Stop::Open(reason)) => {
                self.missing.insert(reason.to_owned());
                self.step(CONNECTION_MANAGER, Passed::Unknown, reason, Vec::new());
                self.possible.push(unknown(reason));
                return Flow::Stop;
            }
            Err(Stop::Refused(refusal)) => refusal,
        };
        self.step(CONNECTION_MANAGER, Passed::No, refusal.reason, Vec::new());
        self.possible.push(Outcome {
            status: Some(refusal.status),
            body: Some(refusal.body.to_owned()),
            response_code_details: Some(refusal.details.to_owned()),
            filter: CONNECTION_MANAGER.to_owned(),
            reason: refusal.reason.to_owned(),
            ..Outcome::default()
        });
        Flow::Stop
    }

    /// What the router does not send on.
    fn route(&mut self) -> Flow {
        if self.request.is_connect() {
            return self.not_sent(Outcome {
                status: Some(404),
                response_code_details: Some("route_not_found".to_owned()),
                reason: "no route of a sidecar is for CONNECT".to_owned(),
                ..Outcome::default()
            });
        }
        let is_value = |value: &str| value.chars().all(|c| !c.is_ascii_control() || c == '\t');
        // The request could be read, so what no header can hold comes from a filter.
        let path = self.request.path.iter().map(|path| (":path", path));
        let headers = self.request.headers.iter();
        let mut all = path.chain(headers.map(|(name, value)| (name.as_str(), value)));
        let Some((name, _)) = all.find(|(_, value)| !is_value(value)) else {
            return Flow::Continue;
        };
        let text = format!("invalid header value for: {name}");
        self.not_sent(Outcome {
            status: Some(503),
            response_code_details: Some(format!(
                "filter_removed_required_request_headers{{{}}}",
                text.replace(' ', "_")
            )),
            reason: format!(
                "a claim, or a query written anew, puts a control character into `{name}`"
            ),
            body: Some(text),
            ..Outcome::default()
        })
    }

    fn not_sent(&mut self, outcome: Outcome) -> Flow {
        self.step(ROUTER, Passed::No, outcome.reason.clone(), Vec::new());
        self.possible.push(Outcome {
            body: outcome.body.or(Some(String::new())),
            filter: ROUTER.to_owned(),
            ..outcome
        });
        Flow::Stop
    }

    /// CUSTOM asks an external authorizer about matching requests, before any
    /// token is verified. What it says cannot be known here.
    fn custom(&mut self) -> Flow {
        let policies = &self.effective.policies;
        let Some(custom) = rbac::build(self.question.mesh, policies, Action::Custom, false) else {
            return Flow::Continue;
        };
        let all: Policies = custom
            .rules
            .into_iter()
            .chain(custom.shadow)
            .flatten()
            .collect();
        let found = rbac::first_match(&all, &self.request, &Claims::None);
        if found.holds == Tri::No {
            self.step(
                EXT_AUTHZ,
                Passed::Yes,
                "no CUSTOM policy matches",
                Vec::new(),
            );
            return Flow::Continue;
        }
        self.want_inputs(&all);
        let policy = found
            .name
            .and_then(|name| all.get(name))
            .map(|rule| rule.policy.clone());
        let reason =
            "a CUSTOM policy asks an external authorizer, whose answer manifests do not hold";
        self.step(EXT_AUTHZ, Passed::Unknown, reason, Vec::new());
        self.missing
            .insert("the external authorizer's answer".to_owned());
        self.assumptions
            .push("the external authorizer changes no header".to_owned());
        self.possible.push(Outcome {
            filter: EXT_AUTHZ.to_owned(),
            policy,
            ..unknown(reason)
        });
        Flow::Continue
    }

    fn extensions(&mut self, phase: Phase) -> Flow {
        for (extension, sees) in self.effective.inbound(phase, self.request.port) {
            if self.extension(extension, sees) == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::Continue
    }

    fn extension(&mut self, extension: &Resource<TrafficExtension>, sees: Option<bool>) -> Flow {
        let id = extension.id();
        let filter = format!("TrafficExtension {id}");
        let script = extension
            .spec
            .lua
            .as_ref()
            .map(|lua| lua::MissingTokenReply::read(&lua.inline_code));
        let Some(Some(reply)) = script else {
            let kind = if script.is_some() { "Lua" } else { "Wasm" };
            let reason = format!("{kind} extension {id} is not modelled");
            self.missing.insert(reason.clone());
            self.step(&filter, Passed::Unknown, reason.clone(), Vec::new());
            self.possible.push(Outcome {
                policy: Some(id),
                ..unknown(&reason)
            });
            return Flow::Stop;
        };

        let has_token = match self.claims {
            Claims::Verified(_) => Tri::Yes,
            Claims::None => Tri::No,
            Claims::Unknown => Tri::Unknown,
        };
        let passed = match sees {
            Some(_) => has_token,
            None => Tri::any([has_token, Tri::Unknown]),
        };
        let check = Check {
            what: "verified token".to_owned(),
            passed: passed.into(),
            wanted: "a token that jwt_authn verified (`Authorization: Bearer …`)".to_owned(),
            had: (passed == Tri::No).then(|| "none".to_owned()),
            location: Some(extension.origin.locate("spec.lua.inlineCode")),
        };
        if passed == Tri::Yes {
            self.step(
                &filter,
                Passed::Yes,
                "a verified token is there",
                vec![check],
            );
            return Flow::Continue;
        }
        self.step(
            &filter,
            passed.into(),
            "answers requests without a verified token",
            vec![check],
        );
        self.possible.push(Outcome {
            status: Some(reply.status),
            body: Some(reply.body),
            www_authenticate: reply.www_authenticate,
            response_code_details: Some("lua_response".to_owned()),
            filter,
            policy: Some(id),
            reason: "the request has no verified token".to_owned(),
            ..Outcome::default()
        });
        if passed == Tri::No {
            return Flow::Stop;
        }
        if sees.is_none() {
            self.missing.insert("port".to_owned());
        }
        if has_token == Tri::Unknown {
            self.missing.insert("token".to_owned());
        }
        Flow::Continue
    }

    fn deny(&mut self) -> Flow {
        self.audit();
        self.dry_run(Action::Deny);
        let Some(rules) = self.enforced(Action::Deny) else {
            return Flow::Continue;
        };
        let found = rbac::first_match(&rules, &self.request, &self.claims);
        if found.holds == Tri::No {
            self.step(RBAC, Passed::Yes, "no DENY policy matches", Vec::new());
            return Flow::Continue;
        }

        let rule = found.name.and_then(|name| rules.get(name));
        let verb = if found.holds == Tri::Yes {
            "matches"
        } else {
            "may match"
        };
        let reason = match rule {
            Some(rule) => format!("DENY policy {} {verb}", rule_id(rule)),
            None => format!("a DENY policy {verb}"),
        };
        let mut outcome = Outcome {
            policy: rule.map(|rule| rule.policy.clone()),
            reason: reason.clone(),
            ..rbac_refusal(found.name)
        };
        if rule.is_none() {
            outcome.response_code_details = None;
        }
        self.possible.push(outcome);
        if found.holds == Tri::Unknown {
            self.want_inputs(&rules);
            self.step(RBAC, Passed::Unknown, reason, Vec::new());
            return Flow::Continue;
        }
        let checks = rule.map(|rule| self.matching(rule)).unwrap_or_default();
        self.step(RBAC, Passed::No, reason, checks);
        self.nearest = rule
            .and_then(|rule| near::escape(self, rule))
            .into_iter()
            .collect();
        Flow::Stop
    }

    /// AUDIT decides nothing; it is worth saying that a policy would be logged.
    fn audit(&mut self) {
        let Some(rules) = self.enforced(Action::Audit) else {
            return;
        };
        let found = rbac::first_match(&rules, &self.request, &self.claims);
        if let (Tri::Yes, Some(rule)) = (found.holds, found.name.and_then(|name| rules.get(name))) {
            self.step(
                RBAC,
                Passed::Yes,
                format!("AUDIT policy {} logs it", rule_id(rule)),
                Vec::new(),
            );
        }
    }

    /// What a dry run would do, were it enforced.
    fn dry_run(&mut self, action: Action) {
        let rbac = rbac::build(self.question.mesh, &self.effective.policies, action, false);
        let Some(shadow) = rbac.and_then(|rbac| rbac.shadow) else {
            return;
        };
        let found = rbac::first_match(&shadow, &self.request, &self.claims);
        let summary = match (action, found.holds) {
            (_, Tri::Unknown) => return,
            (Action::Deny, Tri::Yes) => "dry run: a DENY policy would refuse it",
            (Action::Allow, Tri::No) => "dry run: no ALLOW policy would let it through",
            _ => "dry run: it would pass",
        };
        self.step(RBAC, Passed::Yes, summary, Vec::new());
    }

    fn allow(&mut self) -> Flow {
        self.dry_run(Action::Allow);
        let Some(rules) = self.enforced(Action::Allow) else {
            self.step(
                RBAC,
                Passed::Yes,
                "no ALLOW policy applies, so nothing more is asked",
                Vec::new(),
            );
            return Flow::Continue;
        };
        let found = rbac::first_match(&rules, &self.request, &self.claims);
        let rule = found.name.and_then(|name| rules.get(name));
        let refusal = || Outcome {
            reason: "no ALLOW policy matches".to_owned(),
            ..rbac_refusal(None)
        };
        match (found.holds, rule) {
            (Tri::Yes, rule) => {
                let summary = match rule {
                    Some(rule) => format!("ALLOW policy {} matches", rule_id(rule)),
                    None => "an ALLOW policy matches".to_owned(),
                };
                let checks = rule.map(|rule| self.matching(rule)).unwrap_or_default();
                self.step(RBAC, Passed::Yes, summary, checks);
                Flow::Continue
            }
            (Tri::No, _) => {
                self.note_nearest(&rules);
                self.step(RBAC, Passed::No, "no ALLOW policy matches", Vec::new());
                self.possible.push(refusal());
                Flow::Stop
            }
            (Tri::Unknown, _) => {
                self.note_nearest(&rules);
                self.want_inputs(&rules);
                self.step(
                    RBAC,
                    Passed::Unknown,
                    "an ALLOW policy may match",
                    Vec::new(),
                );
                self.possible.push(refusal());
                Flow::Continue
            }
        }
    }

    fn note_nearest(&mut self, rules: &Policies) {
        (self.nearest, self.missed) = near::nearest(self, rules);
    }

    fn enforced(&self, action: Action) -> Option<Policies> {
        rbac::build(self.question.mesh, &self.effective.policies, action, false)?.rules
    }

    /// Names the inputs that keep a rule open.
    fn want_inputs(&mut self, rules: &Policies) {
        for rule in rules.values() {
            if rule.test(&self.request, &self.claims) != Tri::Unknown {
                continue;
            }
            for condition in rule.conditions() {
                for leaf in &condition.any_of {
                    if leaf.test(&self.request, &self.claims) == Tri::Unknown {
                        self.missing.insert(leaf.input().to_owned());
                    }
                }
            }
        }
    }

    /// The checks of the alternative through which a rule matched.
    fn matching(&self, rule: &CompiledRule) -> Vec<Check> {
        let holds = |all: &&Vec<Condition>| {
            all.iter()
                .all(|one| one.test(&self.request, &self.claims) == Tri::Yes)
        };
        [&rule.permissions, &rule.principals]
            .into_iter()
            .filter_map(|alternatives| alternatives.iter().find(holds))
            .flatten()
            .map(|condition| self.check(&rule.policy, condition))
            .collect()
    }

    /// One condition with what it wanted and what was there.
    pub(super) fn check(&self, policy: &str, condition: &Condition) -> Check {
        let passed = condition.test(&self.request, &self.claims);
        let one = |values: &[String]| match values {
            [only] => format!("`{only}`"),
            many => {
                format!(
                    "one of {}",
                    many.iter()
                        .map(|one| format!("`{one}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            }
        };
        Check {
            what: condition.attribute.clone(),
            passed: passed.into(),
            wanted: if condition.negated {
                format!("not {}", one(&condition.values))
            } else {
                one(&condition.values)
            },
            had: match passed {
                Tri::Yes => None,
                Tri::Unknown => Some("not given".to_owned()),
                Tri::No => Some(near::had(condition, &self.request, &self.claims)),
            },
            location: self.locate(policy, &condition.path),
        }
    }

    pub(super) fn locate(&self, policy: &str, path: &str) -> Option<Location> {
        let policy = self
            .effective
            .policies
            .iter()
            .find(|resource| resource.id() == policy)?;
        Some(policy.origin.locate(path))
    }
}

/// Stands for an outcome that is not modelled.
const OPAQUE: &str = "not modelled";

pub(super) fn unknown(reason: &str) -> Outcome {
    Outcome {
        filter: OPAQUE.to_owned(),
        reason: reason.to_owned(),
        ..Outcome::default()
    }
}

fn rbac_refusal(rule: Option<&str>) -> Outcome {
    let matched = rule.unwrap_or("none").replace(' ', "_");
    Outcome {
        status: Some(403),
        body: Some("RBAC: access denied".to_owned()),
        response_code_details: Some(format!("rbac_access_denied_matched_policy[{matched}]")),
        filter: RBAC.to_owned(),
        ..Outcome::default()
    }
}

fn rule_id(rule: &CompiledRule) -> String {
    match rule.index {
        Some(index) => format!("{} rule {index}", rule.policy),
        None => format!("{} (no rules)", rule.policy),
    }
}

/// Envoy keeps one value of these headers and joins what is repeated (seen on
/// Envoy 1.39.3); every other header keeps its values apart.
const JOINED_HEADERS: [&str; 22] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "content-type",
    "expect",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Names in lower case, blanks around values gone (RFC 9110 §5.5) and carriage
/// returns in them, repeated headers joined.
fn merge_headers(request: &mut Request) {
    let mut merged: Vec<(String, String)> = Vec::with_capacity(request.headers.len());
    for (name, value) in std::mem::take(&mut request.headers) {
        let name = name.to_ascii_lowercase();
        let value = value.replace('\r', "").trim_matches([' ', '\t']).to_owned();
        let earlier = merged.iter_mut().find(|(had, _)| *had == name);
        match earlier {
            Some((_, had)) if JOINED_HEADERS.contains(&name.as_str()) => {
                had.push(',');
                had.push_str(&value);
            }
            _ => merged.push((name, value)),
        }
    }
    request.headers = merged;
}
