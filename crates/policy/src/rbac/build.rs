//! Policies to rules, as `pilot/pkg/security/authz` does it.

use super::leaf;
use super::{CompiledRule, Condition, Rbac};
use crate::matcher::{Leaf, StringMatcher};
use crate::parse::attribute::{self, Attribute};
use crate::parse::validate::{is_dry_run, parse_ip_block, parse_port};
use crate::parse::{Meta, Resource};
use crate::select::Mesh;
use crate::types::{Action, AuthorizationPolicy, Operation, Rule, Source};

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

/// What a field or a `when` key is about.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Host,
    Method,
    Path,
    Header(&'a str),
    Claims(&'a str),
    FilterMetadata(&'a str),
    Attribute(Attribute),
}

/// A field with its values and those of its `not…` twin.
struct Field<'a> {
    name: &'static str,
    subject: Subject<'a>,
    values: &'a [String],
    not_values: &'a [String],
}

struct Builder<'a> {
    mesh: &'a Mesh,
    meta: &'a Meta,
    action: Action,
    tcp: bool,
    index: usize,
    /// How many `from` the rule has.
    callers: usize,
}

impl Builder<'_> {
    fn rule(&self, rule: &Rule) -> Result<(Alternatives, Alternatives), Unsupported> {
        let mut permission = Vec::new();
        let mut principal = Vec::new();
        for (at, when) in rule.when.iter().enumerate() {
            // An attribute that istiod does not know drops the whole rule.
            let attribute = Attribute::of(&when.key).ok_or(Unsupported)?;
            let side = if attribute.is_permission() {
                &mut permission
            } else {
                &mut principal
            };
            let subject = match attribute {
                Attribute::Header => Subject::Header(&when.key),
                Attribute::Claims => Subject::Claims(&when.key),
                Attribute::FilterMetadata => Subject::FilterMetadata(&when.key),
                other => Subject::Attribute(other),
            };
            for (negated, name, values) in [
                (false, "values", &when.values),
                (true, "notValues", &when.not_values),
            ] {
                let path = format!("when[{at}].{name}");
                let condition = self.condition(&when.key, &path, subject, negated, values)?;
                side.extend(condition.map(|condition| self.rename_again(condition, subject)));
            }
        }

        let principals = match &rule.from[..] {
            [] => vec![principal],
            callers => self.each(callers.len(), &principal, |at| {
                let source = callers[at].source.as_ref();
                let fields = source.map(source_fields).unwrap_or_default();
                (format!("from[{at}].source"), fields)
            })?,
        };
        let permissions = match &rule.to[..] {
            [] => vec![permission],
            operations => self.each(operations.len(), &permission, |at| {
                let operation = operations[at].operation.as_ref();
                let fields = operation.map(operation_fields).unwrap_or_default();
                (format!("to[{at}].operation"), fields)
            })?,
        };
        Ok((permissions, principals))
    }

    /// One alternative for each `from` or `to`: its own fields, then the rule's
    /// conditions.
    fn each<'f>(
        &self,
        count: usize,
        base: &[Condition],
        fields: impl Fn(usize) -> (String, Vec<Field<'f>>),
    ) -> Result<Alternatives, Unsupported> {
        (0..count)
            .map(|at| {
                let (place, fields) = fields(at);
                let mut all = Vec::new();
                for field in fields {
                    let twin = format!("not{}{}", field.name[..1].to_uppercase(), &field.name[1..]);
                    for (negated, name, values) in [
                        (false, field.name, field.values),
                        (true, &twin, field.not_values),
                    ] {
                        let path = format!("{place}.{name}");
                        all.extend(self.condition(
                            field.name,
                            &path,
                            field.subject,
                            negated,
                            values,
                        )?);
                    }
                }
                all.extend_from_slice(base);
                Ok(all)
            })
            .collect()
    }

    fn condition(
        &self,
        attribute: &str,
        path: &str,
        subject: Subject<'_>,
        negated: bool,
        values: &[String],
    ) -> Result<Option<Condition>, Unsupported> {
        if values.is_empty() {
            return Ok(None);
        }
        let any_of = match self.leaves(subject, values) {
            Ok(any_of) => any_of,
            // Less is allowed, or more is denied: the safe side.
            Err(error) if self.action == Action::Allow => return Err(error),
            Err(Unsupported) => return Ok(None),
        };
        if any_of.is_empty() {
            return Ok(None);
        }
        let wrapped = match subject {
            Subject::Claims(_)
            | Subject::FilterMetadata(_)
            | Subject::Attribute(Attribute::RequestAudiences | Attribute::RequestPresenter) => {
                false
            }
            Subject::Attribute(Attribute::RequestPrincipal) => any_of.len() > 1,
            _ => true,
        };
        Ok(Some(Condition {
            negated,
            wrapped,
            any_of,
            attribute: attribute.to_owned(),
            values: values.to_vec(),
            path: format!("spec.rules[{}].{path}", self.index),
        }))
    }

    /// istiod adds the trust domain's other names once for each `from`, to one
    /// list that all of them share.
    fn rename_again(&self, mut condition: Condition, subject: Subject<'_>) -> Condition {
        if matches!(subject, Subject::Attribute(Attribute::SourcePrincipal)) && self.callers > 1 {
            let mut names = condition.values.clone();
            for _ in 0..self.callers {
                names = self.mesh.principals(&names);
            }
            condition.any_of = names.iter().map(|name| leaf::principal(name)).collect();
        }
        condition
    }

    fn leaves(&self, subject: Subject<'_>, values: &[String]) -> Result<Vec<Leaf>, Unsupported> {
        let matchers = || {
            values
                .iter()
                .map(|value| StringMatcher::from_value(value))
                .collect()
        };
        let each = |one: &dyn Fn(&str) -> Leaf| values.iter().map(|value| one(value)).collect();
        if self.tcp && is_http(subject) {
            return Err(Unsupported);
        }
        Ok(match subject {
            Subject::Host => each(&|value| leaf::header(":authority", value, true)),
            Subject::Method => each(&|value| leaf::header(":method", value, false)),
            Subject::Path => each(&leaf::path),
            Subject::Header(key) => {
                let name = attribute::header_name(key).ok_or(Unsupported)?;
                each(&|value| leaf::header(name, value, false))
            }
            Subject::Claims(key) => {
                let path = attribute::claim_path(key).ok_or(Unsupported)?;
                vec![Leaf::Claim {
                    path,
                    values: matchers(),
                }]
            }
            Subject::FilterMetadata(key) => {
                let (filter, key) = attribute::filter_key(key).ok_or(Unsupported)?;
                let values = values
                    .iter()
                    .map(|value| leaf::list_or_string(value))
                    .collect();
                vec![Leaf::FilterMetadata {
                    filter: filter.to_owned(),
                    key: key.to_owned(),
                    values,
                }]
            }
            Subject::Attribute(attribute) => self.attribute_leaves(attribute, values)?,
        })
    }

    fn attribute_leaves(
        &self,
        attribute: Attribute,
        values: &[String],
    ) -> Result<Vec<Leaf>, Unsupported> {
        let each = |one: &dyn Fn(&str) -> Leaf| values.iter().map(|value| one(value)).collect();
        let parsed = |one: &dyn Fn(&str) -> Option<Leaf>| -> Result<Vec<Leaf>, Unsupported> {
            let leaves = values.iter().map(|value| one(value).ok_or(Unsupported));
            if self.action == Action::Allow {
                leaves.collect()
            } else {
                Ok(leaves.filter_map(Result::ok).collect())
            }
        };
        let claim = |name: &str| {
            let values = values
                .iter()
                .map(|value| StringMatcher::from_value(value))
                .collect();
            vec![Leaf::Claim {
                path: vec![name.to_owned()],
                values,
            }]
        };
        Ok(match attribute {
            Attribute::RequestAudiences => claim("aud"),
            Attribute::RequestPresenter => claim("azp"),
            Attribute::RequestPrincipal => each(&leaf::request_principal),
            Attribute::SourceIp => parsed(&|value| parse_ip_block(value).map(Leaf::SourceIp))?,
            Attribute::RemoteIp => parsed(&|value| parse_ip_block(value).map(Leaf::RemoteIp))?,
            Attribute::DestinationIp => {
                parsed(&|value| parse_ip_block(value).map(Leaf::DestinationIp))?
            }
            Attribute::DestinationPort => {
                parsed(&|value| parse_port(value).map(Leaf::DestinationPort))?
            }
            Attribute::Sni => each(&|value| Leaf::Sni(StringMatcher::from_value(value))),
            Attribute::SourceNamespace => each(&leaf::namespace),
            Attribute::SourceServiceAccount => {
                each(&|value| leaf::service_account(&self.meta.namespace, value))
            }
            Attribute::SourcePrincipal => self
                .mesh
                .principals(values)
                .iter()
                .map(|value| leaf::principal(value))
                .collect(),
            Attribute::SourceTrustDomain => self
                .mesh
                .with_aliases(values)
                .iter()
                .map(|value| leaf::trust_domain(value))
                .collect(),
            Attribute::Header | Attribute::Claims | Attribute::FilterMetadata => {
                return Err(Unsupported);
            }
        })
    }
}

/// What a TCP port knows nothing of.
fn is_http(subject: Subject<'_>) -> bool {
    match subject {
        Subject::Host
        | Subject::Method
        | Subject::Path
        | Subject::Header(_)
        | Subject::Claims(_) => true,
        Subject::FilterMetadata(_) => false,
        Subject::Attribute(attribute) => matches!(
            attribute,
            Attribute::RequestPrincipal | Attribute::RequestAudiences | Attribute::RequestPresenter
        ),
    }
}

/// The fields of a source in istiod's order.
fn source_fields(source: &Source) -> Vec<Field<'_>> {
    let field = |name, attribute, values, not_values| Field {
        name,
        subject: Subject::Attribute(attribute),
        values,
        not_values,
    };
    vec![
        field(
            "principals",
            Attribute::SourcePrincipal,
            &source.principals,
            &source.not_principals,
        ),
        field(
            "requestPrincipals",
            Attribute::RequestPrincipal,
            &source.request_principals,
            &source.not_request_principals,
        ),
        field(
            "serviceAccounts",
            Attribute::SourceServiceAccount,
            &source.service_accounts,
            &source.not_service_accounts,
        ),
        field(
            "trustDomains",
            Attribute::SourceTrustDomain,
            &source.trust_domains,
            &source.not_trust_domains,
        ),
        field(
            "namespaces",
            Attribute::SourceNamespace,
            &source.namespaces,
            &source.not_namespaces,
        ),
        field(
            "remoteIpBlocks",
            Attribute::RemoteIp,
            &source.remote_ip_blocks,
            &source.not_remote_ip_blocks,
        ),
        field(
            "ipBlocks",
            Attribute::SourceIp,
            &source.ip_blocks,
            &source.not_ip_blocks,
        ),
    ]
}

/// The fields of an operation in istiod's order.
fn operation_fields(operation: &Operation) -> Vec<Field<'_>> {
    let field = |name, subject, values, not_values| Field {
        name,
        subject,
        values,
        not_values,
    };
    let port = Subject::Attribute(Attribute::DestinationPort);
    vec![
        field(
            "hosts",
            Subject::Host,
            &operation.hosts,
            &operation.not_hosts,
        ),
        field(
            "methods",
            Subject::Method,
            &operation.methods,
            &operation.not_methods,
        ),
        field(
            "paths",
            Subject::Path,
            &operation.paths,
            &operation.not_paths,
        ),
        field("ports", port, &operation.ports, &operation.not_ports),
    ]
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
            for name in self.trust_domains() {
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

    fn with_aliases(&self, values: &[String]) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut add = |name: &str| {
            if !all.iter().any(|had| had == name) {
                all.push(name.to_owned());
            }
        };
        for value in values {
            if self.trust_domains().any(|name| name == value) {
                self.trust_domains().for_each(&mut add);
            } else {
                add(value);
            }
        }
        all
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
                .trust_domains()
                .any(|own| covers(own, name) || covers(name, own))
    }
}
