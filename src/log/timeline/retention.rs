//! Which files a timeline keeps open, and which rotated files it accepts again.
//!
//! A file stays open while the follower reads it, and while a viewer reads one of its spans or of
//! those before it. Beyond [`OLD_FILES_MAX`] old files the oldest is closed all the same: the bytes
//! of it that a viewer has not read by then become a gap.

use std::sync::Arc;

use crate::encoding::Detection;
use crate::log::file::LogFile;
use crate::log::mirrored::FoundFile;
use crate::log::position::{Generation, Offset};
use crate::log::timeline::span::{Source, Span};
use crate::log::timeline::{Head, OLD_FILES_MAX, Reason, SPANS_MAX, Timeline};

/// How many rotated files that were found again are remembered. Most of them are closed.
const ROTATED_MAX: usize = 256;

/// How many of them may be read at a time. Viewers of the history may all be in another file.
const FOUND_FILES_MAX: usize = 64;

/// An open file that is not the present one.
#[derive(Debug)]
pub struct OldFile {
    /// The file.
    pub file: Arc<LogFile>,
    /// The follower reads it for late writers, or a viewer reads it now. Closing it here would free
    /// nothing.
    pub is_in_use: bool,
}

impl Timeline {
    /// The open files besides the present one: first those that were never closed, the oldest
    /// first, then those that were found again, in that order.
    #[must_use]
    pub fn old_files(&self) -> Vec<OldFile> {
        let open = self.spans.back().filter(|span| !span.is_closed()).and_then(|span| span.file());
        let mut files: Vec<(u64, Arc<LogFile>, usize)> = Vec::new();
        for source in self.rotated.iter().chain(&self.spans).filter_map(|span| span.source()) {
            if open.as_ref().is_some_and(|open| source.is_of(open)) {
                continue;
            }
            match files.iter_mut().find(|(_, other, _)| source.is_of(other)) {
                Some((_, _, spans)) => *spans += 1,
                None => files.push((source.found, source.file, 1)),
            }
        }
        files.sort_by_key(|(found, ..)| *found);
        let old = files.into_iter().map(|(_, file, spans)| {
            // Its spans and this list each hold a handle.
            let is_in_use = Arc::strong_count(&file) > spans + 1;
            OldFile { file, is_in_use }
        });
        old.collect()
    }

    /// Closes these files. Viewers that need them find them again by their names.
    ///
    /// A file may be open twice: it has another generation if it got the log's name again. Then only
    /// the one that is meant is closed.
    pub fn close_files(&mut self, files: &[Arc<LogFile>]) {
        for span in self.rotated.iter().chain(&self.spans) {
            if span.source().is_some_and(|source| files.iter().any(|file| source.is_of(file))) {
                span.let_go();
            }
        }
    }

    /// Whether a viewer reads a span that is not the last one.
    #[must_use]
    pub fn are_readers_behind(&self) -> bool {
        self.spans.iter().rev().skip(1).any(|span| span.is_read())
    }

    /// Adds a file that was rotated away earlier and was found again. Returns the span that holds
    /// `offset`, and whether the span is new. None when too many such files are being read.
    ///
    /// The file gets the generation that was `asked` for, or that it had when it was found before,
    /// only if this follower issued that generation. A server before this one may have issued it
    /// for bytes that a truncation has ended since.
    pub fn add_rotated(
        &mut self,
        asked: Option<Generation>,
        offset: Offset,
        generation: Generation,
        head: &[u8],
        file: Arc<LogFile>,
        end: Offset,
    ) -> Option<(Arc<Span>, bool)> {
        let is_own = |asked: &Generation| self.rotated(*asked).is_some() || self.contains(*asked);
        let was_found = |span: &&Arc<Span>| {
            let signed = span.signed();
            signed.identity == generation.identity && signed.is_of(head) && span.end() <= end
        };
        let found_before = || Some(self.rotated.iter().find(was_found)?.generation);
        if let Some(known) = asked.filter(is_own).or_else(found_before) {
            self.may_hold_old_files = true;
            self.found += 1;
            let spans = self.rotated.iter().chain(&self.spans);
            let mut of_it = spans.filter(|span| span.generation.is(&known));
            let open = of_it.find_map(|span| span.source());
            let source = open.unwrap_or_else(|| Source::new(file, self.found));
            self.open_again(known, &source);
            return self.find(known, offset).map(|span| (span, false));
        }
        self.may_hold_old_files = true;
        self.let_go_of_rotated();
        if self.rotated.iter().filter(|span| span.file().is_some()).count() >= FOUND_FILES_MAX {
            return None;
        }
        self.found += 1;
        let detection = Detection::of_head(head);
        let span = Arc::new(Span::rotated(self.found, generation, detection, file, end));
        self.rotated.push_back(Arc::clone(&span));
        Some((span, true))
    }

    /// Adds a file of another machine that has not the log's name any more. Returns the span that holds
    /// `offset`. None when too many such files are being read.
    ///
    /// Its late bytes that were told are in spans of their own, to which a viewer of it comes.
    pub fn add_mirrored(&mut self, found: FoundFile, offset: Offset) -> Option<Arc<Span>> {
        let FoundFile { file, head: Head { signed: generation, detection }, end } = found;
        let file = Arc::new(file);
        self.may_hold_old_files = true;
        self.found += 1;
        let late = self
            .spans
            .iter()
            .find(|span| span.reason == Reason::Late && span.generation.is(&generation));
        let before_late = late.map_or(end, |late| late.from.min(end));
        // Who followed only its late bytes has not what came before them.
        if self.rotated(generation).is_some() || self.turned_to(generation) {
            let spans = self.rotated.iter().chain(&self.spans);
            let mut of_it = spans.filter(|span| span.generation.is(&generation));
            let open = of_it.find_map(|span| span.source());
            let source = open.unwrap_or_else(|| Source::new(file, self.found));
            self.open_again(generation, &source);
            // What its machine has said there is may be more than what has come from it so far.
            let last = self.spans.back().filter(|span| !span.is_closed());
            let last = last.filter(|span| span.generation.is(&generation));
            let growing = match self.rotated(generation) {
                Some(span) => Some((span, before_late)),
                None => last.map(|last| (last, end)),
            };
            if let Some((span, end)) = growing.filter(|(span, end)| span.end() < *end) {
                span.extend_to(end);
            }
            return self.find(generation, offset);
        }
        self.let_go_of_rotated();
        if self.rotated.iter().filter(|span| span.file().is_some()).count() >= FOUND_FILES_MAX {
            return None;
        }
        let source = Source::new(Arc::clone(&file), self.found);
        let span = Span::rotated(self.found, generation, detection, file, before_late);
        self.rotated.push_back(Arc::new(span));
        self.open_again(generation, &source);
        self.find(generation, offset)
    }

    /// Closes the found files that no viewer reads. Their ends are still remembered.
    fn let_go_of_rotated(&mut self) {
        for span in &self.rotated {
            if !span.is_read() {
                span.let_go();
            }
        }
        if self.rotated.len() > ROTATED_MAX {
            self.rotated.pop_front();
        }
    }

    /// Closes the files that nobody needs any more, and the oldest of too many.
    pub fn prune(&mut self) {
        // A follower calls this at each poll, and usually only the present file is open.
        if !self.may_hold_old_files {
            return;
        }
        self.let_go_of_rotated();
        while self.spans.len() > SPANS_MAX {
            if let Some(span) = self.spans.pop_front() {
                span.let_go();
            }
        }
        let open = self.spans.back().filter(|span| !span.is_closed()).map(|span| span.number);
        let mut files: Vec<(Arc<LogFile>, usize)> = Vec::new();
        for file in self.spans.iter().filter_map(|span| span.file()) {
            match files.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &file)) {
                Some((_, spans)) => *spans += 1,
                None => files.push((file, 1)),
            }
        }
        // A viewer that reads one span will need the files of all spans after it. A viewer of a
        // rotated file comes before all of them.
        let mut is_needed = self.rotated.iter().any(|span| span.is_read());
        for span in &self.spans {
            is_needed |= span.is_read();
            let Some(file) = span.file() else { continue };
            // Its spans, the list above and this variable each hold a handle. One more handle means
            // that the follower still reads the file.
            let spans = files
                .iter()
                .find(|(other, _)| Arc::ptr_eq(other, &file))
                .map_or(0, |(_, spans)| *spans);
            let is_followed = Arc::strong_count(&file) > spans + 2;
            if !is_needed && !is_followed && open != Some(span.number) {
                span.let_go();
            }
        }
        drop(files);
        self.close_oldest_files();
        let spans = self.spans.iter().filter(|span| open != Some(span.number));
        self.may_hold_old_files =
            self.rotated.iter().chain(spans).any(|span| span.file().is_some());
    }

    fn close_oldest_files(&self) {
        let mut kept: Vec<Arc<LogFile>> = Vec::with_capacity(OLD_FILES_MAX + 1);
        for span in self.spans.iter().rev() {
            let Some(file) = span.file() else { continue };
            if kept.iter().any(|other| Arc::ptr_eq(other, &file)) {
                continue;
            }
            if kept.len() > OLD_FILES_MAX {
                // `close_files` closes those that were found again, in the order of their finding.
                if span.source().is_some_and(|source| source.found == 0) {
                    span.let_go();
                }
            } else {
                kept.push(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::log::access::Identity;
    use crate::log::fingerprint::Fingerprint;
    use crate::log::timeline::SpanReader;
    use crate::log::timeline::arrival_times::ARRIVAL_BYTES_MAX;

    fn file() -> Arc<LogFile> {
        Arc::new(LogFile::with_bytes(b""))
    }

    fn generation(inode: u64) -> Generation {
        Generation::new(Identity { device: 1, inode }, 0, b"")
    }

    #[test]
    fn old_files_are_listed_in_the_order_in_which_they_may_be_closed() {
        let mut timeline = Timeline::default();
        let content = |inode| Arc::new(LogFile::with_bytes(format!("{inode}").as_bytes()));
        for inode in 1..=4 {
            let before = Fingerprint::at(Offset(0));
            timeline.begin(generation(inode), before, Reason::Rotated, content(inode));
        }
        let first = |timeline: &Timeline| {
            let old = timeline.old_files();
            old.first().map(|old| old.file.read_at(Offset(0), 1).unwrap())
        };
        assert_eq!(timeline.old_files().len(), 3, "the present file is not an old one");
        assert_eq!(first(&timeline), Some(b"1".to_vec()));
        assert!(timeline.old_files().iter().all(|old| !old.is_in_use));
        timeline.spans[0].let_go();
        let again = timeline.add_rotated(
            Some(generation(1)),
            Offset(0),
            generation(1),
            b"",
            content(1),
            Offset(0),
        );
        assert!(again.is_some());
        assert_eq!(first(&timeline), Some(b"2".to_vec()), "it was opened last");
        let reading = timeline.spans[1].file();
        assert!(timeline.old_files()[0].is_in_use);
        drop(reading);
    }

    #[test]
    fn a_timeline_is_walked_only_while_it_may_hold_an_old_file() {
        let mut timeline = Timeline::default();
        let begin = |timeline: &mut Timeline, inode| {
            let before = Fingerprint::at(Offset(0));
            timeline.begin(generation(inode), before, Reason::Rotated, file());
        };
        begin(&mut timeline, 1);
        assert!(!timeline.may_hold_old_files, "there is the present file only");
        let reader = SpanReader::enter(timeline.latest().unwrap());
        begin(&mut timeline, 2);
        timeline.prune();
        assert!(timeline.may_hold_old_files, "somebody reads the first file");
        drop(reader);
        timeline.prune();
        assert!(!timeline.may_hold_old_files, "nobody does");
        assert!(timeline.spans[0].file().is_none());
        timeline.end();
        timeline.prune();
        assert!(timeline.spans[1].file().is_none(), "the last file is not followed any more");
    }

    #[test]
    fn arrival_times_are_freed_with_the_file_of_their_span() {
        let mut timeline = Timeline::default();
        timeline.begin(generation(1), Fingerprint::at(Offset(0)), Reason::Joined, file());
        timeline.extend(Offset(0), b"text\n");
        let old = Arc::clone(timeline.latest().unwrap());
        let reader = SpanReader::enter(&old);
        timeline.begin(generation(2), Fingerprint::at(Offset(0)), Reason::Rotated, file());
        timeline.prune();
        assert!(old.arrived(Offset(2)).is_some(), "while somebody reads the span");
        let arrivals = Arc::downgrade(&old.state().source.as_ref().unwrap().arrivals);
        drop(reader);
        timeline.prune();
        assert!(old.file().is_none());
        assert_eq!(old.arrived(Offset(2)), None);
        assert!(arrivals.upgrade().is_none(), "the times are kept without the file");
    }

    #[test]
    fn the_spans_of_one_file_share_its_arrival_times() {
        let mut timeline = Timeline::default();
        let (present, late) = (file(), file());
        let mut ends = [0; 2];
        let mut now = SystemTime::now();
        let mut reader = None;
        for number in 0..500 {
            let (of, file, reason) = match number % 2 {
                0 => (0, &present, Reason::Back),
                _ => (1, &late, Reason::Late),
            };
            let before = Fingerprint::at(Offset(ends[of]));
            timeline.begin(generation(of as u64), before, reason, Arc::clone(file));
            let span = timeline.latest().unwrap();
            reader.get_or_insert_with(|| SpanReader::enter(span));
            for _ in 0..50 {
                span.extend(Offset(ends[of]), b"text\n", now);
                ends[of] += 5;
                now += Duration::from_millis(100);
            }
            assert!(span.arrived(Offset(ends[of] - 1)).is_some());
            timeline.prune();
        }
        let sources = timeline.spans.iter().filter_map(|span| span.state().source.clone());
        let mut tables: Vec<_> = sources.map(|source| source.arrivals).collect();
        tables.sort_by_key(Arc::as_ptr);
        tables.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let bytes: usize = tables.iter().map(|table| table.lock().bytes()).sum();
        assert!(bytes <= 2 * ARRIVAL_BYTES_MAX, "{bytes} bytes in {} tables", tables.len());
    }

    #[test]
    fn a_file_is_closed_under_one_generation_and_stays_open_under_another() {
        let mut timeline = Timeline::default();
        let handles = [file(), file()];
        assert_eq!(handles[0].identity(), handles[1].identity());
        for (generation, handle) in [generation(1), generation(2)].into_iter().zip(&handles) {
            let before = Fingerprint::at(Offset(0));
            timeline.begin(generation, before, Reason::Rotated, Arc::clone(handle));
        }
        timeline.close_files(&handles[..1]);
        assert!(timeline.spans[0].file().is_none());
        assert!(timeline.spans[1].file().is_some());
    }

    #[test]
    fn the_spans_of_a_generation_share_the_file_that_was_opened_again() {
        let mut timeline = Timeline::default();
        let begin = |timeline: &mut Timeline, inode, reason, file: &Arc<LogFile>| {
            let before = Fingerprint::at(Offset(0));
            timeline.begin(generation(inode), before, reason, Arc::clone(file));
        };
        let [first, again, present] = [file(), file(), file()];
        begin(&mut timeline, 1, Reason::Joined, &first);
        begin(&mut timeline, 2, Reason::Rotated, &present);
        timeline.spans[0].let_go();
        begin(&mut timeline, 1, Reason::Late, &again);
        let opened = |timeline: &Timeline, at: usize| timeline.spans[at].file().unwrap();
        assert!(Arc::ptr_eq(&opened(&timeline, 0), &again), "its first span stays closed");
        let third = file();
        let found = timeline.add_rotated(
            Some(generation(1)),
            Offset(0),
            generation(1),
            b"",
            third,
            Offset(0),
        );
        assert!(found.is_some());
        for at in [0, 2] {
            assert!(Arc::ptr_eq(&opened(&timeline, at), &again), "it is open twice");
        }
        begin(&mut timeline, 1, Reason::Late, &first);
        for at in [0, 2, 3] {
            assert!(Arc::ptr_eq(&opened(&timeline, at), &first), "it is open twice");
        }
        timeline.close(true);
        begin(&mut timeline, 1, Reason::Late, &again);
        assert!(timeline.spans[0].file().is_none(), "bytes that were truncated come back");
    }
}
