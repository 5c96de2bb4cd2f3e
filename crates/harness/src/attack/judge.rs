//! The judgement: three witnesses, held against what was really sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::witness::claim_in_header;
use super::{Acceptable, Answers, AppRecord, AppSees, Expect, Identity, Spec};
use crate::evidence::{AccessRecord, DecidedBy};
use crate::token::Object;
use crate::verdict::Mismatch;

/// The claims that the mesh passes on, and the headers it passes them on in.
const TOLD: [(&str, &str); 3] = [
    ("x-jwt-sub", "sub"),
    ("x-jwt-email", "email"),
    ("x-jwt-azp", "azp"),
];

/// Everything that is known of an attack that was sent.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What was sent, and what must become of it.
    pub spec: &'a Spec,
    /// The claims of `token`.
    pub claims: &'a Object,
    /// The claims of `other_token`.
    pub other_claims: &'a Object,
    /// The claims of the tokens that workloads themselves have, by grant.
    pub granted_claims: &'a BTreeMap<String, Object>,
    /// Where it was sent from: address and, where the stage knows it, port.
    pub address: Option<(IpAddr, Option<u16>)>,
    /// The first witness.
    pub answers: &'a Answers,
    /// The second: what the proxies before the applications recorded.
    pub records: &'a [&'a AccessRecord],
    /// Where there is none of theirs: what the caller's own proxy recorded when it
    /// refused to send the request on.
    pub refused_before: Option<&'a AccessRecord>,
    /// Where there can be no record: the connections that the proxy refused
    /// meanwhile, by its own count.
    pub refused_connections: Option<u64>,
    /// The third: what the applications logged.
    pub seen: &'a [AppRecord],
    /// Whether the applications' logs were read to their end.
    pub app_log_is_complete: bool,
}

/// All that is wrong; nothing if the attack came out as it must.
pub fn judge(facts: &Facts<'_>) -> Vec<Mismatch> {
    let mut wrong = Vec::new();
    judge_answers(facts, &mut wrong);
    judge_proxy(facts, &mut wrong);
    judge_app(facts, &mut wrong);
    wrong
}

fn judge_answers(facts: &Facts<'_>, wrong: &mut Vec<Mismatch>) {
    let acceptable = match &facts.spec.expect {
        Expect::Refused(acceptable) => acceptable,
        Expect::ByDesign(design) => &design.answer,
    };
    // To a proxy on the way, bytes that are no request are none to answer.
    let hung_up = facts.refused_before.is_some() && facts.answers.are(&[Acceptable::Closed]);
    let refused = matches!(facts.spec.expect, Expect::Refused(_));
    if !(facts.answers.are(acceptable) || refused && hung_up) {
        wrong.push(Mismatch::new(
            "answer",
            facts.spec.expect.to_string(),
            facts.answers.in_words(),
        ));
    }
}

fn judge_proxy(facts: &Facts<'_>, wrong: &mut Vec<Mismatch>) {
    if facts.records.is_empty() {
        let counted =
            facts.spec.is_counted() && facts.refused_connections.is_some_and(|count| count > 0);
        if !counted && facts.refused_before.is_none() {
            wrong.push(Mismatch::new(
                "proxy's log",
                "a record of it",
                "none: not judged",
            ));
        }
    }
    for record in facts.records {
        // What the workload that was asked asks of another is its own request.
        if is_hop(facts, record) {
            continue;
        }
        let deceived = |about: &str, want: String, got: String| {
            Mismatch::new(format!("proxy's log: {about}"), want, got)
        };
        let (method, path) = facts.spec.request.target(&facts.spec.to);
        let path = facts.spec.logged.path.clone().or(path);
        let method = facts.spec.logged.method.clone().or(method);
        // A request hidden behind the first is another one, and says so.
        let hidden = record
            .request_id
            .as_ref()
            .is_some_and(|id| id.ends_with("-2"));
        for (about, want, got) in [
            ("path", path, &record.path),
            ("method", method, &record.method),
        ] {
            let got = got
                .as_deref()
                .map(|got| got.split('?').next().unwrap_or(got).to_owned());
            if !hidden && got.is_some() && got != want {
                wrong.push(deceived(
                    about,
                    want.unwrap_or_else(|| "none".to_owned()),
                    got.unwrap_or_default(),
                ));
            }
        }
        if record.downstream_peer_principal != facts.spec.from.principal() {
            let words = |name: &Option<String>| name.clone().unwrap_or_else(|| "nobody".to_owned());
            wrong.push(deceived(
                "identity",
                words(&facts.spec.from.principal()),
                words(&record.downstream_peer_principal),
            ));
        }
        if let Some((ip, port)) = facts.address {
            let recorded = record
                .downstream_remote_address
                .as_deref()
                .unwrap_or("none");
            let same = recorded.parse::<SocketAddr>().is_ok_and(|address| {
                address.ip() == ip && port.is_none_or(|port| address.port() == port)
            });
            if !same {
                let port = port.map_or_else(String::new, |port| format!(":{port}"));
                wrong.push(deceived(
                    "address",
                    format!("{ip}{port}"),
                    recorded.to_owned(),
                ));
            }
        }
    }
    let let_through = facts
        .records
        .iter()
        .filter(|record| was_sent_on(record))
        .count();
    let may = match &facts.spec.expect {
        Expect::Refused(_) => 0,
        Expect::ByDesign(design) => design.app.len(),
    };
    if let_through != may {
        wrong.push(Mismatch::new(
            "proxy's log: let through",
            may.to_string(),
            let_through.to_string(),
        ));
    }
}

fn is_hop(facts: &Facts<'_>, record: &AccessRecord) -> bool {
    let asked = format!("spiffe://{}", facts.spec.to.principal);
    facts.spec.from.principal().as_ref() != Some(&asked)
        && record.downstream_peer_principal.as_ref() == Some(&asked)
}

/// Whether the proxy sent the request on, whatever came of it.
pub(super) fn was_sent_on(record: &AccessRecord) -> bool {
    let details = record.response_code_details.as_deref().unwrap_or_default();
    record.decided_by() == Ok(DecidedBy::App) || details.starts_with("upstream_")
}

fn judge_app(facts: &Facts<'_>, wrong: &mut Vec<Mismatch>) {
    if !facts.app_log_is_complete {
        wrong.push(Mismatch::new(
            "app's log",
            "read to its end",
            "not read: not judged",
        ));
    }
    let mut may: Vec<&AppSees> = match &facts.spec.expect {
        Expect::Refused(_) => Vec::new(),
        Expect::ByDesign(design) => design.app.iter().collect(),
    };
    for seen in facts.seen {
        let found = may
            .iter()
            .position(|may| differences(facts, may, seen).is_empty());
        match (found, &may[..]) {
            (Some(at), _) => drop(may.remove(at)),
            (None, []) => wrong.push(Mismatch::new("app's log", "nothing", seen.in_words())),
            (None, [only]) => {
                wrong.extend(differences(facts, only, seen));
                may.clear();
            }
            (None, _) => wrong.push(Mismatch::new(
                "app's log",
                "another request",
                seen.in_words(),
            )),
        }
    }
    if !may.is_empty() && facts.app_log_is_complete {
        let got = format!("{} of them are missing", may.len());
        wrong.push(Mismatch::new(
            "app's log",
            "all requests that are by design",
            got,
        ));
    }
}

/// What an application saw that it may not see, or not so.
fn differences(facts: &Facts<'_>, may: &AppSees, seen: &AppRecord) -> Vec<Mismatch> {
    let (method, path) = facts.spec.request.target(&facts.spec.to);
    let at = may.at.as_ref().unwrap_or(&facts.spec.to.name);
    let mut wrong = Vec::new();
    let mut compare = |about: &str, want: String, got: String| {
        if want != got {
            wrong.push(Mismatch::new(format!("app's log: {about}"), want, got));
        }
    };
    compare("who", at.clone(), seen.at.clone());
    compare(
        "method",
        may.method.clone().or(method).unwrap_or_default(),
        seen.method.clone(),
    );
    compare(
        "path",
        may.path.clone().or(path).unwrap_or_default(),
        seen.path.clone(),
    );
    let identity = told(facts, may);
    compare("identity", in_words(&identity), in_words(&seen.identity));
    let caller = if *at == facts.spec.to.name {
        facts.spec.from.principal()
    } else {
        Some(format!("spiffe://{}", facts.spec.to.principal))
    };
    let mut callers = seen.callers();
    if may.forged_client_cert {
        callers = callers.split_off(callers.len().saturating_sub(1));
    }
    let caller: Vec<_> = caller.into_iter().collect();
    compare(
        "x-forwarded-client-cert",
        caller.join(", "),
        callers.join(", "),
    );
    wrong
}

fn in_words(identity: &BTreeMap<String, Vec<String>>) -> String {
    serde_json::to_string(identity).expect("text is JSON")
}

/// The identity headers that an application may be told.
fn told(facts: &Facts<'_>, may: &AppSees) -> BTreeMap<String, Vec<String>> {
    let of = |claims: &Object| -> BTreeMap<String, Vec<String>> {
        TOLD.iter()
            .filter_map(|(header, claim)| {
                let value = claim_in_header(claims.get(*claim)?)?;
                Some(((*header).to_owned(), vec![value]))
            })
            .collect()
    };
    let mut told = match &may.identity {
        Identity::Token => of(facts.claims),
        Identity::OtherToken => of(facts.other_claims),
        Identity::Nobody => BTreeMap::new(),
        Identity::Granted(grant) => facts.granted_claims.get(grant).map(of).unwrap_or_default(),
        Identity::TokenBut(changes) => {
            let mut claims = facts.claims.clone();
            for (name, value) in changes {
                match value {
                    Value::Null => drop(claims.remove(name)),
                    value => drop(claims.insert(name.clone(), value.clone())),
                }
            }
            of(&claims)
        }
    };
    told.extend(may.also.clone());
    told
}

#[cfg(test)]
mod tests;
