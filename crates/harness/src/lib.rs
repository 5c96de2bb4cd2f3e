//! The harness: cases, the tokens they need, what a mesh answers to them, and
//! what to say of that. Where the mesh runs is the business of whoever
//! implements [`Stage`](stage::Stage).

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
