//! A viewer: a position that walks a log.
//!
//! Where it is behind it reads the file; where it keeps up it takes the shared chunks by the splice rule; where a
//! span ends it goes on with the next and says so. Joining late, lagging and coming back are the same walk.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;

use crate::log::file::{LogFile, Marker, Read};
use crate::log::timeline::{Next, Reader, Reason, Span, WaitReason};
use crate::log::{Chunk, Event, Generation, LogPath, Offset, Place, Splice, Subscription};

/// The most bytes that a viewer reads of the file at once: a thousand usual lines come as one message.
const READ_BYTES_MAX: usize = 192 * 1024;

/// Where a viewer wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// So many lines before the end.
    Lines(u64),
    /// At the first byte.
    All,
    /// At a position. Where it can't be honoured, at `otherwise` lines before the end, or at the first byte.
    From {
        /// The wanted byte.
        offset: Offset,
        /// Of this generation; of the present one if none is named.
        generation: Option<Generation>,
        /// Where to begin if that can't be had.
        otherwise: Option<u64>,
    },
}

/// What a viewer asks for.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Where to begin.
    pub begin: Begin,
    /// Follow on, rather than end where the log ends now.
    pub tail: bool,
    /// Wait for a log that is not there.
    pub wait: bool,
    /// On lag leave out what was missed, rather than send it later.
    pub skip: bool,
}

/// Where a stream starts.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The log.
    pub log: LogPath,
    /// The generation of the first bytes.
    pub generation: Generation,
    /// The first byte's offset.
    pub from: Offset,
    /// The file's size now, in bytes.
    pub size: u64,
    /// When the file was last written, if that can be told.
    pub modified: Option<SystemTime>,
    /// Whether the stream follows.
    pub tail: bool,
    /// Whether a wanted position was honoured.
    pub recovered: bool,
    /// Whether the log is polled for want of events.
    pub polling: bool,
}

/// Why a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that was asked for has been given.
    Complete,
    /// The server is going away.
    Shutdown,
}

/// What comes next in a log.
#[derive(Debug)]
pub enum Item {
    /// The stream starts here.
    Open(Opening),
    /// Bytes that were read for this viewer.
    Bytes {
        /// Offset of the first.
        start: Offset,
        /// Never empty.
        bytes: Bytes,
    },
    /// Bytes that all viewers share.
    Chunk(Arc<Chunk>),
    /// Bytes left out.
    Gap {
        /// Whose.
        generation: Generation,
        /// The first.
        from: Offset,
        /// The first after them, if it is known.
        to: Option<Offset>,
    },
    /// On with another generation, or at another place.
    Reset {
        /// The generation.
        generation: Generation,
        /// From here.
        from: Offset,
        /// Why.
        reason: Reason,
    },
    /// Nothing to follow for now.
    Waiting(WaitReason),
    /// Everything so far has been given, for the first time.
    CaughtUp,
    /// Nothing more comes.
    End(Ending),
}

/// One viewer of one log.
pub struct Viewer {
    subscription: Subscription,
    start: Start,
    at: Option<At>,
    /// Number of the last span that was left, or before which the viewer begins.
    passed: u64,
    /// The shared chunks are taken; otherwise the file is read.
    live: bool,
    opened: bool,
    recovered: bool,
    /// A reset that is still to be told.
    told: Option<Item>,
    waiting_told: Option<WaitReason>,
    caught_up: bool,
    /// Where a viewer that does not follow stops.
    stop: Option<Place>,
}

/// A place in a span.
struct At {
    reader: Reader,
    marker: Marker,
}

impl At {
    fn offset(&self) -> Offset {
        self.marker.offset()
    }

    fn place(&self) -> Place {
        Place { span: self.reader.number, offset: self.offset() }
    }
}

/// Runs a read on a blocking thread, since a disk or a network file system may keep it waiting.
async fn read<T: Send + 'static>(
    file: &Arc<LogFile>,
    read: impl FnOnce(&LogFile) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let file = Arc::clone(file);
    spawn_blocking(move || read(&file))
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()))
}

async fn marker(file: Option<&Arc<LogFile>>, offset: Offset) -> Marker {
    match file {
        Some(file) => {
            read(file, move |file| file.marker(offset)).await.unwrap_or_else(|_| Marker::at(offset))
        }
        None => Marker::at(offset),
    }
}

impl Viewer {
    /// A viewer that has subscribed already, and now looks where to begin.
    pub async fn new(subscription: Subscription, start: Start) -> Self {
        let mut viewer = Self {
            subscription,
            start,
            at: None,
            passed: 0,
            live: false,
            opened: false,
            recovered: true,
            told: None,
            waiting_told: None,
            caught_up: false,
            stop: None,
        };
        let (latest, waiting) = {
            let timeline = viewer.subscription.follower.timeline();
            (timeline.latest().cloned(), timeline.waiting().is_some())
        };
        match latest {
            Some(span) if !waiting => viewer.begin_in(span).await,
            Some(span) => viewer.passed = span.number,
            None => {}
        }
        viewer
    }

    async fn begin_in(&mut self, present: Arc<Span>) {
        let (span, offset) = match self.start.begin {
            Begin::From { offset, generation, otherwise } => {
                match self.find(&present, offset, generation).await {
                    Some(span) => (span, offset),
                    None => {
                        self.recovered = false;
                        let from = self.start_of(&present, otherwise).await;
                        let generation = present.generation;
                        self.told =
                            Some(Item::Reset { generation, from, reason: Reason::Replaced });
                        (Arc::clone(&present), from)
                    }
                }
            }
            Begin::Lines(lines) => {
                (Arc::clone(&present), self.start_of(&present, Some(lines)).await)
            }
            Begin::All => (Arc::clone(&present), Offset(0)),
        };
        if !self.start.tail {
            self.stop = Some(Place { span: present.number, offset: present.end() });
        }
        let marker = marker(span.file().as_ref(), offset).await;
        self.at = Some(At { reader: Reader::enter(&span), marker });
    }

    async fn start_of(&self, present: &Span, lines: Option<u64>) -> Offset {
        let (Some(lines), Some(file)) = (lines, present.file()) else { return Offset(0) };
        let end = present.end();
        read(&file, move |file| file.last_lines(lines, end)).await.unwrap_or(Offset(0))
    }

    /// The span that holds a wanted position, if it is the same file beyond doubt.
    async fn find(
        &self,
        present: &Arc<Span>,
        offset: Offset,
        wanted: Option<Generation>,
    ) -> Option<Arc<Span>> {
        let Some(wanted) = wanted else {
            return (offset <= present.end()).then(|| Arc::clone(present));
        };
        let known = {
            let timeline = self.subscription.follower.timeline();
            timeline.spans().rev().find(|span| span.generation == wanted).cloned()
        };
        if let Some(span) = known {
            return (span.file().is_some() && offset <= span.end()).then_some(span);
        }
        let file = present.file()?;
        let head = read(&file, LogFile::head).await.ok()?;
        (wanted.is_proved_by(file.identity(), &head) && offset <= present.end())
            .then(|| Arc::clone(present))
    }

    /// The number of the span that the viewer is in, or was in last.
    #[must_use]
    pub fn span_number(&self) -> u64 {
        self.at.as_ref().map_or(self.passed, |at| at.reader.number)
    }

    /// Where it goes on.
    #[must_use]
    pub fn position(&self) -> Option<(Generation, Offset)> {
        self.at.as_ref().map(|at| (at.reader.generation, at.offset()))
    }

    /// The bytes of the row that holds `offset`, before it, for a terminal that begins there. Bounded.
    pub async fn row_before(&self, offset: Offset) -> Option<Bytes> {
        let file = self.at.as_ref()?.reader.file()?;
        let before = move |file: &LogFile| {
            let start = file.row_start(offset)?;
            file.read_at(start, (offset.0 - start.0) as usize)
        };
        read(&file, before).await.ok().map(Bytes::from)
    }

    /// What comes next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Item {
        loop {
            if let Some(item) = self.open() {
                return item;
            }
            let item = if self.live { self.listen().await } else { self.catch_up().await };
            if let Some(item) = item {
                return item;
            }
        }
    }

    /// What is told before anything else.
    fn open(&mut self) -> Option<Item> {
        let at = self.at.as_ref()?;
        if self.opened {
            return self.told.take();
        }
        self.opened = true;
        let end = at.reader.end();
        let status = at.reader.file().and_then(|file| file.status().ok());
        Some(Item::Open(Opening {
            log: self.subscription.follower.log().clone(),
            generation: at.reader.generation,
            from: at.offset(),
            size: status.map_or(end.0, |status| status.size),
            modified: status.map(|status| status.modified),
            tail: self.start.tail,
            recovered: self.recovered,
            polling: self.subscription.follower.is_polling(),
        }))
    }

    /// Walks the timeline, reading what lies behind its end. None when there is nothing to tell yet.
    async fn catch_up(&mut self) -> Option<Item> {
        let Some(at) = &self.at else { return self.enter_next().await };
        if self.stop.is_some_and(|stop| stop.span == at.reader.number && at.offset() >= stop.offset)
        {
            return Some(self.caught_up().unwrap_or(Item::End(Ending::Complete)));
        }
        let closed = at.reader.is_closed();
        let (offset, end) = (at.offset(), at.reader.end());
        if offset < end {
            return self.read_on(offset, end).await;
        }
        if closed {
            self.passed = at.reader.number;
            self.at = None;
            return None;
        }
        self.live = true;
        self.caught_up()
    }

    /// Told once: a viewer that waits for the first lines knows that there are no more.
    fn caught_up(&mut self) -> Option<Item> {
        (!std::mem::replace(&mut self.caught_up, true)).then_some(Item::CaughtUp)
    }

    async fn read_on(&mut self, offset: Offset, end: Offset) -> Option<Item> {
        let at = self.at.as_ref()?;
        let generation = at.reader.generation;
        let Some(file) = at.reader.file() else {
            self.at.as_mut()?.marker = Marker::at(end);
            return Some(Item::Gap { generation, from: offset, to: Some(end) });
        };
        let len = READ_BYTES_MAX.min((end.0 - offset.0) as usize);
        let before = at.marker.clone();
        match read(&file, move |file| file.read_after(&before, len)).await {
            Ok(Read::Bytes(bytes)) if !bytes.is_empty() => {
                self.at.as_mut()?.marker.advance(&bytes);
                Some(Item::Bytes { start: offset, bytes })
            }
            Ok(Read::Bytes(_) | Read::Changed) => {
                // The file was cut or written over. If it was cut the follower sees that too, and closes the span.
                self.subscription.follower.refresh().await;
                let fresh = marker(Some(&file), offset).await;
                let at = self.at.as_mut()?;
                if at.reader.file().is_some() {
                    at.marker = fresh;
                }
                None
            }
            Err(error) => {
                tracing::warn!(log = %self.subscription.follower.log().display(), %error, "can't read");
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                None
            }
        }
    }

    /// Between two spans: goes on with the next, if there is one.
    async fn enter_next(&mut self) -> Option<Item> {
        let next = self.subscription.follower.timeline().after(self.passed);
        match next {
            Next::Span(span) => {
                let missed = self.opened && span.number > self.passed + 1;
                let (generation, from, reason) = (span.generation, span.from, span.reason);
                let marker = marker(span.file().as_ref(), from).await;
                self.at = Some(At { reader: Reader::enter(&span), marker });
                self.waiting_told = None;
                if !self.opened {
                    return None;
                }
                let reset = Item::Reset { generation, from, reason };
                if missed {
                    self.told = Some(reset);
                    return Some(Item::Gap { generation, from, to: None });
                }
                Some(reset)
            }
            Next::Waiting(reason) if self.waiting_told != Some(reason) => {
                self.waiting_told = Some(reason);
                Some(Item::Waiting(reason))
            }
            Next::Ended => Some(Item::End(Ending::Shutdown)),
            Next::Waiting(_) | Next::Nothing => {
                // Any event is reason enough to look at the timeline again.
                let _event = self.subscription.events.recv().await;
                None
            }
        }
    }

    /// Takes the shared chunks.
    async fn listen(&mut self) -> Option<Item> {
        let event = self.subscription.events.recv().await;
        let at = self.at.as_mut()?;
        match event {
            Ok(Event::Chunk(chunk)) => match at.place().splice(&chunk) {
                Splice::Stale => None,
                Splice::Take { skip } => {
                    let bytes = chunk.bytes.slice(skip..);
                    let start = at.offset();
                    at.marker.advance(&bytes);
                    Some(if skip == 0 { Item::Chunk(chunk) } else { Item::Bytes { start, bytes } })
                }
                Splice::Gap => {
                    self.live = false;
                    None
                }
            },
            Ok(Event::Turn) | Err(RecvError::Closed) => {
                self.live = false;
                None
            }
            Err(RecvError::Lagged(_)) => {
                self.live = false;
                if self.start.skip { self.skip().await } else { None }
            }
        }
    }

    /// Leaves out what was missed.
    async fn skip(&mut self) -> Option<Item> {
        let at = self.at.as_ref()?;
        let (generation, from, to) = (at.reader.generation, at.offset(), at.reader.end());
        let marker = marker(at.reader.file().as_ref(), to).await;
        self.at.as_mut()?.marker = marker;
        (from < to).then_some(Item::Gap { generation, from, to: Some(to) })
    }
}
