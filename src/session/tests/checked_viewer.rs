//! A viewer whose items are compared with the published bytes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::log_files::LogFiles;
use super::record::{Key, Record, key};
use super::request;
use crate::log::timeline::{ROTATED_NUMBER_MAX, Reason};
use crate::log::{Generation, Offset};
use crate::session::viewer::{Item, Viewer};
use crate::session::{self, StartAt, WantedGeneration};

/// A viewer returns its next item within this time, if there is one. A search for a rotated file
/// waits for room for a shorter time, and no follower makes room here meanwhile.
const ITEM_TIME_MAX: Duration = Duration::from_secs(2);

/// The position of a client according to the items that it received.
#[derive(Clone, Copy)]
struct ClientPosition {
    span: u64,
    key: Key,
    offset: u64,
}

/// What a client knew when it left.
struct Left {
    position: (Generation, Offset),
    life: usize,
    key: Key,
    /// What it had received of the generation.
    had: Vec<u8>,
}

pub(super) struct CheckedViewer {
    begin: StartAt,
    /// The end of the log when the viewer joined. None if the log had no file.
    end: Option<Offset>,
    viewer: Option<Viewer>,
    client: Option<ClientPosition>,
    left: Option<Left>,
    /// The stream does not start at the requested position, and the reset is due.
    reset_due: bool,
    /// It was told that files may be missing after the present one.
    are_files_missing: bool,
    is_over: bool,
}

async fn viewer(record: &Record, begin: StartAt) -> Viewer {
    Viewer::new(record.subscribe(), request(begin), Arc::default(), |_| true).await
}

/// Whether files may have had the name after the span at which a client is.
fn may_miss_files(client: &ClientPosition, record: &Record) -> bool {
    client.span <= ROTATED_NUMBER_MAX || record.missed_after.contains(&client.span)
}

impl CheckedViewer {
    pub(super) async fn join(record: &Record, begin: StartAt) -> Self {
        let viewer = Some(viewer(record, begin).await);
        let end = record.end();
        Self {
            begin,
            end,
            viewer,
            client: None,
            left: None,
            reset_due: false,
            are_files_missing: false,
            is_over: false,
        }
    }

    /// Leaves, and keeps the position as a client does.
    pub(super) fn leave(&mut self, record: &Record, log_files: &LogFiles) {
        let Some(client) = self.client.take().filter(|_| !self.reset_due) else {
            self.viewer = None;
            return;
        };
        let had = self.content(client.key, record, log_files).get(..client.offset as usize);
        let had = had.map_or_else(Vec::new, <[u8]>::to_vec);
        let Some(viewer) = self.viewer.take() else { return };
        let Some((generation, offset)) = viewer.position() else { return };
        assert_eq!((key(generation), offset.0), (client.key, client.offset), "another position");
        // The generation as it is sent on the wire.
        let generation: Generation = generation.to_string().parse().unwrap();
        let position = (generation, offset);
        self.left = Some(Left { position, life: record.life, key: client.key, had });
    }

    /// Resumes from the position at which it left, unless it is connected.
    pub(super) async fn resume(&mut self, record: &Record, log_files: &LogFiles) {
        if self.viewer.is_some() {
            return;
        }
        if let Some(left) = &self.left {
            let (generation, offset) = left.position;
            let of = WantedGeneration::Generation(generation);
            self.begin = StartAt::From { offset, of, otherwise: None };
        }
        (self.client, self.reset_due, self.is_over) = (None, false, false);
        self.are_files_missing = false;
        self.end = record.end();
        self.viewer = Some(viewer(record, self.begin).await);
        self.receive(record, log_files, 1).await;
    }

    /// Takes items until there are none, but at most this many.
    pub(super) async fn receive(&mut self, record: &Record, log_files: &LogFiles, items: usize) {
        for _ in 0..items {
            let Some(viewer) = self.viewer.as_mut().filter(|_| !self.is_over) else { return };
            // The paused clock advances only when there is nothing to do.
            let Ok(item) = timeout(ITEM_TIME_MAX, viewer.next()).await else { return };
            self.take(item, record, log_files);
        }
    }

    /// Takes all items, the end included.
    pub(super) async fn receive_the_end(&mut self, record: &Record, log_files: &LogFiles) {
        if self.viewer.is_some() {
            self.receive(record, log_files, usize::MAX).await;
            assert!(self.is_over, "not told of the end");
            self.assert_has_all(record);
        }
    }

    /// Asserts that the viewer is where the record ends.
    pub(super) fn assert_has_all(&self, record: &Record) {
        let Some(last) = record.spans.last() else { return };
        if let Some(client) = &self.client {
            let wanted = (ROTATED_NUMBER_MAX + record.spans.len() as u64, last.end.0);
            assert_eq!((client.span, client.offset), wanted, "it has not been given all");
        } else {
            assert!(record.waiting.is_some(), "it was given nothing");
        }
        assert!(!self.reset_due, "not told of the position that was lost");
    }

    fn span_number(&self) -> u64 {
        self.viewer.as_ref().unwrap().span_number()
    }

    fn take(&mut self, item: Item, record: &Record, log_files: &LogFiles) {
        match item {
            Item::Open(opening) => self.open(&opening, record, log_files),
            Item::Bytes { start, bytes } => self.take_bytes(start, &bytes, record, log_files),
            Item::Chunk(chunk) => self.take_bytes(chunk.start, &chunk.bytes, record, log_files),
            Item::Gap { generation, from, to } => {
                let Some(client) = self.client.as_mut() else {
                    // It waits for a file, and learns that others had the name meanwhile.
                    assert!(to.is_none() && !record.missed_after.is_empty(), "it has no position");
                    return;
                };
                assert_eq!(
                    (key(generation), from.0),
                    (client.key, client.offset),
                    "a gap elsewhere"
                );
                let Some(to) = to else {
                    assert!(may_miss_files(client, record), "no span has been forgotten");
                    assert!(!self.are_files_missing, "told twice");
                    self.are_files_missing = true;
                    return;
                };
                assert!(to > from, "an empty gap");
                let (span, key) = (client.span, client.key);
                client.offset = to.0;
                self.assert_is_gone(span, key, generation, record, log_files);
            }
            Item::Reset { generation, from, reason, .. } if self.reset_due => {
                let client = self.client.as_ref().unwrap();
                assert_eq!((key(generation), from.0), (client.key, client.offset));
                assert_eq!(reason, Reason::Replaced);
                self.reset_due = false;
            }
            Item::Reset { generation, from, reason, .. } => {
                self.assert_told_of_missing_files(record);
                let span = self.span_number();
                let Some(told) = record.span(span) else {
                    return self
                        .go_on_in_a_file_that_was_found(generation, from, reason, log_files);
                };
                let wanted = match told.reason {
                    Reason::Joined => (told.key, Offset(0), Reason::Rotated),
                    reason => (told.key, told.from, reason),
                };
                assert_eq!((key(generation), from, reason), wanted);
                if let Some(client) = self.client {
                    assert_eq!(
                        client.span.max(ROTATED_NUMBER_MAX) + 1,
                        span,
                        "a span was left out"
                    );
                    self.assert_span_is_over(client, record);
                }
                self.client = Some(ClientPosition { span, key: key(generation), offset: from.0 });
            }
            Item::Signed(generation) => {
                let client = self.client.as_ref().expect("it was opened");
                assert_eq!(key(generation), client.key, "signed as another");
            }
            Item::Waiting(_) => {
                self.assert_told_of_missing_files(record);
                if let Some(client) = self.client.take() {
                    self.assert_span_is_over(client, record);
                }
            }
            Item::CaughtUp => {
                let client = self.client.as_ref().expect("it was opened");
                assert_eq!(client.offset, record.span(client.span).unwrap().end.0, "not all");
            }
            Item::End(ending) => {
                assert_eq!(ending, session::Ending::Shutdown);
                self.is_over = true;
            }
        }
    }

    /// No file here lasts for long enough that its times prove what came next: where nobody followed
    /// the log, or events were missing, the viewer is told that files may be missing.
    fn assert_told_of_missing_files(&mut self, record: &Record) {
        let is_told = std::mem::take(&mut self.are_files_missing);
        let is_due = self.client.is_some_and(|client| may_miss_files(&client, record));
        assert!(is_told || !is_due, "not told that files may be missing");
    }

    fn open(
        &mut self,
        opening: &crate::wire::message::Opening,
        record: &Record,
        log_files: &LogFiles,
    ) {
        let (generation, offset) = (opening.generation, opening.from.0);
        let key = key(generation);
        self.client = Some(ClientPosition { span: self.span_number(), key, offset });
        self.reset_due = !opening.recovered;
        let content = self.content(key, record, log_files);
        match self.begin {
            StartAt::All => assert_eq!(offset, 0),
            StartAt::Lines(lines) => {
                // Without a file the end is where the next span begins: at the first byte of a new file,
                // or where an old one is read on that another viewer has asked for.
                let next = || record.span(self.span_number()).map_or(Offset(0), |span| span.from);
                let end = self.end.unwrap_or_else(next);
                let content = &content[..end.0 as usize];
                let starts = content.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::len);
                let kept = starts.clone().count().saturating_sub(lines as usize);
                let wanted = starts.take(kept).sum::<usize>() as u64;
                assert_eq!(offset, wanted, "{lines} lines before the end");
            }
            StartAt::From { .. } => {}
        }
        let Some(left) = self.left.take() else { return };
        let is_of_this_life = left.life == record.life;
        if opening.recovered {
            assert_eq!(offset, left.position.1.0, "another offset than was asked for");
            let is_the_same = content.starts_with(&left.had);
            // A file that was truncated while nobody followed is recognised by its head alone.
            let looks_the_same = !is_of_this_life
                && left.had.len() >= 256
                && content.get(..256) == left.had.get(..256);
            assert!(
                is_the_same || looks_the_same,
                "a position in {} goes on in {generation}",
                left.position.0
            );
        } else {
            assert_eq!(offset, 0, "anew, but not from the first byte");
            let Some(known) = record.generations.get(&left.key) else { return };
            let last = record.spans.last().filter(|span| span.reason != Reason::Late);
            let is_present = last.is_some_and(|span| span.key == left.key);
            assert!(!is_of_this_life || !is_present || known.lost, "a position was not honoured");
            let file = &log_files.files[known.file];
            let is_there = log_files.named == Some(known.file)
                && file.identity == left.key.0
                && file.epochs.len() == known.epoch + 1;
            let is_signed = left.position.0.signature.is_whole();
            assert!(!is_there || !is_signed, "a position in a file that is there was not honoured");
        }
    }

    fn take_bytes(&mut self, start: Offset, bytes: &[u8], record: &Record, log_files: &LogFiles) {
        let client = self.client.as_ref().expect("it was opened");
        assert!(!self.reset_due, "bytes before the reset");
        assert!(!bytes.is_empty());
        assert_eq!(start.0, client.offset, "bytes from elsewhere");
        let client = *client;
        let range = start.0 as usize..start.0 as usize + bytes.len();
        let content = self.content(client.key, record, log_files);
        if content.get(range.clone()) != Some(bytes) {
            let had = self.had_by_file(client.key, record, log_files);
            assert!(
                had.iter().any(|content| content.get(range.clone()) == Some(bytes)),
                "other bytes than were published, at {start}: {:?}",
                content.get(range)
            );
        }
        self.client = Some(ClientPosition { offset: client.offset + bytes.len() as u64, ..client });
    }

    /// The published content of a generation, or the content of its file if that was found again.
    fn content<'a>(&self, key: Key, record: &'a Record, log_files: &'a LogFiles) -> &'a [u8] {
        match record.generations.get(&key).filter(|_| record.span(self.span_number()).is_some()) {
            Some(known) => &known.bytes,
            None => log_files.files[log_files.file_of(key.0)].content(),
        }
    }

    /// What a file that was found again had before each truncation: the viewer may have read it then. A
    /// file that is followed has none: what it had was published.
    fn had_by_file<'a>(&self, key: Key, record: &Record, log_files: &'a LogFiles) -> &'a [Vec<u8>] {
        match record.span(self.span_number()) {
            Some(_) => &[],
            None => &log_files.files[log_files.file_of(key.0)].epochs,
        }
    }

    /// Asserts that the file after one that was found again is the next one that had the name.
    fn go_on_in_a_file_that_was_found(
        &mut self,
        generation: Generation,
        from: Offset,
        reason: Reason,
        log_files: &LogFiles,
    ) {
        let key = key(generation);
        let before = self
            .client
            .replace(ClientPosition { span: self.span_number(), key, offset: 0 })
            .unwrap();
        assert!(before.span <= ROTATED_NUMBER_MAX, "back before all that was published");
        assert_eq!((from, reason), (Offset(0), Reason::Rotated));
        assert!(log_files.file_of(before.key.0) < log_files.file_of(key.0), "the other way round");
    }

    /// Asserts that there is a gap only where the bytes can't be read.
    fn assert_is_gone(
        &self,
        span: u64,
        key: Key,
        generation: Generation,
        record: &Record,
        log_files: &LogFiles,
    ) {
        let Some(known) = record.generations.get(&key).filter(|_| record.span(span).is_some())
        else {
            return;
        };
        let was_cut = log_files.files[known.file].epochs.len() > known.epoch + 1;
        // Files beside the log are found again if their heads are long enough.
        let is_far = !log_files.is_beside(known.file) || generation.signature.bytes() < 64;
        // The last one is open as long as late bytes are read.
        let is_last = record.spans.last().is_some_and(|last| last.key == key);
        let is_held = is_last && record.holds(key);
        assert!(was_cut || (is_far && !is_held), "a gap in a file that can be read: {generation}");
    }

    fn assert_span_is_over(&self, client: ClientPosition, record: &Record) {
        if let Some(span) = record.span(client.span) {
            assert_eq!(client.offset, span.end.0, "the next span began too early");
        }
    }
}
