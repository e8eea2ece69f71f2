//! Publishes one log: what a viewer of it would get, as messages, each acknowledged before the next.
//!
//! After any doubt the last message of the log's subject says what was stored. Only the first message
//! after that is stored on the condition that it is the next one. The broker would hold every message
//! in memory for which it has to check that, and those that follow are known by where they are.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

use crate::broker::agent::stream::Stream;
use crate::broker::agent::{Agent, Publish, stream_number};
use crate::broker::ask::KnownPlace;
use crate::broker::message::{Content, MESSAGE_BYTES_MAX, Message};
use crate::broker::names;
use crate::broker::nats::{ANSWER_TIME_MAX, PublishFailure, Stored, StreamFailure};
use crate::log::{LogPath, Offset, Registry, Subscription};
use crate::mirror::RemotePosition;
use crate::session::viewer::Viewer;
use crate::session::{StartAt, StreamRequest, WantedGeneration};

/// A log that is written to all the time is published at most this often, in larger messages.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(5);
/// Once a message has so many bytes, no more are collected; more for a log that is behind while few
/// others are. What is read at once may come on top of that.
const ENOUGH_BYTES: usize = 64 * 1024;
const ENOUGH_BYTES_BEHIND: usize = 320 * 1024;
/// A log that was not wanted for a while, and grew by more than this, is published from its present
/// end on. Edges ask for what lies between.
const MISSED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The pauses after a refusal, the first and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// What is not stored for so long, beside its time on a slow line, was perhaps lost.
const QUICK_TIME_MAX: Duration = Duration::from_secs(1);
const SLOW_BYTES_A_SECOND: f64 = 128.0 * 1024.0;
/// After so many attempts to publish a message of which nothing is heard it is told.
const DOUBTS_TOLD: u32 = 2;

/// Publishes one log.
pub(super) struct Publisher {
    agent: Arc<Agent>,
    log: LogPath,
    subject: String,
    path: Vec<u8>,
    /// Where an edge had got to when it wanted the log.
    known: Option<KnownPlace>,
    /// An edge found no message that says where the log is.
    tell: Arc<Notify>,
}

/// Why publishing begins again.
enum Stopped {
    /// Something else than expected is the last message: it goes on behind that.
    Overtaken,
    /// There is another stream than before, which is to have the log from its first byte on.
    AnotherStream,
}

impl Agent {
    /// Lets the generation of a log go on that it had when it was published last, if nobody has followed
    /// it since.
    ///
    /// # Errors
    /// When the broker does not say what its last message was.
    pub(super) async fn recall(&self, log: &LogPath) -> Result<(), StreamFailure> {
        if self.registry.knows(log) {
            return Ok(());
        }
        let path = self.name_of(log);
        let last = self.broker.last(&names::log(&self.settings.host, &path)).await?;
        recall_from(last.as_ref(), &self.registry, log);
        if let Some((_, place)) = self.places.of(&path) {
            self.registry.recall(log, place.at.generation, place.at.offset, &place.tail);
        }
        Ok(())
    }
}

/// Returns what the last message says.
fn recall_from(last: Option<&Stored>, registry: &Registry, log: &LogPath) -> Option<Content> {
    let last = last?;
    let content = match Message::decode(&last.fields, last.payload.clone()) {
        Ok(message) => message.content,
        Err(error) => {
            tracing::warn!(log = %log.display(), %error, "its last message is not understood");
            return None;
        }
    };
    if let Some(end) = content.end() {
        registry.recall(log, end.generation, end.offset, content.tail());
    }
    Some(content)
}

impl Publisher {
    pub(super) fn new(
        agent: Arc<Agent>,
        log: LogPath,
        known: Option<KnownPlace>,
        tell: Arc<Notify>,
    ) -> Self {
        let path = agent.name_of(&log).to_vec();
        let subject = names::log(&agent.settings.host, &path);
        Self { agent, log, subject, path, known, tell }
    }

    /// Publishes until nothing more can be written to the log, or the agent ends.
    pub(super) async fn run(&self) {
        let mut pause = RETRY_FIRST;
        let mut from_first_byte = false;
        loop {
            let last = self.last().await;
            let known = recall_from(last.as_ref(), &self.agent.registry, &self.log);
            let place = self.agent.places.of(&self.path);
            if let Some((_, KnownPlace { at, tail })) = &place {
                self.agent.registry.recall(&self.log, at.generation, at.offset, tail);
            }
            // The stream may have lost what an edge still has.
            if let Some(KnownPlace { at, tail }) = &self.known {
                self.agent.registry.recall(&self.log, at.generation, at.offset, tail);
            }
            let number = self.stream_number().await;
            // What it has already may begin in the middle of the log.
            let known = known.filter(|_| !from_first_byte);
            // What another stream had is sent once more: this one was made to keep it.
            let place = place.filter(|(of, _)| *of == number).map(|(_, place)| place.at);
            let Some(stream) = self.open(known, place).await else {
                // There are too many followers, or descriptors.
                sleep(pause).await;
                pause = (2 * pause).min(RETRY_LONGEST);
                continue;
            };
            pause = RETRY_FIRST;
            let sequence = last.map_or(0, |last| last.sequence);
            match self.publish(stream, sequence, number).await {
                Ok(()) => return,
                Err(stopped) => {
                    from_first_byte = matches!(stopped, Stopped::AnotherStream);
                    let log = self.log.display();
                    if from_first_byte {
                        tracing::info!(%log, "there is another stream: publishing all of the log");
                    } else {
                        tracing::warn!(%log, "something else was published: going on behind it");
                    }
                }
            }
        }
    }

    /// The number of the stream, when there is one.
    async fn stream_number(&self) -> u64 {
        let mut stream = self.agent.stream.subscribe();
        match stream.wait_for(Option::is_some).await.map(|number| *number) {
            Ok(Some(number)) => number,
            // The agent outlives its publishers.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Resolves when there is another stream than this one, and it is to have all of the log.
    async fn another_stream(&self, number: u64) {
        let mut stream = self.agent.stream.subscribe();
        let is_another = |now: &Option<u64>| now.is_some_and(|now| now != number);
        if self.agent.settings.publish == Publish::Wanted
            || stream.wait_for(is_another).await.is_err()
        {
            std::future::pending().await
        }
    }

    /// Whether the broker has this stream now; None when it does not say. Only that of an agent which
    /// publishes all is asked for.
    async fn has_stream(&self, number: u64) -> Option<bool> {
        if self.agent.settings.publish == Publish::Wanted {
            return Some(true);
        }
        let state = self.agent.broker.stream_state().await.ok()?;
        self.agent.note_stream(stream_number(state.created));
        Some(stream_number(state.created) == number)
    }

    /// The last message of the log, when the broker says it.
    async fn last(&self) -> Option<Stored> {
        let (mut pause, mut failures) = (RETRY_FIRST, 0);
        let mut link = self.agent.broker.link();
        loop {
            if link.wait_for(|link| link.is_up).await.is_err() {
                return std::future::pending().await;
            }
            match self.agent.broker.last(&self.subject).await {
                Ok(last) => {
                    if self.agent.is_silence_told.swap(false, Ordering::Relaxed) {
                        tracing::info!("the broker answers again");
                    }
                    return last;
                }
                Err(failure) => {
                    failures += 1;
                    // Once for all logs.
                    if failures == DOUBTS_TOLD
                        && matches!(failure, StreamFailure::Away(_))
                        && !self.agent.is_silence_told.swap(true, Ordering::Relaxed)
                    {
                        let why = failure.to_string();
                        let hint = "look into its log, and whether its disk is full";
                        tracing::warn!(why, hint, "nothing can be published now: trying again");
                    }
                    if matches!(failure, StreamFailure::Missing) {
                        self.agent.stream_missing.notify_one();
                    }
                    tracing::debug!(log = %self.log.display(), %failure, "cannot ask for its last message");
                    sleep(pause).await;
                    pause = (2 * pause).min(RETRY_LONGEST);
                }
            }
        }
    }

    fn request(begin: StartAt) -> StreamRequest {
        StreamRequest { tail: true, wait: true, signed: true, ..StreamRequest::new(begin) }
    }

    async fn join(&self) -> Option<Subscription> {
        let joined = self.agent.registry.join(&self.log, true).await;
        joined
            .inspect_err(|refusal| {
                tracing::debug!(log = %self.log.display(), %refusal, "cannot follow");
            })
            .ok()
    }

    /// The log from behind its last message on, or from a place to which it was published, as far as
    /// that is possible.
    async fn open(&self, known: Option<Content>, place: Option<RemotePosition>) -> Option<Stream> {
        let is_always = self.agent.settings.publish == Publish::Always;
        // Without any message, an edge that was there before gets what it has not got.
        let of_edge = self.known.as_ref().filter(|_| known.is_none() && !is_always);
        let position = match &known {
            Some(known) => known.end(),
            None => of_edge.map(|known| known.at).or(place),
        };
        let begin = match position {
            Some(RemotePosition { generation, offset }) => StartAt::From {
                offset,
                of: WantedGeneration::Generation(generation),
                otherwise: (!is_always).then_some(0),
            },
            None if is_always => StartAt::All,
            None => StartAt::Lines(0),
        };
        let subscription = self.join().await?;
        let mut viewer =
            Viewer::new(subscription, Self::request(begin), Arc::default(), |_| true).await;
        if let Some(RemotePosition { generation, offset }) = position
            && !viewer.is_recovered()
            && let Some(other) =
                viewer.follower().find_other_content(generation, Some(offset)).await
        {
            // The log goes on in it, and not only in its present file. It stays open meanwhile.
            let begin = StartAt::From {
                offset: Offset(0),
                of: WantedGeneration::Generation(other.span().signed()),
                otherwise: (!is_always).then_some(0),
            };
            let request = Self::request(begin);
            viewer = Viewer::new(self.join().await?, request, Arc::default(), |_| true).await;
        }
        let missed = viewer
            .timeline_position()
            .map_or(0, |(position, _)| viewer.follower().timeline().bytes_after(position));
        if !is_always && missed > MISSED_BYTES_MAX {
            let request = Self::request(StartAt::Lines(0));
            viewer = Viewer::new(self.join().await?, request, Arc::default(), |_| true).await;
        }
        let mut stream = Stream {
            viewer,
            position,
            rest: None,
            held: None,
            has_ended: false,
            waiting: None,
            written: SystemTime::UNIX_EPOCH,
            is_before_unknown: true,
            stored: None,
        };
        let item = stream.viewer.next().await;
        stream.held = stream.take(item);
        let is_told = match (&stream.held, &known) {
            // A log that had nothing to follow goes on with a turn.
            (Some(Content::Turn { .. }), Some(Content::Waiting { .. })) => false,
            (Some(Content::Turn { at, .. }), Some(known)) => known
                .end()
                .is_some_and(|end| end.offset == at.offset && end.generation.is(&at.generation)),
            (held, known) => held == known,
        };
        if is_told {
            stream.held = None;
        }
        Some(stream)
    }

    /// Publishes all that comes. The last message has this sequence; 0 if there is none.
    async fn publish(&self, mut stream: Stream, sequence: u64, number: u64) -> Result<(), Stopped> {
        let mut last = LastMessage { sequence, is_known: true };
        let mut prepared = None;
        loop {
            let next = async {
                match prepared.take() {
                    Some(next) => next,
                    None => self.next(&mut stream).await,
                }
            };
            let next = tokio::select! {
                biased;
                () = self.another_stream(number) => return Err(Stopped::AnotherStream),
                next = next => next,
            };
            let Some((content, permit)) = next else { return Ok(()) };
            let message = Message { path: self.path.clone(), content };
            let storing = self.store(&message, &mut last, number);
            if permit.is_some() && stream.is_behind() {
                // What comes next is there already, so it is read while the broker stores this. Only
                // so many logs hold two messages.
                let (stored, next) = tokio::join!(storing, self.next(&mut stream));
                stored?;
                prepared = Some(next);
            } else {
                storing.await?;
            }
            self.agent.figures.count_message(message.content.tail().len());
            if let Some(at) = message.content.end()
                && self.agent.settings.publish == Publish::Always
            {
                self.agent.places.note(&self.path, number, at, message.content.tail());
            }
            stream.stored = Some(Instant::now());
        }
    }

    /// Publishes a message until the broker has stored it behind the last one.
    async fn store(
        &self,
        message: &Message,
        last: &mut LastMessage,
        number: u64,
    ) -> Result<(), Stopped> {
        let encoded = message.encode();
        let id = message.content.id();
        let mut pause = RETRY_FIRST;
        let (mut is_told, mut doubts) = (false, 0);
        loop {
            let expected = (last.is_known || id.is_none()).then_some(last.sequence);
            let waiting = self.agent.figures.wait();
            let broker = &self.agent.broker;
            let publishing =
                broker.publish(&self.subject, encoded.clone(), id.as_deref(), expected);
            let time_max = if doubts == 0 { stored_time_max(&encoded.1) } else { ANSWER_TIME_MAX };
            let late = || PublishFailure::Doubt(format!("no answer within {time_max:?}"));
            let stored = timeout(time_max, publishing).await.unwrap_or_else(|_| Err(late()));
            drop(waiting);
            let failure = match stored {
                Ok(sequence) => {
                    *last = LastMessage { sequence, is_known: false };
                    break;
                }
                Err(failure) => failure,
            };
            self.agent.figures.count_unstored(&failure);
            let log = self.log.display();
            tracing::debug!(%log, ?failure, "not known to be stored");
            match failure {
                PublishFailure::Doubt(why) => {
                    // A connection that is lost once is nothing to worry about.
                    doubts += 1;
                    if doubts == DOUBTS_TOLD && !std::mem::replace(&mut is_told, true) {
                        let hint = "look whether the disk of the broker is full";
                        tracing::warn!(%log, why, hint, "the broker does not say that it stores its messages: trying again");
                    }
                }
                PublishFailure::Overtaken => sleep(RETRY_FIRST).await,
                PublishFailure::Refused(why) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%log, why, "the broker does not take its messages: trying again");
                    }
                    sleep(pause).await;
                    pause = (2 * pause).min(RETRY_LONGEST);
                }
                // The broker takes less than it did: the bytes are cut anew.
                PublishFailure::TooLarge => {
                    sleep(pause).await;
                    return Err(Stopped::Overtaken);
                }
            }
            last.is_known = true;
            match self.last().await {
                None => match self.has_stream(number).await {
                    Some(true) => last.sequence = 0,
                    Some(false) => return Err(Stopped::AnotherStream),
                    None => {}
                },
                Some(found) if found.sequence == last.sequence => {}
                Some(found) if is_message(&found, message) => {
                    last.sequence = found.sequence;
                    break;
                }
                Some(_) => return Err(Stopped::Overtaken),
            }
        }
        if is_told {
            tracing::info!(log = %self.log.display(), "the broker takes its messages again");
        }
        Ok(())
    }

    /// How many bytes a message may have.
    fn room(&self) -> usize {
        self.agent.broker.payload_max().clamp(1, MESSAGE_BYTES_MAX)
    }

    /// Whether no message says where the log is.
    async fn is_untold(&self) -> bool {
        let Ok(last) = self.agent.broker.last(&self.subject).await else { return false };
        let said = last.map(|last| Message::decode(&last.fields, last.payload));
        !said.is_some_and(|said| said.is_ok_and(|message| message.path == self.path))
    }

    /// The next message. None when nothing follows.
    async fn next(&self, stream: &mut Stream) -> Option<(Content, Option<OwnedSemaphorePermit>)> {
        let room = self.room();
        if let Some((at, bytes)) = stream.rest.take() {
            return Some((stream.in_room(room, at, bytes), None));
        }
        if let Some(held) = stream.held.take() {
            return Some((held, None));
        }
        let (start, first) = loop {
            if stream.has_ended {
                return None;
            }
            let item = tokio::select! {
                item = stream.viewer.next() => item,
                () = self.tell.notified() => {
                    if self.is_untold().await && let Some(place) = stream.place() {
                        return Some((place, None));
                    }
                    continue;
                }
            };
            match stream.bytes_of(item) {
                Ok(bytes) => break bytes,
                Err(item) => {
                    if let Some(content) = stream.take(item) {
                        return Some((content, None));
                    }
                }
            }
        };
        let is_behind = stream.is_behind();
        let large = || Arc::clone(&self.agent.large_messages).try_acquire_owned().ok();
        let permit = if is_behind { large() } else { None };
        let enough = if permit.is_some() { ENOUGH_BYTES_BEHIND } else { ENOUGH_BYTES };
        let now = Instant::now();
        let is_idle = stream.stored.is_none_or(|stored| now - stored >= MESSAGE_INTERVAL);
        let until = if is_idle && !is_behind { now } else { now + MESSAGE_INTERVAL };
        let signed = |stream: &Stream| stream.viewer.span().map(|span| span.signed());
        let before = signed(stream)?;
        let bytes = stream.collect(start, first, enough, until).await;
        // What was collected belongs to the span in which it began. Its signature may have grown.
        let generation = signed(stream).filter(|after| after.is(&before)).unwrap_or(before);
        let at = RemotePosition { generation, offset: start };
        // What is held came after the bytes, and has its position already.
        if stream.held.is_none() {
            stream.position = Some(RemotePosition { generation, offset: start.plus(bytes.len()) });
        }
        Some((stream.in_room(room, at, bytes), permit))
    }
}

/// How long the broker may take at first to store these bytes. Then its last message is asked for: what
/// a cluster gets while it has no leader is lost, and waiting for it would add to the pause.
fn stored_time_max(bytes: &Bytes) -> Duration {
    let on_way = Duration::from_secs_f64(bytes.len() as f64 / SLOW_BYTES_A_SECOND);
    (QUICK_TIME_MAX + on_way).min(ANSWER_TIME_MAX)
}

/// The last message of a subject.
struct LastMessage {
    /// 0 if there is none.
    sequence: u64,
    /// The broker was asked for it, so the next message says that it expects it. On every message that
    /// would cost the broker more memory.
    is_known: bool,
}

/// Whether what was stored is this message. Its signature may have grown between two attempts.
fn is_message(stored: &Stored, message: &Message) -> bool {
    let Ok(found) = Message::decode(&stored.fields, stored.payload.clone()) else { return false };
    match message.content.id() {
        Some(id) => found.content.id() == Some(id),
        None => found == *message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_time_that_a_slow_line_takes() {
        let time_max = |len| stored_time_max(&Bytes::from(vec![0; len]));
        assert_eq!(time_max(0), Duration::from_secs(1));
        assert_eq!(time_max(64 * 1024), Duration::from_millis(1500));
        assert_eq!(time_max(MESSAGE_BYTES_MAX), ANSWER_TIME_MAX);
    }
}
