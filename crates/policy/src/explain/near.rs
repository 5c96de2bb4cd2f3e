//! What was closest to matching, and the least that would change the answer.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Check;
use super::authn::looks_like_token;
use super::chain::Chain;
use crate::matcher::{HeaderValue, Leaf, Tri, claim};
use crate::parse::Location;
use crate::rbac::{self, CompiledRule, Condition, Policies};
use crate::request::{Claims, Identity, Peer, Request};
use crate::types::Action;

/// The rule that decided, or that came closest, and how to get another answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// Its policy, `NAMESPACE/NAME`.
    pub policy: String,
    /// Which of the policy's rules, from 0.
    pub rule: Option<usize>,
    /// Where it stands.
    pub location: Option<Location>,
    /// Whether it is an ALLOW rule that was missed; otherwise it is a DENY rule
    /// that matched.
    pub missed_allow: bool,
    /// What stands in the way: the failed conditions of an ALLOW rule, or the
    /// conditions of a DENY rule of which one must fail.
    pub conditions: Vec<Check>,
    /// The smallest change that gives another answer. For an ALLOW rule all of
    /// them are needed, for a DENY rule it is one.
    pub changes: Vec<Change>,
    /// Whether the changes to token and request were tried out, and the
    /// authorization rules then let the request through.
    pub proven: bool,
}

/// One change that would help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What to change in the token or in the request; `None` if only the policy
    /// can change.
    pub caller: Option<String>,
    /// What to change in the policy instead.
    pub policy: String,
}

/// How many rules that are equally near are shown.
const MOST: usize = 3;

/// The ALLOW rules with the fewest conditions missed, and these conditions.
pub(super) fn nearest(chain: &Chain<'_>, rules: &Policies) -> (Vec<NearMiss>, Vec<Condition>) {
    let distance = |failed: &[&Condition]| {
        let unknown = failed
            .iter()
            .filter(|one| test(one, chain) == Tri::Unknown)
            .count();
        // What is missed counts more than what is not known.
        (failed.len() - unknown, unknown)
    };
    let mut all: Vec<_> = rules
        .values()
        .filter(|rule| rule.index.is_some())
        .map(|rule| (rule, closest(rule, &chain.request, &chain.claims)))
        .collect();
    let least = all.iter().map(|(_, failed)| distance(failed)).min();
    all.retain(|(_, failed)| Some(distance(failed)) == least);
    // Between equals, the rule that holds in more points comes first.
    all.sort_by_key(|(rule, _)| {
        let held = |one: &&Condition| test(one, chain) == Tri::Yes;
        std::cmp::Reverse(rule.conditions().filter(held).count())
    });
    all.truncate(MOST);

    let near = all
        .iter()
        .map(|(rule, failed)| near_miss(chain, rule, failed))
        .collect();
    let missed = all.into_iter().flat_map(|(_, failed)| failed).cloned();
    (near, missed.collect())
}

fn near_miss(chain: &Chain<'_>, rule: &CompiledRule, failed: &[&Condition]) -> NearMiss {
    let mut failed = failed.to_vec();
    failed.sort_by_key(|condition| test(condition, chain) != Tri::No);
    let mut tried = Facts::of(chain);
    let satisfied = failed.iter().all(|condition| tried.satisfy(condition));
    NearMiss {
        policy: rule.policy.clone(),
        rule: rule.index,
        location: rule
            .index
            .and_then(|at| chain.locate(&rule.policy, &format!("spec.rules[{at}]"))),
        missed_allow: true,
        conditions: failed
            .iter()
            .map(|condition| chain.check(&rule.policy, condition))
            .collect(),
        changes: failed.iter().map(|condition| to_match(condition)).collect(),
        proven: satisfied && tried.pass(chain),
    }
}

/// How to get past a DENY rule that matches.
pub(super) fn escape(chain: &Chain<'_>, rule: &CompiledRule) -> Option<NearMiss> {
    let index = rule.index?;
    let holding: Vec<&Condition> = rule
        .conditions()
        .filter(|condition| test(condition, chain) == Tri::Yes)
        .collect();
    let proven = |condition: &Condition| {
        let mut tried = Facts::of(chain);
        tried.violate(condition) && tried.pass(chain)
    };
    let best = holding
        .iter()
        .find(|condition| proven(condition))
        .or(holding.first());
    Some(NearMiss {
        policy: rule.policy.clone(),
        rule: rule.index,
        location: chain.locate(&rule.policy, &format!("spec.rules[{index}]")),
        missed_allow: false,
        conditions: holding
            .iter()
            .map(|condition| chain.check(&rule.policy, condition))
            .collect(),
        changes: best
            .map(|condition| to_miss(condition))
            .into_iter()
            .collect(),
        proven: best.is_some_and(|condition| proven(condition)),
    })
}

fn test(condition: &Condition, chain: &Chain<'_>) -> Tri {
    condition.test(&chain.request, &chain.claims)
}

/// The conditions missed in the alternative that misses fewest.
fn closest<'r>(rule: &'r CompiledRule, request: &Request, claims: &Claims) -> Vec<&'r Condition> {
    let best = |alternatives: &'r [Vec<Condition>]| {
        alternatives
            .iter()
            .map(|all| {
                all.iter()
                    .filter(|one| one.test(request, claims) != Tri::Yes)
                    .collect::<Vec<_>>()
            })
            .min_by_key(Vec::len)
            .unwrap_or_default()
    };
    let mut failed = best(&rule.permissions);
    failed.extend(best(&rule.principals));
    failed
}

/// What the request had instead of what a condition wants.
pub(super) fn had(condition: &Condition, request: &Request, claims: &Claims) -> String {
    let Some(leaf) = condition.any_of.first() else {
        return String::new();
    };
    let address = |address: Option<std::net::IpAddr>| address.map(|one| one.to_string());
    let text = match leaf {
        Leaf::DestinationIp(_) => address(request.destination_ip),
        Leaf::SourceIp(_) => address(request.source_ip),
        Leaf::RemoteIp(_) => address(request.remote_ip),
        Leaf::DestinationPort(_) => request.port.map(|port| port.to_string()),
        Leaf::Sni(_) => request.sni.clone(),
        Leaf::UrlPath(_) | Leaf::UriTemplate { .. } => {
            request.path_without_query().map(str::to_owned)
        }
        Leaf::Authenticated(_) => match &request.peer {
            Peer::Mtls(identity) => Some(identity.principal().to_owned()),
            Peer::Plaintext => return "no mTLS identity".to_owned(),
            Peer::Unknown => None,
        },
        Leaf::Header { name, .. } => return header(name, request),
        Leaf::Claim { path, .. } => return shown_claim(claims, path),
        Leaf::RequestPrincipal { .. } => {
            return match claims {
                Claims::Verified(payload) => {
                    let part = |name: &str| match payload.get(name) {
                        Some(Value::String(text)) => text.clone(),
                        Some(_) => format!("<{name} is no string>"),
                        None => format!("<no {name}>"),
                    };
                    format!("`{}/{}`", part("iss"), part("sub"))
                }
                Claims::None => NO_TOKEN.to_owned(),
                Claims::Unknown => "not given".to_owned(),
            };
        }
        Leaf::FilterMetadata { .. } => None,
    };
    text.map_or_else(|| "not given".to_owned(), |text| format!("`{text}`"))
}

const NO_TOKEN: &str = "no verified token";

/// Tokens and cookies travel in headers: those values stay hidden.
fn header(name: &str, request: &Request) -> String {
    let secret = [
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-forwarded-client-cert",
    ];
    let value = match name {
        ":method" => request.method.clone(),
        ":authority" => request.host.clone(),
        ":path" => request.path_without_query().map(str::to_owned),
        _ => {
            let values: Vec<_> = request.header(name).collect();
            let hidden = secret.contains(&name.to_ascii_lowercase().as_str())
                || values.iter().any(|value| looks_like_token(value));
            match values[..] {
                [] => return "no such header".to_owned(),
                _ if hidden => return "a value that is not shown".to_owned(),
                _ => Some(values.join("`, `")),
            }
        }
    };
    value.map_or_else(|| "not given".to_owned(), |value| format!("`{value}`"))
}

fn shown_claim(claims: &Claims, path: &[String]) -> String {
    const LONGEST: usize = 120;
    let payload = match claims {
        Claims::None => return NO_TOKEN.to_owned(),
        Claims::Unknown => return "not given".to_owned(),
        Claims::Verified(payload) => payload,
    };
    let text = match claim(payload, path) {
        None => return "no such claim".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(items)) => format!("{}", Value::Array(items.clone())),
        Some(Value::Object(fields)) => {
            let names: Vec<_> = fields.keys().map(String::as_str).collect();
            return format!("an object with {}, which never matches", names.join(", "));
        }
        Some(other) => return format!("{other}, which is no string and never matches"),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What would make an ALLOW condition hold.
fn to_match(condition: &Condition) -> Change {
    let values = listed(&condition.values);
    let attribute = &condition.attribute;
    let (caller, policy) = if condition.negated {
        (
            format!("{}: none of {values}", subject(condition)),
            format!("{}: take out the value that was had", condition.path),
        )
    } else {
        (
            format!("{}: {values}", subject(condition)),
            format!("{}: add the value that was had", condition.path),
        )
    };
    let fixed = condition
        .any_of
        .iter()
        .all(|leaf| matches!(leaf, Leaf::FilterMetadata { .. }));
    Change {
        caller: (!fixed && !attribute.is_empty()).then_some(caller),
        policy,
    }
}

/// What would make a DENY condition fail.
fn to_miss(condition: &Condition) -> Change {
    let values = listed(&condition.values);
    let caller = if condition.negated {
        format!("{}: {values}", subject(condition))
    } else {
        format!("{}: anything but {values}", subject(condition))
    };
    Change {
        caller: Some(caller),
        policy: format!("{}: change the values", condition.path),
    }
}

fn listed(values: &[String]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    quoted.join(" or ")
}

/// What the caller would have to change.
fn subject(condition: &Condition) -> String {
    match condition.any_of.first() {
        Some(Leaf::Claim { path, .. }) => format!("token: claim {}", path.join(" > ")),
        Some(Leaf::RequestPrincipal { .. }) => "token: iss/sub".to_owned(),
        Some(Leaf::Authenticated(_)) => format!("caller: {}", condition.attribute),
        _ => format!("request: {}", condition.attribute),
    }
}

/// A request and claims to try changes on.
struct Facts {
    request: Request,
    claims: Claims,
    /// Whether a token would be verified, if there were one.
    tokens_count: bool,
}

impl Facts {
    fn of(chain: &Chain<'_>) -> Self {
        Self {
            request: chain.request.clone(),
            claims: chain.claims.clone(),
            tokens_count: !chain.effective.jwt_rules().is_empty(),
        }
    }

    /// What the DENY and ALLOW rules say about the changed facts.
    fn pass(&self, chain: &Chain<'_>) -> bool {
        let holds = |action| {
            let rules = rbac::build(
                chain.question.mesh,
                &chain.effective.policies,
                action,
                false,
            )
            .and_then(|rbac| rbac.rules);
            rules.map(|rules| rbac::first_match(&rules, &self.request, &self.claims).holds)
        };
        holds(Action::Deny).unwrap_or(Tri::No) == Tri::No
            && holds(Action::Allow).unwrap_or(Tri::Yes) == Tri::Yes
    }

    /// Makes a condition hold; false if there is no telling how.
    fn satisfy(&mut self, condition: &Condition) -> bool {
        if condition.negated {
            condition.any_of.iter().all(|leaf| self.unset(leaf))
        } else {
            condition.any_of.iter().any(|leaf| self.set(leaf))
        }
    }

    /// Makes a condition fail.
    fn violate(&mut self, condition: &Condition) -> bool {
        if condition.negated {
            condition.any_of.iter().any(|leaf| self.set(leaf))
        } else {
            condition.any_of.iter().all(|leaf| self.unset(leaf))
        }
    }

    fn set(&mut self, leaf: &Leaf) -> bool {
        match leaf {
            Leaf::DestinationIp(net) => self.request.destination_ip = Some(net.addr()),
            Leaf::SourceIp(net) => self.request.source_ip = Some(net.addr()),
            Leaf::RemoteIp(net) => self.request.remote_ip = Some(net.addr()),
            Leaf::DestinationPort(port) => self.request.port = Some(*port),
            Leaf::Sni(matcher) => match matcher.example() {
                Some(value) => self.request.sni = Some(value),
                None => return false,
            },
            Leaf::UrlPath(matcher) => {
                match matcher.example().filter(|path| path.starts_with('/')) {
                    Some(path) => self.request.path = Some(path),
                    None => return false,
                }
            }
            Leaf::Header { name, value } => {
                let value = match value {
                    HeaderValue::Present => Some("x".to_owned()),
                    HeaderValue::Matches(matcher) => matcher.example(),
                };
                match (name.as_str(), value) {
                    (_, None) | (":path" | ":scheme", _) => return false,
                    (":method", value) => self.request.method = value,
                    (":authority", value) => self.request.host = value,
                    (name, Some(value)) => self.request.headers.push((name.to_owned(), value)),
                }
            }
            Leaf::Authenticated(matcher) => match matcher.example() {
                Some(uri) if uri.starts_with("spiffe://") => {
                    self.request.peer = Peer::Mtls(Identity::new(&uri));
                }
                _ => return false,
            },
            Leaf::Claim { path, values } => {
                let Some(value) = values
                    .iter()
                    .find_map(crate::matcher::StringMatcher::example)
                else {
                    return false;
                };
                return self.set_claim(path, value);
            }
            Leaf::RequestPrincipal { issuer, subject } => {
                let (Some(issuer), Some(subject)) = (issuer.example(), subject.example()) else {
                    return false;
                };
                return self.set_claim(&["iss".to_owned()], issuer)
                    && self.set_claim(&["sub".to_owned()], subject);
            }
            Leaf::UriTemplate { .. } | Leaf::FilterMetadata { .. } => return false,
        }
        true
    }

    fn set_claim(&mut self, path: &[String], value: String) -> bool {
        if self.tokens_count && !matches!(self.claims, Claims::Verified(_)) {
            self.claims = Claims::Verified(Map::new());
        }
        let Claims::Verified(payload) = &mut self.claims else {
            return false;
        };
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let mut object = payload;
        for name in parents {
            let entry = object
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
            match entry {
                Value::Object(inner) => object = inner,
                _ => return false,
            }
        }
        object.insert(last.clone(), Value::String(value));
        true
    }

    fn unset(&mut self, leaf: &Leaf) -> bool {
        match leaf {
            Leaf::Claim { path, .. } => {
                let Claims::Verified(payload) = &mut self.claims else {
                    return false;
                };
                let Some((last, parents)) = path.split_last() else {
                    return false;
                };
                let mut object = payload;
                for name in parents {
                    match object.get_mut(name) {
                        Some(Value::Object(inner)) => object = inner,
                        _ => return true,
                    }
                }
                object.remove(last);
            }
            Leaf::RequestPrincipal { .. } => {
                let Claims::Verified(payload) = &mut self.claims else {
                    return false;
                };
                payload.remove("sub");
            }
            Leaf::Header { name, .. } if !name.starts_with(':') => {
                self.request
                    .headers
                    .retain(|(had, _)| !had.eq_ignore_ascii_case(name));
            }
            Leaf::Header {
                name,
                value: HeaderValue::Matches(_),
            } if name == ":method" => {
                self.request.method = Some("X-OTHER".to_owned());
            }
            Leaf::UrlPath(_) => self.request.path = Some("/".to_owned()),
            _ => return false,
        }
        true
    }
}
