//! What comes from the broker: messages that it keeps, and those that it does not.

use std::collections::HashMap;
use std::time::SystemTime;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::Stream;
use async_nats::{HeaderMap, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::broker::fields::Fields;
use crate::broker::nats::failures::{Ended, causes};

/// A message of the stream.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its subject.
    pub subject: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// Its headers.
    pub fields: Fields,
    /// Its bytes.
    pub payload: Bytes,
    /// When it was stored, by the clock of the broker.
    pub time: SystemTime,
}

/// A message that is not stored.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its subject.
    pub subject: String,
    /// Its headers.
    pub fields: Fields,
    /// Its bytes.
    pub payload: Bytes,
    /// Where an answer is expected.
    pub reply: Option<ReplyTo>,
}

/// Where an answer is expected.
#[derive(Clone, Debug)]
pub struct ReplyTo(pub(super) Subject);

/// Which messages a consumer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The first one at this sequence or later.
    Sequence(u64),
    /// The same, without their bytes.
    Headers(u64),
    /// The last one of each subject, without its bytes.
    LastOfEach,
}

/// Gives messages of the stream in their order. Dropping it removes it from the broker.
pub struct Consumer {
    pub(super) messages: pull::Stream,
    pub(super) stream: Stream<()>,
    pub(super) name: String,
    /// How many it has given.
    pub(super) delivered: u64,
    pub(super) pending: u64,
}

impl Consumer {
    /// How many messages were there when it was made.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// The next message. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When it gives nothing more, or has lost one.
    pub async fn next(&mut self) -> Result<Stored, Ended> {
        let message = match self.messages.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(Ended(causes(&error))),
            None => return Err(Ended("the broker has removed it".to_owned())),
        };
        let info = message.info().map_err(|error| Ended(error.to_string()))?;
        let (sequence, nth) = (info.stream_sequence, info.consumer_sequence);
        let time = info.published.into();
        self.delivered += 1;
        if nth != self.delivered {
            return Err(Ended("a message was lost on the way".to_owned()));
        }
        Ok(Stored {
            subject: message.subject.to_string(),
            sequence,
            fields: fields_of(message.headers.as_ref()),
            payload: message.payload.clone(),
            time,
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        remove(&self.stream, std::mem::take(&mut self.name));
    }
}

/// Lets the broker remove a consumer. One that stays is removed by the broker after a while.
pub(super) fn remove(stream: &Stream<()>, name: String) {
    let stream = stream.clone();
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            if let Err(error) = stream.delete_consumer(&name).await {
                tracing::debug!(%error, "cannot remove a consumer");
            }
        });
    }
}

/// Gives messages of a subject.
pub struct Subscription(pub(super) Subscriber);

impl Subscription {
    /// The next one; None when the connection is closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Incoming> {
        let message = self.0.next().await?;
        Some(Incoming {
            subject: message.subject.to_string(),
            fields: fields_of(message.headers.as_ref()),
            payload: message.payload,
            reply: message.reply.map(ReplyTo),
        })
    }
}

pub(super) fn headers(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter() {
        map.insert(name, value);
    }
    map
}

pub(super) fn fields_of(headers: Option<&HeaderMap>) -> Fields {
    let known: Option<HashMap<_, _>> = headers.map(|headers| {
        headers.iter().filter_map(|(name, values)| Some((name, values.last()?))).collect()
    });
    let known = known.into_iter().flatten();
    known.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}
