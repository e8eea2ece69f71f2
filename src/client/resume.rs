//! Where a viewer of a server is, in the file that is told and in those before.
//!
//! A writer may stay with a file that was rotated away. Who comes back says how far it had those as well, for as long
//! as such bytes may come; or else those that came meanwhile would be missed.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Position, Reason};
use crate::wire::request::LATE_MAX;

/// So long after a turn bytes may still come to a file before: servers hear it for five seconds, unless told otherwise.
const LATE_TIME: Duration = Duration::from_secs(10);

/// What is kept of the messages.
pub(super) struct ResumeState {
    /// After what has been told so far.
    pub(super) position: Option<Position>,
    /// Among late bytes: where the present file goes on after them.
    home: Option<Position>,
    /// How far the files before were told, the oldest first, and until when it matters.
    late: Vec<(Position, Instant)>,
}

impl ResumeState {
    pub(super) fn new(position: Option<Position>) -> Self {
        Self { position, home: None, late: Vec::new() }
    }

    /// A stream has been opened.
    pub(super) fn open(&mut self, position: Position) {
        self.position = Some(position);
    }

    /// The file that is told has another name from now on.
    pub(super) fn sign(&mut self, generation: String) {
        let Some(position) = &mut self.position else { return };
        let known = std::mem::replace(&mut position.generation, generation);
        // Among late bytes: how far it was is kept when they are left, by the new name.
        self.late.retain(|(late, _)| !is_same(&late.generation, &known));
    }

    /// It goes on elsewhere.
    pub(super) fn turn(&mut self, position: &Position, reason: Reason) {
        let left = self.position.replace(position.clone());
        let is_elsewhere = |left: &Position| !is_same(&left.generation, &position.generation);
        let is_same = left.as_ref().is_some_and(|left| !is_elsewhere(left));
        match reason {
            // From late bytes it may go on to those of another file.
            Reason::Late if self.home.is_some() => self.keep(left.filter(|_| !is_same)),
            Reason::Late => self.home = left,
            // The position could not be honoured: that is no turn.
            Reason::Replaced if is_same => {}
            Reason::Rotated | Reason::Replaced | Reason::Back => {
                self.late.retain(|(late, _)| is_elsewhere(late));
                let home = self.home.take();
                self.keep(home.filter(is_elsewhere));
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
        self.late.retain(|(late, _)| !is_same(&late.generation, &left.generation));
        self.late.push((left, Instant::now() + LATE_TIME));
        if self.late.len() > LATE_MAX {
            self.late.remove(0);
        }
    }
}

/// Whether two texts name the same generation. Behind the third dash is its signature, which may have grown with the file.
fn is_same(one: &str, other: &str) -> bool {
    one.split('-').take(3).eq(other.split('-').take(3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(generation: &str, offset: u64) -> Position {
        Position { generation: generation.to_owned(), offset }
    }

    fn late(whereabouts: &ResumeState) -> Vec<String> {
        whereabouts.late().map(|at| format!("{}:{}", at.generation, at.offset)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_file_before_is_kept_for_its_time() {
        let mut place = ResumeState::new(Some(at("a", 1)));
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
        let mut place = ResumeState::new(Some(at("a", 1)));
        for next in ["b", "c", "d", "e", "f"] {
            place.turn(&at(next, 0), Reason::Rotated);
        }
        assert_eq!(late(&place), ["b:0", "c:0", "d:0", "e:0"]);
        place.turn(&at("d", 0), Reason::Back);
        assert_eq!(late(&place), ["b:0", "c:0", "e:0", "f:0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_signed_among_its_late_bytes_is_kept_once() {
        let mut place = ResumeState::new(Some(at("a", 1)));
        place.turn(&at("b", 0), Reason::Rotated);
        place.turn(&at("a", 1), Reason::Late);
        place.sign("a signed".to_owned());
        place.turn(&at("b", 0), Reason::Back);
        assert_eq!(late(&place), ["a signed:1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_grew_unseen_among_late_bytes_is_the_same_by_its_new_name() {
        let mut place = ResumeState::new(Some(at("a", 1)));
        place.turn(&at("1-2-3-0-0", 0), Reason::Rotated);
        place.turn(&at("a", 1), Reason::Late);
        place.turn(&at("1-2-3-7-8", 0), Reason::Back);
        assert_eq!(late(&place), ["a:1"]);
        place.turn(&at("1-2-4-7-8", 0), Reason::Rotated);
        assert_eq!(late(&place), ["a:1", "1-2-3-7-8:0"]);
    }

    /// What a server does, or what becomes of the connection.
    #[derive(Clone, Debug)]
    enum Happening {
        Bytes(u64),
        Rotated,
        Truncated,
        /// Late bytes of one of the files before, of which the first is the one before.
        Late(usize, u64),
        Back,
        /// The connection is lost, and another goes on with what it is told; the late bytes that it has.
        Lost(u64),
        Seconds(u64),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            (1..9u64).prop_map(Happening::Bytes),
            Just(Happening::Rotated),
            Just(Happening::Truncated),
            (0..6usize, 1..9u64).prop_map(|(file, bytes)| Happening::Late(file, bytes)),
            Just(Happening::Back),
            (0..9u64).prop_map(Happening::Lost),
            (1..6u64).prop_map(Happening::Seconds),
        ]
    }

    /// A server's part, and how far each file was told.
    struct Told {
        place: ResumeState,
        /// By the number of the file: how far it was told, and when it was left last.
        files: Vec<(u64, Option<Instant>)>,
        /// Files that were cut: nothing of them comes any more.
        cut: Vec<usize>,
        present: usize,
        /// The file of which bytes come.
        at: usize,
    }

    impl Told {
        fn turn(&mut self, to: usize, reason: Reason) {
            self.files.resize(self.files.len().max(to + 1), (0, None));
            if self.at != to {
                self.files[self.at].1 = Some(Instant::now());
            }
            self.at = to;
            self.place.turn(&at(&to.to_string(), self.files[to].0), reason);
        }

        fn bytes(&mut self, bytes: u64) {
            self.files[self.at].0 += bytes;
            self.place.position.as_mut().unwrap().offset += bytes;
        }

        fn back(&mut self) {
            if self.at != self.present {
                self.turn(self.present, Reason::Back);
            }
        }

        /// It names the present file and those before, each once and as far as it was told; none is left out of which
        /// late bytes may come and which the server would hear.
        fn lose(&mut self, bytes: u64) {
            self.files[self.at].1 = Some(Instant::now());
            self.at = self.present;
            self.place.part();
            let told = |file: usize| at(&file.to_string(), self.files[file].0);
            assert_eq!(self.place.position, Some(told(self.present)));
            let is_due = |&file: &usize| {
                let left = self.files[file].1;
                file != self.present
                    && !self.cut.contains(&file)
                    && left.is_some_and(|left| left.elapsed() < LATE_TIME)
            };
            let mut due: Vec<usize> = (0..self.files.len()).filter(is_due).collect();
            due.sort_by_key(|&file| std::cmp::Reverse(self.files[file].1));
            let named: Vec<&Position> = self.place.late().collect();
            assert!(named.len() <= LATE_MAX, "{named:?}");
            for late in &named {
                let file: usize = late.generation.parse().unwrap();
                assert_eq!(**late, told(file));
                assert_eq!(
                    named.iter().filter(|other| other.generation == late.generation).count(),
                    1
                );
            }
            // Of those that were left at the same time any may be forgotten first.
            let oldest =
                due.get(LATE_MAX.min(due.len()).wrapping_sub(1)).map(|&file| self.files[file].1);
            for &file in &due {
                let is_named = named.iter().any(|late| **late == told(file));
                assert!(
                    is_named || Some(self.files[file].1) <= oldest,
                    "{file} of {due:?}: {named:?}"
                );
            }
            let named: Vec<usize> =
                named.iter().map(|late| late.generation.parse().unwrap()).collect();
            self.place.open(told(self.present));
            for file in named.into_iter().filter(|_| bytes > 0) {
                self.turn(file, Reason::Late);
                self.bytes(bytes);
            }
            self.back();
        }
    }

    proptest! {
        /// Whatever comes, a viewer that comes back names what it has: nothing is missed then, and nothing comes twice.
        #[test]
        fn what_was_told_is_what_it_goes_on_from(happenings in prop::collection::vec(happening(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let place = ResumeState::new(Some(at("0", 0)));
                let mut told = Told { place, files: vec![(0, None)], cut: Vec::new(), present: 0, at: 0 };
                for happening in happenings {
                    match happening {
                        Happening::Bytes(bytes) => told.bytes(bytes),
                        Happening::Rotated | Happening::Truncated => {
                            told.back();
                            let reason = if matches!(happening, Happening::Rotated) {
                                Reason::Rotated
                            } else {
                                told.cut.push(told.present);
                                Reason::Truncated
                            };
                            told.present = told.files.len();
                            told.turn(told.present, reason);
                        }
                        Happening::Late(file, bytes) => {
                            let before = (0..told.files.len()).rev();
                            let file = before.filter(|file| *file != told.present && !told.cut.contains(file)).nth(file);
                            if let Some(file) = file.filter(|file| *file != told.at) {
                                told.turn(file, Reason::Late);
                                told.bytes(bytes);
                            }
                        }
                        Happening::Back => told.back(),
                        Happening::Lost(bytes) => told.lose(bytes),
                        Happening::Seconds(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                    }
                }
                told.lose(0);
            });
        }
    }
}
