//! Where things lie in the workspace that this harness is part of.

pub mod manifest;

use std::path::{Path, PathBuf};

/// A path below the workspace's root.
///
/// # Panics
/// Never: the crate lies two folders below the root.
pub fn path(relative: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("harness must lie in the workspace")
        .join(relative)
}

/// Cargo's build folder, where reports and scratch files go too.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| path("target"), PathBuf::from)
}

/// Where fetched and prepared parts are kept between runs: `mesh-oidc` in the
/// user's cache folder.
pub fn cache_dir() -> Option<PathBuf> {
    user_cache().map(|dir| dir.join("mesh-oidc"))
}

/// `XDG_CACHE_HOME`, or `~/.cache`.
pub fn user_cache() -> Option<PathBuf> {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
}
