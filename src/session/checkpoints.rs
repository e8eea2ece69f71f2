//! What the terminal of a log was like, here and there along what has been seen of it.
//!
//! Whoever renders a log leaves a copy of its terminal behind from time to time. Who starts in the middle takes the copy
//! before its place, feeds it the bytes between the two, and goes on as if it had seen all that was before: colours that
//! were switched on, groups that were opened, and rows that are drawn again.
//!
//! A copy knows where its terminal began with nothing. Of two for the same stretch the one that began earlier knows
//! more. The copies of a log are bounded by their weight: far behind the end they stand further apart.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::log::Offset;
use crate::log::file::LogFile;
use crate::render::Terminal;
use crate::session::viewer::read;

/// The distance of copies, in bytes of log.
pub const STATE_DISTANCE: u64 = 256 * 1024;

/// What the copies of one log weigh at most, in bytes. A usual one has 64 rows and weighs 12 KiB.
pub const STATES_BYTES_MAX: usize = 1024 * 1024;

/// So many bytes of log are fed to a copy at most. Where there is none so near, a start begins with nothing.
pub const REPLAY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// So many of them are read and fed at once.
const REPLAY_PIECE_BYTES: usize = 256 * 1024;

/// Replays at the same time, in the whole process. Each takes a thread for as long as it reads.
static REPLAYS: Semaphore = Semaphore::const_new(4);

/// A terminal, and where it began with nothing.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// It has seen everything from `origin` on.
    pub terminal: Terminal,
    /// Where it began.
    pub origin: Offset,
}

impl Checkpoint {
    /// A terminal that begins here.
    #[must_use]
    pub fn new(at: Offset) -> Self {
        Self { terminal: Terminal::new(at.0), origin: at }
    }

    /// The next byte that it has to see.
    #[must_use]
    pub fn at(&self) -> Offset {
        Offset(self.terminal.at())
    }

    /// Shows it the file up to there. None when the file has not so many bytes any more.
    fn see(mut self, file: &LogFile, to: Offset) -> io::Result<Option<Self>> {
        while self.at() < to {
            let left = usize::try_from(to.0 - self.at().0).unwrap_or(usize::MAX);
            let bytes = file.read_at(self.at(), left.min(REPLAY_PIECE_BYTES))?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.terminal.feed(&bytes);
        }
        Ok(Some(self))
    }
}

/// The state at a place, from one that is known before it; without one, that of a terminal which has seen what stands
/// before the place in its row.
pub(super) async fn replay(
    known: Option<Checkpoint>,
    file: &Arc<LogFile>,
    at: Offset,
) -> Checkpoint {
    let Ok(_turn) = REPLAYS.acquire().await else { return Checkpoint::new(at) };
    let replaying = read(file, move |file| {
        if let Some(known) = known
            && let Some(state) = known.see(file, at)?
        {
            return Ok(Some(state));
        }
        Checkpoint::new(file.row_start(at)?).see(file, at)
    });
    replaying.await.ok().flatten().unwrap_or_else(|| Checkpoint::new(at))
}

#[derive(Debug)]
struct Kept {
    span: u64,
    state: Checkpoint,
    weight: usize,
}

impl Kept {
    fn at(&self) -> (u64, u64) {
        (self.span, self.state.terminal.at())
    }
}

/// The copies of one log.
#[derive(Debug)]
pub struct Checkpoints {
    distance: u64,
    bytes_max: usize,
    kept: Mutex<Copies>,
}

#[derive(Debug, Default)]
struct Copies {
    /// In the order of their places.
    along: Vec<Kept>,
    /// The last place that was asked for: many who come back at the same time stand at the same place.
    asked: Option<Kept>,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self::new(STATE_DISTANCE, STATES_BYTES_MAX)
    }
}

impl Checkpoints {
    /// None yet. They will be so far from each other and weigh at most so much.
    #[must_use]
    pub fn new(distance: u64, bytes_max: usize) -> Self {
        Self { distance, bytes_max, kept: Mutex::default() }
    }

    /// Where the next copy is due, for a terminal that stands there.
    #[must_use]
    pub fn due_after(&self, at: Offset) -> Offset {
        Offset((at.0 / self.distance + 1) * self.distance)
    }

    /// Keeps a copy, unless there is one nearby that has seen as much.
    pub fn keep(&self, span: u64, state: &Checkpoint) {
        let at = (span, state.terminal.at());
        let mut copies = self.copies();
        let is_near = |kept: &Kept| {
            kept.span == span && kept.at().1.abs_diff(at.1) < self.distance.div_ceil(2)
        };
        let knows_as_much = |kept: &Kept| is_near(kept) && kept.state.origin <= state.origin;
        if copies.along.iter().any(knows_as_much) {
            return;
        }
        copies.along.retain(|kept| !is_near(kept));
        let first = copies.along.partition_point(|kept| kept.at() < at);
        let kept = Kept { span, weight: state.terminal.weight(), state: state.clone() };
        copies.along.insert(first, kept);
        copies.thin_out(self.bytes_max, self.distance);
    }

    /// Keeps a copy of the place that was asked for last.
    pub fn keep_asked(&self, span: u64, state: &Checkpoint) {
        let weight = state.terminal.weight();
        let kept = Kept { span, weight, state: state.clone() };
        self.copies().asked = Some(kept).filter(|kept| kept.weight <= self.bytes_max / 4);
    }

    /// The copy from which the state at a place is found out: of those that are near enough, the nearest of those that
    /// have seen most.
    #[must_use]
    pub fn before(&self, span: u64, at: Offset) -> Option<Checkpoint> {
        let copies = self.copies();
        let all = copies.along.iter().chain(&copies.asked);
        let near = all.filter(|kept| {
            let distance = at.0.checked_sub(kept.at().1);
            kept.span == span && distance.is_some_and(|distance| distance <= REPLAY_BYTES_MAX)
        });
        near.min_by_key(|kept| (kept.state.origin, at.0 - kept.at().1))
            .map(|kept| kept.state.clone())
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copies {
    /// Drops the copies that will be missed least, until the others weigh no more than they may: first those of earlier
    /// spans, then the one whose loss leaves the shortest gap for how far it is from the end.
    fn thin_out(&mut self, bytes_max: usize, distance: u64) {
        let mut weight: usize = self.along.iter().map(|kept| kept.weight).sum();
        while weight > bytes_max {
            let Some(last) = self.along.last().map(Kept::at) else { return };
            let dropped = match self.along.first() {
                Some(first) if first.span < last.0 => 0,
                _ => {
                    let missed = |i: usize| {
                        let [before, here, after] = [i - 1, i, i + 1].map(|i| self.along[i].at().1);
                        (after - before) as f64 / (last.1 - here + distance) as f64
                    };
                    // The first is light, and the last is the one that is needed next.
                    let others = 1..self.along.len().saturating_sub(1);
                    others.min_by(|&a, &b| missed(a).total_cmp(&missed(b))).unwrap_or(0)
                }
            };
            weight -= self.along.remove(dropped).weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::render::{Patch, Row};
    use crate::session::renderer::Renderer;
    use crate::wire::frame::Form;

    fn apply(rows: &mut Vec<Row>, patch: &Patch<'_>) {
        rows.retain(|row| row.offset < patch.from);
        rows.extend(patch.rows().cloned());
    }

    /// The rows that a viewer has who was shown the screen and then the rest of the log.
    fn rows_after(mut terminal: Terminal, rest: &[u8]) -> Vec<Row> {
        let mut rows = Vec::new();
        apply(&mut rows, &terminal.screen());
        apply(&mut rows, &terminal.feed(rest));
        rows
    }

    /// What is on its way in a log: colours, links, groups, a place that was saved, something that is drawn again.
    fn log() -> impl Strategy<Value = Vec<u8>> {
        let under_way = prop::sample::select(vec![
            "\x1b[31m",
            "\x1b[1;44m",
            "\x1b[m",
            "\x1b]8;;http://a/\x1b\\",
            "\x1b]8;;\x07",
            "::group::a\n",
            "::endgroup::\n",
            "section_start:1:s\r",
            "section_end:1:s\r",
            "\x1b7",
            "\x1b8",
            "\x1b[3A",
            "\x1b[2B",
            "\x1b[5;2H",
            "\x1b[2J",
            "\x1b[?1049h",
            "\x1b[?1049l",
            "\x1b(0",
            "\x1b[1;9r",
            "\x1b[12G",
            "\r",
            "\x1b[K",
            "\x1b]0;title",
            "\x1bP",
            "\x1b[38;5",
            "é漢",
        ]);
        let piece = prop_oneof![
            3 => "[a-z ]{1,30}".prop_map(String::into_bytes),
            2 => Just(b"\n".to_vec()),
            3 => under_way.prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 1..80).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// However a log comes in, whoever starts inside of what was seen gets the rows of one who saw it all.
        #[test]
        fn a_start_in_the_middle_is_as_if_all_had_been_seen(
            log in log(), pieces in prop::collection::vec(1_usize..90, 1..20), distance in 1_u64..200, start: prop::sample::Index,
        ) {
            let states = Arc::new(Checkpoints::new(distance, usize::MAX));
            let mut painter = Renderer::new(1, Checkpoint::new(Offset(0)), Form::Rows, &states);
            let mut rest = &log[..];
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at(*piece.min(&rest.len()));
                painter.paint(now, Form::Rows, usize::MAX);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let (seen, to_come) = log.split_at(start.index(log.len() + 1));
            let at = Offset(seen.len() as u64);
            let mut state = states.before(1, at).expect("all of it was seen");
            prop_assert!(at.0 - state.at().0 <= 2 * distance + 90, "{:?} for {at:?}", state.at());
            state.terminal.feed(&seen[usize::try_from(state.at().0).unwrap()..]);
            let mut whole = Terminal::new(0);
            whole.feed(seen);
            prop_assert_eq!(rows_after(state.terminal, to_come), rows_after(whole, to_come));
        }
    }

    fn paint(states: &Arc<Checkpoints>, from: u64, log: &[u8]) {
        let mut painter = Renderer::new(1, Checkpoint::new(Offset(from)), Form::Rows, states);
        log.chunks(4096).for_each(|piece| drop(painter.paint(piece, Form::Rows, usize::MAX)));
    }

    #[test]
    fn who_has_seen_more_is_believed() {
        let states = Arc::new(Checkpoints::new(1000, usize::MAX));
        let log = b"a line of some log\n".repeat(1000);
        let origin = |at| states.before(1, Offset(at)).map(|state| state.origin);
        paint(&states, 9500, &log[9500..]);
        assert_eq!(
            (origin(9000), origin(9600), origin(15_000)),
            (None, Some(Offset(9500)), Some(Offset(9500)))
        );
        paint(&states, 5000, &log[5000..14_000]);
        assert_eq!(
            (origin(9600), origin(18_000)),
            (Some(Offset(5000)), Some(Offset(5000))),
            "from the better one on"
        );
        paint(&states, 16_000, &log[16_000..]);
        assert_eq!(origin(18_000), Some(Offset(5000)));
        assert_eq!(states.before(2, Offset(9600)).map(|state| state.origin), None, "another span");
    }

    #[test]
    fn the_copies_of_a_log_are_bounded_and_close_together_where_it_ends() {
        const BYTES_MAX: usize = 400_000;
        let plain =
            b"2026-03-14T15:09:26.123Z INFO  http::server request method=GET path=/api/v1/items\n"
                .repeat(40);
        let mut colourful = String::new();
        for i in 0..40 {
            writeln!(
                colourful,
                "\x1b]8;;http://{i}.example\x07\x1b[3{}m{i:060}\x1b[m\x1b]8;;\x07",
                i % 8
            )
            .unwrap();
        }
        let heavy = [b"\x1b[31ma\x1b[32mb".repeat(100), b"\n".to_vec()].concat();
        for log in [plain, colourful.into_bytes(), heavy] {
            let states = Arc::new(Checkpoints::new(4 * 1024, BYTES_MAX));
            let mut painter = Renderer::new(1, Checkpoint::new(Offset(0)), Form::Rows, &states);
            let mut at = 0;
            while at < 4 << 20 {
                painter.paint(&log, Form::Rows, usize::MAX);
                at += log.len() as u64;
                let weight: usize = states.copies().along.iter().map(|kept| kept.weight).sum();
                assert!(weight <= BYTES_MAX, "{weight} bytes at {at}");
            }
            let nearest = |at| states.before(1, Offset(at)).map(|state| at - state.at().0);
            if states.copies().along.len() > 4 {
                let near = nearest(at).unwrap();
                assert!(near <= 2 * 12 * 1024, "{near} bytes before the end");
                let far = nearest(at / 2).unwrap();
                assert!(far <= 1 << 20, "{far} bytes in the middle");
            }
        }
    }
}
