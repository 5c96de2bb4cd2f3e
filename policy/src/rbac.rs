//! Authorization policies as Envoy's RBAC rules, the way istiod builds them.
//!
//! One structure serves all: it is printed for Envoy, decided on, and explained.

use std::collections::BTreeMap;

use crate::attribute::{self, Attribute};
use crate::matcher::{HeaderValue, Leaf, Pattern, StringMatcher, Tri, quote_meta};
use crate::parse::{Meta, Resource};
use crate::request::{Claims, Request};
use crate::select::Mesh;
use crate::template;
use crate::types::{Action, AuthorizationPolicy, Rule};
use crate::validate::{is_dry_run, parse_ip_block, parse_port};

/// The rules of one action for one workload.
#[derive(Debug, Clone)]
pub(crate) struct Rbac {
    pub(crate) action: Action,
    /// `None` if no policy of this action is enforced.
    pub(crate) rules: Option<Policies>,
    /// Those under `istio.io/dry-run`.
    pub(crate) shadow: Option<Policies>,
}

/// Envoy tries policies in the order of their names.
pub(crate) type Policies = BTreeMap<String, CompiledRule>;

/// One rule of one policy.
#[derive(Debug, Clone)]
pub(crate) struct CompiledRule {
    /// `NAMESPACE/NAME` of the policy.
    pub(crate) policy: String,
    /// Which rule of the policy; `None` for a policy without rules, which never matches.
    pub(crate) index: Option<usize>,
    /// Alternatives about the operation; one must hold.
    pub(crate) permissions: Vec<Vec<Condition>>,
    /// Alternatives about the caller; one must hold.
    pub(crate) principals: Vec<Vec<Condition>>,
}

/// One attribute of a rule with the values it may, or may not, have.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) negated: bool,
    /// Whether istiod puts an `or` around the tests even if there is only one.
    pub(crate) wrapped: bool,
    pub(crate) any_of: Vec<Leaf>,
    /// The attribute in the policy's own words.
    pub(crate) attribute: String,
    /// The values in the policy's own words.
    pub(crate) values: Vec<String>,
    /// Where the policy says so, from `spec`.
    pub(crate) path: String,
}

impl Condition {
    pub(crate) fn test(&self, request: &Request, claims: &Claims) -> Tri {
        let any = Tri::any(self.any_of.iter().map(|leaf| leaf.test(request, claims)));
        if self.negated { any.not() } else { any }
    }
}

impl CompiledRule {
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.permissions.iter().chain(&self.principals).flatten()
    }

    pub(crate) fn test(&self, request: &Request, claims: &Claims) -> Tri {
        if self.index.is_none() {
            return Tri::No;
        }
        let holds =
            |alternatives: &[Vec<Condition>]| {
                Tri::any(alternatives.iter().map(|all| {
                    Tri::all(all.iter().map(|condition| condition.test(request, claims)))
                }))
            };
        match holds(&self.permissions) {
            Tri::No => Tri::No,
            permission => Tri::all([permission, holds(&self.principals)]),
        }
    }
}

/// What a set of rules says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match<'a> {
    pub(crate) holds: Tri,
    /// The rule that matches, or the only one that may; `None` if it could be
    /// more than one.
    pub(crate) name: Option<&'a str>,
}

/// Looks for the first matching rule.
pub(crate) fn first_match<'a>(
    rules: &'a Policies,
    request: &Request,
    claims: &Claims,
) -> Match<'a> {
    let mut open: Option<&str> = None;
    let mut several = false;
    for (name, rule) in rules {
        match rule.test(request, claims) {
            // An earlier rule that may match hides which one it will be.
            Tri::Yes => {
                return Match {
                    holds: Tri::Yes,
                    name: open.is_none().then_some(name),
                };
            }
            Tri::Unknown => {
                several = open.is_some();
                open = open.or(Some(name));
            }
            Tri::No => {}
        }
    }
    match open {
        None => Match {
            holds: Tri::No,
            name: None,
        },
        Some(name) => Match {
            holds: Tri::Unknown,
            name: (!several).then_some(name),
        },
    }
}

/// Builds the rules of one action, or nothing if no policy has it.
pub(crate) fn build(
    mesh: &Mesh,
    policies: &[&Resource<AuthorizationPolicy>],
    action: Action,
    tcp: bool,
) -> Option<Rbac> {
    let mut rbac = Rbac {
        action,
        rules: None,
        shadow: None,
    };
    let mut found = false;
    for policy in policies
        .iter()
        .filter(|policy| policy.spec.action == action)
    {
        found = true;
        let set = if is_dry_run(&policy.meta) {
            &mut rbac.shadow
        } else {
            &mut rbac.rules
        };
        let set = set.get_or_insert_default();
        if policy.spec.rules.is_empty() {
            let never = CompiledRule {
                policy: policy.id(),
                index: None,
                permissions: Vec::new(),
                principals: Vec::new(),
            };
            set.insert(rule_name(&policy.meta, 0), never);
        }
        for (index, rule) in policy.spec.rules.iter().enumerate() {
            let builder = Builder {
                mesh,
                meta: &policy.meta,
                action,
                tcp,
                index,
                callers: rule.from.len(),
            };
            if let Ok((permissions, principals)) = builder.rule(rule) {
                let compiled = CompiledRule {
                    policy: policy.id(),
                    index: Some(index),
                    permissions,
                    principals,
                };
                set.insert(rule_name(&policy.meta, index), compiled);
            }
        }
    }
    found.then_some(rbac)
}

fn rule_name(meta: &Meta, index: usize) -> String {
    format!("ns[{}]-policy[{}]-rule[{index}]", meta.namespace, meta.name)
}

/// An attribute that cannot be expressed here: HTTP on a TCP port, or a key
/// that istiod cannot read.
struct Unsupported;

type Alternatives = Vec<Vec<Condition>>;

struct Builder<'a> {
    mesh: &'a Mesh,
    meta: &'a Meta,
    action: Action,
    tcp: bool,
    index: usize,
    callers: usize,
}

impl Builder<'_> {
    fn rule(&self, rule: &Rule) -> Result<(Alternatives, Alternatives), Unsupported> {
        let mut base_permission = Vec::new();
        let mut base_principal = Vec::new();
        for (at, when) in rule.when.iter().enumerate() {
            // An attribute that istiod does not know drops the whole rule.
            let attribute = Attribute::of(&when.key).ok_or(Unsupported)?;
            let base = if attribute.is_permission() {
                &mut base_permission
            } else {
                &mut base_principal
            };
            let place = format!("when[{at}]");
            self.add(
                base,
                &when.key,
                &place,
                attribute,
                [&when.values, &when.not_values],
            )?;
        }

        let mut principals = Vec::new();
        for (at, from) in rule.from.iter().enumerate() {
            let mut all = Vec::new();
            if let Some(source) = &from.source {
                for (field, attribute, values, not_values) in [
                    (
                        "principals",
                        Attribute::SourcePrincipal,
                        &source.principals,
                        &source.not_principals,
                    ),
                    (
                        "requestPrincipals",
                        Attribute::RequestPrincipal,
                        &source.request_principals,
                        &source.not_request_principals,
                    ),
                    (
                        "serviceAccounts",
                        Attribute::SourceServiceAccount,
                        &source.service_accounts,
                        &source.not_service_accounts,
                    ),
                    (
                        "trustDomains",
                        Attribute::SourceTrustDomain,
                        &source.trust_domains,
                        &source.not_trust_domains,
                    ),
                    (
                        "namespaces",
                        Attribute::SourceNamespace,
                        &source.namespaces,
                        &source.not_namespaces,
                    ),
                    (
                        "remoteIpBlocks",
                        Attribute::RemoteIp,
                        &source.remote_ip_blocks,
                        &source.not_remote_ip_blocks,
                    ),
                    (
                        "ipBlocks",
                        Attribute::SourceIp,
                        &source.ip_blocks,
                        &source.not_ip_blocks,
                    ),
                ] {
                    let place = format!("from[{at}].source");
                    self.add_field(
                        &mut all,
                        field,
                        &place,
                        Field::Attribute(attribute),
                        [values, not_values],
                    )?;
                }
            }
            all.extend(base_principal.iter().cloned());
            principals.push(all);
        }
        if rule.from.is_empty() {
            principals.push(base_principal);
        }

        let mut permissions = Vec::new();
        for (at, to) in rule.to.iter().enumerate() {
            let mut all = Vec::new();
            if let Some(operation) = &to.operation {
                for (field, kind, values, not_values) in [
                    ("hosts", Field::Host, &operation.hosts, &operation.not_hosts),
                    (
                        "methods",
                        Field::Method,
                        &operation.methods,
                        &operation.not_methods,
                    ),
                    ("paths", Field::Path, &operation.paths, &operation.not_paths),
                    (
                        "ports",
                        Field::Attribute(Attribute::DestinationPort),
                        &operation.ports,
                        &operation.not_ports,
                    ),
                ] {
                    let place = format!("to[{at}].operation");
                    self.add_field(&mut all, field, &place, kind, [values, not_values])?;
                }
            }
            all.extend(base_permission.iter().cloned());
            permissions.push(all);
        }
        if rule.to.is_empty() {
            permissions.push(base_permission);
        }
        Ok((permissions, principals))
    }

    fn add(
        &self,
        all: &mut Vec<Condition>,
        key: &str,
        place: &str,
        attribute: Attribute,
        values: [&Vec<String>; 2],
    ) -> Result<(), Unsupported> {
        let kind = match attribute {
            Attribute::Header => Field::Header(key.to_owned()),
            Attribute::Claims => Field::Claims(key.to_owned()),
            Attribute::FilterMetadata => Field::FilterMetadata(key.to_owned()),
            other => Field::Attribute(other),
        };
        for (negated, values) in [(false, values[0]), (true, values[1])] {
            let path = format!("{place}.{}", if negated { "notValues" } else { "values" });
            let count = all.len();
            self.condition(all, key, path, &kind, negated, values)?;
            // istiod adds the trust domain's other names once for each `from`,
            // to one list that all of them share.
            if attribute == Attribute::SourcePrincipal && all.len() > count {
                let mut names = values.clone();
                for _ in 0..self.callers.max(1) {
                    names = self.mesh.principals(&names);
                }
                all[count].any_of = names
                    .iter()
                    .map(|name| Leaf::Authenticated(principal(name)))
                    .collect();
            }
        }
        Ok(())
    }

    fn add_field(
        &self,
        all: &mut Vec<Condition>,
        field: &str,
        place: &str,
        kind: Field,
        values: [&Vec<String>; 2],
    ) -> Result<(), Unsupported> {
        let not_field = format!("not{}{}", field[..1].to_uppercase(), &field[1..]);
        let paths = [format!("{place}.{field}"), format!("{place}.{not_field}")];
        for ((negated, path), values) in [false, true].into_iter().zip(paths).zip(values) {
            self.condition(all, field, path, &kind, negated, values)?;
        }
        Ok(())
    }

    fn condition(
        &self,
        all: &mut Vec<Condition>,
        attribute: &str,
        path: String,
        kind: &Field,
        negated: bool,
        values: &[String],
    ) -> Result<(), Unsupported> {
        if values.is_empty() {
            return Ok(());
        }
        let any_of = match self.leaves(kind, values) {
            Ok(any_of) => any_of,
            // Less is allowed, or more is denied: the safe side.
            Err(error) if self.action == Action::Allow => return Err(error),
            Err(Unsupported) => return Ok(()),
        };
        if any_of.is_empty() {
            return Ok(());
        }
        all.push(Condition {
            negated,
            wrapped: match kind {
                Field::Claims(_) | Field::FilterMetadata(_) => false,
                Field::Attribute(Attribute::RequestAudiences | Attribute::RequestPresenter) => {
                    false
                }
                Field::Attribute(Attribute::RequestPrincipal) => any_of.len() > 1,
                _ => true,
            },
            any_of,
            attribute: attribute.to_owned(),
            values: values.to_vec(),
            path: format!("spec.rules[{}].{path}", self.index),
        });
        Ok(())
    }

    fn leaves(&self, kind: &Field, values: &[String]) -> Result<Vec<Leaf>, Unsupported> {
        let matchers = || {
            values
                .iter()
                .map(|value| StringMatcher::from_value(value))
                .collect()
        };
        let each = |leaf: &dyn Fn(&str) -> Option<Leaf>| -> Result<Vec<Leaf>, Unsupported> {
            let leaves = values.iter().map(|value| leaf(value).ok_or(Unsupported));
            if self.action == Action::Allow {
                leaves.collect()
            } else {
                Ok(leaves.filter_map(Result::ok).collect())
            }
        };
        let authenticated = |pattern: &dyn Fn(&str) -> StringMatcher| {
            Ok(values
                .iter()
                .map(|value| Leaf::Authenticated(pattern(value)))
                .collect())
        };
        let http = if self.tcp { Err(Unsupported) } else { Ok(()) };

        match kind {
            Field::Host => {
                http.and_then(|()| each(&|value| Some(header(":authority", value, true))))
            }
            Field::Method => {
                http.and_then(|()| each(&|value| Some(header(":method", value, false))))
            }
            Field::Path => http.and_then(|()| each(&|value| Some(path(value)))),
            Field::Header(key) => {
                http?;
                let name = attribute::header_name(key).ok_or(Unsupported)?;
                each(&|value| Some(header(name, value, false)))
            }
            Field::Claims(key) => {
                http?;
                let path = attribute::claim_path(key).ok_or(Unsupported)?;
                Ok(vec![Leaf::Claim {
                    path,
                    values: matchers(),
                }])
            }
            Field::FilterMetadata(key) => {
                let (filter, key) = attribute::filter_key(key).ok_or(Unsupported)?;
                let values = values.iter().map(|value| list_or_string(value)).collect();
                Ok(vec![Leaf::FilterMetadata {
                    filter: filter.to_owned(),
                    key: key.to_owned(),
                    values,
                }])
            }
            Field::Attribute(attribute) => match attribute {
                Attribute::RequestAudiences => {
                    http?;
                    Ok(vec![Leaf::Claim {
                        path: vec!["aud".to_owned()],
                        values: matchers(),
                    }])
                }
                Attribute::RequestPresenter => {
                    http?;
                    Ok(vec![Leaf::Claim {
                        path: vec!["azp".to_owned()],
                        values: matchers(),
                    }])
                }
                Attribute::RequestPrincipal => {
                    http?;
                    Ok(values
                        .iter()
                        .map(|value| request_principal(value))
                        .collect())
                }
                Attribute::SourceIp => each(&|value| parse_ip_block(value).map(Leaf::SourceIp)),
                Attribute::RemoteIp => each(&|value| parse_ip_block(value).map(Leaf::RemoteIp)),
                Attribute::DestinationIp => {
                    each(&|value| parse_ip_block(value).map(Leaf::DestinationIp))
                }
                Attribute::DestinationPort => {
                    each(&|value| parse_port(value).map(Leaf::DestinationPort))
                }
                Attribute::Sni => each(&|value| Some(Leaf::Sni(StringMatcher::from_value(value)))),
                Attribute::SourceNamespace => authenticated(&namespace),
                Attribute::SourceServiceAccount => {
                    authenticated(&|value| service_account(&self.meta.namespace, value))
                }
                Attribute::SourcePrincipal => Ok(self
                    .mesh
                    .principals(values)
                    .iter()
                    .map(|value| Leaf::Authenticated(principal(value)))
                    .collect()),
                Attribute::SourceTrustDomain => Ok(self
                    .mesh
                    .trust_domains(values)
                    .iter()
                    .map(|value| Leaf::Authenticated(trust_domain(value)))
                    .collect()),
                Attribute::Header | Attribute::Claims | Attribute::FilterMetadata => {
                    Err(Unsupported)
                }
            },
        }
    }
}

enum Field {
    Host,
    Method,
    Path,
    Header(String),
    Claims(String),
    FilterMetadata(String),
    Attribute(Attribute),
}

fn header(name: &str, value: &str, ignore_case: bool) -> Leaf {
    let value = if value == "*" {
        HeaderValue::Present
    } else {
        HeaderValue::Matches(StringMatcher {
            ignore_case,
            ..StringMatcher::from_value(value)
        })
    };
    Leaf::Header {
        name: name.to_owned(),
        value,
    }
}

fn path(value: &str) -> Leaf {
    if template::is_template(value) {
        Leaf::UriTemplate {
            text: template::envoy(value),
            regex: template::regex(value),
        }
    } else {
        Leaf::UrlPath(StringMatcher::from_value(value))
    }
}

fn list_or_string(value: &str) -> (bool, StringMatcher) {
    if value.starts_with('[') && value.ends_with(']') {
        (
            true,
            StringMatcher::from_value(value.trim_matches(['[', ']'])),
        )
    } else {
        (false, StringMatcher::from_value(value))
    }
}

fn namespace(value: &str) -> StringMatcher {
    let parts: Vec<_> = value.split('*').map(quote_meta).collect();
    StringMatcher::regex(format!(".*/ns/{}/.*", parts.join(".*")))
}

fn service_account(own_namespace: &str, value: &str) -> StringMatcher {
    let (namespace, account) = value.split_once('/').unwrap_or((own_namespace, value));
    StringMatcher::regex(format!(
        "spiffe://.+/ns/{}/(.+/|)sa/{}(/.+)?",
        quote_meta(namespace),
        quote_meta(account)
    ))
}

fn principal(value: &str) -> StringMatcher {
    match value {
        "*" => StringMatcher::new(Pattern::NotEmpty),
        _ => match value.strip_prefix('*') {
            Some(suffix) => StringMatcher::regex(format!("spiffe://.*{}", quote_meta(suffix))),
            None => StringMatcher::from_value(&format!("spiffe://{value}")),
        },
    }
}

fn trust_domain(value: &str) -> StringMatcher {
    match value.split_once('*') {
        _ if value == "*" => StringMatcher::new(Pattern::Prefix("spiffe://".to_owned())),
        None => StringMatcher::new(Pattern::Prefix(format!("spiffe://{value}/"))),
        Some((head, tail)) => StringMatcher::regex(format!(
            "spiffe://{}[^/]*{}/.*",
            quote_meta(head),
            quote_meta(tail)
        )),
    }
}

/// `ISSUER/SUBJECT`, split at the last slash: the traps are all here.
fn request_principal(value: &str) -> Leaf {
    let any = || StringMatcher::new(Pattern::NotEmpty);
    let split = value.rsplit_once('/');
    let (issuer, subject) = match (value, split) {
        ("*", _) => (any(), any()),
        (_, Some(("*", subject))) => (any(), StringMatcher::exact(subject)),
        (_, Some((issuer, subject))) if issuer.starts_with('*') => (
            StringMatcher::new(Pattern::Suffix(issuer[1..].to_owned())),
            StringMatcher::exact(subject),
        ),
        (_, None) if value.starts_with('*') => (
            any(),
            StringMatcher::new(Pattern::Suffix(value[1..].to_owned())),
        ),
        (_, Some((issuer, "*"))) => (StringMatcher::exact(issuer), any()),
        (_, Some((issuer, subject))) if subject.ends_with('*') => (
            StringMatcher::exact(issuer),
            StringMatcher::new(Pattern::Prefix(subject[..subject.len() - 1].to_owned())),
        ),
        (_, None) if value.ends_with('*') => (
            StringMatcher::new(Pattern::Prefix(value[..value.len() - 1].to_owned())),
            any(),
        ),
        (_, Some((issuer, subject))) => {
            (StringMatcher::exact(issuer), StringMatcher::exact(subject))
        }
        (_, None) => (StringMatcher::exact(value), StringMatcher::exact("")),
    };
    Leaf::RequestPrincipal { issuer, subject }
}

impl Mesh {
    /// The mesh's trust domain by all its names, for principals that name one.
    fn principals(&self, values: &[String]) -> Vec<String> {
        let mut all = Vec::new();
        for value in values {
            let parts: Vec<_> = value.split('/').collect();
            let own = parts.len() == 5 && parts[0] != "*" && self.is_own_trust_domain(parts[0]);
            if !own {
                all.push(value.clone());
                continue;
            }
            let mut replaced: Vec<String> = Vec::new();
            for name in self.trust_domain_names() {
                let suffix = parts[0].strip_prefix('*');
                let principal = if suffix.is_some_and(|suffix| name.ends_with(suffix)) {
                    value.clone()
                } else {
                    format!("{name}/{}", parts[1..].join("/"))
                };
                if !replaced.contains(&principal) {
                    replaced.push(principal);
                }
            }
            all.extend(replaced);
        }
        all
    }

    fn trust_domains(&self, values: &[String]) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut add = |name: &str| {
            if !all.iter().any(|had| had == name) {
                all.push(name.to_owned());
            }
        };
        for value in values {
            if self.trust_domain_names().any(|name| name == value) {
                self.trust_domain_names().for_each(&mut add);
            } else {
                add(value);
            }
        }
        all
    }

    fn trust_domain_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.trust_domain)
            .chain(&self.trust_domain_aliases)
            .map(String::as_str)
    }

    /// `cluster.local` always means the mesh's own.
    fn is_own_trust_domain(&self, name: &str) -> bool {
        let covers = |pattern: &str, text: &str| {
            pattern == text
                || pattern
                    .strip_suffix('*')
                    .is_some_and(|head| text.starts_with(head))
                || pattern
                    .strip_prefix('*')
                    .is_some_and(|tail| text.ends_with(tail))
        };
        name == "cluster.local"
            || self
                .trust_domain_names()
                .any(|own| covers(own, name) || covers(name, own))
    }
}
