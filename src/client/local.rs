//! Follows a file in this process, without a server.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::client::{FollowEvent, FollowRequest, Position, Refused, StartAt};
use crate::encoding::Encoding;
use crate::log::pattern::RequestedPath;
use crate::log::registry::ROTATE_WAIT;
use crate::log::{Access, Offset, Registry};
use crate::render::Interpretation;
use crate::session::viewer::{Item, Viewer};
use crate::session::{self, StreamRequest};
use crate::time::{Moment, TimeRange};
use crate::wire::message::Opening;
use crate::wire::request::WantedGeneration;

/// Follows a file of this machine, or the newest of those that match a pattern. Any file that the
/// user may read can be followed.
pub struct Local {
    viewer: Viewer,
    /// Keeps the follower alive.
    _registry: Arc<Registry>,
    ended: bool,
    /// A file has begun of which something may have to be said.
    has_begun: bool,
}

impl Local {
    /// Follows the log at `path`. Bytes arrive raw, whatever the format in `ask`.
    ///
    /// # Errors
    /// When the file cannot be followed, or does not exist and `ask.wait` is off.
    pub async fn join(path: &Path, ask: &FollowRequest) -> Result<Self, Refused> {
        let path = absolute(path).map_err(|_| Refused::NotFound)?;
        let access = Access::new(["/"]).map_err(|_| Refused::Unreadable)?;
        let log = match RequestedPath::of_path(&path) {
            Ok(requested) => access.locate_requested(&requested)?,
            // A file may have such a name.
            Err(_) => access.locate(path.as_os_str().as_bytes())?,
        };
        let registry = Registry::new(Arc::new(access), ROTATE_WAIT);
        let now = SystemTime::now();
        let instant = |moment: Option<Moment>| moment.map(|moment| moment.resolve(now, &ask.zone));
        let start = StreamRequest {
            history: ask.history,
            range: TimeRange {
                since: instant(ask.since),
                until: instant(ask.until),
                zone: ask.zone.clone(),
            },
            tail: ask.tail,
            wait: ask.tail && ask.wait,
            interpretation: Interpretation { encoding: ask.encoding, ..Interpretation::default() },
            ..StreamRequest::new(begin(&ask.begin))
        };
        let subscription = registry.join(&log, start.wait).await?;
        let viewer = Viewer::new(subscription, start, Arc::default(), |_| true).await;
        Ok(Self { viewer, _registry: registry, ended: false, has_begun: false })
    }

    /// The next event. Dropping the future loses nothing.
    pub async fn next(&mut self) -> FollowEvent {
        while !self.ended {
            let file = self.viewer.span().filter(|_| self.has_begun).and_then(|span| span.file());
            self.has_begun = false;
            if let Some(notice) = file.and_then(|file| file.notice()) {
                return FollowEvent::Notice { message: notice.to_string() };
            }
            let item = self.viewer.next().await;
            self.has_begun = matches!(item, Item::Open(_) | Item::Reset { .. });
            return match item {
                Item::Open(Opening {
                    generation,
                    from,
                    size,
                    recovered,
                    encoding,
                    is_container,
                    ..
                }) => FollowEvent::Opened {
                    generation: generation.to_string(),
                    from: from.0,
                    size,
                    recovered,
                    encoding: encoding.map(name_of),
                    container: is_container,
                },
                Item::Bytes { start, bytes } => FollowEvent::Bytes { offset: start.0, bytes },
                Item::Chunk(chunk) => {
                    FollowEvent::Bytes { offset: chunk.start.0, bytes: chunk.bytes.clone() }
                }
                Item::Gap { generation, from, to } => FollowEvent::Gap {
                    generation: generation.to_string(),
                    from: from.0,
                    to: to.map(|to| to.0),
                },
                Item::Reset { generation, from, reason, encoding, is_container } => {
                    FollowEvent::Reset {
                        generation: generation.to_string(),
                        from: from.0,
                        reason: reason.into(),
                        encoding: encoding.map(name_of),
                        container: is_container,
                    }
                }
                Item::Waiting(reason) => FollowEvent::Waiting { reason: reason.into() },
                Item::CaughtUp | Item::Signed(_) => continue,
                Item::End(_) => {
                    self.ended = true;
                    break;
                }
            };
        }
        FollowEvent::End
    }
}

fn name_of(encoding: Encoding) -> String {
    encoding.name().to_owned()
}

fn begin(begin: &StartAt) -> session::StartAt {
    match begin {
        StartAt::Lines(lines) => session::StartAt::Lines(*lines),
        StartAt::All => session::StartAt::All,
        StartAt::From(Position { generation, offset }) => session::StartAt::From {
            offset: Offset(*offset),
            of: generation.parse().map_or(WantedGeneration::Nothing, WantedGeneration::Generation),
            otherwise: None,
        },
    }
}

/// The absolute path. Only the directory is resolved, for `..` after a link. The name itself may be
/// a link that will point elsewhere, or may not exist yet.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) => {
            Ok(directory.canonicalize().map_or_else(|_| path.clone(), |real| real.join(name)))
        }
        _ => Ok(path),
    }
}
