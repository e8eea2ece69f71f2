//! The times that lines say: which of a line's bytes are a time, what it is, and where in a log a
//! time lies. Pure: the bytes come from a function
//! that reads.
//!
//! A log is recognised once, by a sample of its lines ([`Profile`]): whether its stamps begin its
//! lines, whether a bare number or a time of day is one, and in which order a date has its parts. So a
//! line has the same time from wherever it is read. A [`Recognizer`] is for many
//! lines, a [`TimedFile`] for finding a time.

mod calendar;
mod fields;
mod moment;
mod order;
mod profile;
mod recognizer;
mod seek;
mod stamp;
#[cfg(test)]
mod tests;
mod zone;

pub use moment::{BadMoment, Moment, TimeRange};
pub use order::Placed;
pub use profile::Profile;
pub use recognizer::Recognizer;
pub use seek::{Reading, TimedFile, TimedLine};
pub use zone::{BadZone, Zone};
