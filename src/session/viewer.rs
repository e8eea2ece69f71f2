//! A viewer: a position that walks a log.
//!
//! Where it is behind it reads the file; where it keeps up it takes the shared chunks by the splice rule; where a
//! span ends it goes on with the next and says so. Joining late, lagging and coming back are the same walk.

mod item;
mod late_replay;
mod saved_cursor;
mod seek;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::log::file::{CHUNK_BYTES_MAX, LogFile, Nuls, Read};
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::BROADCAST_MESSAGES;
use crate::log::timeline::{Next, ROTATED_NUMBER_MAX, Reason, Span, SpanReader, WaitReason};
use crate::log::{
    Event, Generation, LogPath, Offset, Presence, Splice, Subscription, TimelinePosition,
};
use crate::wire::message::Opening;
use crate::wire::request::{StartAt, StreamRequest};
pub use item::{Ending, Item};
use late_replay::LateReplay;
pub(super) use saved_cursor::read;
pub use saved_cursor::{ByteRange, SavedCursor};
use saved_cursor::{SpanCursor, fingerprint};

/// The most bytes that a viewer reads of the file at once: a thousand usual lines come as one message.
const READ_BYTES_MAX: usize = 192 * 1024;

/// The pause after a read that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// One viewer of one log.
pub struct Viewer {
    subscription: Subscription,
    start: StreamRequest,
    at: Option<SpanCursor>,
    /// To late bytes, and back.
    aside: Option<Box<LateReplay>>,
    /// Number of the last span that was left, or before which the viewer begins.
    passed: u64,
    /// The shared chunks are taken; otherwise the file is read.
    live: bool,
    opened: bool,
    recovered: bool,
    /// A reset that is still to be told.
    told: Option<Item>,
    waiting_told: Option<WaitReason>,
    /// That the file can't be read has been told.
    trouble_told: bool,
    caught_up: bool,
    /// What was missed is left out.
    skip_due: bool,
    /// Where a viewer that does not follow stops.
    stop: Option<TimelinePosition>,
    /// Chunks that have come already are given together.
    gathering: bool,
    /// What was heard behind them.
    ahead: Option<Result<Event, RecvError>>,
}

impl Viewer {
    /// A viewer that has subscribed already, and now looks where to begin.
    pub async fn new(subscription: Subscription, start: StreamRequest) -> Self {
        let mut viewer = Self::nowhere(subscription, start);
        if !viewer.subscription.is_barred {
            viewer.arrive().await;
        }
        viewer
    }

    /// A viewer that goes on from where one stood, and has been given everything up to there.
    #[must_use]
    pub fn resume(
        subscription: Subscription,
        start: StreamRequest,
        standpoint: SavedCursor,
    ) -> Self {
        let SavedCursor { at, aside, passed, told, waiting_told } = standpoint;
        let nowhere = Self::nowhere(subscription, start);
        let (opened, caught_up) = (true, true);
        Self { at, aside, passed, told, waiting_told, opened, caught_up, ..nowhere }
    }

    fn nowhere(subscription: Subscription, start: StreamRequest) -> Self {
        Self {
            subscription,
            start,
            at: None,
            aside: None,
            passed: ROTATED_NUMBER_MAX,
            live: false,
            opened: false,
            recovered: true,
            told: None,
            waiting_told: None,
            trouble_told: false,
            caught_up: false,
            skip_due: false,
            stop: None,
            gathering: false,
            ahead: None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn standpoint(&self) -> SavedCursor {
        let Self { passed, waiting_told, .. } = *self;
        let (at, aside, told) = (self.at.clone(), self.aside.clone(), self.told.clone());
        SavedCursor { at, aside, passed, told, waiting_told }
    }

    /// The place of one that follows and has been given all there is; none while there is something to come.
    #[must_use]
    pub fn standing(&self) -> Option<(TimelinePosition, Generation)> {
        let at = self.at.as_ref()?;
        let is_done = self.start.tail
            && self.live
            && self.caught_up
            && self.opened
            && self.told.is_none()
            && !self.skip_due
            && self.subscription.events.is_empty();
        let is_signed = !self.start.signed || at.generation == at.reader.signed();
        (is_done && is_signed).then(|| (at.place(), at.generation))
    }

    /// The place up to which everything was given, and by which name the generation is known.
    #[must_use]
    pub fn place(&self) -> Option<(TimelinePosition, Generation)> {
        self.at.as_ref().map(|at| (at.place(), at.generation))
    }

    /// From now on it listens for others, which are counted as viewers themselves: gives its own presence, and gives
    /// chunks that have come at the same time together.
    pub fn lead(&mut self) -> Option<Presence> {
        self.gathering = true;
        self.start.skip = false;
        self.subscription.take_presence()
    }

    /// Which log.
    #[must_use]
    pub fn log(&self) -> &LogPath {
        self.subscription.follower.log()
    }

    /// Whether lines that are there already were asked for.
    #[must_use]
    pub fn wants_history(&self) -> bool {
        self.start.begin != StartAt::Lines(0)
    }

    /// Whether a wanted position was honoured, as far as it is known.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.recovered
    }

    /// The number of the span that the viewer is in, or was in last.
    #[must_use]
    pub fn span_number(&self) -> u64 {
        self.at.as_ref().map_or(self.passed, |at| at.reader.number)
    }

    /// Where it goes on.
    #[must_use]
    pub fn position(&self) -> Option<(Generation, Offset)> {
        self.at.as_ref().map(|at| (at.generation, at.offset()))
    }

    /// The span that it is in.
    #[must_use]
    pub fn span(&self) -> Option<&Arc<Span>> {
        self.at.as_ref().map(|at| at.reader.span())
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

    /// The bytes that are there already and come first, if they are in one piece.
    #[must_use]
    pub fn history(&self) -> Option<ByteRange> {
        let at = self.at.as_ref()?;
        let end =
            self.stop.filter(|_| !self.start.tail).map_or(at.reader.end(), |stop| stop.offset);
        let is_there = self.opened
            && self.aside.is_none()
            && self.told.is_none()
            && !self.caught_up
            && at.offset() < end;
        is_there.then(|| ByteRange { span: at.reader.number, from: at.offset(), end })
    }

    /// Goes on behind bytes that were given already.
    pub fn pass(&mut self, fingerprint: Fingerprint) {
        if let Some(at) = &mut self.at {
            at.fingerprint = fingerprint;
        }
    }

    /// The last bytes that were given, and the place behind them.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.at.as_ref().map(|at| at.fingerprint.clone())
    }

    /// What is told before anything else.
    pub(super) fn open(&mut self) -> Option<Item> {
        let at = self.at.as_ref()?;
        if self.opened {
            let is_signed = self.start.signed;
            return self.told.take().or_else(|| self.at.as_mut().filter(|_| is_signed)?.signed());
        }
        self.opened = true;
        let end = at.reader.end();
        let status = at.reader.file().and_then(|file| file.status().ok());
        Some(Item::Open(Opening {
            log: self.subscription.follower.log().clone(),
            generation: at.generation,
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
        if self.subscription.is_barred {
            return self.wait_outside().await;
        }
        if let Some(item) = self.step_aside() {
            return Some(item);
        }
        let Some(at) = &self.at else { return self.enter_next().await };
        let number = at.reader.number;
        if !self.start.tail
            && self.stop.is_none_or(|stop| (number, at.offset()) >= (stop.span, stop.offset))
        {
            return Some(self.caught_up().unwrap_or(Item::End(Ending::Complete)));
        }
        // In this order: the end of a closed span is final, and nothing is read beyond it.
        let closed = at.reader.is_closed();
        let (offset, end) = (at.offset(), at.reader.end());
        // One that was up to date once, and has missed more than is broadcast, is too slow.
        let is_slow = self.caught_up && self.subscription.events.len() > BROADCAST_MESSAGES;
        if self.skip_due || (self.start.skip && is_slow) {
            return self.skip().await;
        }
        if offset < end {
            return self.read_on(offset, end, closed).await;
        }
        if let Some(reset) = self.step_back() {
            return Some(reset);
        }
        if closed {
            return match self.enter_next_rotated().await {
                Some(reset) => Some(reset),
                None => {
                    self.passed = number.max(ROTATED_NUMBER_MAX);
                    self.enter_next().await
                }
            };
        }
        (self.live, self.caught_up) = (true, true);
        Some(Item::CaughtUp)
    }

    /// Told once: a viewer that waits for the first lines knows that there are no more.
    fn caught_up(&mut self) -> Option<Item> {
        (!std::mem::replace(&mut self.caught_up, true)).then_some(Item::CaughtUp)
    }

    async fn read_on(&mut self, offset: Offset, end: Offset, closed: bool) -> Option<Item> {
        let at = self.at.as_ref()?;
        let Some(file) = at.reader.file() else {
            // It was let go for others, and may still lie beside the log.
            let follower = Arc::clone(&self.subscription.follower);
            let generation = at.reader.signed();
            if !follower.timeline().is_lost(generation)
                && follower.find_rotated(generation, end).await.is_some()
                && self.at.as_ref()?.reader.file().is_some()
            {
                return None;
            }
            return self.leave_out(end);
        };
        let len = READ_BYTES_MAX;
        let (before, tail, signed) = (at.fingerprint.clone(), at.reader.tail(), at.reader.signed());
        let reading = move |file: &LogFile| {
            let found = file.read_after(&before, len, end, Nuls::Written)?;
            // A file that was cut and filled again may have other bytes from here on. Then it has others at its end, or
            // at its head.
            let at_end = file.read_after(&tail, 0, tail.offset(), Nuls::Written)?;
            let is_as_it_was = !matches!(at_end, Read::Changed) && signed.is_of(&file.head()?);
            Ok(if is_as_it_was { found } else { Read::Changed })
        };
        match read(&file, reading).await {
            Ok(Read::Bytes(bytes)) if !bytes.is_empty() => {
                self.trouble_told = false;
                self.at.as_mut()?.fingerprint.advance(&bytes);
                Some(Item::Bytes { start: offset, bytes })
            }
            Ok(Read::Hole(to)) => self.leave_out(to.min(end)),
            // What was in a file that is closed is gone when it is not there any more.
            Ok(_) if closed => self.leave_out(end),
            Ok(found) => {
                // The file was cut or written over. If it was cut the follower sees that too, and closes the span.
                self.subscription.follower.refresh().await;
                if self.at.as_ref()?.reader.is_closed() {
                    return None;
                }
                if matches!(found, Read::Bytes(_)) {
                    return self.leave_out(end);
                }
                let fresh = fingerprint(Some(&file), offset).await;
                self.at.as_mut()?.fingerprint = fresh;
                None
            }
            Err(error) => {
                if !std::mem::replace(&mut self.trouble_told, true) {
                    tracing::warn!(log = %self.subscription.follower.log().display(), %error, "can't read");
                    return Some(Item::Waiting(WaitReason::Unreadable));
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
                None
            }
        }
    }

    /// Goes on at `end`: what lies before it can't be read any more.
    fn leave_out(&mut self, end: Offset) -> Option<Item> {
        let at = self.at.as_mut()?;
        let from = at.offset();
        at.fingerprint = Fingerprint::at(end);
        Some(Item::Gap { generation: at.generation, from, to: Some(end) })
    }

    /// Behind a file that was rotated away before anybody followed: goes on with the one that had the name then.
    async fn enter_next_rotated(&mut self) -> Option<Item> {
        let span = self.at.as_ref().map(|at| at.reader.span()).filter(|span| span.is_rotated())?;
        let next = self.subscription.follower.find_next_rotated(span).await?;
        let (from, reason) = (Offset(0), Reason::Rotated);
        let at =
            SpanCursor::new(SpanReader::enter(&next), Fingerprint::at(from), self.start.signed);
        let generation = at.generation;
        self.at = Some(at);
        Some(Item::Reset { generation, from, reason })
    }

    /// Between two spans: goes on with the next, if there is one. The span before is left only then.
    async fn enter_next(&mut self) -> Option<Item> {
        let next = self.subscription.follower.timeline().after(self.passed);
        match next {
            Next::Span(reader) => {
                self.waiting_told = None;
                if !self.opened {
                    self.begin(Some(reader.span()), reader.from).await;
                    return None;
                }
                let missed = reader.number > self.passed + 1;
                let (from, reason) = match reader.reason {
                    // From a file that was rotated away before anybody followed.
                    Reason::Joined => (Offset(0), Reason::Rotated),
                    reason => (reader.from, reason),
                };
                let at = SpanCursor::new(reader, Fingerprint::at(from), self.start.signed);
                let generation = at.generation;
                self.at = Some(at);
                let reset = Item::Reset { generation, from, reason };
                if missed {
                    self.told = Some(reset);
                    return Some(Item::Gap { generation, from, to: None });
                }
                Some(reset)
            }
            Next::Waiting(reason) if self.waiting_told != Some(reason) => {
                self.at = None;
                self.waiting_told = Some(reason);
                Some(Item::Waiting(reason))
            }
            Next::Ended => Some(Item::End(Ending::Shutdown)),
            _ if !self.start.tail => Some(Item::End(Ending::Complete)),
            Next::Waiting(_) | Next::Nothing => {
                // Any event is reason enough to look at the timeline again.
                let _event = self.subscription.events.recv().await;
                None
            }
        }
    }

    /// Takes the shared chunks.
    async fn listen(&mut self) -> Option<Item> {
        let event = match self.ahead.take() {
            Some(event) => event,
            None => self.subscription.events.recv().await,
        };
        let at = self.at.as_mut()?;
        match event {
            Ok(Event::Chunk(chunk)) => match at.place().splice(&chunk) {
                Splice::Stale => None,
                Splice::Take { skip } => {
                    let bytes = chunk.bytes.slice(skip..);
                    let start = at.offset();
                    at.fingerprint.advance(&bytes);
                    if self.gathering {
                        let all = self.gather(&bytes);
                        if let Some(bytes) = all {
                            return Some(Item::Bytes { start, bytes });
                        }
                    }
                    Some(if skip == 0 { Item::Chunk(chunk) } else { Item::Bytes { start, bytes } })
                }
                Splice::Gap => {
                    self.live = false;
                    None
                }
            },
            Ok(Event::TimelineChanged) => self.turn().await,
            Err(RecvError::Closed) => {
                self.live = false;
                None
            }
            Err(RecvError::Lagged(_)) => {
                self.live = false;
                self.skip_due = self.start.skip;
                None
            }
        }
    }

    /// The timeline has turned. Who has been given all of a span that is closed goes on with the next, whose bytes are
    /// among the events that follow: nothing has to be read of a file that may be gone already.
    async fn turn(&mut self) -> Option<Item> {
        let at = self.at.as_ref()?;
        let (is_closed, number) = (at.reader.is_closed(), at.reader.number);
        self.live = at.offset() == at.reader.end();
        if !self.live || !is_closed {
            return None;
        }
        self.passed = number;
        let next = self.subscription.follower.timeline().after(number);
        if !matches!(next, Next::Span(_)) {
            self.live = false;
            return None;
        }
        self.enter_next().await
    }

    /// The bytes with those of the chunks that have come behind them already, if there are any.
    fn gather(&mut self, first: &Bytes) -> Option<Bytes> {
        let at = self.at.as_mut()?;
        let mut all: Option<BytesMut> = None;
        while self.ahead.is_none() {
            match self.subscription.events.try_recv() {
                Ok(Event::Chunk(chunk))
                    if at.place().splice(&chunk) == (Splice::Take { skip: 0 })
                        && all.as_ref().map_or(first.len(), BytesMut::len) + chunk.bytes.len()
                            <= CHUNK_BYTES_MAX =>
                {
                    at.fingerprint.advance(&chunk.bytes);
                    all.get_or_insert_with(|| BytesMut::from(first.as_ref()))
                        .extend_from_slice(&chunk.bytes);
                }
                Ok(event) => self.ahead = Some(Ok(event)),
                Err(TryRecvError::Lagged(missed)) => {
                    self.ahead = Some(Err(RecvError::Lagged(missed)))
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        all.map(BytesMut::freeze)
    }

    /// Leaves out what was missed.
    async fn skip(&mut self) -> Option<Item> {
        // In this order: what comes after the end is heard.
        self.subscription.events = self.subscription.events.resubscribe();
        let reader = &self.at.as_ref()?.reader;
        let (end, file) = (reader.end(), reader.file());
        let fresh = fingerprint(file.as_ref(), end).await;
        let at = self.at.as_mut()?;
        let (generation, from) = (at.generation, at.offset());
        at.fingerprint = fresh;
        self.skip_due = false;
        (from < end).then_some(Item::Gap { generation, from, to: Some(end) })
    }
}
