//! Stages: places where the mesh really runs.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use token_client::batch;

use crate::attack::{AppLine, Origin, RawAnswer, Sent, Shot, Target};
use crate::case::{Caller, Profile, StageName};
use crate::evidence::Evidence;
use crate::model::Model;
use crate::poll::{Poll, Step, Timeouts};
use crate::run::issuer;
use crate::secrets::RealmSecrets;
use crate::verdict::received;

/// Whether what was asked for is there: an answer of 200.
pub fn done_when_ok(answer: &batch::Answer) -> Step<()> {
    match answer.response() {
        Some(response) if response.status == 200 => Step::Done(()),
        _ => Step::NotYet(received(answer)),
    }
}

/// A mesh that stands and can be asked.
///
/// All that the table needs: whatever can do these things is verified with the
/// same cases.
#[allow(async_fn_in_trait)] // used with static dispatch on one thread's tasks only
pub trait Stage {
    /// The stage's name in reports and in a case's `skip`.
    fn name(&self) -> StageName;

    /// What takes part, with its version.
    fn versions(&self) -> BTreeMap<String, String>;

    /// The realm's keys and secrets, as they were made at set-up.
    async fn secrets(&self) -> Result<RealmSecrets>;

    /// Puts the rules of a profile in force. Returns once they are handed
    /// over; a proxy may follow later.
    async fn apply_policy(&self, profile: Profile) -> Result<()>;

    /// Sends requests from a caller's place in the mesh, many in flight, and
    /// returns the answers by request id.
    async fn ask(
        &self,
        caller: Caller,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>>;

    /// What the proxies in front of the workloads have recorded since the
    /// stage was opened.
    fn evidence(&self) -> Evidence;

    /// The address a caller's requests come from: how a refused connection,
    /// which has no request id, is known.
    fn address_of(&self, caller: Caller) -> Result<IpAddr>;

    /// The workloads whose proxies' configuration can be compared with the
    /// model; none where it is made from the model in the first place.
    fn comparable(&self) -> Vec<String> {
        Vec::new()
    }

    /// What differs between the model and the configuration that the proxy of
    /// one of them has, as a unified diff; `None` if they are equal.
    async fn difference(&self, workload: &str, _model: &Model) -> Result<Option<String>> {
        bail!("the proxy of {workload} cannot be looked into")
    }

    /// Waits until Keycloak's discovery document answers from inside the mesh:
    /// only then may the rules be applied, because istiod reads the keys once.
    async fn wait_for_discovery(&self, timeouts: &Timeouts) -> Result<()> {
        let issuer = issuer("myrealm");
        let url = format!("{issuer}/.well-known/openid-configuration");
        Poll::new(format!("discovery at {url}"), timeouts.discovery)
            .until(async || {
                let request = batch::Request::get("discovery", &url);
                let answers = self.ask(Caller::TokenClient, &[request]).await?;
                let answer = answers.values().next().context("no answer")?;
                Ok(done_when_ok(answer))
            })
            .await
    }

    /// Why an attack by `from` cannot be sent here; nothing if it can.
    fn cannot_attack(&self, from: &Origin, request: &Sent) -> Option<String>;

    /// Sends bytes as they are, over a connection of their own.
    async fn attack(&self, shot: &Shot) -> Result<RawAnswer>;

    /// How many connections the proxy before a workload has refused before there
    /// was a request to record, by its own count: for the certificate, or because
    /// it could not read them. Nothing where that cannot be asked.
    async fn refused_connections(&self, of: Target) -> Result<Option<u64>>;

    /// What the workloads themselves have logged since the stage was opened.
    fn app_lines(&self) -> Vec<AppLine>;

    /// Writes what helps to understand a failure into a folder, redacted.
    async fn dump(&self, folder: &Path) -> Result<()>;
}
