//! `down` removes a local stage, and nothing that merely lies where one would.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use crate::world::{World, said};

const DOWN: [&str; 5] = ["down", "--stage", "local", "--name", "x"];
const UP: [&str; 5] = ["up", "--stage", "local", "--name", "x"];

/// A stage whose command was killed: its processes go on.
fn orphaned() -> World {
    let world = World::new();
    let demo = world.demo_under_way();
    demo.send(Signal::KILL);
    demo.end();
    assert!(world.sleepers() >= 2);
    world
}

#[test]
fn folder_that_up_did_not_make_is_refused_and_stays() {
    let world = World::new();
    world.file("target/mesh/local/x/precious", "data");
    for args in [DOWN, UP] {
        let output = world.run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = said(&output);
        assert!(
            said.contains("nothing of ours says that it is local stage `x`"),
            "{said}"
        );
    }
    assert!(world.stage("x").join("precious").exists());
}

#[test]
fn copy_of_a_stage_is_no_stage() {
    let world = orphaned();
    let copy = world.stage("y");
    let copied = std::process::Command::new("cp")
        .args(["-r".into(), world.stage("x"), copy.clone()])
        .status();
    assert!(copied.unwrap().success());
    let output = world.run(&["down", "--stage", "local", "--name", "y"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(copy.exists() && world.sleepers() >= 2);
}

#[test]
fn link_to_another_folder_is_not_followed() {
    let world = World::new();
    world.file("precious/data", "data");
    fs::create_dir_all(world.path("target/mesh/local")).unwrap();
    symlink(world.path("precious"), world.stage("x")).unwrap();
    assert_eq!(world.run(&DOWN).status.code(), Some(2));
    assert!(world.path("precious/data").exists());
}

#[test]
fn what_a_killed_run_left_is_removed_with_the_children_of_dead_parents() {
    let world = orphaned();
    let sleepers = world.sleepers();
    world.kill("kc.sh");
    assert_eq!(world.sleepers(), sleepers);
    let output = world.run(&DOWN);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(world.sleepers(), 0);
    assert!(!world.stage("x").exists());
}

#[test]
fn state_that_cannot_be_read_is_named_and_does_not_keep_down_from_its_work() {
    for (file, text) in [("state.json", "{\"folder\": \"/wh"), ("mark.json", "")] {
        let world = orphaned();
        fs::write(world.stage("x").join(file), text).unwrap();
        let output = world.run(&UP);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            said(&output).contains("is already there"),
            "{}",
            said(&output)
        );
        let output = world.run(&DOWN);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(world.sleepers(), 0);
        assert!(!world.stage("x").exists());
    }
}

#[test]
fn truncated_state_is_named() {
    let world = orphaned();
    fs::write(world.stage("x").join("state.json"), "{\"folder\": \"/wh").unwrap();
    let output = world.run(&["verify", "--stage", "local", "--name", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("is not whole"), "{}", said(&output));
}

#[test]
fn state_of_another_stage_does_not_lead_to_it() {
    let world = orphaned();
    let text = fs::read_to_string(world.stage("x").join("state.json")).unwrap();
    let foreign = text.replace("mesh/local/x\"", "mesh/local/z\"");
    assert_ne!(text, foreign);
    fs::write(world.stage("x").join("state.json"), foreign).unwrap();
    let output = world.run(&["verify", "--stage", "local", "--name", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("is not whole"), "{}", said(&output));
    assert_eq!(world.run(&DOWN).status.code(), Some(0));
}

#[test]
fn stage_of_a_lost_checkout_is_found() {
    let world = orphaned();
    fs::remove_dir_all(world.path("target")).unwrap();
    let output = world.run(&["down", "--all"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    world.assert_nothing_is_left();
}

#[test]
fn down_needs_no_suite() {
    let world = orphaned();
    let mut down = world.mesh(&DOWN);
    let output = down.current_dir(world.path("tmp")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(world.sleepers(), 0);
}
