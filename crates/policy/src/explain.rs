//! Why a request gets what it gets.

mod arrival;
mod authn;
mod chain;
mod extract;
mod lua;
mod near;
mod render;
mod reply;

use serde::Serialize;

use crate::findings::Finding;
use crate::matcher::Tri;
use crate::parse::Location;
use crate::question::Question;

pub use arrival::Arrival;
use chain::Chain;
pub use near::{Change, NearMiss};
pub use render::Style;

/// The answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The request reaches the workload.
    Allowed,
    /// It does not, however the open questions turn out.
    Refused,
    /// That depends on something that was not given.
    Unknown,
}

/// What the caller sees, and who decided it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether the request reaches the workload.
    pub allowed: bool,
    /// HTTP status of a refusal, which is 200 where a gRPC client is told in
    /// `grpc-status`; `None` if there is no HTTP answer, or if it cannot be known.
    pub status: Option<u16>,
    /// `grpc-status` of the refusal of a gRPC request.
    pub grpc_status: Option<u8>,
    /// `grpc-message` of such a refusal.
    pub grpc_message: Option<String>,
    /// Body of a refusal.
    pub body: Option<String>,
    /// `www-authenticate` of a refusal.
    pub www_authenticate: Option<String>,
    /// `%RESPONSE_CODE_DETAILS%` in the proxy's access log.
    pub response_code_details: Option<String>,
    /// The filter that decided.
    pub filter: String,
    /// The policy that decided, `NAMESPACE/NAME`.
    pub policy: Option<String>,
    /// The same in words.
    pub reason: String,
}

/// Whether a check, or a whole filter, was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Passed {
    /// Yes.
    Yes,
    /// No.
    No,
    /// That depends on something that was not given.
    Unknown,
}

impl From<Tri> for Passed {
    fn from(tri: Tri) -> Self {
        match tri {
            Tri::Yes => Self::Yes,
            Tri::No => Self::No,
            Tri::Unknown => Self::Unknown,
        }
    }
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was compared.
    pub what: String,
    /// How it came out.
    pub passed: Passed,
    /// What is asked for.
    pub wanted: String,
    /// What the request had. Only said where the check failed, so that claims
    /// nobody needs to see stay out of reports.
    pub had: Option<String>,
    /// The field that asks for it.
    pub location: Option<Location>,
}

/// One filter of the chain and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The filter.
    pub filter: String,
    /// Whether the request got past it.
    pub passed: Passed,
    /// What happened, in a few words.
    pub summary: String,
    /// What it compared, in its own order.
    pub checks: Vec<Check>,
}

/// The whole answer. It never shows a token or a signature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The answer in one word.
    pub verdict: Verdict,
    /// What the caller sees, if only one thing is possible.
    pub outcome: Option<Outcome>,
    /// Everything that is possible; more than one only where inputs are missing.
    pub possible: Vec<Outcome>,
    /// What the workload is sent, if it is sent the request.
    pub arrival: Option<Arrival>,
    /// Inputs that would settle it.
    pub missing: Vec<String>,
    /// What was taken for granted.
    pub assumptions: Vec<String>,
    /// The filters in chain order, up to the one that decided.
    pub steps: Vec<Step>,
    /// After a refusal by the authorization rules: the ALLOW rules that came
    /// closest, all equally near, or the DENY rule that matched.
    pub nearest: Vec<NearMiss>,
    /// Known mistakes that the resources, the token or the request show.
    pub findings: Vec<Finding>,
}

/// Explains what a workload's sidecar does with a request.
pub fn explain(question: &Question<'_>) -> Explanation {
    let effective = question
        .mesh
        .effective(question.manifests, question.workload);
    let mut chain = Chain::new(question, &effective);
    chain.run();
    chain.finish()
}
