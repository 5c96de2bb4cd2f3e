//! What is asked about a request.

use crate::parse::Manifests;
use crate::request::{Request, Token};
use crate::select::{Mesh, Workload};
use crate::translate::KeySets;

/// All that the answer depends on.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Mesh-wide settings.
    pub mesh: &'a Mesh,
    /// The resources.
    pub manifests: &'a Manifests,
    /// Whose sidecar decides.
    pub workload: &'a Workload,
    /// Verification keys by issuer.
    pub keys: &'a KeySets,
    /// The request.
    pub request: &'a Request,
    /// Its token.
    pub token: &'a Token,
    /// Seconds since 1970 on the sidecar's clock.
    pub now: u64,
}
