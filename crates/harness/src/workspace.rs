//! Where things lie: nothing of it is known before the program runs.

use std::path::{Path, PathBuf};

use crate::trouble::Trouble;

/// A path in the checkout that the current folder is in; below the current
/// folder itself, if that is in none.
pub fn path(relative: impl AsRef<Path>) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let checkout = here.ancestors().find(|it| it.join("Cargo.lock").is_file());
    checkout.unwrap_or(&here).join(relative)
}

/// Cargo's build folder, where reports and scratch files go too.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| path("target"), PathBuf::from)
}

/// Where fetched and prepared parts are kept between runs: `mesh-oidc` in the
/// user's cache folder.
pub fn cache_dir() -> Result<PathBuf, Trouble> {
    user_dir("XDG_CACHE_HOME", ".cache")
}

/// Where it is kept what meshes there are: `mesh-oidc` in the user's state folder,
/// whatever checkout made them.
pub fn state_dir() -> Result<PathBuf, Trouble> {
    user_dir("XDG_STATE_HOME", ".local/state")
}

/// `mesh-oidc` in the folder that a variable names, or else below the home.
fn user_dir(variable: &str, below_home: &str) -> Result<PathBuf, Trouble> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let dir = set(variable)
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(below_home)));
    let dir = dir.filter(|dir| dir.is_absolute()).ok_or_else(|| {
        Trouble::new(
            format!("neither {variable} nor HOME names a folder, by its whole path"),
            format!("set HOME, or {variable}, to a folder of your own"),
        )
    })?;
    Ok(dir.join("mesh-oidc"))
}

/// A path as it is shown: from where the user stands, if it lies below.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.strip_prefix(here)
        .unwrap_or(&path)
        .display()
        .to_string()
}
