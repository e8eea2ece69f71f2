//! The reads of sessions. Each runs on a blocking thread, and only a few run at a time.
//!
//! A disk may be slow, and a network file system may hang for ever. Because of the limits, neither
//! uses up the runtime's blocking threads: a long search in a log delays only the viewers of that
//! log, and a file system that hangs delays only its own logs.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use dashmap::DashMap;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::log::file::LogFile;

/// The most reads of one log at a time.
pub const READS_PER_LOG_MAX: usize = 4;

/// The most reads of one device at a time. tokio has 512 blocking threads.
pub const READS_PER_DEVICE_MAX: usize = 64;

/// The limit of each device, by its number (`st_dev`), and of each other machine.
static DEVICES: LazyLock<DashMap<u64, Arc<Semaphore>>> = LazyLock::new(DashMap::new);

/// Reads of one log on behalf of its viewers.
#[derive(Debug)]
pub struct FileReads {
    permits: Arc<Semaphore>,
    /// How many reads have begun.
    count: AtomicU64,
}

impl Default for FileReads {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(READS_PER_LOG_MAX)), count: AtomicU64::new(0) }
    }
}

impl FileReads {
    /// Runs `read` on a blocking thread. When the future is dropped, the read continues, and counts
    /// against the limits until it ends.
    ///
    /// # Errors
    /// Those of `read`; [`Interrupted`](io::ErrorKind::Interrupted) when the runtime shuts down.
    pub async fn run<T: Send + 'static>(
        &self,
        file: &Arc<LogFile>,
        read: impl FnOnce(&LogFile) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let interrupted = || io::Error::from(io::ErrorKind::Interrupted);
        let device = Arc::clone(
            &DEVICES
                .entry(file.device())
                .or_insert_with(|| Arc::new(Semaphore::new(READS_PER_DEVICE_MAX))),
        );
        let of_log = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| interrupted())?;
        let of_device = device.acquire_owned().await.map_err(|_| interrupted())?;
        self.count.fetch_add(1, Ordering::Relaxed);
        let file = Arc::clone(file);
        let reading = spawn_blocking(move || {
            let _permits = (of_log, of_device);
            read(&file)
        });
        reading.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// How many reads have begun so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::log::Access;

    /// A read that hangs until the sender is dropped.
    fn hanging() -> (Sender<()>, impl FnOnce(&LogFile) -> io::Result<()> + Send + 'static) {
        let (release, hang) = channel();
        (release, move |_: &LogFile| {
            let _released = hang.recv();
            Ok(())
        })
    }

    #[tokio::test]
    async fn reads_that_hang_hold_up_only_their_own_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        std::fs::write(&path, "x").unwrap();
        let access = Access::new([directory.path()]).unwrap();
        let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
        let file = Arc::new(LogFile::new(access.open(&log).unwrap()));
        let (stuck, other) = (FileReads::default(), FileReads::default());
        let mut held = Vec::new();
        for _ in 0..READS_PER_LOG_MAX {
            let (release, read) = hanging();
            held.push(release);
            // The viewer leaves. Its thread still hangs, and counts against the limit.
            let reading = timeout(Duration::from_millis(10), stuck.run(&file, read));
            assert!(reading.await.is_err());
        }
        let head = timeout(Duration::from_millis(50), stuck.run(&file, LogFile::head));
        assert!(head.await.is_err(), "more threads than the limit");
        let head = timeout(Duration::from_secs(10), other.run(&file, LogFile::head));
        assert_eq!(head.await.expect("held up by another log").unwrap(), b"x");
        held.clear();
        let head = timeout(Duration::from_secs(10), stuck.run(&file, LogFile::head));
        assert_eq!(head.await.expect("still held up").unwrap(), b"x");
    }
}
