//! Directories that are removed when they are no longer needed.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory that only this user can enter. Dropping it removes it with everything in it.
#[derive(Debug)]
pub struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// A new directory below `place`.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn create_in(place: &Path) -> io::Result<Self> {
        let name = format!("tailcast-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = place.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it now.
    pub fn remove(&self) {
        // What cannot be removed stays.
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}
