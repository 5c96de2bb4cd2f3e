//! Files that only their owner can read.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes such a file; what was in it is gone.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let mut file = OpenOptions::new();
    file.write(true).create(true).truncate(true).mode(0o600);
    file.open(path)
        .and_then(|mut file| file.write_all(content.as_ref()))
        .with_context(|| path.display().to_string())
}
