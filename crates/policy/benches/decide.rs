//! How many decisions a second one core makes on the demo's policy.
//!
//! Run with `cargo bench -p policy`. `decide` is the authorization decision on a
//! token that is already verified; `explain` is everything, from the raw token
//! with its signature to the findings.

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use policy::{Claims, Compiled, Decision, Manifests, Mesh, Peer, Request, Workload};
use serde_json::{Value, json};
use support::{Ask, demo, user};

/// Who asks, for what, and whether it must pass.
fn cases() -> Vec<(&'static str, Request, Value, bool)> {
    let request = |method: &str, path: &str| {
        let mut request = Request::new(method, path);
        request.peer = Peer::mtls("cluster.local/ns/demo/sa/frontend");
        request
    };
    let machine = user(&json!({"email": null}));
    let stranger = user(&json!({"email": "x@example.com", "azp": "web"}));
    vec![
        (
            "user reads",
            request("GET", "/data"),
            user(&json!({})),
            true,
        ),
        ("frontend reads", request("GET", "/whoami"), machine, true),
        ("wrong email", request("GET", "/data"), stranger, false),
        (
            "wrong method",
            request("POST", "/data"),
            user(&json!({})),
            false,
        ),
        (
            "path to normalize",
            request("GET", "/x/../data"),
            user(&json!({})),
            true,
        ),
    ]
}

fn decide(c: &mut Criterion) {
    let manifests = Manifests::parse("demo.yaml", &demo()).expect("the demo is valid");
    let workload = Workload::app("demo", "backend");
    let compiled = Compiled::new(&Mesh::default(), &manifests, &workload);
    let mut group = c.benchmark_group("decide");
    group.throughput(Throughput::Elements(1));
    for (name, request, claims, passes) in cases() {
        let Value::Object(claims) = claims else {
            unreachable!("claims are an object")
        };
        let claims = Claims::Verified(claims);
        let decision = compiled.decide(&request, &claims);
        assert_eq!(
            decision == Decision::Allowed,
            passes,
            "{name}: {decision:?}"
        );
        group.bench_function(name, |bencher| {
            bencher.iter(|| compiled.decide(black_box(&request), black_box(&claims)));
        });
    }
    group.finish();
}

fn explain(c: &mut Criterion) {
    let ask = Ask::new(&demo()).claims(&user(&json!({})));
    assert!(ask.allowed());
    let mut group = c.benchmark_group("explain");
    group.throughput(Throughput::Elements(1));
    group.bench_function("user reads, from YAML to text", |bencher| {
        bencher.iter(|| black_box(&ask).explain().render(policy::Style::default()));
    });
    group.finish();
}

criterion_group!(benches, decide, explain);
criterion_main!(benches);
