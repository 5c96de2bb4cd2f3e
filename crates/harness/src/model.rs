//! The model: what `policy` says that the applied manifests do. Every run holds
//! it against what the mesh really did.

pub mod comparison;
pub mod prediction;

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use jiff::Timestamp;
use policy::{
    Explanation, KeySets, Manifests, Mesh, Peer, Question, Request, Token, Workload, explain,
};
use token_client::batch;

use crate::case::{Caller, Profile};
use crate::stage::Stage;
use crate::workspace;
use crate::workspace::manifest::kustomization_files;

/// Where every pod of `manifests/apps` listens.
pub const PORT: u16 = 8080;

/// The rules in force, and the keys that tokens are verified with.
#[derive(Debug, Clone)]
pub struct Model {
    /// Mesh-wide settings.
    pub mesh: Mesh,
    /// The resources.
    pub manifests: Manifests,
    /// Verification keys by issuer.
    pub keys: KeySets,
}

/// A request that was sent.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    /// Where it left from.
    pub caller: Caller,
    /// The caller's address, if it is known.
    pub source_ip: Option<IpAddr>,
    /// The request, with its token wherever that is.
    pub request: &'a batch::Request,
    /// When the sidecar had it before it.
    pub at: Timestamp,
}

impl Model {
    /// The rules that a profile applies, with the keys that the issuers in them
    /// publish right now.
    pub async fn of(stage: &impl Stage, profile: Profile) -> Result<Self> {
        let manifests = applied_manifests(profile)?;
        let keys = fetch_keys(stage, &manifests).await?;
        Ok(Self {
            mesh: Mesh::default(),
            manifests,
            keys,
        })
    }

    /// What the sidecar of the workload that was asked does with a request.
    pub fn explain(&self, sent: Sent<'_>) -> Result<Explanation> {
        let (host, _) = host_and_path(&sent.request.url)?;
        self.explain_to(&workload_behind(host)?, PORT, sent)
    }

    /// The same for a request whose host does not say which workload gets it,
    /// and on which port of the pod.
    pub fn explain_to(
        &self,
        workload: &Workload,
        port: u16,
        sent: Sent<'_>,
    ) -> Result<Explanation> {
        let (host, path) = host_and_path(&sent.request.url)?;
        let request = Request {
            host: Some(host.to_owned()),
            headers: sent.request.headers.clone(),
            port: Some(port),
            peer: peer(sent.caller),
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

/// The identity that a caller's sidecar proves.
pub fn peer(caller: Caller) -> Peer {
    match caller {
        Caller::Outsider => Peer::Plaintext,
        caller => Peer::mtls(&format!("cluster.local/ns/demo/sa/{caller}")),
    }
}

/// The resources that [`Stage::apply_policy`] applies, read from the same files.
fn applied_manifests(profile: Profile) -> Result<Manifests> {
    let folder = match profile {
        Profile::Full => "manifests/policy",
        Profile::Stock => "manifests/policy/stock",
    };
    let mut texts = Vec::new();
    for folder in ["manifests/apps", folder] {
        for file in kustomization_files(&workspace::path(folder))? {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let name = file.strip_prefix(workspace::path("")).unwrap_or(&file);
            texts.push((name.display().to_string(), text));
        }
    }
    let texts = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(Manifests::parse_all(texts)?)
}

/// The key sets of the issuers that these manifests name, asked for from inside
/// the mesh. An issuer that does not answer is left out, and said.
pub async fn fetch_keys(stage: &impl Stage, manifests: &Manifests) -> Result<KeySets> {
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
    let requests: Vec<_> = urls
        .iter()
        .map(|(issuer, url)| batch::Request::get(issuer, url))
        .collect();
    let answers = stage.ask(Caller::TokenClient, &requests).await?;
    let mut keys = KeySets::new();
    for (issuer, answer) in answers {
        match answer.response() {
            Some(response) if response.status == 200 => {
                keys.insert(issuer, response.body.clone());
            }
            _ => eprintln!(
                "warning: no keys of {issuer}: {}",
                crate::verdict::received(&answer)
            ),
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

/// `SERVICE.NAMESPACE.svc…`: every service of ours is named as its pods' `app`.
pub fn workload_behind(host: &str) -> Result<Workload> {
    let mut labels = host.split('.');
    match (labels.next(), labels.next()) {
        (Some(service), Some(namespace)) => Ok(Workload::app(namespace, service)),
        _ => anyhow::bail!("`{host}` does not say which namespace's service it is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(profile: Profile) -> Model {
        Model {
            mesh: Mesh::default(),
            manifests: applied_manifests(profile).unwrap(),
            keys: KeySets::new(),
        }
    }

    fn status_of(profile: Profile, caller: Caller) -> Option<u16> {
        let url = "http://backend.demo.svc.cluster.local/data";
        let explanation = model(profile).explain(Sent {
            caller,
            source_ip: None,
            request: &batch::Request::get("1", url),
            at: "2026-11-24T08:00:00Z".parse().unwrap(),
        });
        explanation.unwrap().outcome.unwrap().status
    }

    #[test]
    fn profiles_differ_in_the_answer_to_a_missing_token() {
        assert_eq!(status_of(Profile::Full, Caller::TokenClient), Some(401));
        assert_eq!(status_of(Profile::Stock, Caller::TokenClient), Some(403));
    }

    #[test]
    fn caller_without_a_sidecar_gets_no_answer() {
        assert_eq!(status_of(Profile::Full, Caller::Outsider), None);
    }

    #[test]
    fn path_is_taken_as_it_was_sent() {
        let url = "http://backend.demo.svc.cluster.local/a/../b//c?d=/e";
        let parts = host_and_path(url).unwrap();
        assert_eq!(parts, ("backend.demo.svc.cluster.local", "/a/../b//c?d=/e"));
    }

    #[test]
    fn host_names_service_and_namespace() {
        let workload = workload_behind("frontend.demo.svc.cluster.local").unwrap();
        assert_eq!(workload, Workload::app("demo", "frontend"));
        assert!(workload_behind("backend").is_err());
    }
}
