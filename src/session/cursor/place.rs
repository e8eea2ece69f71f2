//! A position in a span, with a handle that keeps the file of the span open.

use std::sync::Arc;

use crate::log::fingerprint::Fingerprint;
use crate::log::timeline::{Span, SpanReader};
use crate::log::{Generation, Offset, TimelinePosition};

/// Keeps the file of a span open for a viewer. Each clone is a reader of its own.
#[derive(Debug)]
pub struct SpanHandle(SpanReader);

impl SpanHandle {
    /// Keeps the file of this span.
    #[must_use]
    pub fn new(span: &Arc<Span>) -> Self {
        Self(SpanReader::enter(span))
    }

    /// The span.
    #[must_use]
    pub fn span(&self) -> &Arc<Span> {
        self.0.span()
    }
}

impl From<SpanReader> for SpanHandle {
    fn from(reader: SpanReader) -> Self {
        Self(reader)
    }
}

impl Clone for SpanHandle {
    fn clone(&self) -> Self {
        Self::new(self.span())
    }
}

/// A position in a span.
///
/// `H` keeps the file of the span open. The cursor never uses it in any other way.
#[derive(Clone, Debug)]
pub struct SpanCursor<H> {
    /// Keeps the file.
    pub handle: H,
    /// The number of the span.
    pub span: u64,
    /// The generation under the name that the viewer knows.
    pub generation: Generation,
    /// The next byte, and the bytes before it.
    pub fingerprint: Fingerprint,
}

impl<H> SpanCursor<H> {
    /// The next byte.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.fingerprint.offset()
    }

    /// The next byte, as a position in the timeline.
    #[must_use]
    pub fn position(&self) -> TimelinePosition {
        TimelinePosition { span: self.span, offset: self.offset() }
    }
}
