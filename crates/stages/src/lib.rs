#![doc = include_str!("../README.md")]

pub mod artifacts;
mod attacker;
pub mod cluster;
pub mod doctor;
pub mod images;
mod java;
pub mod kind;
pub mod kubernetes;
pub mod local;
pub mod lock;
mod logs;
pub mod manifest;
pub mod name;
pub mod scratch;
pub mod secrets;
mod tls;
pub mod tool;
pub mod versions;
