//! Stages: places where the mesh really runs.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Result, bail};
use async_trait::async_trait;
use token_client::batch;

use crate::attack::{AppLine, Origin, RawAnswer, Sent, Shot, Target};
use crate::case::StageName;
use crate::evidence::Evidence;
use crate::poll::Step;
use crate::rules::Rules;
use crate::secrets::RealmSecrets;
use crate::verdict::received;

/// Whether what was asked for is there: an answer of 200.
pub fn done_when_ok(answer: &batch::Answer) -> Step<()> {
    match answer.response() {
        Some(response) if response.status == 200 => Step::Done(()),
        _ => Step::NotYet(received(answer)),
    }
}

/// A part of a mesh that may end, and that another may then stand in for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Tells it from another of its name.
    pub id: String,
    /// How it fares, or how the one before it ended; nothing if all is well.
    pub state: String,
}

/// The parts of a mesh, by what they are called.
pub type Parts = BTreeMap<String, Part>;

/// What has become of the parts that are not the same any more.
pub fn broken(before: &Parts, after: &Parts) -> Vec<String> {
    let told = |(name, was): (&String, &Part)| match after.get(name) {
        None => Some(format!("{name} is gone")),
        Some(now) if now.id != was.id => {
            let told = format!("{name} has been restarted: {}", now.state);
            Some(told.trim_end_matches(": ").to_owned())
        }
        Some(_) => None,
    };
    before.iter().filter_map(told).collect()
}

/// A mesh that stands and can be asked.
///
/// All that the table needs: whatever can do these things is verified with the
/// same cases. Callers are named as in the suite.
#[async_trait(?Send)]
pub trait Stage {
    /// The stage's name in reports and in a case's `skip`.
    fn name(&self) -> StageName;

    /// What means it on the command line: `--stage local --name x`.
    fn place(&self) -> String;

    /// What takes part, with its version.
    fn versions(&self) -> BTreeMap<String, String>;

    /// The realms' keys and secrets, as they were made at set-up.
    async fn secrets(&self) -> Result<RealmSecrets>;

    /// Puts rules in force. Returns once they are handed over; a proxy may
    /// follow later.
    async fn apply(&self, rules: &Rules) -> Result<()>;

    /// Waits until no other run signs people in here, and keeps that so as long as the
    /// value lives: Keycloak takes two attempts at once by one person for an attack, and
    /// refuses both.
    async fn turn_to_sign_in(&self) -> Result<Box<dyn Any>> {
        Ok(Box::new(()))
    }

    /// Sends requests from a caller's place in the mesh, many in flight, and
    /// returns the answers by request id.
    async fn ask(
        &self,
        caller: &str,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>>;

    /// The body at an `https` URL of a Service that speaks TLS itself, whose
    /// certificate is verified with the authorities made at set-up.
    async fn get_over_tls(&self, url: &str) -> Result<String> {
        bail!("{url}: nothing can be asked over TLS here")
    }

    /// What it consists of right now; nothing where asking tells itself that a part has
    /// ended.
    async fn parts(&self) -> Result<Parts> {
        Ok(Parts::new())
    }

    /// What the proxies in front of the workloads have recorded since the
    /// stage was opened.
    fn evidence(&self) -> Evidence;

    /// What the callers' own proxies have recorded since the stage was opened:
    /// nothing where requests meet no proxy before that of the workload.
    fn callers_evidence(&self) -> Evidence {
        Evidence::default()
    }

    /// The address a caller's requests come from: how a refused connection,
    /// which has no request id, is known.
    fn address_of(&self, caller: &str) -> Result<IpAddr>;

    /// What differs between the rules and the configuration that the proxy of a
    /// workload has, as a unified diff; `None` if they are equal.
    async fn difference(&self, workload: &str, _rules: &Rules) -> Result<Option<String>> {
        bail!("the proxy of {workload} cannot be looked into")
    }

    /// Where everything is, for people; empty if there is nothing to say.
    fn introduction(&self) -> String {
        String::new()
    }

    /// Returns, with an error, when a part of the mesh ends that should be
    /// there; where nothing can tell, never.
    async fn until_it_breaks(&self) -> Result<()> {
        std::future::pending().await
    }

    /// Why an attack by `from` cannot be sent here; nothing if it can.
    fn cannot_attack(&self, from: &Origin, request: &Sent) -> Option<String>;

    /// Sends bytes as they are, over a connection of their own.
    async fn attack(&self, shot: &Shot) -> Result<RawAnswer>;

    /// How many connections the proxy before a workload has refused before there
    /// was a request to record, by its own count: for the certificate, or because
    /// it could not read them. Nothing where that cannot be asked.
    async fn refused_connections(&self, of: &Target) -> Result<Option<u64>>;

    /// What the workloads themselves have logged since the stage was opened.
    fn app_lines(&self) -> Vec<AppLine>;

    /// Writes what helps to understand a failure into a folder, redacted.
    async fn dump(&self, folder: &Path) -> Result<()>;
}
