//! Where things lie in the workspace that this harness is part of.

use std::path::{Path, PathBuf};

/// A path below the workspace's root.
///
/// # Panics
/// Never: the crate lies one folder below the root.
pub fn path(relative: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("e2e must lie in the workspace")
        .join(relative)
}

/// Cargo's build folder, where reports and scratch files go too.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| path("target"), PathBuf::from)
}
