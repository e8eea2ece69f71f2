//! Checkpoints: copies of a log's terminal state at some of its offsets.
//!
//! A renderer saves a checkpoint every [`CHECKPOINT_DISTANCE`] bytes. A viewer that starts in the
//! middle takes the checkpoint before its start and replays the bytes between the two. Then it
//! shows what a viewer shows that has seen everything: colours that were switched on, groups that
//! were opened, and rows that are drawn again.
//!
//! Each checkpoint has an `origin`, the offset at which its terminal began empty. Of two
//! checkpoints near each other the one with the earlier origin is kept. The checkpoints of a log
//! are bounded by their size: the further from the end of the log, the further apart they are.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::encoding::Detection;
use crate::log::Offset;
use crate::log::file::LogFile;
use crate::render::{Rendition, Size, Terminal};
use crate::session::reads::FileReads;

/// The distance of checkpoints, in bytes of log.
pub const CHECKPOINT_DISTANCE: u64 = 256 * 1024;

/// The most bytes of memory for the checkpoints of one log. A usual one has 64 rows and 12 KiB.
pub const CHECKPOINTS_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of log that are replayed. Where no checkpoint is near enough, a viewer starts
/// with an empty terminal.
pub const REPLAY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many bytes a replay reads at once.
const REPLAY_PIECE_BYTES: usize = 256 * 1024;

/// A terminal, and the offset at which it began empty.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The terminal, which has seen every byte from `origin` on.
    pub terminal: Terminal,
    /// Where it began empty.
    pub origin: Offset,
}

impl Checkpoint {
    /// An empty terminal at this offset of a log of this encoding.
    #[must_use]
    pub fn new(at: Offset, detection: Detection) -> Self {
        Self { terminal: Terminal::with_encoding(at.0, detection), origin: at }
    }

    /// The same state for programs that know this size of the screen, if one is known.
    #[must_use]
    pub fn on_screen(self, size: Option<Size>) -> Self {
        Self { terminal: self.terminal.on_screen(size), ..self }
    }

    /// This state if it is of the rendition, else an empty terminal at the same offset.
    #[must_use]
    pub fn of(self, rendition: Rendition) -> Self {
        if self.terminal.rendition() == rendition {
            return self;
        }
        Self { origin: self.at(), terminal: self.terminal.into_rendition(rendition) }
    }

    /// The offset after the last byte that the terminal has seen.
    #[must_use]
    pub fn at(&self) -> Offset {
        Offset(self.terminal.at())
    }

    /// Feeds the terminal from the file up to `to`. None when the file ends before that.
    fn replay_to(mut self, file: &LogFile, to: Offset) -> io::Result<Option<Self>> {
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

/// The terminal state at an offset, replayed from a checkpoint before it. Without a checkpoint, the
/// terminal has seen nothing but the beginning of the row that holds the offset.
pub(super) async fn replay(
    before: Option<Checkpoint>,
    reads: &FileReads,
    file: &Arc<LogFile>,
    at: Offset,
    detection: Detection,
    empty: impl Fn(Offset) -> Checkpoint,
) -> Checkpoint {
    let start = move |file: &LogFile| file.row_start(detection, at);
    let before = match before {
        Some(before) => {
            reads.run(file, move |file| before.replay_to(file, at)).await.ok().flatten()
        }
        None => None,
    };
    if let Some(state) = before {
        return state;
    }
    let Ok(start) = reads.run(file, start).await else { return empty(at) };
    let beginning = empty(start);
    let replayed = reads.run(file, move |file| beginning.replay_to(file, at)).await;
    replayed.ok().flatten().unwrap_or_else(|| empty(at))
}

#[derive(Debug)]
struct Kept {
    span: u64,
    state: Checkpoint,
    /// The size of the checkpoint, in bytes of memory.
    size: usize,
}

impl Kept {
    fn new(span: u64, state: &Checkpoint) -> Self {
        Self { span, size: state.terminal.weight(), state: state.clone() }
    }

    fn at(&self) -> (u64, u64) {
        (self.span, self.state.terminal.at())
    }
}

/// The checkpoints of one log.
#[derive(Debug)]
pub struct Checkpoints {
    distance: u64,
    bytes_max: usize,
    kept: Mutex<KeptCheckpoints>,
}

#[derive(Debug, Default)]
struct KeptCheckpoints {
    /// The checkpoints that are kept at a distance from each other, in order.
    spaced: Vec<Kept>,
    /// The one that was requested last. Viewers that reconnect at the same time are often at the
    /// same offset.
    requested: Option<Kept>,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self::new(CHECKPOINT_DISTANCE, CHECKPOINTS_BYTES_MAX)
    }
}

impl Checkpoints {
    /// No checkpoints yet. They will be `distance` bytes of log apart, and take at most `bytes_max`
    /// bytes of memory.
    #[must_use]
    pub fn new(distance: u64, bytes_max: usize) -> Self {
        Self { distance, bytes_max, kept: Mutex::default() }
    }

    /// The offset of the next checkpoint after this one.
    #[must_use]
    pub fn next_after(&self, at: Offset) -> Offset {
        Offset((at.0 / self.distance + 1) * self.distance)
    }

    /// Keeps a checkpoint, unless there is one nearby that has seen as much of the log.
    pub fn keep(&self, span: u64, state: &Checkpoint) {
        let at = (span, state.terminal.at());
        let mut checkpoints = self.kept.lock();
        let is_near = |kept: &Kept| {
            kept.span == span && kept.at().1.abs_diff(at.1) < self.distance.div_ceil(2)
        };
        let has_seen_as_much = |kept: &Kept| is_near(kept) && kept.state.origin <= state.origin;
        if checkpoints.spaced.iter().any(has_seen_as_much) {
            return;
        }
        checkpoints.spaced.retain(|kept| !is_near(kept));
        let place = checkpoints.spaced.partition_point(|kept| kept.at() < at);
        checkpoints.spaced.insert(place, Kept::new(span, state));
        checkpoints.thin_out(self.bytes_max, self.distance);
    }

    /// Keeps the checkpoint that was requested last.
    pub fn keep_requested(&self, span: u64, state: &Checkpoint) {
        let kept = Some(Kept::new(span, state));
        self.kept.lock().requested = kept.filter(|kept| kept.size <= self.bytes_max / 4);
    }

    /// The checkpoint from which to replay to an offset: of those that are near enough, the
    /// nearest of those with the earliest origin.
    #[must_use]
    pub fn before(&self, span: u64, at: Offset) -> Option<Checkpoint> {
        let checkpoints = self.kept.lock();
        let all = checkpoints.spaced.iter().chain(&checkpoints.requested);
        let near = all.filter(|kept| {
            let distance = at.0.checked_sub(kept.at().1);
            kept.span == span && distance.is_some_and(|distance| distance <= REPLAY_BYTES_MAX)
        });
        near.min_by_key(|kept| (kept.state.origin, at.0 - kept.at().1))
            .map(|kept| kept.state.clone())
    }
}

impl KeptCheckpoints {
    /// Drops checkpoints until the others fit `bytes_max`: first those of earlier spans, then those
    /// whose loss leaves the shortest gap in relation to their distance from the end.
    fn thin_out(&mut self, bytes_max: usize, distance: u64) {
        let mut size: usize = self.spaced.iter().map(|kept| kept.size).sum();
        while size > bytes_max {
            let Some(last) = self.spaced.last().map(Kept::at) else { return };
            let dropped = match self.spaced.first() {
                Some(first) if first.span < last.0 => 0,
                _ => {
                    let relative_gap = |i: usize| {
                        let [before, here, after] =
                            [i - 1, i, i + 1].map(|i| self.spaced[i].at().1);
                        (after - before) as f64 / (last.1 - here + distance) as f64
                    };
                    // The first is small, and the last is the one that is needed next.
                    let others = 1..self.spaced.len().saturating_sub(1);
                    others.min_by(|&a, &b| relative_gap(a).total_cmp(&relative_gap(b))).unwrap_or(0)
                }
            };
            size -= self.spaced.remove(dropped).size;
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

    fn empty(at: u64) -> Checkpoint {
        Checkpoint::new(Offset(at), Detection::default())
    }

    fn apply(rows: &mut Vec<Row>, patch: &Patch<'_>) {
        rows.retain(|row| row.offset < patch.from);
        rows.extend(patch.rows().cloned());
    }

    /// The rows of a viewer that was sent the screen and then the rest of the log.
    fn rows_after(mut terminal: Terminal, rest: &[u8]) -> Vec<Row> {
        let mut rows = Vec::new();
        apply(&mut rows, &terminal.screen());
        apply(&mut rows, &terminal.feed(rest));
        rows
    }

    /// A log with state that reaches over rows: colours, links, groups, saved cursors, redraws.
    fn log() -> impl Strategy<Value = Vec<u8>> {
        let stateful = prop::sample::select(vec![
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
            3 => stateful.prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 1..80).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// However the log was cut into pieces, a viewer that starts in the middle of the rendered
        /// part gets the same rows as a viewer that saw everything.
        #[test]
        fn a_start_in_the_middle_shows_what_a_viewer_of_everything_shows(
            log in log(),
            pieces in prop::collection::vec(1_usize..90, 1..20),
            distance in 1_u64..200,
            start: prop::sample::Index,
        ) {
            let checkpoints = Arc::new(Checkpoints::new(distance, usize::MAX));
            let mut renderer = Renderer::new(1, empty(0), Form::Rows, &checkpoints);
            let mut rest = &log[..];
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at(*piece.min(&rest.len()));
                renderer.render(now, Form::Rows, usize::MAX);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let (seen, to_come) = log.split_at(start.index(log.len() + 1));
            let at = Offset(seen.len() as u64);
            let mut state = checkpoints.before(1, at).expect("all of it was seen");
            prop_assert!(at.0 - state.at().0 <= 2 * distance + 90, "{:?} for {at:?}", state.at());
            state.terminal.feed(&seen[usize::try_from(state.at().0).unwrap()..]);
            let mut whole = Terminal::new(0);
            whole.feed(seen);
            prop_assert_eq!(rows_after(state.terminal, to_come), rows_after(whole, to_come));
        }
    }

    fn render(checkpoints: &Arc<Checkpoints>, from: u64, log: &[u8]) {
        let mut renderer = Renderer::new(1, empty(from), Form::Rows, checkpoints);
        log.chunks(4096).for_each(|piece| drop(renderer.render(piece, Form::Rows, usize::MAX)));
    }

    #[test]
    fn of_two_checkpoints_the_one_with_the_earlier_origin_counts() {
        let checkpoints = Arc::new(Checkpoints::new(1000, usize::MAX));
        let log = b"a line of some log\n".repeat(1000);
        let origin = |at| checkpoints.before(1, Offset(at)).map(|state| state.origin);
        render(&checkpoints, 9500, &log[9500..]);
        assert_eq!(
            (origin(9000), origin(9600), origin(15_000)),
            (None, Some(Offset(9500)), Some(Offset(9500)))
        );
        render(&checkpoints, 5000, &log[5000..14_000]);
        assert_eq!(
            (origin(9600), origin(18_000)),
            (Some(Offset(5000)), Some(Offset(5000))),
            "from the better one on"
        );
        render(&checkpoints, 16_000, &log[16_000..]);
        assert_eq!(origin(18_000), Some(Offset(5000)));
        assert_eq!(
            checkpoints.before(2, Offset(9600)).map(|state| state.origin),
            None,
            "another span"
        );
    }

    #[test]
    fn checkpoints_are_bounded_in_size_and_close_together_at_the_end_of_the_log() {
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
            let checkpoints = Arc::new(Checkpoints::new(4 * 1024, BYTES_MAX));
            let mut renderer = Renderer::new(1, empty(0), Form::Rows, &checkpoints);
            let mut at = 0;
            while at < 4 << 20 {
                renderer.render(&log, Form::Rows, usize::MAX);
                at += log.len() as u64;
                let kept = checkpoints.kept.lock();
                let size: usize = kept.spaced.iter().map(|kept| kept.size).sum();
                assert!(size <= BYTES_MAX, "{size} bytes at {at}");
            }
            let nearest = |at| checkpoints.before(1, Offset(at)).map(|state| at - state.at().0);
            if checkpoints.kept.lock().spaced.len() > 4 {
                let near = nearest(at).unwrap();
                assert!(near <= 2 * 12 * 1024, "{near} bytes before the end");
                let far = nearest(at / 2).unwrap();
                assert!(far <= 1 << 20, "{far} bytes in the middle");
            }
        }
    }
}
