#![doc = include_str!("../README.md")]

mod admin;
mod authority;
mod config;
mod outbound;
pub mod settings;
pub mod sidecar;

pub use admin::{Admin, command, listener_file};
pub use authority::{Authority, Certificate};
pub use config::{AccessLog, Bootstrap, Inbound, PortRules, address, router};
pub use outbound::{Outbound, Upstream, cluster};
