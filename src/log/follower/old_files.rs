//! The search for files that have lost a log's name, and how long these stay open.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use crate::log::archive::Unpacked;
use crate::log::blocking;
use crate::log::file::{LogFile, Nuls, Read};
use crate::log::follower::Follower;
use crate::log::follower::tailed_file::{RememberedFile, TailedFile};
use crate::log::pattern::{self, Pattern};
use crate::log::position::{Generation, Offset};
use crate::log::rotated;
use crate::log::timeline::{OLD_FILES_MAX, Span, SpanReader};

/// A search for a rotated file waits at most this long until other files are closed.
const ROOM_TIME_MAX: Duration = Duration::from_secs(1);
/// Nobody writes any more to a rotated file that has not been written to for this long.
const LATE_TIME: Duration = Duration::from_secs(60);

/// What a search for a file came to.
pub(super) enum Sought<T> {
    Found(T),
    Nothing,
    /// The file is compressed. When this is unpacked, the search can go on.
    Unpacking(Arc<Unpacked>),
}

/// What came after a file that was rotated away before anybody followed the log.
#[derive(Debug)]
pub struct NextRotated {
    /// The span of a file that had the name next and was found. None where the file comes next with
    /// which following began.
    pub span: Option<SpanReader>,
    /// Whether it is proved that no other file had the name in between.
    pub follows_directly: bool,
    /// The number of the span before that of the file which comes next, where this was followed.
    pub after: Option<u64>,
}

impl NextRotated {
    pub(super) fn new(span: Option<SpanReader>, follows_directly: bool) -> Self {
        Self { span, follows_directly, after: None }
    }

    /// Nothing was found, and anything may have come next.
    pub(super) fn unknown() -> Self {
        Self::new(None, false)
    }
}

impl Follower {
    /// The span of a position in a file that was rotated away while nobody followed, or that was
    /// closed since. None unless the file still lies beside the log and is provably the same, or a
    /// compressed file there has its content.
    pub async fn find_rotated(
        self: &Arc<Self>,
        generation: Generation,
        offset: Offset,
    ) -> Option<Arc<Span>> {
        let _finding = self.finding.lock().await;
        let known = self.timeline().find(generation, offset);
        if known.is_some() {
            return known;
        }
        if let Some(mirror) = self.access.mirror_of(&self.log) {
            return self.find_elsewhere(&mirror, generation, offset).await;
        }
        let found = self.find(move |follower| follower.seek_rotated(generation, offset)).await;
        found.map(|reader| Arc::clone(reader.span()))
    }

    /// The span of a file of the log's past, by the generation that it has when nobody has followed
    /// it. That proves which file it is, even where the file is short.
    pub async fn find_named(self: &Arc<Self>, generation: Generation) -> Option<Arc<Span>> {
        let _finding = self.finding.lock().await;
        self.find(move |follower| {
            follower.seek_while_renamed(|| {
                match follower.old_files.find_named(&follower.access, &follower.log, generation) {
                    Some(file) => follower.sought(Some(generation), Offset(0), file),
                    None => Sought::Nothing,
                }
            })
        })
        .await
        .map(|reader| Arc::clone(reader.span()))
    }

    /// The span of a file that was rotated away before the first poll, for a position that can't be
    /// proved. It gets a new generation, and viewers read it from its beginning.
    pub async fn find_unproved(self: &Arc<Self>, wanted: Generation) -> Option<Arc<Span>> {
        if self.timeline().latest_of_inode(wanted).is_some() {
            return None;
        }
        self.find(move |follower| {
            follower.seek_while_renamed(|| {
                match rotated::find_unproved(&follower.access, &follower.log, wanted) {
                    Some(file) => follower.sought(None, Offset(0), file),
                    None => Sought::Nothing,
                }
            })
        })
        .await
        .map(|reader| Arc::clone(reader.span()))
    }

    /// The span of a position in a file that has lost the log's name, wherever it lies now. While
    /// files are renamed and compressed, it is sought again. It may block.
    pub(super) fn seek_rotated(
        &self,
        generation: Generation,
        offset: Offset,
    ) -> Sought<SpanReader> {
        self.seek_while_renamed(|| self.seek_rotated_once(generation, offset))
    }

    fn seek_while_renamed<T>(&self, search: impl Fn() -> Sought<T>) -> Sought<T> {
        let found = rotated::while_renamed(&self.access, &self.log, || match search() {
            Sought::Nothing => None,
            sought => Some(sought),
        });
        found.unwrap_or(Sought::Nothing)
    }

    fn seek_rotated_once(&self, generation: Generation, offset: Offset) -> Sought<SpanReader> {
        let (access, log) = (&self.access, &self.log);
        let last = {
            let timeline = self.timeline();
            timeline.last_of(generation).or_else(|| timeline.rotated(generation).cloned())
        };
        // Who asks may have heard of it when fewer bytes were there to be signed.
        let generation = match &last {
            Some(last) => last.signed(),
            None => self.recalled_as(generation).unwrap_or(generation),
        };
        let on_disk = self.timeline().on_disk(generation);
        let end = last.as_ref().map(|span| span.end());
        let found = rotated::find(access, log, on_disk, offset, end);
        let found = found.or_else(|| self.old_files.find_named(access, log, generation));
        if let Some(file) = found {
            return self.sought(Some(generation), offset, file);
        }
        let Some(file) = self.old_files.find_compressed(access, log, generation, end) else {
            return Sought::Nothing;
        };
        let tail = last.map(|span| span.tail());
        let is_proved = || {
            let size = file.status().ok()?.size;
            // What was published last proves that all of it is the same.
            let at = tail.as_ref().map_or(offset, |tail| tail.offset().max(offset));
            let is_same = match &tail {
                Some(tail) => {
                    let read = file.read_after(tail, 0, tail.offset(), Nuls::Written).ok()?;
                    !matches!(read, Read::Changed)
                }
                None => true,
            };
            Some(is_same && at.0 <= size)
        };
        match file.still_unpacking() {
            Some(copy) => Sought::Unpacking(copy),
            None if is_proved() == Some(true) => self.sought(Some(generation), offset, file),
            None => Sought::Nothing,
        }
    }

    /// A generation as an earlier process has published it, with the signature that it had then.
    fn recalled_as(&self, generation: Generation) -> Option<Generation> {
        let recalled = self.recalled.lock().as_ref()?.generation;
        recalled.is(&generation).then(|| {
            let is_longer = recalled.signature.bytes() > generation.signature.bytes();
            if is_longer { recalled } else { generation }
        })
    }

    /// The span of a file that was found, or the wait until it is unpacked.
    pub(super) fn sought(
        &self,
        asked: Option<Generation>,
        offset: Offset,
        file: LogFile,
    ) -> Sought<SpanReader> {
        if let Some(copy) = file.still_unpacking() {
            return Sought::Unpacking(copy);
        }
        self.take_in(asked, offset, file).map_or(Sought::Nothing, Sought::Found)
    }

    /// The span of a file that was rotated away before the first poll, and has the inode of a generation
    /// of which it has nothing: it was truncated while nobody followed, or another file got the inode. It
    /// came after that generation, and all of it is new to whoever received that up to `received`; None
    /// if that is not known.
    pub async fn find_other_content(
        self: &Arc<Self>,
        wanted: Generation,
        received: Option<Offset>,
    ) -> Option<SpanReader> {
        if self.timeline().has_followed(wanted.identity) {
            return None;
        }
        self.find(move |follower| {
            follower.seek_while_renamed(|| {
                let (access, log) = (&follower.access, &follower.log);
                match rotated::find_other_content(access, log, wanted, received) {
                    Some(file) => follower.sought(None, Offset(0), file),
                    None => Sought::Nothing,
                }
            })
        })
        .await
    }

    /// What had the name after the file of a span that was rotated away before the first poll. With
    /// `by_name`, the names of the files say which these are, as for the whole past of the log.
    pub async fn find_next_rotated(
        self: &Arc<Self>,
        span: &Arc<Span>,
        by_name: bool,
    ) -> NextRotated {
        if let Some(mirror) = self.access.mirror_of(&self.log) {
            if by_name {
                return self.find_next_named_elsewhere(&mirror, span).await;
            }
            return self.find_next_elsewhere(&mirror, span).await;
        }
        let file = match span.file() {
            Some(file) => Some(file),
            None => {
                let found = self.find_rotated(span.signed(), span.end()).await;
                found.and_then(|span| span.file())
            }
        };
        let Some(file) = file else { return NextRotated::unknown() };
        let _finding = self.finding.lock().await;
        let span = Arc::clone(span);
        let found = self.find(move |follower| follower.find_next(&span, &file, by_name)).await;
        found.unwrap_or_else(NextRotated::unknown)
    }

    /// The same. It may block.
    fn find_next(
        &self,
        before_span: &Span,
        before: &LogFile,
        by_name: bool,
    ) -> Sought<NextRotated> {
        if by_name {
            return self.find_next_by_name(before_span, before);
        }
        if let Some(pattern) = self.log.pattern() {
            return Sought::Found(self.find_next_match(pattern, before));
        }
        let followed = self.timeline().followed();
        let next = followed.as_ref().and_then(|followed| {
            self.old_files.find_next(&self.access, &self.log, before, followed)
        });
        if let Some(copy) = next.as_ref().and_then(LogFile::still_unpacking) {
            return Sought::Unpacking(copy);
        }
        let found = next.is_some();
        let born = next.as_ref().map_or(followed.map(|followed| followed.born), LogFile::born);
        let span = next.and_then(|next| self.take_in(None, Offset(0), next));
        let is_given = !found || span.is_some();
        let follows_directly = born.is_some_and(|born| {
            before_span.precedes(born, || rotated::follows_directly(before, &self.log, born))
        });
        Sought::Found(NextRotated::new(span, is_given && follows_directly))
    }

    /// The same for a pattern. Its files keep their names, so the next match is the next file. It
    /// may block.
    fn find_next_match(&self, pattern: &Pattern, before: &LogFile) -> NextRotated {
        let (access, log) = (&self.access, &self.log);
        let Ok(all) = pattern::matches(access, log, pattern) else {
            return NextRotated::unknown();
        };
        let has_followed = |identity| self.timeline().has_followed(identity);
        let next = rotated::find_next_match(access, &all, before, has_followed);
        let found = next.is_some();
        let span = next.and_then(|next| self.take_in(None, Offset(0), next));
        let follows_directly = !found || span.is_some();
        NextRotated::new(span, follows_directly)
    }

    /// Runs a search for a file, which may block, on a blocking thread. While the file is being
    /// unpacked, no thread waits for that.
    pub(super) async fn find<T: Send + 'static>(
        self: &Arc<Self>,
        search: impl Fn(&Self) -> Sought<T> + Send + Sync + 'static,
    ) -> Option<T> {
        let search = Arc::new(search);
        let found = loop {
            let (follower, search) = (Arc::clone(self), Arc::clone(&search));
            let sought = blocking::run(self.device, move || search(&follower)).await?;
            match sought {
                Sought::Found(found) => break Some(found),
                Sought::Nothing => break None,
                Sought::Unpacking(copy) => copy.ended().await,
            }
        };
        if self.excess_files.load(Ordering::SeqCst) > 0 {
            // The next search begins only after late files have been closed for this one.
            let _in_time = timeout(ROOM_TIME_MAX, self.refresh()).await;
        }
        found
    }

    /// Adds a file that was found again to the timeline. It keeps the generation that was `asked`
    /// for if this follower issued that generation, or if that was published before it began. The
    /// tracker then reads the file for late writers.
    pub(super) fn take_in(
        &self,
        asked: Option<Generation>,
        offset: Offset,
        file: LogFile,
    ) -> Option<SpanReader> {
        let end = file.written_end(file.status().ok()?.size).ok()?;
        let mut tailed = TailedFile::found(file, end).ok()?;
        let recalled = self.recalled.lock().clone();
        let is_wanted =
            |recalled: &RememberedFile| asked.is_none_or(|asked| recalled.generation.is(&asked));
        if let Some(recalled) = recalled.filter(is_wanted)
            && recalled.is_in(&tailed.file, tailed.head())
        {
            tailed.generation = recalled.generation.signed_by(tailed.head());
        }
        let (generation, file) = (tailed.generation, Arc::clone(&tailed.file));
        // Nobody writes to a file that was compressed, or that is much older than the present one.
        let written = |file: &LogFile| file.status().ok().map(|status| status.modified);
        let present = self.timeline().latest().and_then(|span| span.file());
        let latest = present.and_then(|present| written(&present));
        let at_rest_since = written(&file).and_then(|written| written.checked_add(LATE_TIME));
        let is_late = latest.is_none_or(|latest| at_rest_since.is_none_or(|since| since >= latest));
        let may_be_late = file.compression().is_none() && is_late;
        let (reader, is_new) = {
            let mut timeline = self.timeline();
            let (span, is_new) =
                timeline.add_rotated(asked, offset, generation, tailed.head(), file, end)?;
            // Under the lock, so that the file is not closed before somebody reads it.
            (SpanReader::enter(&span), is_new)
        };
        if is_new && may_be_late {
            self.found.lock().push(tailed);
            self.wake.wake();
        }
        let in_use = self.close_excess_files();
        if in_use > 0 {
            self.excess_files.store(in_use, Ordering::SeqCst);
            self.wake.wake();
        }
        Some(reader)
    }

    /// Closes old files beyond [`OLD_FILES_MAX`], in the order in which they were opened. Only
    /// files that can be found again by their names are closed. Returns how many are still too
    /// many because they are in use. The call may block.
    pub(super) fn close_excess_files(&self) -> usize {
        let files = self.timeline().old_files();
        let open = files.len() + self.unpublished_files.load(Ordering::SeqCst);
        let excess = open.saturating_sub(OLD_FILES_MAX);
        if excess == 0 {
            return 0;
        }
        // The last one was opened a moment ago.
        let closable = files.iter().rev().skip(1).rev().filter(|old| !old.is_in_use);
        let named = closable.filter(|old| old.file.path_now().is_some()).take(excess);
        let closed: Vec<_> = named.map(|old| Arc::clone(&old.file)).collect();
        drop(files);
        self.timeline().close_files(&closed);
        excess - closed.len()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::log::access::Access;
    use crate::log::fingerprint::Fingerprint;
    use crate::log::follower::BROADCAST_MESSAGES;

    #[test]
    fn a_file_of_an_earlier_process_is_found_by_whoever_heard_of_it_when_it_was_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        fs::write(&path, "a line\n".repeat(50)).unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_bytes()).unwrap();
        let file = LogFile::new(access.open(&log).unwrap());
        let head = file.head().unwrap();
        let empty = Generation::new(file.identity(), 7, b"");
        fs::rename(&path, directory.path().join("a.log.1")).unwrap();
        fs::write(&path, "now\n").unwrap();
        let follower = || Follower::new(Arc::clone(&access), log.clone(), 7, BROADCAST_MESSAGES);
        let finds = |follower: &Follower| {
            let sought = follower.seek_rotated(empty, Offset(0));
            matches!(sought, Sought::Found(reader) if reader.span().generation.is(&empty))
        };
        assert!(!finds(&follower()), "nothing proves which file it was");
        let told = follower();
        let recalled = empty.signed_by(&head);
        told.recall(RememberedFile::told(recalled, Fingerprint::at(Offset(350))));
        assert!(finds(&told));
    }

    #[test]
    fn a_file_that_was_found_and_closed_is_found_again_by_who_heard_of_it_when_it_was_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        fs::write(&path, "now\n").unwrap();
        let old = directory.path().join("a.log.1");
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_bytes()).unwrap();
        for lines in [50, 5] {
            fs::write(&old, "a line\n".repeat(lines)).unwrap();
            let open = || {
                let old = access.locate(old.as_os_str().as_bytes()).unwrap();
                LogFile::new(access.open(&old).unwrap())
            };
            let empty = Generation::new(open().identity(), 7, b"");
            let follower = Follower::new(Arc::clone(&access), log.clone(), 7, BROADCAST_MESSAGES);
            follower.recall(RememberedFile::told(empty, Fingerprint::at(Offset(0))));
            let found = follower.take_in(None, Offset(0), open()).unwrap();
            assert!(found.span().generation.is(&empty), "the file that comes next");
            drop(found);
            follower.timeline().prune();
            assert!(follower.timeline().find(empty, Offset(0)).is_none(), "it is closed");
            let sought = follower.seek_rotated(empty, Offset(0));
            assert!(
                matches!(sought, Sought::Found(reader) if reader.span().generation.is(&empty)),
                "{lines} lines"
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_was_truncated_and_rotated_unseen_is_found_by_who_knew_what_it_had() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        fs::write(&path, "as it was\n".repeat(50)).unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_bytes()).unwrap();
        let file = LogFile::new(access.open(&log).unwrap());
        let wanted = Generation::new(file.identity(), 7, &file.head().unwrap());
        let empty = Generation::new(file.identity(), 7, b"");
        fs::rename(&path, directory.path().join("a.log.1")).unwrap();
        let find = async |wanted, received| {
            let follower = Follower::new(Arc::clone(&access), log.clone(), 7, BROADCAST_MESSAGES);
            let found = Arc::new(follower).find_other_content(wanted, received).await;
            found.map(|reader| (reader.from, reader.span().generation.is(&wanted)))
        };
        let other = Some((Offset(0), false));
        assert_eq!(find(wanted, Some(Offset(500))).await, None, "it is the same");
        assert_eq!(find(empty, None).await, None, "nothing proves what it is");
        assert_eq!(find(empty, Some(Offset(0))).await, other, "all of it is new");
        assert_eq!(find(wanted, Some(Offset(501))).await, other, "it is shorter now");
        fs::write(directory.path().join("a.log.1"), "as it is\n".repeat(90)).unwrap();
        for received in [None, Some(Offset(500))] {
            assert_eq!(find(wanted, received).await, other, "it begins otherwise");
        }
        fs::rename(directory.path().join("a.log.1"), directory.path().join("b.log")).unwrap();
        assert_eq!(find(wanted, None).await, None, "it has no name of an old file");
    }
}
