//! The harness: brings a mesh up and proves, request by request, who is let
//! through and which filter decided. The binary is `mesh`.

pub mod artifacts;
pub mod attack;
pub mod attacks;
pub mod case;
pub mod cli;
pub mod cluster;
pub mod comparison;
pub mod differential;
pub mod doctor;
pub mod envoy;
pub mod evidence;
pub mod explain;
pub mod grant;
pub mod images;
pub mod manifest;
pub mod model;
pub mod phases;
pub mod poll;
pub mod prediction;
pub mod redact;
pub mod report;
pub mod run;
pub mod scene;
pub mod secrets;
pub mod sidecar;
pub mod stage;
pub mod token;
pub mod tool;
pub mod translate;
pub mod trouble;
pub mod verdict;
pub mod versions;
pub mod watch;
pub mod workspace;
