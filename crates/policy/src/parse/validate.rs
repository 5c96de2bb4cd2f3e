//! What Istio's admission webhook and the CRD schemas refuse or warn about.

use std::net::IpAddr;

use ipnet::IpNet;

use super::attribute::{Attribute, map_key};
use super::{Diagnostic, Meta, Resource};
use crate::matcher::template;
use crate::types::{
    Action, AuthorizationPolicy, JwtRule, MutualTls, Operation, PeerAuthentication,
    RequestAuthentication, Rule, Source, TargetRef, TrafficExtension, WasmConfig, WorkloadSelector,
};

/// Collects findings about one resource.
struct Check<'a, T> {
    resource: &'a Resource<T>,
    errors: &'a mut Vec<Diagnostic>,
    warnings: &'a mut Vec<Diagnostic>,
}

impl<T> Check<'_, T> {
    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        let location = self.resource.origin.locate(path);
        self.errors.push(Diagnostic {
            location,
            message: message.into(),
        });
    }

    fn warn(&mut self, path: &str, message: impl Into<String>) {
        let location = self.resource.origin.locate(path);
        self.warnings.push(Diagnostic {
            location,
            message: message.into(),
        });
    }

    fn no_dry_run(&mut self) {
        if self.resource.meta.annotations.contains_key(DRY_RUN) {
            self.refuse(
                &format!("metadata.annotations.{DRY_RUN}"),
                "only an AuthorizationPolicy can be a dry run",
            );
        }
    }

    fn selector(&mut self, selector: Option<&WorkloadSelector>, target_refs: usize) {
        if selector.is_some() && target_refs > 0 {
            self.refuse(
                "spec.selector",
                "only one of `selector` and `targetRefs` may be set",
            );
        }
        let Some(selector) = selector else { return };
        let path = "spec.selector.matchLabels";
        for (key, value) in &selector.match_labels {
            if key.is_empty() {
                self.refuse(path, "a label needs a key");
            }
            if key.contains('*') || value.contains('*') {
                self.refuse(
                    &format!("{path}.{key}"),
                    format!(
                        "`{key}: {value}`: labels are compared exactly, wildcards are not allowed"
                    ),
                );
            }
            if value.len() > 63 {
                self.refuse(
                    &format!("{path}.{key}"),
                    "a label's value has at most 63 characters",
                );
            }
        }
        if selector.match_labels.is_empty() {
            self.warn(
                "spec.selector",
                "a selector without labels selects every pod; leave it out",
            );
        }
    }

    fn target_refs(&mut self, target_ref: Option<&TargetRef>, target_refs: &[TargetRef]) {
        if target_ref.is_some() && !target_refs.is_empty() {
            self.refuse(
                "spec.targetRef",
                "only one of `targetRef` and `targetRefs` may be set",
            );
        }
        if target_refs.len() > 16 {
            self.refuse("spec.targetRefs", "at most 16 targets are allowed");
        }
        let all = target_ref
            .map(|target| ("spec.targetRef".to_owned(), target))
            .into_iter()
            .chain(
                (0..)
                    .zip(target_refs)
                    .map(|(i, t)| (format!("spec.targetRefs[{i}]"), t)),
            );
        for (path, target) in all {
            if target.name.is_empty() {
                self.refuse(&path, "the target needs a `name`");
            }
            if !target.namespace.is_empty() {
                self.refuse(
                    &format!("{path}.namespace"),
                    "a target in another namespace cannot be referenced; leave `namespace` out",
                );
            }
            let known = matches!(
                (target.group.as_str(), target.kind.as_str()),
                ("" | "core", "Service")
                    | ("networking.istio.io", "ServiceEntry")
                    | ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
            );
            if !known {
                self.refuse(
                    &path,
                    format!(
                        "`{}/{}` cannot be a target; Service, ServiceEntry, Gateway and \
                         GatewayClass can",
                        target.group, target.kind
                    ),
                );
            }
        }
    }

    fn not_empty(&mut self, path: &str, values: &[String]) {
        for (index, value) in values.iter().enumerate() {
            if value.is_empty() {
                self.refuse(&format!("{path}[{index}]"), "an empty value is not allowed");
            }
        }
    }

    fn addresses(&mut self, path: &str, values: &[String]) {
        for (index, value) in values.iter().enumerate() {
            if parse_ip_block(value).is_none() {
                self.refuse(
                    &format!("{path}[{index}]"),
                    format!(
                        "`{value}` is neither an IP address nor a CIDR range such as 10.0.0.0/8"
                    ),
                );
            }
        }
    }

    fn ports(&mut self, path: &str, values: &[String]) {
        for (index, value) in values.iter().enumerate() {
            if parse_port(value).is_none() {
                self.refuse(
                    &format!("{path}[{index}]"),
                    format!("`{value}` is not a port number from 0 to 65535"),
                );
            }
        }
    }

    fn service_accounts(&mut self, path: &str, values: &[String]) {
        if values.len() > 16 {
            self.refuse(path, "at most 16 service accounts are allowed");
        }
        for (index, value) in values.iter().enumerate() {
            let place = format!("{path}[{index}]");
            let parts: Vec<_> = value.split('/').collect();
            if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
                self.refuse(
                    &place,
                    format!("`{value}` is neither NAME nor NAMESPACE/NAME"),
                );
            }
            if value.contains('*') {
                self.refuse(&place, "service accounts cannot have wildcards");
            }
            if value.len() > 320 {
                self.refuse(&place, "a service account has at most 320 characters");
            }
        }
    }

    fn wildcards(&mut self, path: &str, values: &[String]) {
        for (index, value) in values.iter().enumerate() {
            let inner = value
                .strip_prefix('*')
                .or_else(|| value.strip_suffix('*'))
                .unwrap_or(value);
            if value.is_empty() || inner.contains('*') {
                self.refuse(
                    &format!("{path}[{index}]"),
                    format!("`{value}`: one `*` is allowed, at the beginning or at the end"),
                );
            }
        }
    }

    fn trust_domains(&mut self, path: &str, values: &[String]) {
        self.wildcards(path, values);
        for (index, value) in values.iter().enumerate() {
            if value.contains('/') {
                self.refuse(&format!("{path}[{index}]"), "a trust domain has no `/`");
            }
        }
    }

    fn paths(&mut self, path: &str, values: &[String]) {
        for (index, value) in values.iter().enumerate() {
            if let Err(reason) = template::check(value) {
                self.refuse(&format!("{path}[{index}]"), format!("`{value}`: {reason}"));
            }
        }
    }
}

/// Annotation that lets a policy be evaluated without being enforced.
const DRY_RUN: &str = "istio.io/dry-run";

/// Whether a policy is evaluated only, not enforced.
pub(crate) fn is_dry_run(meta: &Meta) -> bool {
    meta.annotations
        .get(DRY_RUN)
        .and_then(|value| parse_bool(value))
        .unwrap_or(false)
}

/// As Go's `ParseBool`.
fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// An address or a range, as Go's `netip` reads it; host bits are kept.
pub(crate) fn parse_ip_block(value: &str) -> Option<IpNet> {
    if let Some((_, bits)) = value.split_once('/') {
        let canonical = bits == "0" || (!bits.starts_with('0') && !bits.starts_with('+'));
        return canonical.then(|| value.parse().ok()).flatten();
    }
    value.parse::<IpAddr>().ok().map(IpNet::from)
}

/// Decimal digits only, up to 65535.
pub(crate) fn parse_port(value: &str) -> Option<u16> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten()
}

pub(crate) fn request_authentication(
    resource: &Resource<RequestAuthentication>,
    errors: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) {
    let mut check = Check {
        resource,
        errors,
        warnings,
    };
    check.no_dry_run();
    let spec = &resource.spec;
    let targets = spec.target_refs.len() + usize::from(spec.target_ref.is_some());
    check.selector(spec.selector.as_ref(), targets);
    check.target_refs(spec.target_ref.as_ref(), &spec.target_refs);
    for (index, rule) in spec.jwt_rules.iter().enumerate() {
        check.jwt_rule(&format!("spec.jwtRules[{index}]"), rule);
    }
}

impl Check<'_, RequestAuthentication> {
    fn jwt_rule(&mut self, path: &str, rule: &JwtRule) {
        if rule.issuer.is_empty() && rule.jwks_uri.is_none() {
            self.refuse(path, "`issuer` or `jwksUri` is needed");
        }
        if let Some(uri) = &rule.jwks_uri {
            if rule.jwks.is_some() {
                self.refuse(
                    &format!("{path}.jwks"),
                    "only one of `jwks` and `jwksUri` may be set",
                );
            }
            if !uri.starts_with("http://") && !uri.starts_with("https://") {
                self.refuse(
                    &format!("{path}.jwksUri"),
                    format!("`{uri}`: only http:// and https:// can be fetched"),
                );
            }
        }
        if let Some(jwks) = rule.jwks.as_deref().filter(|jwks| !jwks.is_empty()) {
            match serde_json::from_str::<serde_json::Value>(jwks) {
                Err(error) => self.refuse(
                    &format!("{path}.jwks"),
                    // The text itself may be a secret; its fault is not.
                    format!(
                        "not a JSON Web Key Set: invalid JSON at character {}",
                        error.column()
                    ),
                ),
                Ok(set) if !set.is_object() => {
                    self.refuse(&format!("{path}.jwks"), "not a JSON Web Key Set: no object");
                }
                Ok(set) => self.private_keys(path, &set),
            }
        }
        self.not_empty(&format!("{path}.audiences"), &rule.audiences);
        self.not_empty(&format!("{path}.fromParams"), &rule.from_params);
        self.not_empty(&format!("{path}.fromCookies"), &rule.from_cookies);
        self.not_empty(
            &format!("{path}.spaceDelimitedClaims"),
            &rule.space_delimited_claims,
        );
        for (index, header) in rule.from_headers.iter().enumerate() {
            if header.name.is_empty() {
                self.refuse(
                    &format!("{path}.fromHeaders[{index}]"),
                    "a header needs a `name`",
                );
            }
        }
        for (index, output) in rule.output_claim_to_headers.iter().enumerate() {
            let place = format!("{path}.outputClaimToHeaders[{index}]");
            if output.claim.is_empty() || output.header.is_empty() {
                self.refuse(&place, "`header` and `claim` are both needed");
            } else if !output
                .header
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            {
                self.refuse(&place, format!("`{}` is not a header name", output.header));
            }
        }
        if let Some(timeout) = &rule.timeout
            && !parse_duration(timeout).is_some_and(|seconds| seconds >= 0.001)
        {
            self.refuse(
                &format!("{path}.timeout"),
                format!("`{timeout}` is not a duration of 1 ms or more, such as 5s"),
            );
        }
    }

    fn private_keys(&mut self, path: &str, set: &serde_json::Value) {
        let keys = set.get("keys").and_then(serde_json::Value::as_array);
        for (index, key) in keys.into_iter().flatten().enumerate() {
            if key.get("d").is_some() || key.get("kty").is_some_and(|kty| kty == "oct") {
                self.warn(
                    &format!("{path}.jwks"),
                    format!("key {index} is a private key; only public keys belong here"),
                );
            }
        }
    }
}

/// Seconds of a Kubernetes duration (`1h2m3.5s`, `500ms`).
fn parse_duration(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Some(total)
}

pub(crate) fn authorization_policy(
    resource: &Resource<AuthorizationPolicy>,
    errors: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) {
    let mut check = Check {
        resource,
        errors,
        warnings,
    };
    let spec = &resource.spec;
    let targets = spec.target_refs.len() + usize::from(spec.target_ref.is_some());
    check.selector(spec.selector.as_ref(), targets);
    check.target_refs(spec.target_ref.as_ref(), &spec.target_refs);

    if let Some(value) = resource.meta.annotations.get(DRY_RUN) {
        let path = format!("metadata.annotations.{DRY_RUN}");
        if !matches!(spec.action, Action::Allow | Action::Deny) {
            check.refuse(&path, "a dry run is for ALLOW and DENY only");
        } else if parse_bool(value).is_none() {
            check.refuse(&path, format!("`{value}` is neither true nor false"));
        }
    }
    if spec.rules.len() > 512 {
        check.refuse("spec.rules", "at most 512 rules are allowed");
    }
    let pointless = |action: &str| {
        format!(
            "{action} without `rules` would never do anything; \
             write `rules: [{{}}]` if you mean every request"
        )
    };
    match spec.action {
        Action::Custom if spec.rules.is_empty() => check.refuse("spec.action", pointless("CUSTOM")),
        Action::Custom => {
            if spec
                .provider
                .as_ref()
                .is_none_or(|provider| provider.name.is_empty())
            {
                check.refuse("spec.provider", "CUSTOM needs `provider.name`");
            }
            check.custom_rules(&spec.rules);
        }
        Action::Deny if spec.rules.is_empty() => check.refuse("spec.action", pointless("DENY")),
        _ => {}
    }
    if spec.action != Action::Custom && spec.provider.is_some() {
        check.refuse("spec.provider", "`provider` belongs to CUSTOM only");
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        check.rule(&format!("spec.rules[{index}]"), rule, spec.action);
    }
}

impl Check<'_, AuthorizationPolicy> {
    /// CUSTOM runs before tokens are verified, so it cannot ask about them.
    fn custom_rules(&mut self, rules: &[Rule]) {
        for (index, rule) in rules.iter().enumerate() {
            for (from, source) in rule.from.iter().enumerate() {
                let Some(source) = &source.source else {
                    continue;
                };
                let fields = [
                    ("namespaces", &source.namespaces),
                    ("notNamespaces", &source.not_namespaces),
                    ("serviceAccounts", &source.service_accounts),
                    ("notServiceAccounts", &source.not_service_accounts),
                    ("trustDomains", &source.trust_domains),
                    ("notTrustDomains", &source.not_trust_domains),
                    ("principals", &source.principals),
                    ("notPrincipals", &source.not_principals),
                    ("requestPrincipals", &source.request_principals),
                    ("notRequestPrincipals", &source.not_request_principals),
                ];
                for (name, _) in fields.iter().filter(|(_, values)| !values.is_empty()) {
                    self.refuse(
                        &format!("spec.rules[{index}].from[{from}].source.{name}"),
                        format!("CUSTOM cannot look at `{name}`: it runs before they are known"),
                    );
                }
            }
            for (at, when) in rule.when.iter().enumerate() {
                let early = [
                    "source.namespace",
                    "source.serviceAccount",
                    "source.trustDomain",
                    "source.principal",
                ];
                if early.contains(&when.key.as_str()) || when.key.starts_with("request.auth.") {
                    self.refuse(
                        &format!("spec.rules[{index}].when[{at}].key"),
                        format!(
                            "CUSTOM cannot look at `{}`: it runs before it is known",
                            when.key
                        ),
                    );
                }
            }
        }
    }

    fn rule(&mut self, path: &str, rule: &Rule, action: Action) {
        let mut tcp_from = false;
        for (index, from) in rule.from.iter().enumerate() {
            let place = format!("{path}.from[{index}]");
            match &from.source {
                None => self.refuse(&place, "`source` is missing"),
                Some(source) => {
                    self.source(&format!("{place}.source"), source);
                    tcp_from |= has_tcp_source(source);
                }
            }
        }
        let mut tcp_to = false;
        for (index, to) in rule.to.iter().enumerate() {
            let place = format!("{path}.to[{index}]");
            match &to.operation {
                None => self.refuse(&place, "`operation` is missing"),
                Some(operation) => {
                    self.operation(&format!("{place}.operation"), operation);
                    tcp_to |= !operation.ports.is_empty() || !operation.not_ports.is_empty();
                }
            }
        }
        for (index, when) in rule.when.iter().enumerate() {
            self.condition(
                &format!("{path}.when[{index}]"),
                &when.key,
                &when.values,
                &when.not_values,
            );
        }

        let http_only = (!rule.from.is_empty() && rule.to.is_empty() && !tcp_from)
            || (!rule.to.is_empty() && !tcp_to);
        if http_only && action == Action::Deny {
            self.warn(
                path,
                "this DENY rule has only HTTP attributes, so it denies all traffic to TCP ports; \
                 name the ports it is about",
            );
        }
    }

    fn source(&mut self, path: &str, source: &Source) {
        if source.is_empty() {
            self.refuse(
                path,
                "an empty `source` is not allowed; leave `from` out for any caller",
            );
        }
        let accounts =
            !source.service_accounts.is_empty() || !source.not_service_accounts.is_empty();
        let names = [
            &source.principals,
            &source.not_principals,
            &source.namespaces,
            &source.not_namespaces,
        ];
        if accounts && names.iter().any(|values| !values.is_empty()) {
            self.refuse(
                path,
                "`serviceAccounts` cannot stand beside `principals` or `namespaces`",
            );
        }
        for (name, values) in [
            ("principals", &source.principals),
            ("notPrincipals", &source.not_principals),
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
            ("namespaces", &source.namespaces),
            ("notNamespaces", &source.not_namespaces),
        ] {
            self.not_empty(&format!("{path}.{name}"), values);
        }
        for (name, values) in [
            ("ipBlocks", &source.ip_blocks),
            ("notIpBlocks", &source.not_ip_blocks),
            ("remoteIpBlocks", &source.remote_ip_blocks),
            ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
        ] {
            self.addresses(&format!("{path}.{name}"), values);
        }
        self.service_accounts(&format!("{path}.serviceAccounts"), &source.service_accounts);
        self.service_accounts(
            &format!("{path}.notServiceAccounts"),
            &source.not_service_accounts,
        );
        self.trust_domains(&format!("{path}.trustDomains"), &source.trust_domains);
        self.trust_domains(
            &format!("{path}.notTrustDomains"),
            &source.not_trust_domains,
        );
    }

    fn operation(&mut self, path: &str, operation: &Operation) {
        if operation.is_empty() {
            self.refuse(
                path,
                "an empty `operation` is not allowed; leave `to` out for any operation",
            );
        }
        for (name, values) in [
            ("hosts", &operation.hosts),
            ("notHosts", &operation.not_hosts),
            ("methods", &operation.methods),
            ("notMethods", &operation.not_methods),
            ("paths", &operation.paths),
            ("notPaths", &operation.not_paths),
        ] {
            self.not_empty(&format!("{path}.{name}"), values);
        }
        self.ports(&format!("{path}.ports"), &operation.ports);
        self.ports(&format!("{path}.notPorts"), &operation.not_ports);
        self.paths(&format!("{path}.paths"), &operation.paths);
        self.paths(&format!("{path}.notPaths"), &operation.not_paths);
    }

    fn condition(&mut self, path: &str, key: &str, values: &[String], not_values: &[String]) {
        let at_key = format!("{path}.key");
        if key.is_empty() {
            return self.refuse(&at_key, "`key` is empty");
        }
        if values.is_empty() && not_values.is_empty() {
            self.refuse(path, format!("`{key}` needs `values` or `notValues`"));
        }
        let Some(attribute) = Attribute::of(key) else {
            return self.refuse(&at_key, unknown_attribute(key));
        };
        for (name, values) in [("values", values), ("notValues", not_values)] {
            let path = format!("{path}.{name}");
            self.not_empty(&path, values);
            match attribute {
                Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp => {
                    self.addresses(&path, values);
                }
                Attribute::DestinationPort => self.ports(&path, values),
                Attribute::SourceServiceAccount => self.service_accounts(&path, values),
                Attribute::SourceTrustDomain => self.wildcards(&path, values),
                _ => {}
            }
        }
        let keyed = matches!(
            attribute,
            Attribute::Header | Attribute::Claims | Attribute::FilterMetadata
        );
        if keyed && !map_key(key) {
            self.refuse(
                &at_key,
                format!("`{key}` must have a name in brackets, such as key[name]"),
            );
        }
    }
}

fn has_tcp_source(source: &Source) -> bool {
    [
        &source.principals,
        &source.not_principals,
        &source.ip_blocks,
        &source.not_ip_blocks,
        &source.namespaces,
        &source.not_namespaces,
        &source.remote_ip_blocks,
        &source.not_remote_ip_blocks,
        &source.service_accounts,
        &source.not_service_accounts,
    ]
    .iter()
    .any(|values| !values.is_empty())
}

fn unknown_attribute(key: &str) -> String {
    let hint = match key {
        "destination.namespace" => "the policy's own namespace says it",
        "destination.name" | "destination.user" => "use the policy's `selector`",
        _ if key.starts_with("destination.labels") => "use the policy's `selector`",
        _ if key.starts_with("request.auth") => "claims are request.auth.claims[NAME]",
        _ if key.starts_with("request.header") => "headers are request.headers[NAME]",
        _ => "see Istio's list of authorization policy conditions",
    };
    format!("unknown attribute `{key}`; {hint}")
}

pub(crate) fn peer_authentication(
    resource: &Resource<PeerAuthentication>,
    errors: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) {
    let mut check = Check {
        resource,
        errors,
        warnings,
    };
    check.no_dry_run();
    let spec = &resource.spec;
    check.selector(spec.selector.as_ref(), 0);
    let selects = spec
        .selector
        .as_ref()
        .is_some_and(|selector| !selector.match_labels.is_empty());
    let ports: Option<&std::collections::BTreeMap<u32, MutualTls>> = spec.port_level_mtls.as_ref();
    if let Some(ports) = ports {
        if ports.is_empty() {
            check.refuse("spec.portLevelMtls", "at least one port is needed");
        } else if !selects {
            check.refuse(
                "spec.portLevelMtls",
                "single ports need a `selector` with labels",
            );
        }
        for port in ports.keys() {
            if !(1..=65535).contains(port) {
                check.refuse(
                    &format!("spec.portLevelMtls.{port}"),
                    format!("{port} is not a port number from 1 to 65535"),
                );
            }
        }
    }
}

pub(crate) fn traffic_extension(
    resource: &Resource<TrafficExtension>,
    errors: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) {
    let mut check = Check {
        resource,
        errors,
        warnings,
    };
    check.no_dry_run();
    let spec = &resource.spec;
    check.selector(spec.selector.as_ref(), spec.target_refs.len());
    check.target_refs(None, &spec.target_refs);
    match (&spec.wasm, &spec.lua) {
        (None, None) | (Some(_), Some(_)) => {
            check.refuse("spec", "exactly one of `wasm` and `lua` is needed");
        }
        (None, Some(lua)) => {
            if lua.inline_code.is_empty() {
                check.refuse("spec.lua.inlineCode", "the script is empty");
            }
            if lua.inline_code.len() > 65536 {
                check.refuse("spec.lua.inlineCode", "a script has at most 64 KiB");
            }
        }
        (Some(wasm), None) => check.wasm(wasm),
    }
    for (index, selector) in spec.matches.iter().enumerate() {
        for (at, port) in selector.ports.iter().enumerate() {
            if !(1..=65535).contains(&port.number) {
                check.refuse(
                    &format!("spec.match[{index}].ports[{at}]"),
                    format!("{} is not a port number from 1 to 65535", port.number),
                );
            }
        }
    }
}

impl Check<'_, TrafficExtension> {
    fn wasm(&mut self, wasm: &WasmConfig) {
        let scheme = wasm.url.split_once("://").map(|(scheme, _)| scheme);
        if wasm.url.is_empty() || !matches!(scheme, None | Some("file" | "http" | "https" | "oci"))
        {
            self.refuse(
                "spec.wasm.url",
                "a module's URL is file://, http://, https:// or oci://",
            );
        }
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if !wasm.sha256.is_empty() && (wasm.sha256.len() != 64 || !wasm.sha256.bytes().all(hex)) {
            self.refuse(
                "spec.wasm.sha256",
                "a SHA-256 checksum has 64 lower-case hex digits",
            );
        }
    }
}
