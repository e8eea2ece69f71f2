//! Where a viewer of a server is, in the file that is told and in those before.
//!
//! A writer may stay with a file that was rotated away. Who comes back says how far it had those as well, for as long
//! as such bytes may come; or else those that came meanwhile would be missed.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Position, Reason};
use crate::session::start::LATE_MAX;

/// So long after a turn bytes may still come to a file before: servers hear it for five seconds, unless told otherwise.
const LATE_TIME: Duration = Duration::from_secs(10);

/// What is kept of the messages.
pub(super) struct Whereabouts {
    /// After what has been told so far.
    pub(super) position: Option<Position>,
    /// Among late bytes: where the present file goes on after them.
    home: Option<Position>,
    /// How far the files before were told, the oldest first, and until when it matters.
    late: Vec<(Position, Instant)>,
}

impl Whereabouts {
    pub(super) fn new(position: Option<Position>) -> Self {
        Self { position, home: None, late: Vec::new() }
    }

    /// A stream has been opened.
    pub(super) fn open(&mut self, position: Position) {
        self.position = Some(position);
    }

    /// It goes on elsewhere.
    pub(super) fn turn(&mut self, position: &Position, reason: Reason) {
        let left = self.position.replace(position.clone());
        let is_same = left.as_ref().is_some_and(|left| left.generation == position.generation);
        match reason {
            // From late bytes it may go on to those of another file.
            Reason::Late if self.home.is_some() => self.keep(left.filter(|_| !is_same)),
            Reason::Late => self.home = left,
            // The position could not be honoured: that is no turn.
            Reason::Replaced if is_same => {}
            Reason::Rotated | Reason::Replaced | Reason::Back => {
                self.late.retain(|(late, _)| late.generation != position.generation);
                let home = self.home.take();
                self.keep(home.filter(|home| home.generation != position.generation));
                self.keep(left.filter(|_| !is_same));
            }
            _ => {}
        }
    }

    /// The connection is gone: among late bytes it goes on in the present file, and with what is left of them.
    pub(super) fn part(&mut self) {
        if let Some(home) = self.home.take() {
            let late = self.position.replace(home);
            self.keep(late);
        }
    }

    /// How far the files before were told, while it matters.
    pub(super) fn late(&self) -> impl Iterator<Item = &Position> {
        let now = Instant::now();
        self.late.iter().filter(move |(_, until)| now < *until).map(|(late, _)| late)
    }

    fn keep(&mut self, left: Option<Position>) {
        let Some(left) = left else { return };
        self.late.retain(|(late, _)| late.generation != left.generation);
        self.late.push((left, Instant::now() + LATE_TIME));
        if self.late.len() > LATE_MAX {
            self.late.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generation: &str, offset: u64) -> Position {
        Position { generation: generation.to_owned(), offset }
    }

    fn late(whereabouts: &Whereabouts) -> Vec<String> {
        whereabouts.late().map(|at| format!("{}:{}", at.generation, at.offset)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_file_before_is_kept_for_its_time() {
        let mut place = Whereabouts::new(Some(at("a", 1)));
        place.turn(&at("b", 0), Reason::Rotated);
        place.position = Some(at("b", 2));
        tokio::time::advance(LATE_TIME / 2).await;
        place.turn(&at("c", 0), Reason::Rotated);
        assert_eq!(late(&place), ["a:1", "b:2"]);
        // Among late bytes of both files, lost before it was back.
        place.turn(&at("a", 1), Reason::Late);
        place.position = Some(at("a", 5));
        place.turn(&at("b", 2), Reason::Late);
        place.position = Some(at("b", 7));
        place.part();
        assert_eq!(place.position, Some(at("c", 0)));
        assert_eq!(late(&place), ["a:5", "b:7"]);
        tokio::time::advance(LATE_TIME).await;
        assert_eq!(late(&place), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_are_heard_and_none_that_is_present() {
        let mut place = Whereabouts::new(Some(at("a", 1)));
        for next in ["b", "c", "d", "e", "f"] {
            place.turn(&at(next, 0), Reason::Rotated);
        }
        assert_eq!(late(&place), ["b:0", "c:0", "d:0", "e:0"]);
        place.turn(&at("d", 0), Reason::Back);
        assert_eq!(late(&place), ["b:0", "c:0", "e:0", "f:0"]);
    }
}
