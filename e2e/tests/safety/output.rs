//! Who reads what `mesh` says has no say in what it does.

use std::fs::OpenOptions;
use std::process::Stdio;

use crate::world::{Cargo, World};

#[test]
fn closed_output_leaks_no_stage() {
    let world = World::new();
    world.cargo(Cargo::Fails);
    let mut up = world
        .mesh(&["up", "--stage", "local", "--name", "x"])
        .spawn()
        .unwrap();
    drop((up.stdout.take(), up.stderr.take()));
    assert_eq!(up.wait().unwrap().code(), Some(2));
    world.assert_nothing_is_left();
}

#[test]
fn full_disk_behind_the_output_leaks_no_stage() {
    let world = World::new();
    world.cargo(Cargo::Fails);
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut up = world.mesh(&["up", "--stage", "local", "--name", "x"]);
    let status = up.stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    world.assert_nothing_is_left();
}

#[test]
fn result_that_cannot_be_written_is_an_error_and_a_reader_who_left_is_none() {
    let world = World::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut check = world.mesh(&["check"]);
    let output = check.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard output cannot be written"), "{said}");

    let mut check = world.mesh(&["check"]).spawn().unwrap();
    drop(check.stdout.take());
    assert_eq!(check.wait().unwrap().code(), Some(0));
}

#[test]
fn missing_home_is_said_at_the_start_with_what_to_do() {
    let world = World::new();
    for command in ["up", "verify", "down"] {
        let mut mesh = world.mesh(&[command, "--stage", "local"]);
        for variable in ["HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"] {
            mesh.env_remove(variable);
        }
        let output = mesh.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("nor HOME names a folder") && said.contains("fix: set HOME"),
            "{command}: {said}"
        );
    }
}
