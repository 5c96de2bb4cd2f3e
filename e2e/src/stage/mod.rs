//! Stages: places where the mesh really runs.

pub mod kind;
pub mod kubernetes;

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use token_client::batch;

use crate::case::Profile;
use crate::evidence::AccessRecord;
use crate::secrets::RealmSecrets;

/// A mesh that stands and can be asked.
///
/// All that the table needs: whoever can do these five things can be verified
/// with the same cases.
#[allow(async_fn_in_trait)] // used with static dispatch on one thread's tasks only
pub trait Stage {
    /// The stage's name in reports and in a case's `skip`.
    fn name(&self) -> &'static str;

    /// The realm's keys and secrets, as they were made at set-up.
    async fn secrets(&self) -> Result<RealmSecrets>;

    /// Puts the rules of a profile in force. Returns once they are handed
    /// over; a proxy may follow later.
    async fn apply_policy(&self, profile: Profile) -> Result<()>;

    /// Sends requests from a caller's place in the mesh, many in flight, and
    /// returns the answers by request id.
    async fn ask(
        &self,
        caller: &str,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>>;

    /// What the proxy in front of a workload has recorded since the stage was
    /// opened, oldest first.
    fn records(&self, workload: &str) -> Vec<AccessRecord>;

    /// The address a caller's requests come from, where requests without an
    /// identity have to be told apart by it.
    async fn address_of(&self, caller: &str) -> Result<String>;

    /// Writes what helps to understand a failure into a folder, redacted.
    async fn dump(&self, folder: &Path) -> Result<()>;
}
