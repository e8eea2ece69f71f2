//! The ground floor: which logs may be read, reading them at offsets, and following them.
//!
//! A log is a sequence of bytes with offsets, and the file itself is the buffer. [`access`] decides
//! which paths may be read and gives proof. [`file`](mod@file) reads at offsets. [`watch`] turns
//! file system events into wakes. A [`follower`] polls its log at each wake:
//! [`follower::rotation`] finds out what happened to the file, and the follower publishes each
//! chunk once. The [`timeline`] holds what was published. The [`registry`] keeps one follower for
//! each log while it has viewers, and the threads that run them. The [`catalogue`] lists the logs
//! under the prefixes. An [`archive`] is a compressed file, read as its content. A [`pattern`] is a log whose name leads to the newest file that matches.
//!
//! Only this room touches the file system, and only `watch` names the crate that watches it.

pub mod access;
pub mod archive;
pub(crate) mod blocking;
pub mod catalogue;
mod container_name;
pub mod descriptors;
pub mod failpoints;
pub mod file;
pub mod fingerprint;
pub mod follower;
pub mod line_starts;
pub mod metrics;
pub mod mirrored;
mod mounts;
pub(crate) mod nearby;
pub mod pattern;
pub mod position;
pub mod registry;
mod rotated;
pub mod sparse;
mod timed;
pub mod timeline;
pub mod wake;
pub mod watch;

pub use access::{Access, LogPath, Refusal, Scope};
pub use container_name::ContainerNames;
pub use follower::{Event, Follower, HistoryFile};
pub use position::{Chunk, Generation, Offset, Splice, TimelinePosition};
pub use registry::{Presence, Registry, Subscription};
