//! Logs that are not files of this machine. Something above brings their bytes, and tells what
//! happens to them.
//!
//! The path of such a log begins with the name of its machine: `/@HOST/absolute/path`. Nothing of it
//! is looked up here. A follower of one publishes what it is [fed](Feed). Its files are read as all
//! others are: [`LogFile`] asks for bytes that are not here yet.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::log::access::{LogPath, Refusal};
use crate::log::archive::Compression;
use crate::log::file::{LogFile, Status};
use crate::log::follower::events::FileEvent;
use crate::log::position::{Generation, Offset};
use crate::log::timeline::Head;

/// Whether a normalised path is one of a log on another machine.
#[must_use]
pub fn is_mirrored(path: &Path) -> bool {
    let mut parts = path.components();
    matches!(parts.next(), Some(Component::RootDir))
        && matches!(parts.next(), Some(Component::Normal(name)) if name.as_bytes().first() == Some(&b'@'))
}

/// What happens to a log, from now on.
#[derive(Debug)]
pub struct Feed {
    /// What is known now: the file that is followed, or why there is none.
    pub first: Vec<FileEvent>,
    /// What comes, in the order of publication. When this is dropped, nobody wants it any more.
    pub events: mpsc::Receiver<Vec<FileEvent>>,
    /// Stands for the machine, where a limit counts what is done with one device.
    pub device: u64,
}

/// A file of a generation that is not the present one.
#[derive(Debug)]
pub struct FoundFile {
    /// The file.
    pub file: LogFile,
    /// The generation with its latest signature, and the encoding.
    pub head: Head,
    /// The offset after its last byte.
    pub end: Offset,
}

/// A log of another machine, as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its path: `/@HOST/absolute/path`, in bytes.
    pub path: Vec<u8>,
    /// Size and time of the last write.
    pub status: Status,
    /// Its machine does not answer.
    pub is_away: bool,
}

/// The generation that had the name of a log after another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successor {
    /// The generation.
    pub generation: Generation,
    /// It is certain that none was between the two.
    pub is_direct: bool,
}

/// A file of another machine that had the name of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastElsewhere {
    /// Its path now: `/@HOST/absolute/path`, in bytes.
    pub path: Vec<u8>,
    /// The generation of its content.
    pub generation: Generation,
    /// How it is compressed there; None where it is read as it is.
    pub compression: Option<Compression>,
    /// When it was last written, by the clock of its machine.
    pub modified: Option<SystemTime>,
    /// How many bytes it has on the disk of its machine.
    pub disk_size: u64,
    /// By the names, a file is missing between this one and the next.
    pub is_gap_after: bool,
}

/// What is counted of the logs of other machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether there is a connection to whatever brings them.
    pub is_connected: bool,
    /// How often that was lost.
    pub losses: u64,
    /// The machines that are known.
    pub machines: u64,
    /// Those of them that do not answer.
    pub machines_away: u64,
    /// The logs that are followed now.
    pub followed: u64,
    /// Bytes that came because their logs are followed.
    pub fed_bytes: u64,
    /// Bytes that were fetched because somebody read them.
    pub fetched_bytes: u64,
    /// Bytes that are kept.
    pub kept_bytes: u64,
    /// The most bytes that are kept.
    pub kept_bytes_max: u64,
    /// Files that were removed for others.
    pub evicted_files: u64,
}

/// What brings the logs of other machines here.
pub trait Mirror: Debug + Send + Sync + 'static {
    /// Follows a log. It waits a while for what the machine says.
    fn follow(&self, log: &LogPath) -> BoxFuture<'static, Result<Feed, Refusal>>;

    /// The file of an earlier generation, if somebody has it up to an offset.
    ///
    /// # Errors
    /// [`Refusal::Unreachable`] when the machine does not answer, and might have it.
    fn find(
        &self,
        log: &LogPath,
        generation: Generation,
        offset: Offset,
    ) -> BoxFuture<'static, Result<Option<FoundFile>, Refusal>>;

    /// The generation that had the log's name after another one, if that is known.
    fn next(&self, log: &LogPath, before: Generation) -> BoxFuture<'static, Option<Successor>>;

    /// The files that had the log's name before, the oldest first, as its machine knows them now.
    ///
    /// # Errors
    /// [`Refusal::Unreachable`] when the machine does not answer.
    fn past(&self, log: &LogPath) -> BoxFuture<'static, Result<Vec<PastElsewhere>, Refusal>>;

    /// What is known of a log without asking its machine.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for one that its machine does not list.
    fn status(&self, log: &LogPath) -> Result<Status, Refusal>;

    /// All logs of all machines as last heard, and whether there are more than are listed.
    fn list(&self) -> (Vec<Listed>, bool);

    /// The names of the machines that do not answer now, and since when.
    fn away(&self) -> Vec<(Arc<str>, SystemTime)>;

    /// What is counted. It answers from memory.
    fn figures(&self) -> Figures;
}

/// The bytes of one generation, of which some may not be here yet.
pub trait MirroredBytes: Debug + Send + Sync + 'static {
    /// Brings the bytes of a range here, as far as the generation reaches. Returns the first part of
    /// the range that nobody has. It may block for some seconds.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) while its machine does not answer.
    fn provide(&self, range: Range<u64>) -> io::Result<Option<Range<u64>>>;

    /// At most `len` bytes from an offset; fewer only at the end. What nobody has is NUL. It may
    /// block for some seconds.
    ///
    /// # Errors
    /// As for [`provide`](Self::provide), and those of `pread`.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Where the bytes begin that are here and reach up to an offset; the offset itself if the byte
    /// before it is not here. It fetches nothing.
    fn here_before(&self, offset: u64) -> u64;

    /// Size and time of the last write, as last heard.
    fn status(&self) -> Status;

    /// Stands for the machine, where a limit counts what is done with one device.
    fn device(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_log_elsewhere_begins_with_its_machine() {
        for (path, expected) in [
            ("/@web1/var/log/a.log", true),
            ("/@web1", true),
            ("/@", true),
            ("/var/@web1/a.log", false),
            ("/", false),
            ("@web1/a.log", false),
        ] {
            assert_eq!(is_mirrored(Path::new(path)), expected, "{path}");
        }
    }
}
