//! One name, one command: who comes second touches nothing.

use rustix::process::Signal;

use crate::world::{Cargo, Run, World, said};

#[test]
fn second_command_of_a_name_is_told_who_has_it_and_touches_nothing() {
    let world = World::new();
    let demo = world.demo_under_way();
    let before = world.processes().len();
    for args in [
        &["up", "--stage", "local", "--name", "x"][..],
        &["e2e", "--stage", "local", "--name", "x"],
        &["demo", "--name", "x"],
        &["down", "--stage", "local", "--name", "x"],
        &["down", "--all"],
    ] {
        let output = world.run(args);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        let holder = format!("`mesh demo` (process {}, since ", demo.id());
        assert!(said.contains(&holder), "{args:?}: {said}");
        assert_eq!(world.processes().len(), before, "{args:?}");
    }
    demo.send(Signal::INT);
    let (code, _) = demo.end();
    assert_eq!(code, Some(2));
    world.assert_nothing_is_left();
}

#[test]
fn run_that_failed_removes_what_it_made() {
    let world = World::new();
    world.cargo(Cargo::Fails);
    for args in [
        &["up", "--stage", "local", "--name", "x"][..],
        &["e2e", "--stage", "local", "--name", "x"],
        &["demo", "--name", "x"],
    ] {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output);
        assert!(said.contains("no such crate"), "{said}");
        assert!(said.contains("local stage `x` removed"), "{said}");
        world.assert_nothing_is_left();
    }
}

#[test]
fn run_that_finds_a_stage_leaves_it_alone() {
    let world = World::new();
    let demo = world.demo_under_way();
    demo.send(Signal::KILL);
    demo.end();
    let standing = world.sleepers();
    for args in [
        &["e2e", "--stage", "local", "--name", "x"][..],
        &["demo", "--name", "x"],
    ] {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            said(&output).contains("is already there"),
            "{}",
            said(&output)
        );
        assert_eq!(world.sleepers(), standing);
        assert!(world.stage("x").join("state.json").exists());
    }
}

#[test]
fn of_many_at_once_one_makes_the_mesh_and_the_others_leave_it_alone() {
    let world = World::new();
    let start = |_| world.start(&["up", "--stage", "local", "--name", "x"]);
    let mut runs: Vec<_> = (0..4).map(start).collect();
    world.wait_until_all_is_started();
    // All but one end by themselves.
    world.wait_for("single winner", || {
        world
            .processes()
            .iter()
            .filter(|it| it.contains(" up --stage local"))
            .count()
            == 1
    });
    assert!(world.sleepers() >= 2 && world.stage("x").join("state.json").exists());
    let winner = runs.iter_mut().position(Run::goes_on);
    let winner = runs.swap_remove(winner.expect("one goes on"));
    for run in runs {
        let (code, said) = run.end();
        assert_eq!(code, Some(2));
        assert!(said.contains("in the hands of `mesh up`"), "{said}");
    }
    winner.send(Signal::TERM);
    winner.end();
    world.assert_nothing_is_left();
}
