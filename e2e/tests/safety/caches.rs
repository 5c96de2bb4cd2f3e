//! What is kept between runs is its owner's alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use crate::world::World;

fn for_others(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o077
}

fn each_file(folder: &Path, look: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            each_file(&path, look);
        } else {
            look(&path);
        }
    }
}

#[test]
fn cache_and_stage_are_private_whatever_the_umask() {
    let world = World::new();
    let cache = world.path("cache/mesh-oidc");
    fs::set_permissions(&cache, Permissions::from_mode(0o755)).unwrap();
    // The umask of this process is the usual one, 022.
    let demo = world.demo_under_way();
    assert_eq!(for_others(&cache), 0);
    assert_eq!(for_others(&world.stage("x")), 0);
    assert_eq!(for_others(&world.path("state/mesh-oidc/local")), 0);
    let mut secret = 0;
    each_file(&world.stage("x"), &mut |path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let holds_secrets = [
            "keycloakdb.mv.db",
            "secrets.yaml",
            "key.pem",
            "bootstrap.json",
        ];
        if holds_secrets.contains(&&*name) {
            assert_eq!(for_others(path), 0, "{}", path.display());
            secret += 1;
        }
    });
    assert!(secret >= 4, "{secret}");
    each_file(&cache, &mut |path| {
        if path.ends_with("keycloakdb.mv.db") {
            assert_eq!(for_others(path), 0, "{}", path.display());
        }
    });
    demo.send(Signal::TERM);
    demo.end();
}
