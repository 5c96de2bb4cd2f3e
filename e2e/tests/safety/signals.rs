//! Whatever ends a program at a terminal ends `mesh` with all that it made.

use std::process::Command;

use rustix::process::Signal;

use crate::world::{World, said};

#[test]
fn every_signal_that_ends_a_program_ends_the_stage_too() {
    let world = World::new();
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        let demo = world.demo_under_way();
        demo.send(signal);
        let (code, said) = demo.end();
        assert_eq!(code, Some(2), "{signal:?}: {said}");
        assert!(
            said.contains("local stage `x` removed") && said.contains("interrupted"),
            "{signal:?}: {said}"
        );
        world.assert_nothing_is_left();
    }
}

#[test]
fn second_signal_ends_it_at_once() {
    let world = World::new();
    world.deaf_envoy();
    let demo = world.demo_under_way();
    demo.send(Signal::INT);
    // What does not hear SIGTERM keeps it clearing up for seconds.
    world.wait_for("beginning of the end", || {
        let processes = world.processes();
        !processes.iter().any(|line| line == "sleep 601")
    });
    demo.send(Signal::TERM);
    assert_eq!(demo.end().0, Some(143));
    assert!(world.sleepers() > 0);
    let output = world.run(&["down", "--all"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    world.assert_nothing_is_left();
}

#[test]
fn what_nohup_started_outlives_its_terminal() {
    let world = World::new();
    let mesh = world.mesh(&["demo", "--name", "x"]);
    let mut nohup = Command::new("nohup");
    nohup
        .arg(mesh.get_program())
        .args(mesh.get_args())
        .envs(
            mesh.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env_remove("JAVA_HOME")
        .current_dir(mesh.get_current_dir().unwrap());
    let demo = world.start_command(nohup);
    world.wait_until_all_is_started();
    demo.send(Signal::HUP);
    // If the first counted, this would be the second, which ends it at once.
    demo.send(Signal::TERM);
    let (code, said) = demo.end();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("local stage `x` removed"), "{said}");
    world.assert_nothing_is_left();
}
