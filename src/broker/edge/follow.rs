//! Follows one log: its messages from a place in the stream on, over each loss of the connection.
//!
//! A consumer is made anew whenever the connection is back, behind the last message that came. A
//! consumer that is left alone would sleep for a while first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::broker::ask::{Answer, Request};
use crate::broker::edge::ANSWER_TIME_MAX;
use crate::broker::edge::hosts::Hosts;
use crate::broker::edge::place::{self, Placed, StreamReader, placed};
use crate::broker::edge::reach::{Interest, There};
use crate::broker::message::Content;
use crate::broker::names::{self, HostName};
use crate::broker::nats::{Consumer, From, Link, StreamState};
use crate::log::timeline::{Reason, WaitReason};
use crate::mirror::remote::EVENT_BYTES_MAX;
use crate::mirror::{RemoteEvent, RemotePosition};

/// The pause after something that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How often a log that its machine refuses is wanted again.
const REFUSED_INTERVAL: Duration = Duration::from_secs(10);
/// A broker that cannot give the log for so long is out of reach. One that was just started may need
/// a moment.
const FAILED_TIME_MAX: Duration = Duration::from_secs(1);
/// How often a machine is asked where the log is while no message says it.
const TELL_INTERVAL: Duration = Duration::from_secs(3);

/// Nobody wants the log any more.
struct Unwanted;

/// One log that is followed.
pub(super) struct Following {
    reader: StreamReader,
    host: HostName,
    path: Arc<[u8]>,
    subject: String,
    events: mpsc::Sender<RemoteEvent>,
    /// Wants the log until the end.
    interest: Interest,
    there: watch::Receiver<There>,
    /// The logs that the machine refuses.
    refused: watch::Receiver<HashSet<Vec<u8>>>,
    link: watch::Receiver<Link>,
    /// Where the mirror has got to.
    position: Option<RemotePosition>,
    /// The last message that came.
    seen: Option<Seen>,
    /// The mirror was told that the machine cannot be reached.
    is_unreachable: bool,
    has_begun: bool,
    /// Since when the broker does not give it.
    failed: Option<Instant>,
    /// No message says where the log is: when the machine is asked that next.
    asks_place: Option<Instant>,
    /// It is in the log that the broker gives no consumer.
    is_failure_told: bool,
}

/// A message that came, and what shows that the stream still has it under its sequence.
#[derive(Clone, Copy)]
struct Seen {
    sequence: u64,
    /// When it was stored. None if the message itself did not come.
    stored: Option<SystemTime>,
    /// When the stream was made that has it.
    created: SystemTime,
}

/// Where to begin.
struct Start {
    /// The sequence of the first message.
    sequence: u64,
    /// When the one before it was stored, if that is known and is one of the log.
    before: Option<SystemTime>,
    /// What is told before it, in this order.
    told: Vec<RemoteEvent>,
    /// Neither that nor any message says where the log is.
    is_unknown: bool,
}

impl Start {
    fn at(sequence: u64) -> Self {
        Self { sequence, before: None, told: Vec::new(), is_unknown: false }
    }
}

impl Following {
    pub(super) fn new(
        reader: StreamReader,
        hosts: &Arc<Hosts>,
        host: HostName,
        path: &Arc<[u8]>,
        events: mpsc::Sender<RemoteEvent>,
    ) -> Self {
        let interest = hosts.watch(&host).want(path);
        Self {
            subject: names::log(&host, path),
            there: interest.there(),
            refused: interest.refused(),
            link: reader.broker.link(),
            path: Arc::clone(path),
            position: None,
            seen: None,
            is_unreachable: false,
            has_begun: false,
            failed: None,
            asks_place: None,
            is_failure_told: false,
            reader,
            host,
            events,
            interest,
        }
    }

    /// Follows until nobody wants the log any more.
    pub(super) async fn run(mut self, from: Option<RemotePosition>) {
        self.position = from;
        if let Some(from) = from {
            self.interest.note(from, &[]);
        }
        let events = self.events.clone();
        tokio::select! {
            () = events.closed() => {}
            _unwanted = self.follow() => {}
        }
    }

    async fn follow(&mut self) -> Result<(), Unwanted> {
        loop {
            if !self.link.borrow_and_update().is_up {
                self.tell_reach(false).await?;
                if self.link.wait_for(|link| link.is_up).await.is_err() {
                    return Err(Unwanted);
                }
            }
            if !self.has_begun {
                self.want().await?;
            }
            if let Some(mut consumer) = self.begin().await? {
                self.failed = None;
                self.pass_on(&mut consumer).await?;
            } else {
                let since = *self.failed.get_or_insert_with(Instant::now);
                let is_away = *self.there.borrow_and_update() == There::No;
                if is_away || since.elapsed() >= FAILED_TIME_MAX {
                    self.tell_reach(false).await?;
                }
                sleep(RETRY_INTERVAL).await;
            }
        }
    }

    /// Asks the machine for the log, and waits while that refuses it.
    async fn want(&mut self) -> Result<(), Unwanted> {
        let subject = names::ask(&self.host);
        loop {
            // What is refused from now on is new.
            self.refused.mark_unchanged();
            let want = Request::Want { logs: vec![self.interest.wanted_log()], tell: false };
            let asked = self.reader.broker.request(&subject, want.encode(), ANSWER_TIME_MAX).await;
            let Ok((fields, payload)) = asked else { return Ok(()) };
            match Answer::decode(&fields, payload) {
                Ok(Answer::Wanted { refused, .. }) if !refused.is_empty() => {
                    self.send(RemoteEvent::Waiting(WaitReason::Unreadable)).await?;
                    // It goes on with a turn.
                    self.seen = None;
                    sleep(REFUSED_INTERVAL).await;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Asks the machine to say where the log is.
    async fn ask_place(&self) {
        let want = Request::Want { logs: vec![self.interest.wanted_log()], tell: true };
        let subject = names::ask(&self.host);
        // The answer is a message of the log.
        let _asked = self.reader.broker.request(&subject, want.encode(), ANSWER_TIME_MAX).await;
    }

    /// Makes a consumer that begins where the mirror goes on. None when that is not possible now.
    async fn begin(&mut self) -> Result<Option<Consumer>, Unwanted> {
        let Ok(state) = self.reader.broker.stream_state().await else {
            return Ok(None);
        };
        let Some(start) = self.start(&state).await else { return Ok(None) };
        let consumer =
            match self.reader.broker.consume(&self.subject, From::Sequence(start.sequence)).await {
                Ok(consumer) => consumer,
                Err(error) => {
                    if !std::mem::replace(&mut self.is_failure_told, true) {
                        let Self { host, subject, .. } = self;
                        tracing::warn!(%host, subject, ?error, "cannot follow a log: trying again");
                    }
                    return Ok(None);
                }
            };
        let (sequence, stored) = (start.sequence.saturating_sub(1), start.before);
        self.seen = Some(Seen { sequence, stored, created: state.created });
        for event in start.told {
            if let RemoteEvent::Turn { at, .. } = &event {
                self.interest.note(*at, &[]);
                self.position = Some(*at);
            }
            self.send(event).await?;
        }
        self.asks_place = start.is_unknown.then(Instant::now);
        (self.has_begun, self.is_failure_told) = (true, false);
        Ok(Some(consumer))
    }

    async fn start(&mut self, state: &StreamState) -> Option<Start> {
        if let Some(seen) = self.seen
            && self.is_still_there(seen, state).await?
        {
            let (is_unknown, before) = (self.asks_place.is_some(), seen.stored);
            return Some(Start { is_unknown, before, ..Start::at(seen.sequence + 1) });
        }
        // What comes from now on must not be missed.
        let nothing_yet = Start { is_unknown: true, ..Start::at(state.last + 1) };
        let Some(stored) = self.reader.broker.last(&self.subject).await.ok()? else {
            return Some(nothing_yet);
        };
        let Some(last) = placed(&stored, &self.path) else { return Some(nothing_yet) };
        if let Some(wanted) = self.position {
            let path = &self.path;
            let found =
                place::find(&self.reader.broker, &self.subject, path, &wanted, state.first, &last);
            if let Some(found) = found.await.ok()? {
                return Some(begin_with(&found));
            }
            if !last.content.end().is_some_and(|end| end.generation.is(&wanted.generation))
                && let Some(start) = self.start_in_earlier(wanted, state).await
            {
                return Some(start);
            }
        }
        let known = timeout(ANSWER_TIME_MAX, self.there.wait_for(|there| *there != There::Unknown));
        let is_there = known.await.is_ok_and(|there| there.is_ok_and(|there| *there == There::Yes));
        let is_same = |end: &RemotePosition| {
            self.position.is_some_and(|wanted| wanted.generation.is(&end.generation))
        };
        let end = last.content.end();
        // Only the stream has what a machine that is away has published.
        if !is_there && !end.as_ref().is_some_and(is_same) {
            let first = place::next(&self.reader.broker, &self.subject, &self.path, state.first)
                .await
                .ok()??;
            return Some(begin_with(&first));
        }
        let turn = end.map(|at| RemoteEvent::Turn {
            at,
            reason: Reason::Joined,
            size: size_of(&last.content).max(at.offset.0),
            before: None,
        });
        let waiting = match &last.content {
            Content::Waiting { reason, .. } => Some(RemoteEvent::Waiting(*reason)),
            _ => None,
        };
        // Without a position, what the log had before it went away is not wanted.
        let turn = turn.filter(|_| waiting.is_none() || self.position.is_some());
        Some(Start {
            told: turn.into_iter().chain(waiting).collect(),
            before: Some(stored.time),
            ..Start::at(last.sequence + 1)
        })
    }

    /// Whether the stream still has a message that came. It may have been made anew. And a broker that
    /// lost its machine may have lost what came last: then other messages have its sequence by now.
    async fn is_still_there(&self, seen: Seen, state: &StreamState) -> Option<bool> {
        if seen.created != state.created || seen.sequence > state.last {
            return Some(false);
        }
        let Some(stored) = seen.stored.filter(|_| seen.sequence >= state.first) else {
            return Some(true);
        };
        let found = self.reader.broker.next(&self.subject, seen.sequence).await.ok()?;
        Some(found.is_some_and(|it| it.sequence == seen.sequence && it.time == stored))
    }

    /// Where the stream goes on behind a position in a generation that is not the last one.
    async fn start_in_earlier(&self, wanted: RemotePosition, state: &StreamState) -> Option<Start> {
        let Self { reader, subject, path, .. } = self;
        let pieces = reader.pieces(subject, path, &wanted.generation, state).await.ok()?;
        let size = pieces.size?;
        let after = pieces.all.iter().find(|piece| piece.range.end > wanted.offset.0);
        if let Some(piece) = after {
            let found = place::next(&reader.broker, subject, path, piece.sequence).await.ok()??;
            return Some(begin_with(&found));
        }
        let last = pieces.all.last()?;
        let size = size.max(wanted.offset.0);
        let turn = RemoteEvent::Turn { at: wanted, reason: Reason::Joined, size, before: None };
        Some(Start { told: vec![turn], ..Start::at(last.sequence + 1) })
    }

    /// Passes on what comes, until the consumer gives nothing more.
    async fn pass_on(&mut self, consumer: &mut Consumer) -> Result<(), Unwanted> {
        // What is there already comes before it is told that the machine is not.
        let mut pending = consumer.pending();
        loop {
            if pending == 0 {
                let there = *self.there.borrow_and_update();
                match there {
                    There::Yes => self.tell_reach(true).await?,
                    There::No => self.tell_reach(false).await?,
                    There::Unknown => {}
                }
            }
            let asks_place = self.asks_place;
            tokio::select! {
                message = consumer.next() => match message {
                    Ok(stored) => {
                        let created = self.seen.map(|seen| seen.created);
                        if let Some(placed) = placed(&stored, &self.path) {
                            self.asks_place = None;
                            self.tell(placed).await?;
                        }
                        let (sequence, time) = (stored.sequence, Some(stored.time));
                        self.seen = created.map(|created| Seen { sequence, stored: time, created });
                        pending = pending.saturating_sub(1);
                    }
                    Err(error) => {
                        tracing::debug!(subject = self.subject, ?error, "the consumer is made anew");
                        return Ok(());
                    }
                },
                _ = self.link.changed() => {
                    if !self.link.borrow().is_up {
                        return Ok(());
                    }
                }
                changed = self.there.changed() => {
                    if changed.is_err() {
                        return Err(Unwanted);
                    }
                }
                Ok(()) = self.refused.changed() => {
                    if self.refused.borrow().contains(&*self.path) {
                        self.has_begun = false;
                        return Ok(());
                    }
                }
                () = sleep_until(asks_place.unwrap_or_else(Instant::now)), if asks_place.is_some() => {
                    self.ask_place().await;
                    self.asks_place = Some(Instant::now() + TELL_INTERVAL);
                }
            }
        }
    }

    async fn tell_reach(&mut self, is_there: bool) -> Result<(), Unwanted> {
        if self.is_unreachable != is_there {
            return Ok(());
        }
        self.is_unreachable = !is_there;
        self.send(if is_there { RemoteEvent::Reachable } else { RemoteEvent::Unreachable }).await
    }

    async fn tell(&mut self, Placed { content, .. }: Placed) -> Result<(), Unwanted> {
        let end = content.end();
        if let Some(end) = end {
            self.interest.note(end, content.tail());
        }
        match content {
            Content::Bytes { mut at, mut bytes, written } => {
                while !bytes.is_empty() {
                    let part = bytes.split_to(bytes.len().min(EVENT_BYTES_MAX));
                    let next = at.offset.plus(part.len());
                    self.send(RemoteEvent::Bytes { at, bytes: part, written }).await?;
                    at.offset = next;
                }
            }
            Content::Turn { at, reason, size, before } => {
                self.send(RemoteEvent::Turn { at, reason, size, before }).await?;
            }
            Content::Gap { from, to } => self.send(RemoteEvent::Gap { from, to }).await?,
            Content::Waiting { reason, .. } => self.send(RemoteEvent::Waiting(reason)).await?,
        }
        self.position = end.or(self.position);
        Ok(())
    }

    async fn send(&self, event: RemoteEvent) -> Result<(), Unwanted> {
        self.events.send(event).await.map_err(|_| Unwanted)
    }
}

/// Begins with a message, and says before it where that is.
fn begin_with(found: &Placed) -> Start {
    let at = match &found.content {
        Content::Bytes { at, .. } | Content::Gap { from: at, .. } => Some(*at),
        // They say it themselves.
        Content::Turn { .. } | Content::Waiting { .. } => None,
    };
    let turn = at.map(|at| RemoteEvent::Turn {
        at,
        reason: Reason::Joined,
        size: at.offset.0,
        before: None,
    });
    Start { told: turn.into_iter().collect(), ..Start::at(found.sequence) }
}

/// How long the file was when this was said.
fn size_of(content: &Content) -> u64 {
    match content {
        Content::Turn { size, .. } => *size,
        Content::Bytes { .. } | Content::Gap { .. } | Content::Waiting { .. } => 0,
    }
}
