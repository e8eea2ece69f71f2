//! The logs of other machines, as logs of this one.
//!
//! Something brings them here: a [`Remote`]. Nothing in this room knows how. What it brings is kept in
//! a [`Spool`] at the offsets that it has on its machine, and told to the log's follower as it was told
//! there. So a viewer finds the same byte at the same offset of the same generation wherever the log is
//! mirrored. Bytes that are not here are fetched when somebody reads them.

mod feed;
mod later;
mod logs;
mod ranges;
pub mod remote;
mod spool;

pub use later::LaterRemote;
pub use logs::MirroredLogs;
pub use remote::{
    Connection, FetchError, Fetched, Host, Remote, RemoteEvent, RemoteLog, RemoteName, RemotePast,
    RemotePosition,
};
pub use spool::{BYTES_MIN, Spool};
