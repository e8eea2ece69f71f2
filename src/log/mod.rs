//! The ground floor: what a log is, where one may be read, and who follows it.
//!
//! A log is a sequence of bytes with offsets, and the file itself is the buffer. [`access`] decides which paths may be
//! read and gives proof; [`file`](mod@file) reads at offsets; [`watch`] turns file system events into wakes; a
//! [`tracker`] finds out, at each wake, what really happened to the file; a [`follower`] runs one tracker for one log
//! and publishes each chunk once; the [`registry`] makes sure that there is one follower for each log, and only while
//! somebody looks.
//!
//! Only this room touches the file system, and only `watch` names the crate that watches it.

pub mod access;
mod arrivals;
pub mod catalogue;
pub mod count;
pub mod fault;
pub mod file;
pub mod follower;
pub mod held;
pub mod hole;
pub mod position;
pub mod registry;
mod rotated;
mod sight;
pub mod timeline;
pub mod tracker;
pub mod watch;

pub use access::{Access, LogPath, Refusal};
pub use follower::{Event, Follower};
pub use position::{Chunk, Generation, Offset, Place, Splice};
pub use registry::{Presence, Registry, Subscription};
