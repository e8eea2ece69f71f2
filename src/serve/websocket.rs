//! WebSocket viewers.
//!
//! [`upgrade`] answers the handshake and agrees on compression ([`negotiation`]). [`viewer`] then
//! serves one viewer: it owns the socket ([`stream`]) and sends what the viewer's session gives,
//! until the viewer is up to date. From then on a broadcast [`group`] writes frames that are
//! encoded once to all its members, through the write half of each socket ([`connection`]). One
//! task sends all [`heartbeat`]s. Compressed messages from viewers are inflated below tungstenite
//! ([`inflate`]).
//!
//! One rule holds them together: whoever writes to a socket holds its lock, and writes whole
//! frames, or leaves the rest of one for the viewer's own task.

pub(super) mod connection;
pub(super) mod group;
pub(super) mod heartbeat;
mod inflate;
mod negotiation;
mod stream;
pub(super) mod upgrade;
mod viewer;
