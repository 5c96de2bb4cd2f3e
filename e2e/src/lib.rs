//! e2e

pub mod case;
pub mod evidence;
pub mod grant;
pub mod poll;
pub mod redact;
pub mod report;
pub mod token;
pub mod verdict;
