//! What keeps a run from happening: the machine or the mesh is not ready.

use thiserror::Error;

/// A need that is not met, with the way to meet it.
#[derive(Debug, Error)]
#[error("{what}\n  fix: {fix}")]
pub struct Trouble {
    what: String,
    fix: String,
}

impl Trouble {
    /// `what` is wrong, and the command or change that mends it.
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// What is wrong, without the fix.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The command or change that mends it.
    pub fn fix(&self) -> &str {
        &self.fix
    }
}
