//! A file that is followed in this process, without a server.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::client::{Ask, Begin, Heard, Position, Refused};
use crate::log::registry::ROTATE_WAIT;
use crate::log::{Access, Offset, Registry};
use crate::session::start::Of;
use crate::session::viewer::{Item, Opening, Viewer};
use crate::session::{self, Start};

/// A viewer of a file of this machine. Whatever this user may read can be followed.
pub struct Local {
    viewer: Viewer,
    /// Keeps the followers.
    _registry: Arc<Registry>,
    ended: bool,
}

impl Local {
    /// Joins the log at this path. Its bytes come as they are, whatever `ask.format` says.
    ///
    /// # Errors
    /// When it can't be followed, or is not there and `ask.wait` is off.
    pub async fn join(path: &Path, ask: &Ask) -> Result<Self, Refused> {
        let path = absolute(path).map_err(|_| Refused::NotFound)?;
        let access = Access::new(["/"]).map_err(|_| Refused::Unreadable)?;
        let log = access.locate(path.as_os_str().as_bytes())?;
        let registry = Registry::new(Arc::new(access), ROTATE_WAIT);
        let start = Start {
            begin: begin(&ask.begin),
            late: Vec::new(),
            tail: ask.tail,
            wait: ask.tail && ask.wait,
            skip: false,
            signed: false,
        };
        let subscription = registry.join(&log, start.wait).await?;
        let viewer = Viewer::new(subscription, start).await;
        Ok(Self { viewer, _registry: registry, ended: false })
    }

    /// What comes next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Heard {
        while !self.ended {
            return match self.viewer.next().await {
                Item::Open(Opening { generation, from, size, recovered, .. }) => Heard::Opened {
                    generation: generation.to_string(),
                    from: from.0,
                    size,
                    recovered,
                },
                Item::Bytes { start, bytes } => Heard::Bytes { offset: start.0, bytes },
                Item::Chunk(chunk) => {
                    Heard::Bytes { offset: chunk.start.0, bytes: chunk.bytes.clone() }
                }
                Item::Gap { generation, from, to } => Heard::Gap {
                    generation: generation.to_string(),
                    from: from.0,
                    to: to.map(|to| to.0),
                },
                Item::Reset { generation, from, reason } => Heard::Reset {
                    generation: generation.to_string(),
                    from: from.0,
                    reason: reason.into(),
                },
                Item::Waiting(reason) => Heard::Waiting { reason: reason.into() },
                Item::CaughtUp | Item::Signed(_) => continue,
                Item::End(_) => {
                    self.ended = true;
                    break;
                }
            };
        }
        Heard::End
    }
}

fn begin(begin: &Begin) -> session::Begin {
    match begin {
        Begin::Lines(lines) => session::Begin::Lines(*lines),
        Begin::All => session::Begin::All,
        Begin::From(Position { generation, offset }) => session::Begin::From {
            offset: Offset(*offset),
            of: generation.parse().map_or(Of::Nothing, Of::Generation),
            otherwise: None,
        },
    }
}

/// The path from the root. Only its directory is looked up, for `..` after a link: the name itself may be a link that
/// will lead elsewhere, or may not be there yet.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) => {
            Ok(directory.canonicalize().map_or_else(|_| path.clone(), |real| real.join(name)))
        }
        _ => Ok(path),
    }
}
