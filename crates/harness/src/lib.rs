#![doc = include_str!("../README.md")]

pub mod asking;
pub mod attack;
pub mod case;
pub mod evidence;
pub mod poll;
pub mod redact;
pub mod report;
pub mod rules;
pub mod schema;
pub mod secrets;
pub mod stage;
pub mod suite;
pub mod token;
pub mod trouble;
pub mod verdict;
pub mod workspace;
