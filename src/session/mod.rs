//! One viewer, from joining to leaving, whatever transport carries its messages.
//!
//! A [`cursor`] is the viewer's position in the log, and decides what the viewer does next. A
//! [`viewer`] drives it: it reads the file while it is behind, and takes the shared chunks while it
//! keeps up. A [`session`] turns the items of the viewer into messages, with a [`renderer`]. The
//! [`fanout`] renders each chunk once for all viewers of a log and form, and keeps the [`pieces`] for
//! those that are behind. [`checkpoints`] of the
//! terminal state let a viewer start in the middle. The [`hub`] starts sessions, and a [`group`] of
//! viewers at the same position is served by one session. The [`backlog`] says how far one is behind. The
//! [`audience`] of a log is who views it now.
//!
//! Nothing here knows how messages travel.

pub mod audience;
pub mod backlog;
pub mod checkpoints;
pub mod cursor;
pub mod fanout;
pub mod group;
pub mod hub;
pub mod merge;
pub mod pieces;
pub mod reads;
pub mod renderer;
#[expect(clippy::module_inception, reason = "the session is what the room is named after")]
pub mod session;
#[cfg(test)]
mod tests;
pub mod viewer;

pub use crate::wire::frame::Form;
pub use crate::wire::request::{StartAt, StreamRequest, WantedGeneration};
pub use audience::{AudienceMember, Audiences};
pub use backlog::Backlog;
pub use cursor::Ending;
pub use group::{Detached, GroupKey, GroupPosition};
pub use hub::Hub;
pub use pieces::Behind;
pub use session::{Output, Session};
pub use viewer::SavedCursor;
