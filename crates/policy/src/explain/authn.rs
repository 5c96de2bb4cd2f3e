//! `envoy.filters.http.jwt_authn`, check by check in Envoy's order.

use serde_json::{Map, Value};

use super::chain::{self, Chain, Flow};
use super::extract::{Found, Place, extract, remove_param, sanitize};
use super::{Check, Outcome, Passed};
use crate::findings::Evidence;
use crate::jwt::{self, Jwt, Keys, Signature, Status};
use crate::parse::{Location, Resource};
use crate::request::{Claims, Request, Token};
use crate::types::{JwtRule, RequestAuthentication};

pub(super) const FILTER: &str = "envoy.filters.http.jwt_authn";

impl<'a> Chain<'a> {
    pub(super) fn authenticate(&mut self) -> Flow {
        let effective = self.effective;
        let rules = effective.jwt_rules();
        if rules.is_empty() {
            self.claims = Claims::None;
            return Flow::Continue;
        }
        // A rule for a path prefix is not for CONNECT, which has no path.
        if self.request.is_connect() {
            self.step(
                FILTER,
                Passed::Yes,
                "CONNECT needs no token here",
                Vec::new(),
            );
            return Flow::Continue;
        }
        if self.is_preflight() {
            self.step(
                FILTER,
                Passed::Yes,
                "a CORS preflight needs no token",
                Vec::new(),
            );
            return Flow::Continue;
        }
        let in_header = self.request.header("authorization").next().is_some();
        if matches!(self.question.token, Token::Unknown) && !in_header {
            self.claims = Claims::Unknown;
            self.missing.insert("token".to_owned());
            self.step(
                FILTER,
                Passed::Unknown,
                "the token was not given",
                Vec::new(),
            );
            self.possible.push(Outcome {
                filter: FILTER.to_owned(),
                ..chain::unknown("a token that is not good is refused")
            });
            return Flow::Continue;
        }

        let reply = self.challenge(&rules);
        let mut run = Run {
            now: self.question.now,
            providers: rules.iter().map(|rule| self.provider(rule)).collect(),
            request: &mut self.request,
            payload: None,
            checks: Vec::new(),
            tracing: true,
            open: Vec::new(),
            evidence: Evidence::default(),
        };
        let status = run.verify();
        let Run {
            payload,
            checks,
            open,
            evidence,
            ..
        } = run;
        self.evidence = evidence;

        if let Err(status) = status {
            self.evidence.status = Some(status);
            self.step(FILTER, Passed::No, status.text(), checks);
            self.possible.push(Outcome {
                status: Some(status.code()),
                body: Some(status.text()),
                www_authenticate: reply,
                response_code_details: Some(status.details()),
                filter: FILTER.to_owned(),
                reason: status.text(),
                ..Outcome::default()
            });
            Flow::Stop
        } else {
            let (passed, summary) = match (&payload, open.is_empty()) {
                (None, _) => (
                    Passed::Yes,
                    "no token; that is none of this filter's business",
                ),
                (Some(_), true) => (Passed::Yes, "the token is good"),
                (Some(_), false) => (Passed::Unknown, "the token is good if its signature is"),
            };
            self.step(FILTER, passed, summary, checks);
            if !open.is_empty() {
                self.missing.extend(open);
                self.possible.push(Outcome {
                    status: Some(401),
                    www_authenticate: reply,
                    filter: FILTER.to_owned(),
                    ..chain::unknown("the signature cannot be checked; a bad one is refused")
                });
            }
            self.claims = payload.map_or(Claims::None, Claims::Verified);
            Flow::Continue
        }
    }

    /// Envoy refuses a configuration with a key set that has no valid key, and
    /// goes on with the one before, which nobody here knows.
    pub(super) fn load(&mut self) -> Flow {
        let effective = self.effective;
        let broken = effective.jwt_rules().into_iter().find(|rule| {
            self.key_set(rule)
                .is_some_and(|text| Keys::parse(text).is_none())
        });
        let Some(rule) = broken else {
            return Flow::Continue;
        };
        let reason = format!(
            "the sidecar refuses this configuration and keeps the one before: \
             the key set of issuer `{}` has no valid key",
            rule.issuer
        );
        self.missing
            .insert("the configuration that the sidecar still has".to_owned());
        self.step(FILTER, Passed::Unknown, reason.clone(), Vec::new());
        self.possible.push(chain::unknown(&reason));
        Flow::Stop
    }

    fn key_set(&self, rule: &'a JwtRule) -> Option<&'a String> {
        let inline = rule.jwks.as_ref().filter(|jwks| !jwks.is_empty());
        inline.or_else(|| self.question.keys.get(&rule.issuer))
    }

    fn is_preflight(&self) -> bool {
        let has = |name| self.request.header(name).any(|value| !value.is_empty());
        self.request.method.as_deref() == Some("OPTIONS")
            && has("origin")
            && has("access-control-request-method")
    }

    /// The challenge of a refusal, if host and path are known. A token in the
    /// query would be in it, so it is blotted out.
    fn challenge(&self, rules: &[&JwtRule]) -> Option<String> {
        const LONGEST: usize = 256;
        let host = self.request.host.as_ref()?;
        let path = self.request.path.as_ref()?;
        let path = hide_tokens(&path[..path.floor_char_boundary(LONGEST)], rules);
        let scheme = &self.request.scheme;
        Some(format!(
            "Bearer realm=\"{scheme}://{host}{path}\", error=\"invalid_token\""
        ))
    }

    fn provider(&self, rule: &'a JwtRule) -> Provider<'a> {
        let effective = self.effective;
        let place = effective
            .request_authentications
            .iter()
            .find_map(|&resource| {
                let index = resource
                    .spec
                    .jwt_rules
                    .iter()
                    .position(|one| std::ptr::eq(one, rule))?;
                Some((resource, format!("spec.jwtRules[{index}]")))
            });
        Provider {
            rule,
            keys: self.key_set(rule).and_then(|text| Keys::parse(text)),
            place,
        }
    }
}

/// Whether a text may be a token, wherever it stands.
pub(super) fn looks_like_token(text: &str) -> bool {
    text.contains("eyJ") || (text.len() > 40 && text.matches('.').count() >= 2)
}

/// Blots out the values of query parameters that carry tokens.
fn hide_tokens(path: &str, rules: &[&JwtRule]) -> String {
    let Some((path, query)) = path.split_once('?') else {
        return path.to_owned();
    };
    let carries = |name: &str| {
        name == "access_token"
            || rules
                .iter()
                .any(|rule| rule.from_params.iter().any(|param| param == name))
    };
    let parts: Vec<String> = query
        .split('&')
        .map(|part| match part.split_once('=') {
            Some((name, value)) if carries(name) || looks_like_token(value) => {
                format!("{name}=<token>")
            }
            _ => part.to_owned(),
        })
        .collect();
    format!("{path}?{}", parts.join("&"))
}

struct Provider<'a> {
    rule: &'a JwtRule,
    /// `None` if nobody gave the keys.
    keys: Option<Keys>,
    /// The resource that has the rule, and the rule's path in it.
    place: Option<(&'a Resource<RequestAuthentication>, String)>,
}

impl Provider<'_> {
    fn locate(&self, field: &str) -> Option<Location> {
        let (resource, path) = self.place.as_ref()?;
        Some(resource.origin.locate(&format!("{path}.{field}")))
    }
}

/// One pass of the filter. Verified tokens are taken out of the request as it
/// goes, so later providers do not see them.
struct Run<'a, 'r> {
    now: u64,
    providers: Vec<Provider<'a>>,
    request: &'r mut Request,
    payload: Option<Map<String, Value>>,
    checks: Vec<Check>,
    tracing: bool,
    /// What would have to be known to check a signature.
    open: Vec<String>,
    evidence: Evidence,
}

impl Run<'_, '_> {
    /// A good token of any issuer will do; otherwise each that is there must be
    /// good. No token at all is fine.
    fn verify(&mut self) -> Result<(), Status> {
        let count = self.providers.len();
        let mut statuses = Vec::with_capacity(count + 1);
        for index in 0..count {
            match self.provider(index) {
                Ok(()) => return Ok(()),
                Err(status) => statuses.push(status),
            }
        }
        if count == 1 {
            return missing_is_fine(statuses[0]);
        }
        self.tracing = false;
        let all = (0..count).try_for_each(|index| self.provider(index).or_else(missing_is_fine));
        match all {
            Ok(()) => Ok(()),
            Err(status) => {
                statuses.push(status);
                Err(final_status(&statuses))
            }
        }
    }

    /// All tokens where this provider looks for them must be good; the last is
    /// tried first.
    fn provider(&mut self, index: usize) -> Result<(), Status> {
        let rule = self.providers[index].rule;
        sanitize(self.request, rule);
        let mut tokens = extract(self.request, rule);
        if tokens.is_empty() {
            return Err(Status::Missing);
        }
        self.evidence.token_found = true;
        while let Some(token) = tokens.pop() {
            let jwt = self.token(index, &token)?;
            self.accept(rule, &jwt, &token.place);
        }
        Ok(())
    }

    fn token(&mut self, index: usize, token: &Found) -> Result<Jwt, Status> {
        let rule = self.providers[index].rule;
        let parsed = Jwt::parse(&token.text);
        self.check(
            index,
            "format",
            "fromHeaders",
            "a JSON Web Token Envoy can read",
            match &parsed {
                Ok(_) => Ok(()),
                Err(status) => Err(format!("{}: {}", token.place.text(), status.text())),
            },
        );
        let jwt = parsed?;
        self.evidence.payload = Some(jwt.payload.clone());

        let known = rule.issuer.is_empty() || rule.issuer == jwt.issuer;
        let wanted = if rule.issuer.is_empty() {
            "any".to_owned()
        } else {
            format!("`{}`", rule.issuer)
        };
        self.check(
            index,
            "issuer",
            "issuer",
            &wanted,
            if known {
                Ok(())
            } else {
                Err(format!("`{}`", jwt.issuer))
            },
        );
        if !known {
            return Err(Status::UnknownIssuer);
        }

        let times = jwt.check_times(self.now);
        self.check(
            index,
            "times",
            "issuer",
            "nbf and exp within 60 s of the clock",
            match times {
                Ok(()) => Ok(()),
                Err(Status::NotYetValid) => Err(format!(
                    "nbf is {} s ahead",
                    jwt.not_before.saturating_sub(self.now)
                )),
                Err(_) => Err(format!(
                    "exp was {} s ago",
                    self.now.saturating_sub(jwt.expires)
                )),
            },
        );
        times?;

        let allowed = jwt::audience_allowed(&rule.audiences, &jwt.audiences);
        let wanted = match &rule.audiences[..] {
            [] => "any".to_owned(),
            [only] => format!("`{only}`"),
            many => format!("one of {}", many.join(", ")),
        };
        self.check(
            index,
            "audience",
            "audiences",
            &wanted,
            match (allowed, &jwt.audiences[..]) {
                (true, _) => Ok(()),
                (false, []) => Err("no `aud`".to_owned()),
                (false, had) => Err(format!("`{}`", had.join("`, `"))),
            },
        );
        if !allowed {
            return Err(Status::AudienceNotAllowed);
        }

        self.signature(index, &jwt)?;
        Ok(jwt)
    }

    fn signature(&mut self, index: usize, jwt: &Jwt) -> Result<(), Status> {
        let issuer = &self.providers[index].rule.issuer;
        let wanted = "a signature by one of the issuer's keys".to_owned();
        let (result, had) = match &self.providers[index].keys {
            None => {
                self.open.push(format!("keys (JWKS) of issuer {issuer}"));
                (None, "the keys were not given".to_owned())
            }
            Some(keys) => {
                let ids: Vec<_> = keys.ids().into_iter().map(str::to_owned).collect();
                self.evidence.key_ids = Some((jwt.kid.clone(), ids.clone()));
                match keys.verify(jwt) {
                    Signature::Good => (Some(Ok(())), String::new()),
                    Signature::NotModelled => {
                        self.open.push(format!("whether {} fits the key", jwt.alg));
                        (
                            None,
                            format!("{} with a kind of key that is not checked here", jwt.alg),
                        )
                    }
                    Signature::Bad(status) if keys.has_eligible(jwt) => {
                        (Some(Err(status)), status.text())
                    }
                    Signature::Bad(status) => {
                        let had = format!(
                            "kid `{}` and {}; the set has {}",
                            jwt.kid,
                            jwt.alg,
                            ids.iter()
                                .map(|id| format!("`{id}`"))
                                .collect::<Vec<_>>()
                                .join(", ")
                        );
                        (Some(Err(status)), had)
                    }
                }
            }
        };
        if self.tracing {
            self.checks.push(Check {
                what: "signature".to_owned(),
                passed: match result {
                    None => Passed::Unknown,
                    Some(Ok(())) => Passed::Yes,
                    Some(Err(_)) => Passed::No,
                },
                wanted,
                had: (!matches!(result, Some(Ok(())))).then_some(had),
                location: self.providers[index].locate("issuer"),
            });
        }
        result.unwrap_or(Ok(()))
    }

    fn check(
        &mut self,
        index: usize,
        what: &str,
        field: &str,
        wanted: &str,
        result: Result<(), String>,
    ) {
        if self.tracing {
            self.checks.push(Check {
                what: what.to_owned(),
                passed: if result.is_ok() {
                    Passed::Yes
                } else {
                    Passed::No
                },
                wanted: wanted.to_owned(),
                had: result.err(),
                location: self.providers[index].locate(field),
            });
        }
    }

    /// Copies claims to headers, removes the token, and keeps the payload for
    /// the authorization rules.
    fn accept(&mut self, rule: &JwtRule, jwt: &Jwt, place: &Place) {
        let headers = &mut self.request.headers;
        if !rule.output_payload_to_header.is_empty() {
            let name = rule.output_payload_to_header.to_ascii_lowercase();
            headers.push((name, jwt.payload_text.clone()));
        }
        for output in &rule.output_claim_to_headers {
            if let Some(value) = header_value(&jwt.payload, &output.claim) {
                headers.push((output.header.to_ascii_lowercase(), value));
            }
        }
        if !rule.forward_original_token {
            match place {
                Place::Header(name) => headers.retain(|(had, _)| had != name),
                Place::Param(name) => remove_param(self.request, name),
                Place::Cookie(_) => {}
            }
        }

        let mut payload = jwt.payload.clone();
        for claim in rule.split_claims() {
            let Some(Value::String(text)) = payload.get(claim) else {
                continue;
            };
            let parts: Vec<Value> = text
                .split(' ')
                .filter(|part| !part.is_empty())
                .map(Value::from)
                .collect();
            if !parts.is_empty() {
                payload.insert(claim.to_owned(), Value::Array(parts));
            }
        }
        self.payload = Some(payload);
    }
}

fn missing_is_fine(status: Status) -> Result<(), Status> {
    if status == Status::Missing {
        Ok(())
    } else {
        Err(status)
    }
}

/// The last error that says more than "no token" or "not my issuer".
fn final_status(statuses: &[Status]) -> Status {
    statuses.iter().fold(Status::Missing, |so_far, status| {
        let telling = !matches!(status, Status::Missing | Status::UnknownIssuer);
        if telling || so_far == Status::Missing {
            *status
        } else {
            so_far
        }
    })
}

/// A value that Envoy copies to a header; nothing for null and empty text.
fn header_value(payload: &Map<String, Value>, claim: &str) -> Option<String> {
    use base64::Engine;
    let mut names = claim.split('.');
    let first = payload.get(names.next()?)?;
    let value = names.try_fold(first, |value, name| {
        value.get(name).filter(|_| value.is_object())
    })?;
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number_text(number.as_f64()?),
        Value::Object(_) | Value::Array(_) => {
            base64::engine::general_purpose::STANDARD.encode(value.to_string())
        }
        Value::Null => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn number_text(value: f64) -> String {
    if value >= 0.0 && value.fract() == 0.0 && value < 18_446_744_073_709_551_616.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.6}")
    }
}
