//! kind clusters, with programs that stand in for kind and Docker.

use std::fs;

use rustix::process::Signal;

use crate::world::{Cargo, World, said};

/// A kind that keeps its clusters as files; its nodes' mounts are in them.
const KIND: &str = r#"
clusters=$MESH_TEST_CLUSTERS
case "$1 $2" in
  "version "*) echo kind v0.33.0;;
  "get clusters") ls "$clusters";;
  "get nodes") echo "$4-control-plane";;
  "create cluster") echo much >"$TMPDIR/images.tar"; sed -n 's/.*containerPath: \([^,]*\),.*/\1/p' >"$clusters.new"
    mv "$clusters.new" "$clusters/$4"; exec sleep 604;;
  "delete cluster") rm "$clusters/$4";;
  *) exit 1;;
esac"#;
const DOCKER: &str = r#"
case "$1" in
  version) echo 29.0;;
  inspect) for node; do :; done; cat "$MESH_TEST_CLUSTERS/${node%-control-plane}";;
  *) echo 0;;
esac"#;

fn world() -> World {
    let world = World::new();
    fs::create_dir(world.path("clusters")).unwrap();
    let export = format!("MESH_TEST_CLUSTERS={}", world.path("clusters").display());
    world.program("bin/kind", &format!("{export}\n{KIND}"));
    world.program("bin/docker", &format!("{export}\n{DOCKER}"));
    world.program("bin/istioctl", "echo client version: 1.31.0");
    world
}

#[test]
fn cluster_that_up_did_not_make_is_not_removed() {
    let world = world();
    world.file("clusters/x", "/lib/modules\n/var\n");
    for args in [
        &["down", "--name", "x"][..],
        &["up", "--name", "x"],
        &["e2e", "--name", "x"],
    ] {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(world.path("clusters/x").exists(), "{args:?}");
    }
    let output = world.run(&["down", "--name", "x"]);
    assert!(
        said(&output).contains("was not made by `mesh up`"),
        "{}",
        said(&output)
    );
    assert_eq!(world.run(&["down", "--all"]).status.code(), Some(0));
    assert!(world.path("clusters/x").exists());
}

#[test]
fn cluster_of_a_run_that_was_killed_is_known_as_ours() {
    let world = world();
    world.file("clusters/other", "/var\n");
    for down in [&["down", "--name", "x"][..], &["down", "--all"]] {
        let up = world.start(&["up", "--name", "x"]);
        world.wait_for("cluster", || world.path("clusters/x").exists());
        up.send(Signal::KILL);
        up.end();
        let output = world.run(down);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(!world.path("clusters/x").exists());
        assert!(world.path("clusters/other").exists());
    }
    assert!(world.left().is_empty(), "{:?}", world.left());
}

#[test]
fn interrupted_creation_is_undone_with_its_temporary_files() {
    let world = world();
    let up = world.start(&["e2e", "--name", "x"]);
    world.wait_for("cluster", || world.path("clusters/x").exists());
    up.send(Signal::INT);
    let (code, said) = up.end();
    assert_eq!(code, Some(2), "{said}");
    assert!(!world.path("clusters/x").exists(), "{said}");
    world.assert_nothing_is_left();
}

#[test]
fn cluster_that_somebody_else_made_meanwhile_stays() {
    let world = world();
    world.cargo(Cargo::Hangs);
    let up = world.start(&["e2e", "--name", "x"]);
    world.wait_for("cluster", || world.path("clusters/x").exists());
    world.file("clusters/x", "/etc/mesh-oidc/made-by/another-run\n");
    up.send(Signal::TERM);
    up.end();
    assert!(world.path("clusters/x").exists());
}
