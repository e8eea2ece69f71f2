//! Where a viewer stands, and the reads that keep it sure of what lies before.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::log::file::LogFile;
use crate::log::fingerprint::Fingerprint;
use crate::log::timeline::{SpanReader, WaitReason};
use crate::log::{Generation, Offset, TimelinePosition};
use crate::session::viewer::Item;
use crate::session::viewer::late_replay::LateReplay;

/// A stretch of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Number of the span.
    pub span: u64,
    /// Its first byte.
    pub from: Offset,
    /// The first after it.
    pub end: Offset,
}

/// Where a viewer stands in a log: enough to go on from there.
#[derive(Debug)]
pub struct SavedCursor {
    pub(super) at: Option<SpanCursor>,
    pub(super) aside: Option<Box<LateReplay>>,
    pub(super) passed: u64,
    pub(super) told: Option<Item>,
    pub(super) waiting_told: Option<WaitReason>,
}

impl SavedCursor {
    /// The same, but with less of the span given.
    pub(in crate::session) fn back_at(mut self, offset: Offset) -> Self {
        if let Some(at) = &mut self.at {
            at.fingerprint = Fingerprint::at(offset);
        }
        self
    }
}

/// A place in a span.
#[derive(Debug)]
pub(super) struct SpanCursor {
    pub(super) reader: SpanReader,
    pub(super) fingerprint: Fingerprint,
    /// The generation by the name by which it was told.
    pub(super) generation: Generation,
}

impl Clone for SpanCursor {
    fn clone(&self) -> Self {
        let reader = SpanReader::enter(self.reader.span());
        Self { reader, fingerprint: self.fingerprint.clone(), generation: self.generation }
    }
}

impl SpanCursor {
    pub(super) fn new(reader: SpanReader, fingerprint: Fingerprint, signed: bool) -> Self {
        let generation = if signed { reader.signed() } else { reader.generation };
        Self { generation, reader, fingerprint }
    }

    /// The generation, once it is signed better than it was told.
    pub(super) fn signed(&mut self) -> Option<Item> {
        if self.generation.signature.is_whole() {
            return None;
        }
        let signed = self.reader.signed();
        (std::mem::replace(&mut self.generation, signed) != signed).then_some(Item::Signed(signed))
    }

    pub(super) fn offset(&self) -> Offset {
        self.fingerprint.offset()
    }

    pub(super) fn place(&self) -> TimelinePosition {
        TimelinePosition { span: self.reader.number, offset: self.offset() }
    }
}

/// Runs a read on a blocking thread, since a disk or a network file system may keep it waiting.
pub(in crate::session) async fn read<T: Send + 'static>(
    file: &Arc<LogFile>,
    read: impl FnOnce(&LogFile) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let file = Arc::clone(file);
    spawn_blocking(move || read(&file))
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()))
}

pub(super) async fn fingerprint(file: Option<&Arc<LogFile>>, offset: Offset) -> Fingerprint {
    match file {
        Some(file) => read(file, move |file| file.fingerprint(offset))
            .await
            .unwrap_or_else(|_| Fingerprint::at(offset)),
        None => Fingerprint::at(offset),
    }
}
