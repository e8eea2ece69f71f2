//! The device of a path, found without a call to its file system.
//!
//! A file system that hangs blocks each call to it, even `stat`. The kernel's mount table can be
//! read at once. It does not follow links: a path that leads over a link to another device counts
//! for the device where the link lies.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::spawn_blocking;

/// The mount table, as proc_pid_mountinfo(5) describes it.
const MOUNT_TABLE: &str = "/proc/self/mountinfo";
/// The table is read again when it is older than this.
const TABLE_AGE_MAX: Duration = Duration::from_secs(1);

/// The mount table, read again from time to time.
#[derive(Debug, Default)]
pub(super) struct Mounts(Mutex<Option<(Instant, Arc<MountTable>)>>);

impl Mounts {
    /// The device of an absolute path, or 0 when the table can't be read.
    pub(super) async fn device_of(&self, path: &Path) -> u64 {
        let kept = self.0.lock().clone();
        if let Some((read_at, table)) = kept
            && read_at.elapsed() < TABLE_AGE_MAX
        {
            return table.device_of(path);
        }
        let reading = spawn_blocking(MountTable::read);
        let table = Arc::new(reading.await.unwrap_or_else(|_| MountTable(Vec::new())));
        *self.0.lock() = Some((Instant::now(), Arc::clone(&table)));
        table.device_of(path)
    }
}

/// Mount points with their devices, in the table's order.
#[derive(Debug)]
struct MountTable(Vec<(PathBuf, u64)>);

impl MountTable {
    /// Reads the table. It is empty when that fails.
    #[allow(clippy::disallowed_methods, reason = "the mount table is no log")]
    fn read() -> Self {
        Self::parse(&std::fs::read(MOUNT_TABLE).unwrap_or_default())
    }

    /// Lines that can't be read are left out.
    fn parse(text: &[u8]) -> Self {
        let mount = |line: &[u8]| {
            let mut fields = line.split(|&byte| byte == b' ');
            let device = std::str::from_utf8(fields.nth(2)?).ok()?;
            let (major, minor) = device.split_once(':')?;
            let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
            let point = unescape(fields.nth(1)?);
            Some((PathBuf::from(std::ffi::OsString::from_vec(point)), device))
        };
        Self(text.split(|&byte| byte == b'\n').filter_map(mount).collect())
    }

    /// Of several mounts on one point, the last one hides the others.
    fn device_of(&self, path: &Path) -> u64 {
        let above = self.0.iter().filter(|(point, _)| path.starts_with(point));
        above.max_by_key(|(point, _)| point.components().count()).map_or(0, |(_, device)| *device)
    }
}

/// The table has blanks and backslashes as octal numbers: `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match (first, after.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_path_lies_on_the_nearest_mount_above_it() {
        let table = MountTable::parse(
            b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
              30 22 0:40 / /srv/logs rw shared:5 - fuse.bindfs bindfs rw\n\
              31 22 0:41 / /srv/two\\040words rw - tmpfs tmpfs rw\n\
              32 30 0:42 / /srv/logs rw - tmpfs over rw\n\
              not a mount\n",
        );
        for (path, major, minor) in [
            ("/var/log/a.log", 8, 1),
            ("/srv/logs/deep/a.log", 0, 42),
            ("/srv/logs", 0, 42),
            ("/srv/logs2/a.log", 8, 1),
            ("/srv/two words/a.log", 0, 41),
        ] {
            let device = rustix::fs::makedev(major, minor);
            assert_eq!(table.device_of(Path::new(path)), device, "{path}");
        }
        assert_eq!(MountTable::parse(b"").device_of(Path::new("/a")), 0);
    }

    #[tokio::test]
    async fn the_device_is_that_of_the_files() {
        let device = Mounts::default().device_of(Path::new("/proc/self/status")).await;
        assert_eq!(device, std::fs::metadata("/proc/self").unwrap().dev());
    }
}
