//! The broker, NATS with JetStream. Only this module names its client.
//!
//! What the client does by itself is known by measurement, and some of it is not good enough here:
//!
//! - It waits for the answer to a message that was lost with the connection until that times out.
//!   Here the loss of the connection ends the wait at once.
//! - It asks once. What a cluster is asked while it has no leader is never answered, so that its
//!   client would wait for seconds after there is one. Here a request is sent again each second.
//! - A pulling consumer notices only after tens of seconds that the broker was started anew. So a
//!   new one is made when the connection is back: see [`Broker::link`].
//! - It asks for a pause before the first attempt to connect, too: see `pauses`.
//! - A request for a message of a stream that is just being made crashes nats-server 2.9.10. So an
//!   empty stream is not asked for any.
//! - A name and a password in the URL are ignored without a word. So they are taken out and given.

mod failures;
mod pauses;
mod received;

use std::fmt::{self, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, RawMessageError, StorageType, Stream,
};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ConnectOptions, Event, RequestErrorKind, ServerError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::broker::address::{BrokerAddress, Login};
use crate::broker::fields::Fields;
use crate::broker::names::{STREAM, STREAM_SUBJECTS};
use failures::{causes, connect_failure, stream_failure};
use pauses::Pauses;
use received::{fields_of, headers};

pub use failures::{AskFailure, ConnectFailure, Ended, PublishFailure, StreamFailure};
pub use received::{Consumer, From, Incoming, ReplyTo, Stored, Subscription};

/// A broker that answers nothing for so long is not there.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// A request that is not answered is sent again so often, and the first answer to any of them counts.
/// While a cluster has no leader it drops requests without a word, and the next leader knows nothing of
/// those.
const ASK_AGAIN_INTERVAL: Duration = Duration::from_secs(1);
/// The same for a consumer, which costs the broker more.
const CONSUME_AGAIN_INTERVAL: Duration = Duration::from_secs(2);
/// How often the connection is tried. A broker that has vanished without a word is noticed by it.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The broker forgets that it has a message after this time. Later retries are prevented by the
/// sequence that is expected.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// The broker removes a consumer that nobody has asked for so long.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(90);
/// How often the broker says that a consumer still is there. One of which nothing is heard for twice as
/// long has gone with its server of a cluster, while the connection to another one stays.
const CONSUMER_HEARTBEAT: Duration = Duration::from_secs(3);
/// How many messages a consumer gets ahead, and how many without their bytes.
const CONSUMER_AHEAD: usize = 8;
const HEADERS_AHEAD: usize = 256;
/// How many messages of a subscription may wait.
const SUBSCRIPTION_CAPACITY: usize = 4096;
/// Room for the headers of a message within what the broker takes. A path has up to 12 KiB there.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How to reach the broker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub address: BrokerAddress,
    /// As whom; None for nobody.
    pub login: Option<Login>,
    /// The file (PEM) with the certificates of the authorities that are trusted, too.
    pub authorities: Option<PathBuf>,
    /// What the broker calls this connection.
    pub name: String,
    /// Below this subject are the answers to this connection.
    pub inbox: String,
}

/// The state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one.
    pub is_up: bool,
    /// How often that has changed.
    pub changes: u64,
}

impl Link {
    /// How often it was lost: it begins with a connection.
    #[must_use]
    pub fn losses(self) -> u64 {
        self.changes.div_ceil(2)
    }
}

/// Limits of the stream that an agent makes.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// The most bytes that it keeps.
    pub bytes: u64,
    /// The longest time that it keeps them.
    pub age: Duration,
    /// On how many servers.
    pub replicas: usize,
}

/// What there is of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// When it was made. Another one of its name has other sequences.
    pub created: SystemTime,
    /// The sequence of its first message.
    pub first: u64,
    /// The sequence of its last message.
    pub last: u64,
}

/// A connection to the broker.
#[derive(Clone)]
pub struct Broker {
    client: Client,
    context: Context,
    stream: Stream<()>,
    link: watch::Receiver<Link>,
    denied: watch::Receiver<String>,
    /// Whether the stream is known to have had a message.
    is_filled: Arc<AtomicBool>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("link", &*self.link.borrow()).finish_non_exhaustive()
    }
}

impl Broker {
    /// Connects. A connection that is lost later is made again, for ever.
    ///
    /// # Errors
    /// When there is none now.
    pub async fn connect(options: &Options) -> Result<Self, ConnectFailure> {
        let (telling, link) = watch::channel(Link { is_up: true, changes: 0 });
        let (denying, denied) = watch::channel(String::new());
        let pauses = Mutex::new(Pauses::new(options.address.servers().len()));
        let mut connecting = ConnectOptions::new()
            .name(&options.name)
            .custom_inbox_prefix(&options.inbox)
            .ping_interval(PING_INTERVAL)
            .connection_timeout(ANSWER_TIME_MAX)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .reconnect_delay_callback(move |attempt| pauses.lock().before(attempt, Instant::now()))
            .event_callback(move |event| {
                note(&telling, &event);
                if let Event::ServerError(ServerError::Other(what)) = event {
                    denying.send_replace(what);
                }
                std::future::ready(())
            });
        connecting =
            match &options.login {
                None => connecting,
                Some(Login::Password { user, password }) => {
                    connecting.user_and_password(user.clone(), password.reveal().to_owned())
                }
                Some(Login::Token(token)) => connecting.token(token.reveal().to_owned()),
                Some(Login::Credentials(credentials)) => connecting
                    .credentials(credentials.reveal())
                    .map_err(|error| ConnectFailure::Credentials(error.to_string()))?,
                Some(Login::Key(seed)) => connecting.nkey(seed.reveal().to_owned()),
            };
        if let Some(authorities) = &options.authorities {
            connecting = connecting.add_root_certificates(authorities.clone());
        }
        if options.authorities.is_some() || options.address.is_tls() {
            connecting = connecting.require_tls(true);
        }
        let servers = options.address.servers();
        // The client bounds each attempt, but not the search for the addresses of a name.
        let time_max = ANSWER_TIME_MAX * (servers.len() as u32 + 1);
        let client = timeout(time_max, connecting.connect(servers))
            .await
            .map_err(|_| ConnectFailure::Away(format!("no connection within {time_max:?}")))?
            .map_err(|error| connect_failure(&error))?;
        let mut context = async_nats::jetstream::new(client.clone());
        context.set_timeout(ANSWER_TIME_MAX);
        let stream = context.get_stream_no_info(STREAM).await;
        let stream = stream.map_err(|error| ConnectFailure::Away(error.to_string()))?;
        Ok(Self { client, context, stream, link, denied, is_filled: Arc::default() })
    }

    /// The same, and again until the broker answers.
    ///
    /// # Errors
    /// When it answers and refuses.
    pub async fn connect_in_time(options: &Options) -> Result<Self, ConnectFailure> {
        let mut is_told = false;
        loop {
            match Self::connect(options).await {
                Err(ConnectFailure::Away(why)) => {
                    if !is_told {
                        let broker = &options.address;
                        tracing::warn!(%broker, why, "the broker does not answer: trying again");
                        is_told = true;
                    }
                    sleep(pauses::usual()).await;
                }
                answered => return answered,
            }
        }
    }

    /// The state of the connection, and its changes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// What the broker has refused last in words of its own, such as what is not permitted.
    #[must_use]
    pub fn denied(&self) -> watch::Receiver<String> {
        self.denied.clone()
    }

    /// The most bytes that a message can have besides its headers.
    #[must_use]
    pub fn payload_max(&self) -> usize {
        self.client.max_payload().saturating_sub(HEADER_BYTES_MAX)
    }

    /// What there is of the stream.
    ///
    /// # Errors
    /// When there is none, or the broker does not answer.
    pub async fn stream_state(&self) -> Result<StreamState, StreamFailure> {
        let asking = || self.context.get_stream(STREAM);
        let found = first_answer(ASK_AGAIN_INTERVAL, asking).await;
        let found = found.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(error) => stream_failure(&error),
            _ => StreamFailure::Away(causes(&error)),
        })?;
        let info = found.cached_info();
        Ok(StreamState {
            created: info.created.into(),
            first: info.state.first_sequence,
            last: info.state.last_sequence,
        })
    }

    /// Makes the stream. One that is there already is left as it is.
    ///
    /// # Errors
    /// When that is not possible.
    pub async fn make_stream(&self, limits: &StreamLimits) -> Result<(), StreamFailure> {
        let config = Config {
            name: STREAM.to_owned(),
            subjects: vec![STREAM_SUBJECTS.to_owned()],
            max_bytes: i64::try_from(limits.bytes).unwrap_or(i64::MAX),
            max_age: limits.age,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: limits.replicas,
            duplicate_window: DUPLICATE_WINDOW.min(limits.age),
            allow_direct: true,
            description: Some("logs that tailcast agents publish".to_owned()),
            ..Config::default()
        };
        match self.context.create_stream(config).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                // Another agent has made it meanwhile, with other limits.
                CreateStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NAME_EXIST =>
                {
                    Ok(())
                }
                CreateStreamErrorKind::JetStream(error) => Err(stream_failure(&error)),
                _ => Err(StreamFailure::Away(causes(&error))),
            },
        }
    }

    /// Stores a message, and returns its sequence. With `id`, a message that the broker has already
    /// is not stored again. With `expected`, it is stored only if the last message of its subject has
    /// that sequence; 0 for none.
    ///
    /// # Errors
    /// When it is not known that it was stored.
    pub async fn publish(
        &self,
        subject: &str,
        (fields, payload): (Fields, Bytes),
        id: Option<&str>,
        expected: Option<u64>,
    ) -> Result<u64, PublishFailure> {
        let mut message = PublishMessage::build().payload(payload).headers(headers(&fields));
        if let Some(id) = id {
            message = message.message_id(id);
        }
        if let Some(expected) = expected {
            message = message.expected_last_subject_sequence(expected);
        }
        let lost = || PublishFailure::Doubt("the connection was lost".to_owned());
        let mut link = self.link();
        // What is sent without a connection waits for the next one, and would come too late.
        if !link.borrow_and_update().is_up {
            return Err(lost());
        }
        let publishing =
            async { self.context.send_publish(subject.to_owned(), message).await?.await };
        let acknowledged = tokio::select! {
            acknowledged = publishing => acknowledged,_ = link.changed() => return Err(lost()),
        };
        acknowledged.map(|ack| ack.sequence).map_err(|error| match error.kind() {
            PublishErrorKind::WrongLastSequence => PublishFailure::Overtaken,
            PublishErrorKind::MaxPayloadExceeded => PublishFailure::TooLarge,
            PublishErrorKind::StreamNotFound | PublishErrorKind::Other => {
                PublishFailure::Refused(causes(&error))
            }
            PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::WrongLastMessageId => PublishFailure::Doubt(causes(&error)),
        })
    }

    /// The last message of a subject, as the leader of the stream knows it.
    ///
    /// # Errors
    /// When the broker does not answer, or has no stream.
    pub async fn last(&self, subject: &str) -> Result<Option<Stored>, StreamFailure> {
        self.found_in_stream(|| self.stream.get_last_raw_message_by_subject(subject)).await
    }

    /// The first message of a subject at this sequence or later.
    ///
    /// # Errors
    /// When the broker does not answer, or has no stream.
    pub async fn next(&self, subject: &str, from: u64) -> Result<Option<Stored>, StreamFailure> {
        self.found_in_stream(|| self.stream.get_first_raw_message_by_subject(subject, from)).await
    }

    /// What a request for a message has found. It is not sent while the stream is empty: nats-server 2.9.10
    /// crashes when it is asked for a message of a stream that it is just making.
    async fn found_in_stream<R>(
        &self,
        request: impl Fn() -> R,
    ) -> Result<Option<Stored>, StreamFailure>
    where
        R: Future<Output = Result<StreamMessage, RawMessageError>>,
    {
        if !self.is_filled.load(Ordering::Relaxed) {
            let is_filled = self.stream_state().await?.last > 0;
            self.is_filled.store(is_filled, Ordering::Relaxed);
            if !is_filled {
                return Ok(None);
            }
        }
        let found = found(first_answer(ASK_AGAIN_INTERVAL, request).await);
        if matches!(found, Err(StreamFailure::Missing)) {
            // The next one of its name is empty at first.
            self.is_filled.store(false, Ordering::Relaxed);
        }
        found
    }

    /// All messages of a subject, those to come included, from this sequence on. Without their bytes
    /// and only the last one of each subject, if so wanted.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn consume(&self, subject: &str, from: From) -> Result<Consumer, Ended> {
        let headers_only = !matches!(from, From::Sequence(_));
        let ahead = if headers_only { HEADERS_AHEAD } else { CONSUMER_AHEAD };
        // Only one with a name and one filter can be permitted by its subject.
        let config = |name: &str| pull::Config {
            name: Some(name.to_owned()),
            deliver_policy: match from {
                From::Sequence(0 | 1) | From::Headers(0 | 1) => DeliverPolicy::All,
                From::Sequence(start_sequence) | From::Headers(start_sequence) => {
                    DeliverPolicy::ByStartSequence { start_sequence }
                }
                From::LastOfEach => DeliverPolicy::LastPerSubject,
            },
            headers_only,
            ack_policy: AckPolicy::None,
            filter_subject: subject.to_owned(),
            inactive_threshold: CONSUMER_IDLE_MAX,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let ended = |error: &dyn std::error::Error| Ended(causes(error));
        // One of a name that is there already is refused, so each attempt has its own.
        let names = Mutex::new(Vec::new());
        let making = || {
            let name = format!("tailcast_{:016x}", fastrand::u64(..));
            names.lock().push(name.clone());
            let making = self.context.create_consumer_on_stream(config(&name), STREAM);
            async move { (name, making.await) }
        };
        let (name, made) = first_answer(CONSUME_AGAIN_INTERVAL, making).await;
        let others = names.into_inner().into_iter().filter(|other| *other != name);
        others.for_each(|other| received::remove(&self.stream, other));
        let made = made.map_err(|error| ended(&error))?;
        let pending = made.cached_info().num_pending;
        let pulling =
            made.stream().max_messages_per_batch(ahead).heartbeat(CONSUMER_HEARTBEAT).messages();
        let messages = pulling.await.map_err(|error| ended(&error))?;
        let stream = self.stream.clone();
        Ok(Consumer { messages, stream, name, delivered: 0, pending })
    }

    /// All messages of a subject that are sent from now on.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, Ended> {
        let subscribed = self.client.subscribe(subject.to_owned()).await;
        subscribed.map(Subscription).map_err(|error| Ended(causes(&error)))
    }

    /// Sends a message that nobody keeps. Without a connection it is dropped.
    pub async fn send(&self, subject: &str, (fields, payload): (Fields, Bytes)) {
        if self.link.borrow().is_up {
            let sent =
                self.client.publish_with_headers(subject.to_owned(), headers(&fields), payload);
            if let Err(error) = sent.await {
                tracing::debug!(subject, %error, "cannot send");
            }
        }
    }

    /// Sends an answer.
    pub async fn answer(&self, ReplyTo(subject): ReplyTo, (fields, payload): (Fields, Bytes)) {
        let sent = self.client.publish_with_headers(subject, headers(&fields), payload);
        if let Err(error) = sent.await {
            tracing::debug!(%error, "cannot answer");
        }
    }

    /// Waits until the broker has everything that was sent.
    pub async fn flush(&self, time_max: Duration) {
        let _flushed = timeout(time_max, self.client.flush()).await;
    }

    /// Sends a message and waits for one answer.
    ///
    /// # Errors
    /// When there is none within this time.
    pub async fn request(
        &self,
        subject: &str,
        (fields, payload): (Fields, Bytes),
        time_max: Duration,
    ) -> Result<(Fields, Bytes), AskFailure> {
        let mut link = self.link();
        if !link.borrow_and_update().is_up {
            return Err(AskFailure::Silence);
        }
        let request = async_nats::Request::new()
            .headers(headers(&fields))
            .payload(payload)
            .timeout(Some(time_max));
        let answered = tokio::select! {
            answered = self.client.send_request(subject.to_owned(), request) => answered,
            _ = link.changed() => return Err(AskFailure::Silence),
        };
        match answered {
            Ok(message) => Ok((fields_of(message.headers.as_ref()), message.payload)),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Err(AskFailure::Nobody),
            Err(_) => Err(AskFailure::Silence),
        }
    }
}

/// Sends a request, and again at this interval, until one of them is answered or the first one has waited for as
/// long as the client lets it. Only for what may be done twice.
async fn first_answer<R: Future>(interval: Duration, request: impl Fn() -> R) -> R::Output {
    let mut asked: FuturesUnordered<R> = std::iter::once(request()).collect();
    loop {
        tokio::select! {
            Some(answer) = asked.next() => return answer,
            () = sleep(interval) => asked.push(request()),
        }
    }
}

/// Notes what happens to the connection, and says what an operator has to know.
fn note(link: &watch::Sender<Link>, event: &Event) {
    let change = |is_up: bool| {
        link.send_if_modified(|link| {
            let is_new = link.is_up != is_up;
            *link = Link { is_up, changes: link.changes + u64::from(is_new) };
            is_new
        })
    };
    match event {
        Event::Connected => {
            if change(true) {
                tracing::info!("connected to the broker again");
            }
        }
        Event::Disconnected => {
            if change(false) {
                tracing::warn!("the connection to the broker is lost: connecting again");
            }
        }
        Event::ServerError(ServerError::AuthorizationViolation) => {
            tracing::warn!("the broker refuses the login");
        }
        // A publish that is not permitted is told in no other way.
        Event::ServerError(error) => tracing::warn!(%error, "the broker refuses something"),
        Event::SlowConsumer(_) => tracing::warn!("messages of the broker were dropped"),
        Event::ClientError(error) => tracing::debug!(%error, "cannot connect to the broker"),
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::debug!(%event, "the connection to the broker changes");
        }
    }
}

fn found(message: Result<StreamMessage, RawMessageError>) -> Result<Option<Stored>, StreamFailure> {
    match message {
        Ok(message) => Ok(Some(Stored {
            subject: message.subject.to_string(),
            sequence: message.sequence,
            fields: fields_of(Some(&message.headers)),
            payload: message.payload,
            time: message.time.into(),
        })),
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Ok(None),
            LastRawMessageErrorKind::JetStream(error) => Err(stream_failure(&error)),
            LastRawMessageErrorKind::InvalidSubject | LastRawMessageErrorKind::Other => {
                Err(StreamFailure::Away(causes(&error)))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// What the request that is sent as the `nth` one is answered, after this time; None for never.
    async fn asked(answers: &[Option<Duration>]) -> (usize, Duration) {
        let (began, sent) = (tokio::time::Instant::now(), AtomicU32::new(0));
        let nth = first_answer(ASK_AGAIN_INTERVAL, || {
            let nth = sent.fetch_add(1, Ordering::Relaxed) as usize;
            let answer = answers.get(nth).copied().flatten();
            async move {
                match answer {
                    Some(after) => sleep(after).await,
                    None => std::future::pending().await,
                }
                nth
            }
        });
        let nth = timeout(Duration::from_secs(60), nth).await.expect("it is answered");
        assert_eq!(sent.into_inner() as u64, 1 + began.elapsed().as_secs(), "one each second");
        (nth, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_a_cluster_drops_is_answered_when_there_is_a_leader() {
        let soon = Some(Duration::from_millis(10));
        assert_eq!(asked(&[soon]).await, (0, Duration::from_millis(10)));
        assert_eq!(asked(&[None, None, None, soon]).await, (3, Duration::from_millis(3010)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_counts_although_the_request_was_sent_again() {
        let slow = Some(Duration::from_millis(3500));
        assert_eq!(asked(&[slow; 4]).await, (0, Duration::from_millis(3500)));
    }
}
