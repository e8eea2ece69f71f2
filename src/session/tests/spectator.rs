//! A viewer, and what it is given held against what was published.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::record::{Key, Record, key};
use super::stage::Stage;
use crate::log::timeline::{ROTATED_NUMBER_MAX, Reason};
use crate::log::{Generation, Offset};
use crate::session::viewer::{Item, Viewer};
use crate::session::{self, StartAt, StreamRequest, WantedGeneration};

/// Where a viewer is by what it was told.
#[derive(Clone, Copy)]
struct Stand {
    span: u64,
    key: Key,
    offset: u64,
}

/// What was known when a viewer left.
struct Left {
    position: (Generation, Offset),
    life: usize,
    key: Key,
    /// What it had been given of this generation.
    had: Vec<u8>,
}

pub(super) struct Spectator {
    begin: StartAt,
    /// Where the log ended when it came, if it was there.
    end: Option<Offset>,
    viewer: Option<Viewer>,
    stand: Option<Stand>,
    left: Option<Left>,
    /// A position was not honoured, which is still to be told.
    reset_due: bool,
    is_over: bool,
}

fn start(begin: StartAt) -> StreamRequest {
    StreamRequest { begin, late: Vec::new(), tail: true, wait: true, signed: true, skip: false }
}

async fn viewer(record: &Record, begin: StartAt) -> Viewer {
    Viewer::new(record.subscribe(), start(begin), Arc::default(), |_| true).await
}

impl Spectator {
    pub(super) async fn join(record: &Record, begin: StartAt) -> Self {
        let viewer = Some(viewer(record, begin).await);
        let end = record.end();
        Self { begin, end, viewer, stand: None, left: None, reset_due: false, is_over: false }
    }

    /// Leaves, with the position that a client would keep.
    pub(super) fn leave(&mut self, record: &Record, stage: &Stage) {
        let Some(stand) = self.stand.take().filter(|_| !self.reset_due) else {
            self.viewer = None;
            return;
        };
        let had = self.content(stand.key, record, stage).get(..stand.offset as usize);
        let had = had.map_or_else(Vec::new, <[u8]>::to_vec);
        let Some(viewer) = self.viewer.take() else { return };
        let Some((generation, offset)) = viewer.position() else { return };
        assert_eq!((key(generation), offset.0), (stand.key, stand.offset), "another position");
        // As it goes over the wire.
        let generation: Generation = generation.to_string().parse().unwrap();
        let position = (generation, offset);
        self.left = Some(Left { position, life: record.life, key: stand.key, had });
    }

    /// Comes back with its position, if it is away.
    pub(super) async fn come_back(&mut self, record: &Record, stage: &Stage) {
        if self.viewer.is_some() {
            return;
        }
        if let Some(left) = &self.left {
            let (generation, offset) = left.position;
            let of = WantedGeneration::Generation(generation);
            self.begin = StartAt::From { offset, of, otherwise: None };
        }
        (self.stand, self.reset_due, self.is_over) = (None, false, false);
        self.end = record.end();
        self.viewer = Some(viewer(record, self.begin).await);
        self.hear(record, stage, 1).await;
    }

    /// Listens until there is nothing to hear, or to so many items.
    pub(super) async fn hear(&mut self, record: &Record, stage: &Stage, items: usize) {
        for _ in 0..items {
            let Some(viewer) = self.viewer.as_mut().filter(|_| !self.is_over) else { return };
            // The clock goes on only when there is nothing to do.
            let Ok(item) = timeout(Duration::from_millis(1), viewer.next()).await else { return };
            self.take(item, record, stage);
        }
    }

    /// Hears all that there is, and that it is the end.
    pub(super) async fn hear_the_end(&mut self, record: &Record, stage: &Stage) {
        if self.viewer.is_some() {
            self.hear(record, stage, usize::MAX).await;
            assert!(self.is_over, "not told of the end");
            self.assert_has_all(record);
        }
    }

    /// That it stands where the record ends.
    pub(super) fn assert_has_all(&self, record: &Record) {
        let Some(last) = record.spans.last() else { return };
        if let Some(stand) = &self.stand {
            let wanted = (ROTATED_NUMBER_MAX + record.spans.len() as u64, last.end.0);
            assert_eq!((stand.span, stand.offset), wanted, "it has not been given all");
        } else {
            assert!(record.waiting.is_some(), "it was given nothing");
        }
        assert!(!self.reset_due, "not told of the position that was lost");
    }

    fn span_number(&self) -> u64 {
        self.viewer.as_ref().unwrap().span_number()
    }

    fn take(&mut self, item: Item, record: &Record, stage: &Stage) {
        match item {
            Item::Open(opening) => self.open(&opening, record, stage),
            Item::Bytes { start, bytes } => self.take_bytes(start, &bytes, record, stage),
            Item::Chunk(chunk) => self.take_bytes(chunk.start, &chunk.bytes, record, stage),
            Item::Gap { generation, from, to } => {
                let stand = self.stand.as_mut().expect("it was opened");
                assert_eq!((key(generation), from.0), (stand.key, stand.offset), "a gap elsewhere");
                let to = to.expect("no span has been forgotten");
                assert!(to > from, "an empty gap");
                let (span, key) = (stand.span, stand.key);
                stand.offset = to.0;
                self.assert_is_gone(span, key, generation, record, stage);
            }
            Item::Reset { generation, from, reason } if self.reset_due => {
                let stand = self.stand.as_ref().unwrap();
                assert_eq!((key(generation), from.0), (stand.key, stand.offset));
                assert_eq!(reason, Reason::Replaced);
                self.reset_due = false;
            }
            Item::Reset { generation, from, reason } => {
                let span = self.span_number();
                let Some(told) = record.span(span) else {
                    return self.go_on_in_a_file_that_was_found(generation, from, reason, stage);
                };
                let wanted = match told.reason {
                    Reason::Joined => (told.key, Offset(0), Reason::Rotated),
                    reason => (told.key, told.from, reason),
                };
                assert_eq!((key(generation), from, reason), wanted);
                if let Some(stand) = self.stand {
                    assert_eq!(stand.span.max(ROTATED_NUMBER_MAX) + 1, span, "a span was left out");
                    self.assert_span_is_over(stand, record);
                }
                self.stand = Some(Stand { span, key: key(generation), offset: from.0 });
            }
            Item::Signed(generation) => {
                let stand = self.stand.as_ref().expect("it was opened");
                assert_eq!(key(generation), stand.key, "signed as another");
            }
            Item::Waiting(_) => {
                if let Some(stand) = self.stand.take() {
                    self.assert_span_is_over(stand, record);
                }
            }
            Item::CaughtUp => {
                let stand = self.stand.as_ref().expect("it was opened");
                assert_eq!(stand.offset, record.span(stand.span).unwrap().end.0, "not all");
            }
            Item::End(ending) => {
                assert_eq!(ending, session::Ending::Shutdown);
                self.is_over = true;
            }
        }
    }

    fn open(&mut self, opening: &crate::wire::message::Opening, record: &Record, stage: &Stage) {
        let (generation, offset) = (opening.generation, opening.from.0);
        let key = key(generation);
        self.stand = Some(Stand { span: self.span_number(), key, offset });
        self.reset_due = !opening.recovered;
        let content = self.content(key, record, stage);
        match self.begin {
            StartAt::All => assert_eq!(offset, 0),
            StartAt::Lines(lines) => {
                // Without a log it begins with the next one, at its first byte.
                let content = &content[..self.end.map_or(0, |end| end.0 as usize)];
                let starts = content.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::len);
                let kept = starts.clone().count().saturating_sub(lines as usize);
                let wanted: usize = starts.take(kept).sum();
                assert_eq!(offset, wanted as u64, "{lines} lines before the end");
            }
            StartAt::From { .. } => {}
        }
        let Some(left) = self.left.take() else { return };
        let is_of_this_life = left.life == record.life;
        if opening.recovered {
            assert_eq!(offset, left.position.1.0, "another offset than was asked for");
            let is_the_same = content.starts_with(&left.had);
            // A file that was cut while nobody followed is known by its head alone.
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
            let Some(truth) = record.truths.get(&left.key) else { return };
            let last = record.spans.last().filter(|span| span.reason != Reason::Late);
            let is_present = last.is_some_and(|span| span.key == left.key);
            assert!(!is_of_this_life || !is_present || truth.lost, "a position was not honoured");
            let file = &stage.files[truth.file];
            let is_there = stage.named == Some(truth.file) && file.epochs.len() == truth.epoch + 1;
            let is_signed = left.position.0.signature.is_whole();
            assert!(!is_there || !is_signed, "a position in a file that is there was not honoured");
        }
    }

    fn take_bytes(&mut self, start: Offset, bytes: &[u8], record: &Record, stage: &Stage) {
        let stand = self.stand.as_ref().expect("it was opened");
        assert!(!self.reset_due, "bytes before the reset");
        assert!(!bytes.is_empty());
        assert_eq!(start.0, stand.offset, "bytes from elsewhere");
        let stand = *stand;
        let content = self.content(stand.key, record, stage);
        let wanted = content.get(start.0 as usize..start.0 as usize + bytes.len());
        assert_eq!(wanted, Some(bytes), "other bytes than were published, at {start}");
        self.stand = Some(Stand { offset: stand.offset + bytes.len() as u64, ..stand });
    }

    /// What was published of a generation, or what its file holds where it was found again.
    fn content<'a>(&self, key: Key, record: &'a Record, stage: &'a Stage) -> &'a [u8] {
        match record.truths.get(&key).filter(|_| record.span(self.span_number()).is_some()) {
            Some(truth) => &truth.bytes,
            None => stage.files[stage.file_of(key.0)].content(),
        }
    }

    /// Behind a file that was found again comes one that had the name after it.
    fn go_on_in_a_file_that_was_found(
        &mut self,
        generation: Generation,
        from: Offset,
        reason: Reason,
        stage: &Stage,
    ) {
        let key = key(generation);
        let before =
            self.stand.replace(Stand { span: self.span_number(), key, offset: 0 }).unwrap();
        assert!(before.span <= ROTATED_NUMBER_MAX, "back before all that was published");
        assert_eq!((from, reason), (Offset(0), Reason::Rotated));
        assert!(stage.file_of(before.key.0) < stage.file_of(key.0), "the other way round");
    }

    /// That a viewer is told of a gap only where the bytes can't be had.
    fn assert_is_gone(
        &self,
        span: u64,
        key: Key,
        generation: Generation,
        record: &Record,
        stage: &Stage,
    ) {
        let Some(truth) = record.truths.get(&key).filter(|_| record.span(span).is_some()) else {
            return;
        };
        let was_cut = stage.files[truth.file].epochs.len() > truth.epoch + 1;
        // Files that can be told from others by their heads are found again beside the log.
        let is_far = !stage.is_beside(truth.file) || generation.signature.bytes() < 64;
        // The last one is held for as long as it is heard.
        let is_last = record.spans.last().is_some_and(|last| last.key == key);
        let is_held = is_last && record.holds(key);
        assert!(was_cut || (is_far && !is_held), "a gap in a file that can be read: {generation}");
    }

    fn assert_span_is_over(&self, stand: Stand, record: &Record) {
        if let Some(span) = record.span(stand.span) {
            assert_eq!(stand.offset, span.end.0, "the next span began too early");
        }
    }
}
