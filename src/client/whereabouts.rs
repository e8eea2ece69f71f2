//! Where a viewer of a server is, in the file that is told and in the one before.
//!
//! A writer may stay with a file that was rotated away. Who comes back says how far it had that one as well, for as long
//! as such bytes may come; or else those that came meanwhile would be missed.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Position, Reason};

/// So long after a turn bytes may still come to the file before: servers hear it for five seconds, unless told otherwise.
const LATE_TIME: Duration = Duration::from_secs(10);

/// What is kept of the messages.
pub(super) struct Whereabouts {
    /// After what has been told so far.
    pub(super) position: Option<Position>,
    /// Among late bytes: where the present file goes on after them.
    home: Option<Position>,
    /// How far the file before was told, and until when it matters.
    late: Option<(Position, Instant)>,
}

impl Whereabouts {
    pub(super) fn new(position: Option<Position>) -> Self {
        Self { position, home: None, late: None }
    }

    /// A stream has been opened.
    pub(super) fn open(&mut self, position: Position) {
        self.position = Some(position);
    }

    /// It goes on elsewhere.
    pub(super) fn turn(&mut self, position: &Position, reason: Reason) {
        let left = self.position.replace(position.clone());
        match reason {
            Reason::Late => self.home = self.home.take().or(left),
            // The position could not be honoured: that is no turn.
            Reason::Replaced
                if left.as_ref().is_some_and(|left| left.generation == position.generation) => {}
            Reason::Rotated | Reason::Replaced | Reason::Back => {
                self.home = None;
                self.late = left
                    .filter(|left| left.generation != position.generation)
                    .map(|left| (left, Instant::now() + LATE_TIME));
            }
            _ => {}
        }
    }

    /// The connection is gone: among late bytes it goes on in the present file, and with what is left of them.
    pub(super) fn part(&mut self) {
        if let Some(home) = self.home.take() {
            let late = self.position.replace(home);
            self.late = late.map(|late| (late, Instant::now() + LATE_TIME));
        }
    }

    /// How far the file before was told, while it matters.
    pub(super) fn late(&self) -> Option<&Position> {
        let (late, until) = self.late.as_ref()?;
        (Instant::now() < *until).then_some(late)
    }
}
