//! tailcast: a shared live log viewer.
//!
//! A log is a sequence of bytes with offsets, and **the file itself is the buffer**. One task per log, the follower,
//! notices that the file grew, reads the new bytes once and publishes them once. Every viewer holds nothing but a
//! position. One that keeps up takes the shared chunk; one that is new, slow or coming back reads the file from its
//! own position until it has caught up. So late join, lag and reconnect are one rule, memory does not grow with slow
//! viewers, and none of them delays another.
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
//! | [`log`] | which paths may be read; reading a file at offsets; wakes; one follower for each log |
//! | [`render`] | bytes to rows to HTML, as a terminal would have left them; pure |
//! | [`wire`] | all that travels: requests, messages, rows, frames, compression |
//! | [`session`] | one viewer: its cursor, catching up, and frames that are rendered once for all viewers |
//! | [`search`] | looking around in a whole log: rows anywhere in it, line numbers, finding |
//! | [`serve`] | the port: WebSocket, server-sent events, HTTP, the pages; limits and shutdown |
//! | [`client`] | following a log through a server or in this process: reconnects, resumes, tells what happened |
//! | `bench` | the load client: many viewers of one log, and what they cost the server |
//! | [`cli`] | the commands; the only place that prints |
//!
//! Imports point down this table, never up; a test reads the sources and says so.
//!
//! # Invariants, as absences
//!
//! - Only `log::watch` names the crate that watches the file system, and only `log` opens a log.
//! - Nothing below `session` knows that viewers exist, but for their number.
//! - Nothing below `serve` knows HTTP, and `client` knows nothing of `serve`: they share the messages alone.
//! - No path is opened without [`log::Access`], and none that was checked earlier is opened later.
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
pub mod cli;
pub mod client;
pub mod log;
pub mod render;
pub mod search;
pub mod serve;
pub mod session;
pub mod wire;
