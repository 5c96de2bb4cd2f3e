//! Stages: places where a mesh really runs.
//!
//! | module | where |
//! |---|---|
//! | [`kind`] | a cluster of our own, in Docker |
//! | [`kubernetes`] | any cluster that has Istio |
//! | [`local`] | processes of this machine |
//!
//! All three are asked in the same way ([`harness::stage::Stage`]). The rest is
//! what it takes to bring them up.

pub mod artifacts;
mod attacker;
pub mod cluster;
pub mod doctor;
pub mod images;
pub mod kind;
pub mod kubernetes;
pub mod local;
pub mod manifest;
pub mod secrets;
mod tls;
pub mod tool;
pub mod versions;
