//! The logs of other machines, as logs of this one.
//!
//! Something brings them here: a [`remote::Remote`]. Nothing in this room knows how.

pub mod remote;

pub use remote::{
    FetchError, Fetched, Host, Remote, RemoteEvent, RemoteLog, RemoteName, RemotePosition,
};
