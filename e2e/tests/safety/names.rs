//! A name can mean nothing but a mesh.

use std::fs;

use crate::world::{World, said};

#[test]
fn what_is_no_dns_label_is_refused_by_every_command_that_takes_a_name() {
    let world = World::new();
    let victim = world.path("victim");
    fs::create_dir(&victim).unwrap();
    let absolute = victim.display().to_string();
    let long = "a".repeat(64);
    let names = [
        "",
        ".",
        "..",
        "../../victim",
        &absolute,
        "a.b",
        "a'b",
        "A",
        "a b",
        "a/b",
        "a_b",
        &long,
    ];
    let commands = [
        &["down", "--stage", "local"][..],
        &["down"],
        &["up", "--stage", "local"],
        &["up"],
        &["e2e", "--stage", "local"],
        &["demo"],
        &["verify", "--stage", "local"],
        &["apply", "--stage", "local"],
        &["attacks", "--stage", "local"],
    ];
    for name in names {
        for command in commands {
            let output = world.run(&[command, &["--name", name]].concat());
            let said = said(&output);
            assert_eq!(
                output.status.code(),
                Some(2),
                "{command:?} {name:?}: {said}"
            );
            assert!(
                said.contains("a name has 1 to 63 of"),
                "{command:?} {name:?}: {said}"
            );
        }
    }
    assert!(victim.exists());
    world.assert_nothing_is_left();
}
