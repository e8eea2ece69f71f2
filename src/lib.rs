//! tailcast: a shared live log viewer.
//!
//! A log is a sequence of bytes with offsets, and **the file itself is the buffer**. One follower
//! for each log notices that the file grew, reads the new bytes once and publishes them once. A
//! viewer holds nothing but a position. It takes the shared chunks while it keeps up; when it is
//! new, slow or coming back, it reads the file from its own position until it has caught up. So
//! late join, lag and reconnect are one rule, memory does not grow with slow viewers, and no viewer
//! delays another.
//!
//! ```text
//!                  one per log file                        one per viewer
//!  file ──notify──▶ follower ──chunk──▶ broadcast ──frame──▶ session ──▶ WebSocket · SSE · HTTP
//!    │                                                          ▲
//!    └──────────────── read from the viewer's position ─────────┘   join · lag · resume
//! ```
//!
//! # The rooms, from the ground up
//!
//! | room | what is in it |
//! |---|---|
//! | [`encoding`] | bytes to text, with the offset of each character; opens envelopes; pure |
//! | [`time`] | the times that lines say, and where in a log a time lies; pure |
//! | [`structure`] | the fields of JSON and logfmt lines, and conditions on them; pure |
//! | [`log`] | which paths may be read; files read at offsets; one follower for each log |
//! | [`render`] | bytes to rows to HTML, as a terminal would show them; pure |
//! | [`wire`] | all that travels: requests, messages, rows, frames, compression |
//! | [`session`] | one viewer: its cursor, catching up, and frames that are rendered once for all viewers |
//! | [`search`] | rows anywhere in a log, line numbers, search |
//! | [`source`] | what makes a file that is a log: the output of a command, standard input, the journal |
//! | [`mirror`] | the logs of other machines, kept as logs of this one |
//! | `broker` | agents that publish the logs of their machine over NATS, and how an edge gets them |
//! | [`serve`] | the addresses: WebSocket, server-sent events, HTTP, the pages; settings, limits, shutdown |
//! | [`client`] | following a log through a server or in this process: reconnect, resume |
//! | `bench` | the load client: many viewers of one log, and what they cost the server |
//! | [`cli`] | the commands; the only place that prints |
//!
//! Imports point down this table, never up. A test parses the sources and checks it.
//! `docs/architecture.md` follows a line from `write()` to the page, and names the file to open first
//! for each kind of change.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | log | a path below a prefix, and the files that have had that name |
//! | source | what writes a file that is a log |
//! | mark | an escape sequence that says where the output of a command begins or ends |
//! | pattern | a file name with wildcards: a log that leads to the newest file that matches |
//! | match | a file whose name matches a pattern; its rank says which of two is newer |
//! | prefix | a directory or file that may be served |
//! | base path | the path under which everything of a server lies |
//! | trusted proxy | a peer that is believed when it says for whom it asks |
//! | offset | the position of a byte in a file, from 0 |
//! | generation | names the bytes behind a path: file, truncation, and a signature of the head |
//! | machine | a host whose agent publishes its logs; away while it does not answer |
//! | agent | what publishes the logs of a machine, those that are wanted |
//! | broker | what carries them from agents to edges, and keeps them for a while: NATS with JetStream |
//! | stream | with a broker: the messages that it keeps, in order; else what one viewer gets |
//! | edge | a server that serves the logs of other machines |
//! | remote | what brings these logs to an edge |
//! | mirror | what keeps them on an edge, under the generations and offsets of their machines |
//! | hole | bytes of a mirrored file that are not here; they are fetched when somebody reads them |
//! | fingerprint | the last bytes before an offset; proves that a file still is what it was |
//! | rotation | another file takes the log's name |
//! | past | the files that had the log's name before, as their own names say; with the present file, the history |
//! | content | what is in a compressed file; offsets and generations are those of the content |
//! | span | a run of bytes of one generation in the order of publication |
//! | timeline | all spans of a log that were published since it is followed |
//! | wake | a signal to poll a log, with the renamings seen since the last poll |
//! | poll | one look at a log's path and files |
//! | follower | polls one log and publishes what it finds |
//! | chunk | bytes of a span that were read and published together |
//! | late bytes | bytes written to a file after it was rotated away |
//! | identity | who a visitor is, and by what that was proved: password, session, token, proxy |
//! | visitor | the sender of a request, once the gate has admitted it; only a visitor can name a log |
//! | scope | the part of the prefixes that somebody may read |
//! | viewer | a client that receives a log |
//! | session | the messages for one viewer, or for one broadcast group |
//! | cursor | a viewer's position and what it does next; a value without IO |
//! | lag | a viewer has missed more events than the broadcast holds |
//! | encoding | how the bytes of a log become text: by its first bytes, or as a viewer chooses |
//! | envelope | a line in which a container runtime keeps a piece of what a program wrote, with time and stream |
//! | layout | whether the lines of a log are envelopes: by its first line |
//! | stamp | the text in which a line says its time |
//! | row | a line as a terminal would show it, or a part of one that is very long; named by the offset of its first byte |
//! | annotation | what a row carries besides its text: level, group, time |
//! | frame | one encoded message, made once and shared |
//! | record | a piece of a TLS connection that is encrypted at once |
//! | broadcast group | viewers at the same position in the same form; one task writes to all |
//! | piece | a part of a log that was rendered once, as messages; kept while a session that is behind may need it |
//! | renderer | turns the bytes of a log into rows of one form, piece by piece |
//! | checkpoint | a copy of the terminal state at an offset, for starting in the middle |
//! | snapshot | a log as it is at one moment, for reading and searching |
//!
//! # Invariants, as absences
//!
//! - Only `log::watch` names the crate that watches the file system, and only `log` opens a log.
//! - Only `broker::nats` names the client of the broker.
//! - Nothing below `session` knows that viewers exist, except for their number.
//! - Nothing below `serve` knows HTTP. `client` knows nothing of `serve`: they share the messages.
//! - Only `wire` is serialisable.
//! - No log is opened without [`log::Access`], and a path that was checked earlier is checked again.
//! - No path of a request becomes a log without a visitor, who was admitted.
//! - No map guard and no lock is held across an await.
//! - Only `cli` prints.
//!
//! # Following a log with the library
//!
//! ```no_run
//! use tailcast::log::{Access, Event, Registry};
//!
//! # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
//! let access = std::sync::Arc::new(Access::new(["/var/log"])?);
//! let log = access.locate(b"/var/log/syslog")?;
//! let registry = Registry::new(access, std::time::Duration::from_secs(5));
//! let mut subscription = registry.join(&log, false).await?;
//! while let Ok(event) = subscription.events.recv().await {
//!     if let Event::Chunk(chunk) = event {
//!         println!("{} bytes at offset {}", chunk.bytes.len(), chunk.start);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub(crate) mod bench;
#[cfg(feature = "nats")]
pub mod broker;
pub mod cli;
pub mod client;
pub mod encoding;
pub mod log;
pub mod mirror;
pub mod render;
pub mod search;
pub mod serve;
pub mod session;
pub mod source;
pub mod structure;
#[cfg(test)]
mod testing;
pub mod time;
pub mod wire;
