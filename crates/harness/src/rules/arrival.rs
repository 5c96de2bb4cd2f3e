//! What the model says that arrives at a workload, held against what the workload
//! itself recorded.

use std::collections::BTreeMap;

use policy::{Arrival, Explanation};

use crate::attack::witness::{AppRecord, is_identity};
use crate::verdict::Mismatch;

/// Where the explanation and the log of the workload `at` differ about a request. A
/// workload of which there is no record at all keeps no such log.
pub fn judge(explanation: &Explanation, at: &str, id: &str, log: &[AppRecord]) -> Vec<Mismatch> {
    if !keeps_log(at, log) {
        return Vec::new();
    }
    let about = |what: &str| format!("explanation: {what} in the app's log");
    let seen = log.iter().find(|it| it.at == at && it.request_id == id);
    match (&explanation.arrival, seen) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec![Mismatch::new(about("request"), "a record", "none")],
        (None, Some(seen)) => vec![Mismatch::new(about("request"), "none", seen.in_words())],
        (Some(arrival), Some(seen)) => {
            let path = arrival.bare_path().unwrap_or_default();
            let pairs = [
                ("path", path.to_owned(), seen.path.clone()),
                (
                    "identity",
                    in_words(&identity(arrival)),
                    in_words(&seen.identity),
                ),
            ];
            pairs
                .into_iter()
                .filter(|(_, want, got)| want != got)
                .map(|(what, want, got)| Mismatch::new(about(what), want, got))
                .collect()
        }
    }
}

/// Whether the workload keeps a log that can be read.
pub fn keeps_log(at: &str, log: &[AppRecord]) -> bool {
    log.iter().any(|it| it.at == at)
}

/// The headers that the workload's record would name.
fn identity(arrival: &Arrival) -> BTreeMap<String, Vec<String>> {
    let mut identity = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in &arrival.headers {
        if is_identity(name) {
            identity
                .entry(name.clone())
                .or_default()
                .push(value.clone());
        }
    }
    identity
}

fn in_words(identity: &BTreeMap<String, Vec<String>>) -> String {
    serde_json::to_string(identity).expect("text is JSON")
}

#[cfg(test)]
mod tests {
    use policy::{Request, Token};

    use super::super::tests::explained_by;
    use super::*;

    /// What the model says of a request that forges an identity, to a workload whose
    /// rules let only /open through.
    fn explained(path: &str) -> Explanation {
        let rules = "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: demo}
spec:
  jwtRules:
    - issuer: https://issuer.example
      outputClaimToHeaders: [{header: x-jwt-sub, claim: sub}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: open, namespace: demo}
spec: {rules: [{to: [{operation: {paths: [/open]}}]}]}
";
        let forged = ["x-jwt-sub", "x_jwt_sub"].map(|name| (name.to_owned(), "admin".to_owned()));
        let request = Request {
            headers: forged.to_vec(),
            ..Request::new("GET", path)
        };
        explained_by(rules, &request, &Token::None)
    }

    fn record(id: &str, path: &str, identity: &[(&str, &str)]) -> AppRecord {
        let identity = identity
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]));
        AppRecord {
            at: "backend".to_owned(),
            request_id: id.to_owned(),
            method: "GET".to_owned(),
            path: path.to_owned(),
            identity: identity.collect(),
            client_cert: None,
            status: 200,
        }
    }

    fn wrong(path: &str, log: &[AppRecord]) -> Vec<String> {
        let mismatches = judge(&explained(path), "backend", "7", log);
        mismatches.into_iter().map(|it| it.about).collect()
    }

    const UNDERSCORED: (&str, &str) = ("x_jwt_sub", "admin");

    #[test]
    fn request_that_arrives_as_explained_is_no_mismatch() {
        let log = [record("7", "/open", &[UNDERSCORED])];
        assert_eq!(wrong("/x/../open?y", &log), [""; 0]);
    }

    #[test]
    fn path_and_identity_that_arrive_otherwise_are_told() {
        let log = [record(
            "7",
            "/other",
            &[UNDERSCORED, ("x-jwt-sub", "admin")],
        )];
        let want = ["path", "identity"].map(|it| format!("explanation: {it} in the app's log"));
        assert_eq!(wrong("/open", &log), want);
    }

    #[test]
    fn request_that_is_missing_in_a_log_is_told() {
        let log = [record("8", "/open", &[])];
        assert_eq!(
            wrong("/open", &log),
            ["explanation: request in the app's log"]
        );
    }

    #[test]
    fn refused_request_that_arrives_is_told() {
        let log = [record("7", "/data", &[])];
        assert_eq!(
            wrong("/data", &log),
            ["explanation: request in the app's log"]
        );
    }

    #[test]
    fn app_without_such_a_log_is_not_compared() {
        assert_eq!(wrong("/open", &[]), [""; 0]);
    }
}
