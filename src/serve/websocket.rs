//! WebSocket viewers.
//!
//! [`upgrade`] answers the handshake and agrees on compression ([`negotiation`]). [`viewer`] then
//! serves one viewer: it owns the socket ([`stream`]) and sends the messages of the viewer's
//! session, until the viewer is up to date. From then on a broadcast [`group`] writes frames that
//! are encoded once to all its members ([`members`]), through the write half of each socket ([`connection`]). One
//! task sends all [`heartbeat`]s. Compressed messages from viewers are inflated below tungstenite
//! ([`inflate`]).
//!
//! All tasks follow one rule: a task that writes to a socket holds its lock and writes whole
//! frames. If the socket does not take all of a frame, the viewer's own task writes the rest.

pub(super) mod connection;
pub(super) mod group;
pub(super) mod heartbeat;
mod inflate;
mod members;
mod negotiation;
mod stream;
pub(super) mod upgrade;
pub(super) mod viewer;
