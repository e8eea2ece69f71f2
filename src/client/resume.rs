//! The positions to resume from: in the present file, and in files that were rotated away.
//!
//! A writer may continue to write to a rotated file for some seconds. A client that reconnects
//! sends its positions in those files as well, so that it misses none of their late bytes.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Position, Reason};
use crate::wire::request::LATE_MAX;

/// How long late bytes may arrive for a rotated file. By default servers watch it for 5 s.
const LATE_TIME: Duration = Duration::from_secs(10);

/// The positions that a new connection sends.
pub(super) struct ResumeState {
    /// The position after the bytes so far.
    pub(super) position: Option<Position>,
    /// While late bytes arrive: the position in the present file.
    present_at: Option<Position>,
    /// The positions in rotated files, the oldest first, and until when each matters.
    late: Vec<(Position, Instant)>,
}

impl ResumeState {
    pub(super) fn new(position: Option<Position>) -> Self {
        Self { position, present_at: None, late: Vec::new() }
    }

    /// A stream was opened.
    pub(super) fn open(&mut self, position: Position) {
        self.position = Some(position);
    }

    /// The present generation has another text from now on.
    pub(super) fn rename(&mut self, generation: String) {
        let Some(position) = &mut self.position else { return };
        let known = std::mem::replace(&mut position.generation, generation);
        // While late bytes arrive: the position is remembered under the new text at the next reset.
        self.late.retain(|(late, _)| !is_same(&late.generation, &known));
    }

    /// The stream continues in another file.
    pub(super) fn on_reset(&mut self, position: &Position, reason: Reason) {
        let left = self.position.replace(position.clone());
        let is_elsewhere = |left: &Position| !is_same(&left.generation, &position.generation);
        let is_same = left.as_ref().is_some_and(|left| !is_elsewhere(left));
        match reason {
            // Late bytes of one file may be followed by those of another.
            Reason::Late if self.present_at.is_some() => self.remember(left.filter(|_| !is_same)),
            Reason::Late => self.present_at = left,
            // The stream can't start at the requested position. The file is the same.
            Reason::Replaced if is_same => {}
            Reason::Rotated | Reason::Replaced | Reason::Back => {
                self.late.retain(|(late, _)| is_elsewhere(late));
                let present_at = self.present_at.take();
                self.remember(present_at.filter(is_elsewhere));
                self.remember(left.filter(|_| !is_same));
            }
            _ => {}
        }
    }

    /// The connection is lost. A new one continues in the present file, and asks for the rest of
    /// the late bytes.
    pub(super) fn on_disconnect(&mut self) {
        if let Some(present_at) = self.present_at.take() {
            let late = self.position.replace(present_at);
            self.remember(late);
        }
    }

    /// The positions in rotated files that still matter.
    pub(super) fn late(&self) -> impl Iterator<Item = &Position> {
        let now = Instant::now();
        self.late.iter().filter(move |(_, until)| now < *until).map(|(late, _)| late)
    }

    fn remember(&mut self, left: Option<Position>) {
        let Some(left) = left else { return };
        self.late.retain(|(late, _)| !is_same(&late.generation, &left.generation));
        self.late.push((left, Instant::now() + LATE_TIME));
        if self.late.len() > LATE_MAX {
            self.late.remove(0);
        }
    }
}

/// Whether two texts name the same generation. The part after the third dash is a signature, which
/// can grow with the file.
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

    fn late(state: &ResumeState) -> Vec<String> {
        state.late().map(|at| format!("{}:{}", at.generation, at.offset)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_rotated_file_is_remembered_for_its_time() {
        let mut place = ResumeState::new(Some(at("a", 1)));
        place.on_reset(&at("b", 0), Reason::Rotated);
        place.position = Some(at("b", 2));
        tokio::time::advance(LATE_TIME / 2).await;
        place.on_reset(&at("c", 0), Reason::Rotated);
        assert_eq!(late(&place), ["a:1", "b:2"]);
        // The connection is lost among late bytes of both files.
        place.on_reset(&at("a", 1), Reason::Late);
        place.position = Some(at("a", 5));
        place.on_reset(&at("b", 2), Reason::Late);
        place.position = Some(at("b", 7));
        place.on_disconnect();
        assert_eq!(place.position, Some(at("c", 0)));
        assert_eq!(late(&place), ["a:5", "b:7"]);
        tokio::time::advance(LATE_TIME).await;
        assert_eq!(late(&place), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_four_rotated_files_are_remembered_and_not_the_present_one() {
        let mut place = ResumeState::new(Some(at("a", 1)));
        for next in ["b", "c", "d", "e", "f"] {
            place.on_reset(&at(next, 0), Reason::Rotated);
        }
        assert_eq!(late(&place), ["b:0", "c:0", "d:0", "e:0"]);
        place.on_reset(&at("d", 0), Reason::Back);
        assert_eq!(late(&place), ["b:0", "c:0", "e:0", "f:0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_renamed_among_its_late_bytes_is_remembered_once() {
        let mut place = ResumeState::new(Some(at("a", 1)));
        place.on_reset(&at("b", 0), Reason::Rotated);
        place.on_reset(&at("a", 1), Reason::Late);
        place.rename("a signed".to_owned());
        place.on_reset(&at("b", 0), Reason::Back);
        assert_eq!(late(&place), ["a signed:1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_grew_unseen_among_late_bytes_is_recognised() {
        let mut place = ResumeState::new(Some(at("a", 1)));
        place.on_reset(&at("1-2-3-0-0", 0), Reason::Rotated);
        place.on_reset(&at("a", 1), Reason::Late);
        place.on_reset(&at("1-2-3-7-8", 0), Reason::Back);
        assert_eq!(late(&place), ["a:1"]);
        place.on_reset(&at("1-2-4-7-8", 0), Reason::Rotated);
        assert_eq!(late(&place), ["a:1", "1-2-3-7-8:0"]);
    }

    /// What a server does, or what happens to the connection.
    #[derive(Clone, Debug)]
    enum Step {
        Bytes(u64),
        Rotated,
        Truncated,
        /// Late bytes of a rotated file; 0 is the most recent.
        Late(usize, u64),
        Back,
        /// The connection is lost. The next one delivers this many late bytes of each file.
        Lost(u64),
        Seconds(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..9u64).prop_map(Step::Bytes),
            Just(Step::Rotated),
            Just(Step::Truncated),
            (0..6usize, 1..9u64).prop_map(|(file, bytes)| Step::Late(file, bytes)),
            Just(Step::Back),
            (0..9u64).prop_map(Step::Lost),
            (1..6u64).prop_map(Step::Seconds),
        ]
    }

    /// The server's side, and how far each file was delivered.
    struct Model {
        place: ResumeState,
        /// For each file: how far it was delivered, and when it was left.
        files: Vec<(u64, Option<Instant>)>,
        /// Truncated files, of which no more bytes come.
        cut: Vec<usize>,
        present: usize,
        /// The file whose bytes arrive.
        at: usize,
    }

    impl Model {
        fn on_reset(&mut self, to: usize, reason: Reason) {
            self.files.resize(self.files.len().max(to + 1), (0, None));
            if self.at != to {
                self.files[self.at].1 = Some(Instant::now());
            }
            self.at = to;
            self.place.on_reset(&at(&to.to_string(), self.files[to].0), reason);
        }

        fn bytes(&mut self, bytes: u64) {
            self.files[self.at].0 += bytes;
            self.place.position.as_mut().unwrap().offset += bytes;
        }

        fn back(&mut self) {
            if self.at != self.present {
                self.on_reset(self.present, Reason::Back);
            }
        }

        /// Checks the positions that a new connection sends: the present file and the rotated ones,
        /// each once and as far as it was delivered. A file is left out only if no late bytes can
        /// arrive for it, or the server no longer watches it.
        fn lose(&mut self, bytes: u64) {
            self.files[self.at].1 = Some(Instant::now());
            self.at = self.present;
            self.place.on_disconnect();
            let model = |file: usize| at(&file.to_string(), self.files[file].0);
            assert_eq!(self.place.position, Some(model(self.present)));
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
                assert_eq!(**late, model(file));
                assert_eq!(
                    named.iter().filter(|other| other.generation == late.generation).count(),
                    1
                );
            }
            // Of files that were left at the same time any may be dropped first.
            let oldest =
                due.get(LATE_MAX.min(due.len()).wrapping_sub(1)).map(|&file| self.files[file].1);
            for &file in &due {
                let is_named = named.iter().any(|late| **late == model(file));
                assert!(
                    is_named || Some(self.files[file].1) <= oldest,
                    "{file} of {due:?}: {named:?}"
                );
            }
            let named: Vec<usize> =
                named.iter().map(|late| late.generation.parse().unwrap()).collect();
            self.place.open(model(self.present));
            for file in named.into_iter().filter(|_| bytes > 0) {
                self.on_reset(file, Reason::Late);
                self.bytes(bytes);
            }
            self.back();
        }
    }

    proptest! {
        /// Whatever happens, a new connection sends positions with which no byte is missed or
        /// repeated.
        #[test]
        fn a_new_connection_continues_where_the_last_one_ended(steps in prop::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let place = ResumeState::new(Some(at("0", 0)));
                let mut model = Model { place, files: vec![(0, None)], cut: Vec::new(), present: 0, at: 0 };
                for step in steps {
                    match step {
                        Step::Bytes(bytes) => model.bytes(bytes),
                        Step::Rotated | Step::Truncated => {
                            model.back();
                            let reason = if matches!(step, Step::Rotated) {
                                Reason::Rotated
                            } else {
                                model.cut.push(model.present);
                                Reason::Truncated
                            };
                            model.present = model.files.len();
                            model.on_reset(model.present, reason);
                        }
                        Step::Late(file, bytes) => {
                            let before = (0..model.files.len()).rev();
                            let file = before.filter(|file| *file != model.present && !model.cut.contains(file)).nth(file);
                            if let Some(file) = file.filter(|file| *file != model.at) {
                                model.on_reset(file, Reason::Late);
                                model.bytes(bytes);
                            }
                        }
                        Step::Back => model.back(),
                        Step::Lost(bytes) => model.lose(bytes),
                        Step::Seconds(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                    }
                }
                model.lose(0);
            });
        }
    }
}
