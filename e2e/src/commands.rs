//! One file for each command.

pub mod apply;
pub mod attacks;
pub mod check;
pub mod demo;
pub mod differential;
pub mod doctor;
pub mod down;
pub mod e2e;
pub mod explain;
pub mod mutants;
pub mod replay;
pub mod schema;
pub mod secrets;
pub mod translate;
pub mod up;
pub mod verify;
