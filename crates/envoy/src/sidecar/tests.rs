use policy::{KeySets, Manifests};

use super::*;

const POLICY: &str = include_str!("sample/policy.yaml");
const CONFIG_DUMP: &str = include_str!("sample/config-dump.json");

fn workload() -> Workload {
    Workload::app("demo", "caller-intruder")
}

fn recorded() -> Value {
    serde_json::from_str(CONFIG_DUMP).unwrap()
}

/// The chains of the recorded listener.
fn chains(dump: &mut Value) -> &mut Vec<Value> {
    dump.pointer_mut("/configs/2/dynamic_listeners/0/active_state/listener/filter_chains")
        .and_then(Value::as_array_mut)
        .unwrap()
}

/// The HTTP filters of the recorded sidecar.
fn http_filters_of(dump: &mut Value) -> &mut Vec<Value> {
    chains(dump)[1]
        .pointer_mut("/filters/0/typed_config/http_filters")
        .and_then(Value::as_array_mut)
        .unwrap()
}

fn difference(dump: &Value, policy: &str) -> Option<String> {
    let rules = Rules {
        profile: "recorded".to_owned(),
        mesh: Mesh::default(),
        manifests: Manifests::parse("policy.yaml", policy).unwrap(),
        keys: KeySets::new(),
        objects: Vec::new(),
        withdrawn: Vec::new(),
    };
    let sidecar = Sidecar::read(workload(), &dump.to_string()).unwrap();
    sidecar.difference(&rules).unwrap()
}

#[test]
fn recorded_sidecar_equals_the_model_of_its_policies() {
    assert_eq!(difference(&recorded(), POLICY), None);
}

#[test]
fn tcp_and_http_are_both_compared() {
    let sidecar = Sidecar::read(workload(), CONFIG_DUMP).unwrap();
    let compared: Vec<_> = sidecar
        .chains
        .iter()
        .map(|chain| (chain.name.as_str(), chain.is_http, chain.filters.len()))
        .collect();
    assert_eq!(
        compared,
        [
            ("virtualInbound-catchall-http tls", true, 7),
            ("virtualInbound tls", false, 1)
        ]
    );
}

#[test]
fn key_sets_are_compared_as_json() {
    let policy = POLICY.replace(
        r#"{"keys": [{"kty": "oct", "kid": "a_b", "#,
        r#"{"keys":[{"kid":"a_b","kty":"oct","#,
    );
    assert_ne!(policy, POLICY);
    assert_eq!(difference(&recorded(), &policy), None);
    let other = POLICY.replace("a_b", "aB");
    let text = difference(&recorded(), &other).unwrap();
    assert!(
        text.contains("kid: a_b") && text.contains("kid: aB"),
        "{text}"
    );
}

/// The one form of a key set in a message.
fn key_set(keys: &Value) -> Value {
    let text = json!({ "keys": keys }).to_string();
    normal(json!({"localJwks": {"inlineString": text}}), Kind::Message)
}

#[test]
fn keys_are_compared_by_what_verifies() {
    let rsa = |n: &str, certificate: &str| {
        json!({"kid": "a", "kty": "RSA", "use": "sig", "alg": "RS256", "n": n, "e": "AQAB",
            "x5c": [certificate], "x5t": certificate, "x5t#S256": certificate})
    };
    let elliptic =
        json!({"kid": "b", "kty": "EC", "use": "sig", "crv": "P-256", "x": "1", "y": "2"});
    let encryption = |kid: &str| json!({"kid": kid, "kty": "RSA", "use": "enc", "n": kid});
    let before = key_set(&json!([rsa("n", "old"), elliptic, encryption("c")]));
    // As after a restart of Keycloak.
    let after = key_set(&json!([encryption("d"), elliptic, rsa("n", "new")]));
    assert_eq!(before, after);
    for changed in [
        json!([rsa("m", "old"), elliptic]),
        json!([rsa("n", "old")]),
        json!([rsa("n", "old"), elliptic, rsa("n", "old")]),
    ] {
        assert_ne!(before, key_set(&changed));
    }
}

#[test]
fn rule_that_only_the_sidecar_has_is_shown() {
    let fewer = POLICY.replace("values: [reader]", "values: [writer]");
    let text = difference(&recorded(), &fewer).unwrap();
    assert!(
        text.starts_with("# virtualInbound-catchall-http tls\n--- model\n+++ sidecar\n"),
        "{text}"
    );
    let changed: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(['+', '-']) && line.contains("exact"))
        .map(|line| line.replace([' ', '-'], ""))
        .collect();
    assert_eq!(
        changed,
        [
            "exact:writer",
            "+exact:reader",
            "exact:writer",
            "+exact:reader"
        ]
    );
}

#[test]
fn what_several_chains_have_in_common_is_shown_once() {
    let mut dump = recorded();
    let mut twin = chains(&mut dump)[1].clone();
    twin["name"] = json!("0.0.0.0_8080");
    twin["filter_chain_match"]["destination_port"] = json!(8080);
    chains(&mut dump).push(twin);
    let text = difference(&dump, &POLICY.replace("reader", "writer")).unwrap();
    assert!(
        text.starts_with("# virtualInbound-catchall-http tls, 0.0.0.0_8080 tls\n"),
        "{text}"
    );
    assert_eq!(text.matches("+++").count(), 1);
}

#[test]
fn filter_of_envoy_that_no_manifest_asks_for_is_shown() {
    let mut dump = recorded();
    http_filters_of(&mut dump).insert(
        0,
        json!({"name": "guard", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "failure_mode_allow": true,
        }}),
    );
    let text = difference(&dump, POLICY).unwrap();
    assert!(
        text.contains("guard") && text.contains("failureModeAllow"),
        "{text}"
    );
}

/// A filter's configuration, told its type in a structure without one of its own.
fn untyped(type_url: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": type_url,
        "value": {},
    })
}

#[test]
fn filters_of_istios_own_are_not_compared() {
    let mut dump = recorded();
    let stats = json!({"@type": "type.googleapis.com/stats.PluginConfig"});
    let metadata = untyped("type.googleapis.com/io.istio.http.peer_metadata.Config");
    http_filters_of(&mut dump).extend([
        json!({"name": "istio.stats", "typed_config": stats}),
        json!({"name": "istio.metadata_exchange", "typed_config": metadata}),
    ]);
    assert_eq!(difference(&dump, POLICY), None);
}

#[test]
fn filter_of_envoy_under_another_type_is_shown() {
    let lua = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
    for config in [untyped(lua), json!({"@type": "type.googleapis.com/x.Y"})] {
        let mut dump = recorded();
        let filter = json!({"name": "istio.stats", "typed_config": config});
        http_filters_of(&mut dump).insert(0, filter);
        let text = difference(&dump, POLICY).unwrap();
        assert!(text.contains("name: istio.stats"), "{text}");
    }
}

#[test]
fn filter_that_is_delivered_apart_is_shown() {
    let mut dump = recorded();
    http_filters_of(&mut dump).insert(0, json!({"name": "apart", "config_discovery": {}}));
    let text = difference(&dump, POLICY).unwrap();
    assert!(text.contains("configDiscovery"), "{text}");
}

#[test]
fn chain_that_only_has_the_name_of_the_blackhole_is_compared() {
    let mut dump = recorded();
    let mut open = chains(&mut dump)[0].clone();
    open["filter_chain_match"]["destination_port"] = json!(8080);
    open["filters"][0]["typed_config"]["cluster"] = json!("inbound|8080||");
    chains(&mut dump).push(open);
    let text = difference(&dump, POLICY).unwrap();
    assert!(text.starts_with("# virtualInbound-blackhole\n"), "{text}");
}

#[test]
fn listener_filter_that_changes_who_calls_is_shown() {
    let mut dump = recorded();
    let listener = dump
        .pointer_mut("/configs/2/dynamic_listeners/0/active_state/listener")
        .unwrap();
    let filter = |name: &str, kind: &str| {
        json!({"name": name, "typed_config": {
            "@type": format!("type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{kind}"),
        }})
    };
    let usual = [
        filter("original_dst", "OriginalDst"),
        filter("tls_inspector", "TlsInspector"),
    ];
    listener["listener_filters"] = json!(usual);
    assert_eq!(difference(&dump, POLICY), None);

    let mut dump = dump.clone();
    let filters = dump
        .pointer_mut("/configs/2/dynamic_listeners/0/active_state/listener/listener_filters")
        .and_then(Value::as_array_mut)
        .unwrap();
    filters.insert(0, filter("proxy_protocol", "ProxyProtocol"));
    let text = difference(&dump, POLICY).unwrap();
    assert!(text.contains("proxy_protocol"), "{text}");
}

#[test]
fn sidecar_without_an_http_chain_equals_nothing() {
    let mut dump = recorded();
    chains(&mut dump).remove(1);
    let error = Sidecar::read(workload(), &dump.to_string()).unwrap_err();
    assert!(
        error.to_string().contains("no inbound HTTP filter chain"),
        "{error}"
    );
}

#[test]
fn fields_are_renamed_and_keys_of_maps_are_not() {
    let config = json!({"shadow_rules": {"policies": {"a_b": {"and_rules": {}}}}});
    assert_eq!(
        normal(config, Kind::Message),
        json!({"shadowRules": {"policies": {"a_b": {"andRules": {}}}}})
    );
}

/// The connection manager of the recorded sidecar.
fn manager_of(dump: &mut Value) -> &mut Value {
    chains(dump)[1]
        .pointer_mut("/filters/0/typed_config")
        .unwrap()
}

#[test]
fn flag_of_the_runtime_that_differs_is_shown() {
    let mut dump = recorded();
    let flags = dump
        .pointer_mut("/configs/0/bootstrap/layered_runtime/layers/0/static_layer")
        .unwrap();
    flags["envoy.reloadable_features.http_reject_path_with_fragment"] = json!(true);
    let text = difference(&dump, POLICY).unwrap();
    assert!(text.starts_with("# runtime\n"), "{text}");
    assert!(
        text.contains("+envoy.reloadable_features.http_reject_path_with_fragment: true"),
        "{text}"
    );
}

#[test]
fn setting_of_the_connection_manager_that_is_not_in_the_list_is_shown() {
    let mut dump = recorded();
    manager_of(&mut dump)["append_x_forwarded_port"] = json!(true);
    let text = difference(&dump, POLICY).unwrap();
    assert!(text.contains("+    appendXForwardedPort: true"), "{text}");
}

#[test]
fn setting_of_the_listener_that_differs_is_shown() {
    let mut dump = recorded();
    let listener = dump
        .pointer_mut("/configs/2/dynamic_listeners/0/active_state/listener")
        .unwrap();
    listener["listener_filters_timeout"] = json!("15s");
    let text = difference(&dump, POLICY).unwrap();
    assert!(text.starts_with("# listener virtualInbound\n"), "{text}");
}

#[test]
fn older_tls_is_shown() {
    let mut dump = recorded();
    let context = chains(&mut dump)[1]
        .pointer_mut("/transport_socket/typed_config/common_tls_context/tls_params")
        .unwrap();
    context["tls_minimum_protocol_version"] = json!("TLSv1_0");
    let text = difference(&dump, POLICY).unwrap();
    assert!(
        text.contains("tlsMinimumProtocolVersion: TLSv1_0"),
        "{text}"
    );
}

#[test]
fn route_that_switches_a_filter_off_is_shown() {
    let mut dump = recorded();
    let routes = manager_of(&mut dump)
        .pointer_mut("/route_config/virtual_hosts/0/routes")
        .unwrap();
    let mut open = routes[0].clone();
    open["typed_per_filter_config"] = json!({"envoy.filters.http.rbac": {"disabled": true}});
    routes.as_array_mut().unwrap().insert(0, open);
    let text = difference(&dump, POLICY).unwrap();
    assert!(text.contains("typedPerFilterConfig"), "{text}");
}

#[test]
fn listener_on_a_port_of_its_own_is_compared_whatever_it_calls_itself() {
    for (name, direction) in [("back", ""), ("0.0.0.0_80", "OUTBOUND")] {
        let mut dump = recorded();
        let listeners = dump
            .pointer_mut("/configs/2/dynamic_listeners")
            .and_then(Value::as_array_mut)
            .unwrap();
        listeners.push(json!({"active_state": {"listener": {
            "name": name,
            "traffic_direction": direction,
            "filter_chains": [{"filters": [{"name": "echo", "typed_config": {}}]}],
        }}}));
        let text = difference(&dump, POLICY).unwrap();
        assert!(text.contains(&format!("# listener {name}")), "{text}");
        listeners_bind(&mut dump, false);
        let seen = difference(&dump, POLICY);
        assert_eq!(seen.is_none(), direction == "OUTBOUND", "{seen:?}");
    }
}

/// Says of the last listener whether it has a port of its own.
fn listeners_bind(dump: &mut Value, bind: bool) {
    let listener = dump
        .pointer_mut("/configs/2/dynamic_listeners/1/active_state/listener")
        .unwrap();
    listener["bind_to_port"] = json!(bind);
}
