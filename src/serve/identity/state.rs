//! The state directory, and the key of the sessions in it.
//!
//! A file appears complete or not at all, and nobody but its user may read it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use crate::serve::identity::accounts::{hex, of_hex};

/// The length of the key in bytes.
const KEY_BYTES: usize = 32;
type Key = [u8; KEY_BYTES];
/// A larger file is none of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Nobody but its user may read a file of the state.
pub(super) const MODE: u32 = 0o600;

/// Makes the directory if it is not there, and reads the key in it, or makes one.
pub(super) fn open(directory: &Path) -> io::Result<Key> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    key(&directory.join("session-key"))
}

/// The key in a file. One that others could read may be known to them, so it is replaced.
fn key(path: &Path) -> io::Result<Key> {
    for _ in 0..3 {
        match read(path) {
            Ok((text, mode)) if mode & 0o077 == 0 => {
                let damaged = || {
                    let what = "the key of the sessions is damaged; remove it for a new one";
                    io::Error::new(ErrorKind::InvalidData, what)
                };
                return of_hex(text.trim_end()).ok_or_else(damaged);
            }
            Ok(_) => {
                let file = path.display();
                tracing::warn!(%file, "others could read the key of the sessions, so it is replaced; all sessions end");
                fs::remove_file(path)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
        let made = write_beside(path, format!("{}\n", hex(&key)).as_bytes())?;
        // A link never replaces a file: of two processes that make a key, the first wins.
        let linked = fs::hard_link(&made, path);
        fs::remove_file(&made)?;
        match linked {
            Ok(()) => return Ok(key),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the key of the sessions changes again and again"))
}

/// The content of a file, and its mode.
fn read(path: &Path) -> io::Result<(String, u32)> {
    #[expect(clippy::disallowed_methods, reason = "it is no log")]
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok((text, mode))
}

/// Replaces a file in one step.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let made = write_beside(path, content)?;
    fs::rename(&made, path)
}

/// Writes a new file that only its user may read, beside `path`.
fn write_beside(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let made = path.with_file_name(name);
    match fs::remove_file(&made) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&made)?;
    // The mask of this process may have taken more away.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_for_its_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        let first = open(&inner).unwrap();
        assert_eq!(open(&inner).unwrap(), first);
        let file = inner.join("session-key");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1, "nothing else is left");
        assert_ne!(first, [0; KEY_BYTES]);
    }

    #[test]
    fn a_key_that_others_could_read_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path()).unwrap();
        let file = directory.path().join("session-key");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let second = open(directory.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_not_a_weak_key() {
        let directory = tempfile::tempdir().unwrap();
        replace(&directory.path().join("session-key"), b"00\n").unwrap();
        assert_eq!(open(directory.path()).err().unwrap().kind(), ErrorKind::InvalidData);
    }
}
