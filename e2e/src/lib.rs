//! `mesh`: the command line around the harness. One file for each command, in
//! [`commands`].

pub mod arguments;
pub mod cli;
pub mod commands;
pub mod interruption;
pub mod place;
pub mod scene;
pub mod watch;
