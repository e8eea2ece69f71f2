//! Logs of many machines over a broker, NATS with JetStream.
//!
//! The [`agent`] of a machine publishes its logs, each once, however many edges there are. An
//! [`edge`] is whoever shows them: it brings them to the [`mirror`](crate::mirror).
//!
//! # What is on the broker
//!
//! | subject | what is sent there |
//! |---|---|
//! | `tailcast.log.HOST.LOG` | the [messages](message) of a log, kept by the stream `TAILCAST` |
//! | `tailcast.ask.HOST` | what an edge [asks](ask) of the agent of a machine: to publish a log, its list, bytes |
//! | `tailcast.here.HOST` | the agent says that it is there |
//! | `tailcast.hello` | an edge wants all agents to say so |
//!
//! **The stream is the state of an agent**: what it keeps itself only says how far it was when the stream
//! has dropped that. After any doubt, at its start,
//! when a connection was lost or an answer did not come, it asks for the last message of a log, and
//! goes on behind that. One message of a log is on its way at a time, so a message that was refused
//! never has a successor that was stored.

pub mod address;
pub mod agent;
pub mod ask;
pub mod edge;
pub mod fields;
pub mod message;
pub mod names;
pub mod nats;

pub use address::{BrokerAddress, Login, Secret};
pub use edge::Edge;
pub use names::HostName;
pub use nats::{Broker, ConnectFailure, Options, StreamLimits};
