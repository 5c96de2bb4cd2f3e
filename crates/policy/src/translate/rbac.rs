//! `envoy.filters.http.rbac` and `envoy.filters.network.rbac`.

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::Filter;
use crate::matcher::{HeaderValue, Leaf, Pattern, StringMatcher};
use crate::rbac::{CompiledRule, Condition, Policies, Rbac};
use crate::types::Action;

pub(super) fn filter(rbac: &Rbac, tcp: bool) -> Filter {
    let layer = if tcp { "network" } else { "http" };
    let mut config = Map::new();
    config.insert(
        "@type".to_owned(),
        json!(format!(
            "type.googleapis.com/envoy.extensions.filters.{layer}.rbac.v3.RBAC"
        )),
    );
    if let Some(rules) = &rbac.rules {
        config.insert("rules".to_owned(), policies(rbac.action, rules));
    }
    if let Some(shadow) = &rbac.shadow {
        config.insert("shadowRules".to_owned(), policies(rbac.action, shadow));
    }
    // Without shadow rules istiod reads ALLOW from where nothing is.
    let prefix = match (&rbac.shadow, rbac.action) {
        (None, _) | (Some(_), Action::Allow) => Some("istio_dry_run_allow_"),
        (Some(_), Action::Deny) => Some("istio_dry_run_deny_"),
        (Some(_), _) => None,
    };
    if let Some(prefix) = prefix {
        config.insert("shadowRulesStatPrefix".to_owned(), json!(prefix));
    }
    if tcp {
        config.insert("statPrefix".to_owned(), json!("tcp."));
    }
    Filter {
        name: format!("envoy.filters.{layer}.rbac"),
        typed_config: Value::Object(config),
    }
}

fn policies(action: Action, rules: &Policies) -> Value {
    let mut rbac = Map::new();
    let name = match action {
        Action::Deny | Action::Custom => Some("DENY"),
        Action::Audit => Some("LOG"),
        Action::Allow => None,
    };
    if let Some(name) = name {
        rbac.insert("action".to_owned(), json!(name));
    }
    if !rules.is_empty() {
        let rules: Map<_, _> = rules
            .iter()
            .map(|(name, one)| (name.clone(), rule(one)))
            .collect();
        rbac.insert("policies".to_owned(), Value::Object(rules));
    }
    Value::Object(rbac)
}

fn rule(rule: &CompiledRule) -> Value {
    if rule.index.is_none() {
        return json!({
            "permissions": [{"notRule": {"any": true}}],
            "principals": [{"notId": {"any": true}}],
        });
    }
    let all = |alternatives: &[Vec<Condition>], names: &Names| -> Value {
        alternatives
            .iter()
            .map(|conditions| and(conditions, names))
            .collect()
    };
    json!({
        "permissions": all(&rule.permissions, &PERMISSION),
        "principals": all(&rule.principals, &PRINCIPAL),
    })
}

/// Permissions and principals have the same shape under different names.
struct Names {
    and: &'static str,
    or: &'static str,
    not: &'static str,
    list: &'static str,
}

const PERMISSION: Names = Names {
    and: "andRules",
    or: "orRules",
    not: "notRule",
    list: "rules",
};
const PRINCIPAL: Names = Names {
    and: "andIds",
    or: "orIds",
    not: "notId",
    list: "ids",
};

fn and(conditions: &[Condition], names: &Names) -> Value {
    let all: Vec<Value> = if conditions.is_empty() {
        vec![json!({"any": true})]
    } else {
        conditions.iter().map(|one| condition(one, names)).collect()
    };
    json!({names.and: {names.list: all}})
}

fn condition(condition: &Condition, names: &Names) -> Value {
    let mut any: Vec<Value> = condition.any_of.iter().map(leaf).collect();
    let value = match any.pop() {
        Some(only) if any.is_empty() && !condition.wrapped => only,
        last => {
            any.extend(last);
            json!({names.or: {names.list: any}})
        }
    };
    if condition.negated {
        json!({names.not: value})
    } else {
        value
    }
}

fn leaf(leaf: &Leaf) -> Value {
    match leaf {
        Leaf::DestinationIp(net) => json!({"destinationIp": cidr(*net)}),
        Leaf::DestinationPort(port) => json!({"destinationPort": port}),
        Leaf::Sni(matcher) => json!({"requestedServerName": string(matcher)}),
        Leaf::Header { name, value } => match value {
            HeaderValue::Present => json!({"header": {"name": name, "presentMatch": true}}),
            HeaderValue::Matches(matcher) => {
                json!({"header": {"name": name, "stringMatch": string(matcher)}})
            }
        },
        Leaf::UrlPath(matcher) => json!({"urlPath": {"path": string(matcher)}}),
        Leaf::UriTemplate { text, .. } => json!({"uriTemplate": {
            "name": "uri-template",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
                "pathTemplate": text,
            },
        }}),
        Leaf::Authenticated(matcher) => {
            json!({"authenticated": {"principalName": string(matcher)}})
        }
        Leaf::SourceIp(net) => json!({"directRemoteIp": cidr(*net)}),
        Leaf::RemoteIp(net) => json!({"remoteIp": cidr(*net)}),
        Leaf::Claim { path, values } => {
            let value = any_value(values.iter().map(string_value).collect());
            let either =
                json!({"orMatch": {"valueMatchers": [{"listMatch": {"oneOf": value}}, value]}});
            claim(path.iter().map(String::as_str), &either)
        }
        Leaf::RequestPrincipal { issuer, subject } => json!({"andIds": {"ids": [
            claim(["iss"].into_iter(), &string_value(issuer)),
            claim(["sub"].into_iter(), &string_value(subject)),
        ]}}),
        Leaf::FilterMetadata {
            filter,
            key,
            values,
        } => {
            let values = values.iter().map(|(list, matcher)| {
                let value = string_value(matcher);
                if *list {
                    json!({"listMatch": {"oneOf": value}})
                } else {
                    value
                }
            });
            json!({"metadata": {
                "filter": filter,
                "path": [{"key": key}],
                "value": any_value(values.collect()),
            }})
        }
    }
}

fn claim<'a>(path: impl Iterator<Item = &'a str>, value: &Value) -> Value {
    let path: Vec<_> = std::iter::once("payload")
        .chain(path)
        .map(|key| json!({"key": key}))
        .collect();
    json!({"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": value}})
}

fn any_value(mut values: Vec<Value>) -> Value {
    match values.pop() {
        Some(only) if values.is_empty() => only,
        last => {
            values.extend(last);
            json!({"orMatch": {"valueMatchers": values}})
        }
    }
}

fn string_value(matcher: &StringMatcher) -> Value {
    json!({"stringMatch": string(matcher)})
}

fn string(matcher: &StringMatcher) -> Value {
    let mut value = match &matcher.pattern {
        Pattern::Exact(text) => json!({"exact": text}),
        Pattern::Prefix(text) => json!({"prefix": text}),
        Pattern::Suffix(text) => json!({"suffix": text}),
        Pattern::NotEmpty => json!({"safeRegex": {"regex": ".+"}}),
        Pattern::Regex(source, _) => json!({"safeRegex": {"regex": source}}),
    };
    if matcher.ignore_case {
        value["ignoreCase"] = json!(true);
    }
    value
}

fn cidr(net: IpNet) -> Value {
    json!({"addressPrefix": net.addr().to_string(), "prefixLen": net.prefix_len()})
}
