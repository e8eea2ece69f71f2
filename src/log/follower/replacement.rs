//! Whether a file that has taken the log's name is the same log, written anew.
//!
//! `rsync`, `sed -i`, `git checkout` and editors write all of a log to another file and give that
//! file the name. For readers of the log, only the bytes at its end are new. So if the new file
//! begins with all bytes that were read of the old one, the log goes on where the old file ended.
//! The proof is a comparison of all these bytes, while the old file is still open. Without it the
//! new file is another file.
//!
//! If the old file was renamed and still exists, it was rotated, whatever the next file begins
//! with: two runs of a program may begin alike.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::log::access::Identity;
use crate::log::file::LogFile;
use crate::log::follower::tailed_file::TailedFile;
use crate::log::position::{Generation, Offset};

/// A longer file is not compared, because viewers would wait too long for the next bytes.
pub(in crate::log) const COMPARED_BYTES_MAX: u64 = 256 << 20;
/// One poll compares this many bytes. Then the thread is free for other logs.
const POLL_BYTES_MAX: u64 = 4 << 20;
/// One read of each file takes this many bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// A new file that is shorter, and equal as far as it goes, may still be written. The tracker waits
/// this long for the rest of it.
const COMPLETION_TIME: Duration = Duration::from_millis(100);
/// How often it is looked at meanwhile.
const COMPLETION_CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// What programs append to the name of the file that they are about to replace.
const BACKUP_ENDINGS: [&str; 3] = ["~", ".bak", ".orig"];

/// What a comparison has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The new file begins with all bytes that were read of the old one.
    Same,
    Other,
    /// There is more to compare, from this time on. None when at once.
    Undecided(Option<Instant>),
}

/// The comparison of a file with the one that has taken its name.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The generation of the old file: once that is truncated, it has other bytes.
    old: Generation,
    new: Identity,
    /// Both are the same up to here.
    same_to: Offset,
    since: Instant,
    verdict: Verdict,
}

impl Comparison {
    pub(super) fn new(old: &TailedFile, new: &TailedFile, now: Instant) -> Self {
        let is_candidate = !new.has_begun
            && old.fingerprint.offset() > Offset(0)
            && old.fingerprint.offset().0 <= COMPARED_BYTES_MAX
            && is_replaced(old);
        Self {
            old: old.generation,
            new: new.file.identity(),
            same_to: Offset(0),
            since: now,
            verdict: if is_candidate { Verdict::Undecided(None) } else { Verdict::Other },
        }
    }

    /// Whether it is of these two files.
    pub(super) fn is_of(&self, old: &TailedFile, new: &TailedFile) -> bool {
        self.old.is(&old.generation) && self.new == new.file.identity()
    }

    /// Compares on. The old file has been read to its end. `may_grow` says that the new file has
    /// the name, and may still be written.
    pub(super) fn go_on(
        &mut self,
        old: &TailedFile,
        new: &TailedFile,
        may_grow: bool,
        now: Instant,
    ) -> Verdict {
        if let Verdict::Undecided(_) = self.verdict {
            let may_grow = may_grow && now.duration_since(self.since) < COMPLETION_TIME;
            let compared = self.compare(old, &new.file);
            self.verdict = match compared {
                Ok(Verdict::Undecided(Some(_))) if may_grow => {
                    Verdict::Undecided(Some(now + COMPLETION_CHECK_INTERVAL))
                }
                Ok(Verdict::Undecided(Some(_))) | Err(_) => Verdict::Other,
                Ok(verdict) => verdict,
            };
        }
        self.verdict
    }

    fn compare(&mut self, old: &TailedFile, new: &LogFile) -> io::Result<Verdict> {
        let (before, end) = (&old.fingerprint, old.fingerprint.offset());
        let size = Offset(new.status()?.size);
        // Most files that differ do so here.
        if size >= end && new.read_at(before.start(), before.bytes().len())? != before.bytes() {
            return Ok(Verdict::Other);
        }
        let to = end.min(size);
        let pause_at = self.same_to.0.saturating_add(POLL_BYTES_MAX);
        while self.same_to < to {
            if self.same_to.0 >= pause_at {
                return Ok(Verdict::Undecided(None));
            }
            let len =
                usize::try_from(to.0 - self.same_to.0).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            let known = old.file.read_at(self.same_to, len)?;
            if known.len() < len || new.read_at(self.same_to, len)? != known {
                return Ok(Verdict::Other);
            }
            self.same_to = self.same_to.plus(len);
        }
        Ok(if size >= end { Verdict::Same } else { Verdict::Undecided(Some(self.since)) })
    }
}

/// Whether the file has lost its name and is kept under no other one, or as a backup.
fn is_replaced(old: &TailedFile) -> bool {
    let Some(path) = old.file.path_now() else { return true };
    path != old.real_path && path.file_name().is_some_and(is_backup)
}

fn is_backup(name: &OsStr) -> bool {
    BACKUP_ENDINGS.iter().any(|ending| name.as_bytes().ends_with(ending.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::access::Access;

    /// A file that was read to its end and has been replaced by another one.
    struct Replaced {
        _directory: tempfile::TempDir,
        old: TailedFile,
        new: TailedFile,
        path: std::path::PathBuf,
    }

    impl Replaced {
        fn with(old: &[u8], new: &[u8]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("a.log");
            let access = Access::new([directory.path()]).unwrap();
            let open = |path: &Path| {
                let log = access.locate(path.as_os_str().as_bytes()).unwrap();
                TailedFile::new(access.open(&log).unwrap()).unwrap()
            };
            std::fs::write(&path, old).unwrap();
            let mut tailed = open(&path);
            tailed.go_to_end(None).unwrap();
            let next = directory.path().join("next");
            std::fs::write(&next, new).unwrap();
            std::fs::rename(&next, &path).unwrap();
            let new = open(&path);
            Self { _directory: directory, old: tailed, new, path }
        }

        fn comparison(&self, now: Instant) -> Comparison {
            Comparison::new(&self.old, &self.new, now)
        }
    }

    #[test]
    fn a_comparison_pauses_after_a_bounded_piece() {
        let old = vec![b'x'; (2 * POLL_BYTES_MAX + 1) as usize];
        let files = Replaced::with(&old, &[&old[..], b"more"].concat());
        let now = Instant::now();
        let mut comparison = files.comparison(now);
        let mut go_on = || comparison.go_on(&files.old, &files.new, true, now);
        let verdicts = [go_on(), go_on(), go_on(), go_on()];
        let more = Verdict::Undecided(None);
        assert_eq!(verdicts, [more, more, Verdict::Same, Verdict::Same]);
    }

    #[test]
    fn only_a_file_that_begins_with_all_bytes_is_the_same() {
        let old: Vec<u8> = (0..3 * BLOCK_BYTES).map(|at| (at % 251) as u8 + 1).collect();
        let now = Instant::now();
        for at in [0, BLOCK_BYTES - 1, BLOCK_BYTES, old.len() - 65, old.len() - 1] {
            let mut new = old.clone();
            new[at] = 0;
            let files = Replaced::with(&old, &new);
            let verdict = files.comparison(now).go_on(&files.old, &files.new, true, now);
            assert_eq!(verdict, Verdict::Other, "another byte at {at}");
        }
        let files = Replaced::with(&old, &old);
        let verdict = files.comparison(now).go_on(&files.old, &files.new, true, now);
        assert_eq!(verdict, Verdict::Same);
        let files = Replaced::with(b"", b"new");
        let verdict = files.comparison(now).go_on(&files.old, &files.new, true, now);
        assert_eq!(verdict, Verdict::Other, "nothing proves anything");
    }

    #[test]
    fn a_file_that_is_still_written_has_a_short_time_for_it() {
        let began = Instant::now();
        let late = began + COMPLETION_TIME;
        for (what, may_grow, now, is_written, expected) in [
            ("it is written in time", true, began, true, Verdict::Same),
            ("it is not", true, late, false, Verdict::Other),
            ("it has lost the name already", false, began, false, Verdict::Other),
        ] {
            let files = Replaced::with(b"one\ntwo\n", b"one\n");
            let mut comparison = files.comparison(began);
            if may_grow {
                let verdict = comparison.go_on(&files.old, &files.new, true, began);
                assert!(matches!(verdict, Verdict::Undecided(Some(_))), "{what}: {verdict:?}");
            }
            if is_written {
                std::fs::write(&files.path, "one\ntwo\nthree\n").unwrap();
            }
            let verdict = comparison.go_on(&files.old, &files.new, may_grow, now);
            assert_eq!(verdict, expected, "{what}");
        }
    }

    #[test]
    fn a_comparison_ends_when_the_old_file_is_truncated() {
        let Replaced { mut old, new, _directory, .. } = Replaced::with(b"one\n", b"one\ntwo\n");
        let comparison = Comparison::new(&old, &new, Instant::now());
        assert!(comparison.is_of(&old, &new));
        old.generation = Generation::new(old.file.identity(), 7, b"");
        assert!(!comparison.is_of(&old, &new), "it would compare nothing, and find that the same");
    }

    #[test]
    fn a_file_that_is_kept_under_another_name_was_not_replaced_unless_that_is_a_backup() {
        for (name, is_replaced_by) in [("a.log.1", false), ("a.log~", true), ("a.log.bak", true)] {
            let directory = tempfile::tempdir().unwrap();
            let top = directory.path().canonicalize().unwrap();
            let path = top.join("a.log");
            std::fs::write(&path, "text").unwrap();
            let access = Access::new([&top]).unwrap();
            let log = access.locate(path.as_os_str().as_bytes()).unwrap();
            let old = TailedFile::new(access.open(&log).unwrap()).unwrap();
            assert!(!is_replaced(&old), "it has its name");
            std::fs::rename(&path, top.join(name)).unwrap();
            assert_eq!(is_replaced(&old), is_replaced_by, "{name}");
        }
    }
}
