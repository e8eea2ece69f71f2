//! A viewer: a position that walks a log.
//!
//! Where it is behind it reads the file; where it keeps up it takes the shared chunks by the splice rule; where a
//! span ends it goes on with the next and says so. Joining late, lagging and coming back are the same walk.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::spawn_blocking;

use crate::log::file::{CHUNK_BYTES_MAX, LogFile, Marker, Nuls, Read};
use crate::log::follower::BROADCAST_MESSAGES;
use crate::log::timeline::{Next, Reader, Reason, Span, WaitReason};
use crate::log::{
    Chunk, Event, Generation, LogPath, Offset, Place, Presence, Splice, Subscription,
};
use crate::session::start::{Begin, Of, Start};

/// The most bytes that a viewer reads of the file at once: a thousand usual lines come as one message.
const READ_BYTES_MAX: usize = 192 * 1024;

/// The pause after a read that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Searches for line starts at the same time, in the whole process.
static SEARCHES: Semaphore = Semaphore::const_new(4);

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
#[derive(Clone, Debug)]
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
    /// The generation is signed by more of the file's head than when it was told.
    Signed(Generation),
    /// Nothing to follow for now.
    Waiting(WaitReason),
    /// Everything so far has been given.
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
    /// That the file can't be read has been told.
    trouble_told: bool,
    caught_up: bool,
    /// What was missed is to be left out.
    skip_due: bool,
    /// Where a viewer that does not follow stops.
    stop: Option<Place>,
    /// Chunks that have come already are given together.
    gathering: bool,
    /// What was heard behind them.
    ahead: Option<Result<Event, RecvError>>,
}

/// A stretch of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Number of the span.
    pub span: u64,
    /// Its first byte.
    pub from: Offset,
    /// The first after it.
    pub end: Offset,
}

/// Where a viewer stands in a log: enough to go on from there.
#[derive(Debug)]
pub struct Standpoint {
    at: Option<At>,
    passed: u64,
    told: Option<Item>,
    waiting_told: Option<WaitReason>,
}

impl Standpoint {
    /// The same, but with less of the span given.
    pub(super) fn back_at(mut self, offset: Offset) -> Self {
        if let Some(at) = &mut self.at {
            at.marker = Marker::at(offset);
        }
        self
    }
}

/// A place in a span.
#[derive(Debug)]
struct At {
    reader: Reader,
    marker: Marker,
    /// The generation by the name by which it was told.
    generation: Generation,
}

impl Clone for At {
    fn clone(&self) -> Self {
        let reader = Reader::enter(self.reader.span());
        Self { reader, marker: self.marker.clone(), generation: self.generation }
    }
}

impl At {
    fn new(reader: Reader, marker: Marker, signed: bool) -> Self {
        let generation = if signed { reader.signed() } else { reader.generation };
        Self { generation, reader, marker }
    }

    /// The generation, once it is signed better than it was told.
    fn signed(&mut self) -> Option<Item> {
        if self.generation.is_signed_in_full() {
            return None;
        }
        let signed = self.reader.signed();
        (std::mem::replace(&mut self.generation, signed) != signed).then_some(Item::Signed(signed))
    }

    fn offset(&self) -> Offset {
        self.marker.offset()
    }

    fn place(&self) -> Place {
        Place { span: self.reader.number, offset: self.offset() }
    }
}

/// Runs a read on a blocking thread, since a disk or a network file system may keep it waiting.
pub(super) async fn read<T: Send + 'static>(
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
        let mut viewer = Self::nowhere(subscription, start);
        if !viewer.subscription.is_barred {
            viewer.arrive().await;
        }
        viewer
    }

    /// Looks where to begin, at the log as it is now.
    async fn arrive(&mut self) {
        let present = {
            let timeline = self.subscription.follower.timeline();
            let latest = timeline.latest().cloned();
            self.passed = latest.as_ref().map_or(0, |span| span.number);
            latest.filter(|_| !timeline.is_waiting())
        };
        if let Some(present) = &present {
            self.stop = Some(Place { span: present.number, offset: present.end() });
        }
        // The end where a viewer that does not follow stops: the log may have grown since.
        let end = self.stop.map_or(Offset(0), |stop| stop.offset);
        self.begin(present.as_ref(), end).await;
    }

    /// Waits until the log may be read, though others have it open.
    async fn wait_outside(&mut self) -> Option<Item> {
        if self.waiting_told.replace(WaitReason::Unreadable).is_none() {
            return Some(Item::Waiting(WaitReason::Unreadable));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
        if self.subscription.follower.can_be_opened().await {
            self.arrive().await;
            self.subscription.is_barred = false;
            self.waiting_told = None;
        }
        None
    }

    /// A viewer that goes on from where one stood, and has been given everything up to there.
    #[must_use]
    pub fn resume(subscription: Subscription, start: Start, standpoint: Standpoint) -> Self {
        let mut viewer = Self::nowhere(subscription, start);
        (viewer.opened, viewer.caught_up) = (true, true);
        let Standpoint { at, passed, told, waiting_told } = standpoint;
        (viewer.at, viewer.passed) = (at, passed);
        (viewer.told, viewer.waiting_told) = (told, waiting_told);
        viewer
    }

    fn nowhere(subscription: Subscription, start: Start) -> Self {
        Self {
            subscription,
            start,
            at: None,
            passed: 0,
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
    pub fn standpoint(&self) -> Standpoint {
        let (told, waiting_told) = (self.told.clone(), self.waiting_told);
        Standpoint { at: self.at.clone(), passed: self.passed, told, waiting_told }
    }

    /// The place of one that follows and has been given all there is; none while there is something to come.
    #[must_use]
    pub fn standing(&self) -> Option<(Place, Generation)> {
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
    pub fn place(&self) -> Option<(Place, Generation)> {
        self.at.as_ref().map(|at| (at.place(), at.generation))
    }

    /// From now on it listens for others, which are counted as viewers themselves: gives its own presence, and gives
    /// chunks that have come at the same time together.
    pub fn lead(&mut self) -> Option<Presence> {
        self.gathering = true;
        self.start.skip = false;
        self.subscription.cede()
    }

    /// Goes where the viewer wants to begin, with the lines before `end` for its history. Without a present span it
    /// begins when there is one, unless it comes back to another that is still there.
    async fn begin(&mut self, present: Option<&Arc<Span>>, end: Offset) {
        if let Begin::From { offset, .. } = self.start.begin {
            if let Some(span) = self.find(present).await {
                self.enter(&span, offset).await;
                self.recovered = true;
                return;
            }
            self.recovered = false;
        }
        if let Some(present) = present {
            let from = self.start_of(present, end).await;
            self.enter(present, from).await;
            self.tell_if_not_recovered();
        }
    }

    async fn enter(&mut self, span: &Arc<Span>, offset: Offset) {
        let marker = marker(span.file().as_ref(), offset).await;
        self.at = Some(At::new(Reader::enter(span), marker, self.start.signed));
    }

    fn tell_if_not_recovered(&mut self) {
        if let (false, Some(at)) = (self.recovered, &self.at) {
            let (generation, from) = (at.generation, at.offset());
            self.told = Some(Item::Reset { generation, from, reason: Reason::Replaced });
        }
    }

    /// Where the wanted lines begin.
    async fn start_of(&self, present: &Span, end: Offset) -> Offset {
        let lines = match self.start.begin {
            Begin::Lines(lines) => Some(lines),
            Begin::All => None,
            Begin::From { otherwise, .. } => otherwise,
        };
        let (Some(lines), Some(file)) = (lines, present.file()) else { return Offset(0) };
        // A search reads many megabytes: only a few at a time, so that followers find a thread.
        let Ok(_turn) = SEARCHES.acquire().await else { return end };
        read(&file, move |file| file.last_lines(lines, end)).await.unwrap_or(Offset(0))
    }

    /// The span that holds the wanted position, if it is the same file beyond doubt.
    async fn find(&self, present: Option<&Arc<Span>>) -> Option<Arc<Span>> {
        let Begin::From { offset, of, .. } = self.start.begin else { return None };
        if let Of::Generation(wanted) = of {
            let known = self.subscription.follower.timeline().find(wanted, offset);
            if known.is_some() {
                return known;
            }
        }
        match of {
            Of::Present => present.filter(|present| offset <= present.end()).cloned(),
            Of::Nothing => None,
            Of::Generation(wanted) => self.find_generation(wanted, offset).await,
        }
    }

    /// The span of a generation that is not the present one, or was not when it was named.
    async fn find_generation(&self, wanted: Generation, offset: Offset) -> Option<Arc<Span>> {
        let follower = &self.subscription.follower;
        let (is_known, is_lost) = {
            let timeline = follower.timeline();
            (timeline.knows(wanted), timeline.has_lost(wanted))
        };
        // One that has ended under our eyes is not the present one: a head that it shares with that, as a truncation
        // leaves it, proves nothing.
        if is_lost {
            return None;
        }
        if !is_known {
            // Another server has named the same file otherwise.
            let twin = follower.timeline().twin(wanted);
            if let Some(twin) = twin {
                let file = twin.file();
                let is_proved = match &file {
                    Some(file) => read(file, LogFile::head)
                        .await
                        .is_ok_and(|head| wanted.is_proved_by(file.identity(), &head, offset)),
                    None => wanted.has_signature_of(&twin.signed()),
                };
                if is_proved {
                    let known = follower.timeline().find(twin.generation, offset);
                    return match known {
                        Some(span) => Some(span),
                        None => follower.find_rotated(twin.generation, offset).await,
                    };
                }
            }
        }
        follower.find_rotated(wanted, offset).await
    }

    /// Which log.
    #[must_use]
    pub fn log(&self) -> &LogPath {
        self.subscription.follower.log()
    }

    /// Whether lines that are there already were asked for.
    #[must_use]
    pub fn wants_history(&self) -> bool {
        self.start.begin != Begin::Lines(0)
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
    pub fn history(&self) -> Option<Stretch> {
        let at = self.at.as_ref()?;
        let end =
            self.stop.filter(|_| !self.start.tail).map_or(at.reader.end(), |stop| stop.offset);
        let is_there = self.opened && self.told.is_none() && !self.caught_up && at.offset() < end;
        is_there.then(|| Stretch { span: at.reader.number, from: at.offset(), end })
    }

    /// Goes on behind bytes that were given already.
    pub fn pass(&mut self, marker: Marker) {
        if let Some(at) = &mut self.at {
            at.marker = marker;
        }
    }

    /// The last bytes that were given, and the place behind them.
    #[must_use]
    pub fn marker(&self) -> Option<Marker> {
        self.at.as_ref().map(|at| at.marker.clone())
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
        if closed {
            self.passed = number;
            return self.enter_next().await;
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
            let generation = at.reader.generation;
            if !follower.timeline().has_lost(generation)
                && follower.find_rotated(generation, end).await.is_some()
                && self.at.as_ref()?.reader.file().is_some()
            {
                return None;
            }
            return self.leave_out(end);
        };
        let len = READ_BYTES_MAX;
        let (before, tail) = (at.marker.clone(), at.reader.tail());
        let reading = move |file: &LogFile| {
            let found = file.read_after(&before, len, end, Nuls::Written)?;
            // A file that was cut and filled again may have other bytes from here on. Then it has others at its end.
            match file.read_after(&tail, 0, tail.offset(), Nuls::Written)? {
                Read::Changed => Ok(Read::Changed),
                _ => Ok(found),
            }
        };
        match read(&file, reading).await {
            Ok(Read::Bytes(bytes)) if !bytes.is_empty() => {
                self.trouble_told = false;
                self.at.as_mut()?.marker.advance(&bytes);
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
                let fresh = marker(Some(&file), offset).await;
                self.at.as_mut()?.marker = fresh;
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
        at.marker = Marker::at(end);
        Some(Item::Gap { generation: at.generation, from, to: Some(end) })
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
                let at = At::new(reader, Marker::at(from), self.start.signed);
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
                    at.marker.advance(&bytes);
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
            Ok(Event::Turn) => self.turn().await,
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
                    at.marker.advance(&chunk.bytes);
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
        let fresh = marker(file.as_ref(), end).await;
        let at = self.at.as_mut()?;
        let (generation, from) = (at.generation, at.offset());
        at.marker = fresh;
        self.skip_due = false;
        (from < end).then_some(Item::Gap { generation, from, to: Some(end) })
    }
}
