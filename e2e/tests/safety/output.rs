//! Who reads what `mesh` says has no say in what it does.

use std::fs::{self, OpenOptions};
use std::process::Stdio;

use stages::versions::versions;

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

#[test]
fn last_words_of_a_process_have_no_secret_in_them() {
    let world = World::new();
    world.program("bin/cargo", "case $1 in --version) echo cargo 1.95;; esac");
    for app in ["backend", "frontend"] {
        world.program(&format!("bin/{app}"), "exec sleep 604");
    }
    let envoy = format!(
        "cache/mesh-oidc/envoy-{}/envoy/_bin/envoy",
        versions().envoy
    );
    let script = "cd $MESH_TEST_STAGE
until [ -e secrets.yaml ]; do sleep 0.05; done
{ tail -n 4 secrets.yaml; cat sidecars/backend/key.pem; } | tee $MESH_TEST_WORLD/said";
    world.program(&envoy, script);
    let up = world.run(&["up", "--stage", "local", "--name", "x"]);
    assert_eq!(up.status.code(), Some(2));
    let told = String::from_utf8_lossy(&up.stderr);
    assert!(
        told.contains("has ended") && told.contains("[redacted "),
        "{told}"
    );
    assert!(told.contains("mesh down --stage local --name x"), "{told}");
    let said = fs::read_to_string(world.path("said")).unwrap();
    let values = said.lines().filter_map(|line| line.rsplit(": ").next());
    let secrets: Vec<_> = values
        .filter(|it| it.len() > 32 && !it.starts_with("---"))
        .collect();
    assert!(secrets.len() >= 3, "{said}");
    for secret in secrets {
        for part in secret.as_bytes().chunks(20) {
            let part = String::from_utf8_lossy(part);
            assert!(part.len() < 16 || !told.contains(&*part), "{told}");
        }
    }
    world.assert_nothing_is_left();
}
