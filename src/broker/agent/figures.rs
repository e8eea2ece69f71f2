//! What an agent counts, for whoever watches over it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::broker::ask::{Answer, Denial};
use crate::broker::nats::{Broker, Link, PublishFailure};
use crate::log::metrics::Counter;

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU64);

impl Gauge {
    pub(super) fn set(&self, number: usize) {
        self.0.store(number as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a message was not stored at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstored {
    /// It was not known whether it was stored.
    Doubt,
    /// Another one was stored before it.
    Overtaken,
    /// It was larger than the broker takes.
    TooLarge,
    /// The broker refused it.
    Refused,
}

impl Unstored {
    /// Each reason.
    pub const ALL: [Self; 4] = [Self::Doubt, Self::Overtaken, Self::TooLarge, Self::Refused];
}

/// Why a request was not answered with what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Too much was asked for at once.
    Busy,
    /// It is not there any more.
    Gone,
    /// The agent does not give it.
    Refused,
    /// It was not understood.
    Unknown,
}

impl Denied {
    /// Each reason.
    pub const ALL: [Self; 4] = [Self::Busy, Self::Gone, Self::Refused, Self::Unknown];
}

impl From<Denial> for Denied {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Busy => Self::Busy,
            Denial::Gone => Self::Gone,
            Denial::Refused => Self::Refused,
            Denial::Unknown => Self::Unknown,
        }
    }
}

/// What an agent counts. All numbers are since its start.
#[derive(Debug, Default)]
pub struct Figures {
    link: OnceLock<watch::Receiver<Link>>,
    pub(super) listed: Gauge,
    pub(super) published: Gauge,
    messages: Counter,
    bytes: Counter,
    waiting: AtomicU64,
    unstored: [Counter; Unstored::ALL.len()],
    answers: Counter,
    answered_bytes: Counter,
    denied: [Counter; Denied::ALL.len()],
}

impl Figures {
    /// There is a connection now. Only the first one counts; it is made again when it is lost.
    pub(super) fn connected(&self, broker: &Broker) {
        let _already_set = self.link.set(broker.link());
    }

    /// The connection to the broker.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.get().map_or(Link { is_up: false, changes: 0 }, |link| *link.borrow())
    }

    /// The logs of the last list. An edge asks for a list every few minutes at least.
    #[must_use]
    pub fn logs(&self) -> u64 {
        self.listed.get()
    }

    /// The logs that are published now.
    #[must_use]
    pub fn published_logs(&self) -> u64 {
        self.published.get()
    }

    /// Messages that the broker has stored.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages.get()
    }

    /// Bytes of logs in them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Messages that were sent, and are not known to be stored yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How often a message was not stored at once, for this reason.
    #[must_use]
    pub fn unstored(&self, why: Unstored) -> u64 {
        self.unstored[why as usize].get()
    }

    /// Requests of edges that were answered.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers.get()
    }

    /// Bytes of logs in these answers.
    #[must_use]
    pub fn answered_bytes(&self) -> u64 {
        self.answered_bytes.get()
    }

    /// How many answers were a refusal for this reason.
    #[must_use]
    pub fn denied(&self, why: Denied) -> u64 {
        self.denied[why as usize].get()
    }

    /// A message waits until this is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    pub(super) fn count_message(&self, bytes: usize) {
        self.messages.add(1);
        self.bytes.add(bytes);
    }

    pub(super) fn count_unstored(&self, failure: &PublishFailure) {
        let why = match failure {
            PublishFailure::Doubt(_) => Unstored::Doubt,
            PublishFailure::Overtaken => Unstored::Overtaken,
            PublishFailure::TooLarge => Unstored::TooLarge,
            PublishFailure::Refused(_) => Unstored::Refused,
        };
        self.unstored[why as usize].add(1);
    }

    pub(super) fn count_answer(&self, answer: &Answer) {
        self.answers.add(1);
        match answer {
            Answer::Range { bytes, .. } => self.answered_bytes.add(bytes.len()),
            Answer::Denied(denial) => self.denied[Denied::from(*denial) as usize].add(1),
            _ => {}
        }
    }
}

/// A message that was sent, and is not known to be stored.
pub(super) struct Waiting<'a>(&'a Figures);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
