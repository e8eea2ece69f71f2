//! Broadcast groups: one session serves many viewers. Viewers of one log and form that have
//! received the same bytes receive the same messages from then on.

use crate::log::{Generation, LogPath, Presence, TimelinePosition};
use crate::render::Interpretation;
use crate::wire::frame::Form;

/// The position of a session. The viewers of sessions at the same position have received the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPosition {
    position: TimelinePosition,
    /// The generation, under the name that the viewers know.
    generation: Generation,
}

impl GroupPosition {
    pub(super) fn new((position, generation): (TimelinePosition, Generation)) -> Self {
        Self { position, generation }
    }

    /// Whether this position is further on than the other one.
    #[must_use]
    pub fn is_beyond(&self, other: &Self) -> bool {
        let order = |at: &Self| (at.position.span, at.position.offset);
        order(self) > order(other)
    }
}

/// What is kept of a session while another one serves its viewer: with what the sessions of its group
/// have in common, enough to continue. There is one for each viewer, so it is small.
#[derive(Debug)]
pub struct Detached {
    pub(super) presence: Presence,
    pub(super) skip: bool,
}

/// What the sessions of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// The log.
    pub log: LogPath,
    /// The form of their messages.
    pub form: Form,
    /// How they have the log understood.
    pub interpretation: Interpretation,
    /// Whether they are sent `signed` messages.
    pub signed: bool,
    /// Whether they are told who views the log.
    pub audience: bool,
    /// Whether they want files that were missed while the log was followed.
    pub history: bool,
}
