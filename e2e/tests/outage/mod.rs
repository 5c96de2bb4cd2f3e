//! What the scenes of the outage test have in common.

pub mod admin;
pub mod frontend;
pub mod load;
