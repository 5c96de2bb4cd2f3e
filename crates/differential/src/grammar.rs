//! Random scenes: anything that the types allow, and mostly things that nearly
//! fit each other, because a rule that never matches shows little.

mod calls;
mod dice;
mod rules;
mod tokens;

pub use dice::Dice;

use super::scene::{Call, Sidecar};

/// A sidecar with random rules, and calls to it.
#[derive(Debug)]
pub struct Round {
    /// Who decides.
    pub sidecar: Sidecar,
    /// What is decided.
    pub calls: Vec<Call>,
}

/// Throws a sidecar and `calls` calls to it. The API server may refuse its
/// manifests: then throw again.
pub fn round(dice: &mut Dice, calls: usize) -> Round {
    let sidecar = rules::sidecar(dice);
    let connections: Vec<_> = (0..calls.div_ceil(12))
        .map(|_| calls::connection(dice))
        .collect();
    let calls = (0..calls)
        .map(|index| calls::call(dice, connections[index % connections.len()].clone()))
        .collect();
    Round { sidecar, calls }
}

/// The issuers that rules and tokens are about.
const ISSUERS: [&str; 2] = ["http://kc/realms/a", "http://kc/realms/b"];
/// Nearly the first of them.
const SLASHED_ISSUER: &str = "http://kc/realms/a/";
