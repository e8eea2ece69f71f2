//! WebSocket viewers: one connection each, shared frames written by broadcast groups, heartbeats, permessage-deflate.

pub(super) mod connection;
pub(super) mod group;
pub(super) mod heartbeat;
mod inflate;
pub(super) mod negotiation;
mod stream;
pub(super) mod viewer;
