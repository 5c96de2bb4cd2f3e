//! Rules: what is in force, read once, applied and judged by the same value.
//! Every run holds what `policy` says of them against what the mesh really did.

pub mod arrival;
pub mod comparison;
pub mod prediction;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use policy::{Explanation, KeySets, Manifests, Mesh, Question, Request, Token, Workload, explain};
use serde_json::Value;
use token_client::batch;

use crate::output::say;
use crate::stage::Stage;
use crate::suite::manifest::{kustomization_files, objects};
use crate::suite::yaml::read;
use crate::suite::{Caller, Profile, Suite};
use crate::verdict::received;
use crate::workspace::shown;

/// The rules of a profile, and the keys that tokens are verified with.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The profile's name.
    pub profile: String,
    /// Mesh-wide settings.
    pub mesh: Mesh,
    /// The resources, as they are judged by.
    pub manifests: Manifests,
    /// Verification keys by issuer.
    pub keys: KeySets,
    /// The same resources, as they are applied.
    pub objects: Vec<Value>,
    /// What other profiles apply and this does not: it must not be there.
    pub withdrawn: Vec<Value>,
}

/// A request that was sent.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    /// Where it left from.
    pub caller: &'a Caller,
    /// The caller's address, if it is known.
    pub source_ip: Option<IpAddr>,
    /// The request, with its token wherever that is.
    pub request: &'a batch::Request,
    /// When the sidecar had it before it.
    pub at: Timestamp,
}

impl Rules {
    /// Reads the rules of a profile from the suite's files. No keys are known
    /// yet.
    pub fn read(suite: &Suite, profile: &Profile) -> Result<Self> {
        let texts = texts(suite, &profile.rules)?;
        let manifests = manifests(suite, texts)?;
        let applied = objects(&suite.path(&profile.rules))?;
        let mut withdrawn: Vec<Value> = Vec::new();
        for other in &suite.profiles {
            for object in objects(&suite.path(&other.rules))? {
                let same = |known: &Value| is_same(known, &object);
                if !applied.iter().any(same) && !withdrawn.iter().any(same) {
                    withdrawn.push(object);
                }
            }
        }
        Ok(Self {
            profile: profile.name.clone(),
            mesh: suite.mesh.clone(),
            manifests,
            keys: KeySets::new(),
            objects: applied,
            withdrawn,
        })
    }

    /// The same with other objects in the place of the profile's.
    pub fn with_objects(&self, suite: &Suite, objects: Vec<Value>) -> Result<Self> {
        let texts = objects
            .iter()
            .map(|object| (self.profile.clone(), object.to_string()))
            .collect();
        Ok(Self {
            manifests: manifests(suite, texts)?,
            objects,
            ..self.clone()
        })
    }

    /// Learns the keys that the issuers in them publish right now.
    pub async fn with_keys(mut self, suite: &Suite, stage: &dyn Stage) -> Result<Self> {
        self.keys = fetch_keys(suite, stage, &self.manifests).await?;
        Ok(self)
    }

    /// What the sidecar of the workload that was asked does with a request.
    pub fn explain(&self, suite: &Suite, sent: Sent<'_>) -> Result<Explanation> {
        let (host, _) = host_and_path(&sent.request.url)?;
        let asked = suite.serving(host);
        let asked = asked.with_context(|| format!("no workload is behind `{host}`"))?;
        self.explain_to(&asked.workload(), asked.port, sent)
    }

    /// What the sidecar of this workload does with a request to this port of
    /// its pod, whatever the request's host.
    pub fn explain_to(
        &self,
        workload: &Workload,
        port: Option<u16>,
        sent: Sent<'_>,
    ) -> Result<Explanation> {
        let (host, path) = host_and_path(&sent.request.url)?;
        let request = Request {
            host: Some(host.to_owned()),
            headers: sent.request.headers.clone(),
            port,
            peer: sent.caller.peer(&self.mesh),
            source_ip: sent.source_ip,
            ..Request::new(&sent.request.method, path)
        };
        Ok(explain(&Question {
            mesh: &self.mesh,
            manifests: &self.manifests,
            workload,
            keys: &self.keys,
            request: &request,
            // What there is of a token is in the request.
            token: &Token::None,
            now: u64::try_from(sent.at.as_second())?,
        }))
    }
}

/// The files of a folder of manifests: their names and texts.
fn texts(suite: &Suite, folder: &Path) -> Result<Vec<(String, String)>> {
    let files = kustomization_files(&suite.path(folder))?;
    let texts = files.iter().map(|file| Ok((shown(file), read(file)?)));
    texts.collect()
}

/// The workloads, and the rules of these texts.
fn manifests(suite: &Suite, rules: Vec<(String, String)>) -> Result<Manifests> {
    let mut all = texts(suite, &suite.manifests.workloads)?;
    all.extend(rules);
    let all = all
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(Manifests::parse_all(all)?)
}

/// Whether two objects are two states of one.
pub(crate) fn is_same(one: &Value, other: &Value) -> bool {
    ["/kind", "/metadata/namespace", "/metadata/name"]
        .iter()
        .all(|place| one.pointer(place) == other.pointer(place))
}

/// The key sets of the issuers that these manifests name, asked for from inside
/// the mesh. An issuer that does not answer is left out, and said.
pub async fn fetch_keys(
    suite: &Suite,
    stage: &dyn Stage,
    manifests: &Manifests,
) -> Result<KeySets> {
    let rules = manifests
        .request_authentications
        .iter()
        .flat_map(|resource| &resource.spec.jwt_rules)
        .filter(|rule| rule.jwks.is_none());
    let urls: BTreeMap<_, _> = rules
        .map(|rule| {
            let well_known = || format!("{}/protocol/openid-connect/certs", rule.issuer);
            let url = rule.jwks_uri.clone().unwrap_or_else(well_known);
            (rule.issuer.clone(), url)
        })
        .collect();
    let is_tls = |url: &str| url.starts_with("https://");
    let requests: Vec<_> = urls
        .iter()
        .filter(|(_, url)| !is_tls(url))
        .map(|(issuer, url)| batch::Request::get(issuer, url))
        .collect();
    let answers = stage.ask(&suite.usual_caller().name, &requests).await?;
    let mut learnt: Vec<_> = answers
        .into_iter()
        .map(|(issuer, answer)| match answer.response() {
            Some(response) if response.status == 200 => (issuer, Ok(response.body.clone())),
            _ => (issuer, Err(received(&answer))),
        })
        .collect();
    for (issuer, url) in urls.iter().filter(|(_, url)| is_tls(url)) {
        let keys = stage.get_over_tls(url).await;
        learnt.push((issuer.clone(), keys.map_err(|error| format!("{error:#}"))));
    }
    let mut keys = KeySets::new();
    for (issuer, learnt) in learnt {
        match learnt {
            Ok(set) => drop(keys.insert(issuer, set)),
            Err(problem) => say(format!("warning: no keys of {issuer}: {problem}")),
        }
    }
    Ok(keys)
}

/// Host and path as they were sent: nothing may be tidied up on the way.
pub fn host_and_path(url: &str) -> Result<(&str, &str)> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("`{url}` is no http URL"))?;
    let slash = rest.find('/').context("a URL without a path")?;
    Ok(rest.split_at(slash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::tests::project;

    /// What the model says of a request to the backend under these rules.
    pub(super) fn explained_by(rules: &str, request: &Request, token: &Token) -> Explanation {
        explain(&Question {
            mesh: &Mesh::default(),
            manifests: &Manifests::parse("policy.yaml", rules).unwrap(),
            workload: &Workload::app("demo", "backend"),
            keys: &KeySets::new(),
            request,
            token,
            now: 1_800_000_000,
        })
    }

    fn status_of(profile: &str, caller: &str) -> Option<u16> {
        let suite = project();
        let rules = Rules::read(suite, suite.profile(profile).unwrap()).unwrap();
        let url = format!("http://{}{}", suite.request.host, suite.request.path);
        let explanation = rules.explain(
            suite,
            Sent {
                caller: suite.caller(caller).unwrap(),
                source_ip: None,
                request: &batch::Request::get("1", url),
                at: "2026-11-24T08:00:00Z".parse().unwrap(),
            },
        );
        explanation.unwrap().outcome.unwrap().status
    }

    #[test]
    fn profiles_differ_in_the_answer_to_a_missing_token() {
        assert_eq!(status_of("full", "token-client"), Some(401));
        assert_eq!(status_of("stock", "token-client"), Some(403));
    }

    #[test]
    fn caller_without_a_sidecar_gets_no_answer() {
        assert_eq!(status_of("full", "outsider"), None);
    }

    #[test]
    fn workload_that_no_rule_names_answers_nobody() {
        let suite = project();
        for profile in &suite.profiles {
            let rules = Rules::read(suite, profile).unwrap();
            for caller in &suite.callers {
                let sent = Sent {
                    caller,
                    source_ip: None,
                    request: &batch::Request::get("1", "http://newcomer.demo/data"),
                    at: "2026-11-24T08:00:00Z".parse().unwrap(),
                };
                let newcomer = Workload::app("demo", "newcomer");
                let answer = rules.explain_to(&newcomer, Some(8080), sent).unwrap();
                let status = answer.outcome.unwrap().status;
                assert_eq!(status, caller.has_sidecar.then_some(403), "{}", caller.name);
            }
        }
    }

    #[test]
    fn what_another_profile_adds_is_withdrawn() {
        let suite = project();
        let stock = Rules::read(suite, suite.profile("stock").unwrap()).unwrap();
        let kinds: Vec<_> = stock.withdrawn.iter().map(|it| &it["kind"]).collect();
        assert_eq!(kinds, ["TrafficExtension"]);
        let full = Rules::read(suite, suite.profile("full").unwrap()).unwrap();
        assert!(full.withdrawn.is_empty());
    }

    #[test]
    fn path_is_taken_as_it_was_sent() {
        let url = "http://backend.demo.svc.cluster.local/a/../b//c?d=/e";
        let parts = host_and_path(url).unwrap();
        assert_eq!(parts, ("backend.demo.svc.cluster.local", "/a/../b//c?d=/e"));
    }
}
