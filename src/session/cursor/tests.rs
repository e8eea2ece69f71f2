//! Each transition of a cursor alone, and random sequences of transitions against a model.

use std::collections::VecDeque;
use std::time::SystemTime;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::log::access::Identity;
use crate::log::position::SIGNATURE_BYTES_MAX;

const FIRST: u64 = ROTATED_NUMBER_MAX + 1;

fn generation(nonce: u32) -> Generation {
    Generation::new(Identity { device: 1, inode: 1 }, nonce, &[b'x'; SIGNATURE_BYTES_MAX])
}

fn at(span: u64, offset: u64) -> SpanCursor<()> {
    let nonce = (span - ROTATED_NUMBER_MAX) as u32;
    let fingerprint = Fingerprint::at(Offset(offset));
    SpanCursor { handle: (), span, generation: generation(nonce), fingerprint }
}

fn open(end: u64) -> impl Fn(&()) -> SpanState {
    move |()| SpanState { closed: false, end: Offset(end), signed: generation(1) }
}

fn closed(end: u64) -> impl Fn(&()) -> SpanState {
    move |()| SpanState { closed: true, end: Offset(end), signed: generation(1) }
}

fn options() -> Options {
    Options { until: None, stop: None, signed: false, skip: false }
}

fn chunk(span: u64, start: u64, len: usize) -> Chunk {
    let (start, bytes) = (Offset(start), Bytes::from(vec![b'a'; len]));
    Chunk { span, start, bytes, written: SystemTime::UNIX_EPOCH }
}

fn bytes(len: usize) -> ReadOutcome {
    ReadOutcome::Bytes(Bytes::from(vec![b'a'; len]))
}

fn read(from: u64, to: u64) -> Step {
    Step::Read { from: Offset(from), to: Offset(to) }
}

fn reset(span: u64, from: u64, reason: Reason) -> Step {
    let generation = generation((span - ROTATED_NUMBER_MAX) as u32);
    Step::Reset { generation, from: Offset(from), reason }
}

fn gap(span: u64, from: u64, to: Option<u64>) -> Step {
    let generation = generation((span - ROTATED_NUMBER_MAX) as u32);
    Step::Gap { generation, from: Offset(from), to: to.map(Offset) }
}

/// A cursor in the first span whose start has been announced.
fn opened(options: Options, offset: u64) -> Cursor<()> {
    let mut cursor = Cursor::new(options, ROTATED_NUMBER_MAX);
    cursor.open_at(at(FIRST, offset), VecDeque::new(), true);
    let start = Step::Open { generation: generation(1), from: Offset(offset) };
    assert_eq!(cursor.step(open(offset)), start);
    cursor
}

/// A cursor in the first span that has everything.
fn live(options: Options, offset: u64) -> Cursor<()> {
    let mut cursor = opened(options, offset);
    assert_eq!(cursor.step(open(offset)), Step::CaughtUp);
    assert_eq!((cursor.mode(), cursor.step(open(offset))), (Mode::Live, Step::Wait));
    cursor
}

fn offset(cursor: &Cursor<()>) -> Option<(u64, u64)> {
    cursor.at().map(|at| (at.span, at.offset().0))
}

#[test]
fn a_viewer_that_joins_late_reads_to_the_end_and_is_then_live() {
    let mut cursor = opened(options(), 10);
    assert_eq!(cursor.step(open(30)), read(10, 30));
    assert_eq!(cursor.step(open(40)), read(10, 40), "a step that was not done is given again");
    assert_eq!(cursor.on_read(&bytes(25), Offset(40), false), Step::Deliver { skip: 0 });
    assert_eq!(cursor.step(open(40)), read(35, 40));
    assert_eq!(cursor.on_read(&bytes(5), Offset(40), false), Step::Deliver { skip: 0 });
    assert_eq!(cursor.step(open(40)), Step::CaughtUp);
    assert_eq!(cursor.step(open(40)), Step::Wait);
    assert!(cursor.is_idle(open(40)));
}

#[test]
fn chunks_are_dropped_cut_or_read_from_the_file_by_the_splice_rule() {
    for (name, chunk, step, mode, position) in [
        ("of an earlier span", chunk(ROTATED_NUMBER_MAX, 10, 3), Step::Continue, Mode::Live, 10),
        ("ends before the cursor", chunk(FIRST, 0, 9), Step::Continue, Mode::Live, 10),
        ("ends at the cursor", chunk(FIRST, 7, 3), Step::Continue, Mode::Live, 10),
        ("covers the cursor", chunk(FIRST, 8, 5), Step::Deliver { skip: 2 }, Mode::Live, 13),
        ("starts at the cursor", chunk(FIRST, 10, 5), Step::Deliver { skip: 0 }, Mode::Live, 15),
        ("starts after the cursor", chunk(FIRST, 11, 1), Step::Continue, Mode::CatchingUp, 10),
        ("of a later span", chunk(FIRST + 1, 0, 1), Step::Continue, Mode::CatchingUp, 10),
    ] {
        let mut cursor = live(options(), 10);
        assert_eq!(cursor.on_chunk(&chunk), step, "a chunk that {name}");
        assert_eq!((cursor.mode(), offset(&cursor)), (mode, Some((FIRST, position))), "{name}");
    }
    let mut behind = opened(options(), 10);
    assert_eq!(behind.on_chunk(&chunk(FIRST, 10, 5)), Step::Continue, "it reads the file instead");
    assert_eq!(offset(&behind), Some((FIRST, 10)));
}

#[test]
fn a_live_viewer_enters_the_next_span_without_a_read() {
    let mut cursor = live(options(), 10);
    assert_eq!(cursor.on_timeline(open(10)), Step::Continue);
    assert_eq!(cursor.on_timeline(closed(10)), Step::Enter { after: FIRST });
    let next = NextSpan::Span(at(FIRST + 1, 0), Reason::Rotated);
    assert_eq!(cursor.on_rotation(next), reset(FIRST + 1, 0, Reason::Rotated));
    assert_eq!((cursor.mode(), cursor.step(open(5))), (Mode::Live, Step::Wait));
    assert_eq!(cursor.on_chunk(&chunk(FIRST + 1, 0, 5)), Step::Deliver { skip: 0 });
    assert_eq!(cursor.on_timeline(closed(9)), Step::Continue, "the end is not there yet");
    assert_eq!(cursor.step(closed(9)), read(5, 9));
}

#[test]
fn a_viewer_whose_file_comes_to_be_followed_goes_on_in_it_at_its_position() {
    let mut cursor = Cursor::new(options(), ROTATED_NUMBER_MAX);
    cursor.open_at(SpanCursor { span: 1, ..at(FIRST, 10) }, VecDeque::new(), true);
    cursor.step(closed(10));
    assert_eq!(cursor.step(closed(10)), Step::Enter { after: 1 });
    assert_eq!(cursor.on_same_file(FIRST, ()), Step::Continue);
    assert_eq!((cursor.step(open(15)), offset(&cursor)), (read(10, 15), Some((FIRST, 10))));
    assert_eq!(cursor.on_read(&bytes(5), Offset(15), false), Step::Deliver { skip: 0 });
    assert_eq!(cursor.step(open(15)), Step::CaughtUp);
    assert_eq!(cursor.on_chunk(&chunk(FIRST, 15, 5)), Step::Deliver { skip: 0 });
}

#[test]
fn spans_that_were_forgotten_are_a_gap_before_the_reset() {
    let mut cursor = opened(options(), 10);
    assert_eq!(cursor.step(closed(10)), Step::Enter { after: FIRST });
    let next = NextSpan::Span(at(FIRST + 2, 0), Reason::Truncated);
    assert_eq!(cursor.on_rotation(next), gap(FIRST + 2, 0, None));
    assert_eq!(cursor.step(open(0)), reset(FIRST + 2, 0, Reason::Truncated));
}

#[test]
fn after_a_file_that_was_found_the_first_span_is_a_rotation_and_starts_at_its_first_byte() {
    let mut cursor = Cursor::new(options(), ROTATED_NUMBER_MAX);
    cursor.open_at(SpanCursor { span: 1, ..at(FIRST, 10) }, VecDeque::new(), true);
    cursor.step(closed(10));
    assert_eq!(cursor.step(closed(10)), Step::Enter { after: 1 });
    let next = NextSpan::Span(at(FIRST, 70), Reason::Joined);
    assert_eq!(cursor.on_rotation(next), reset(FIRST, 0, Reason::Rotated));
}

#[test]
fn a_log_without_a_file_is_announced_once_and_waited_for() {
    let mut cursor = live(options(), 10);
    let missing = || NextSpan::Waiting(WaitReason::Missing);
    assert_eq!(cursor.on_timeline(closed(10)), Step::Enter { after: FIRST });
    assert_eq!(cursor.on_rotation(missing()), Step::Waiting(WaitReason::Missing));
    assert_eq!((cursor.mode(), offset(&cursor)), (Mode::Waiting { after: FIRST }, None));
    assert_eq!(cursor.step(closed(10)), Step::Enter { after: FIRST });
    assert_eq!(cursor.on_rotation(missing()), Step::Wait);
    let unreadable = NextSpan::Waiting(WaitReason::Unreadable);
    assert_eq!(cursor.on_rotation(unreadable), Step::Waiting(WaitReason::Unreadable));
    let next = NextSpan::Span(at(FIRST + 1, 0), Reason::Replaced);
    assert_eq!(cursor.on_rotation(next), reset(FIRST + 1, 0, Reason::Replaced));
    assert_eq!(cursor.mode(), Mode::CatchingUp);
    assert_eq!(cursor.step(closed(0)), Step::Enter { after: FIRST + 1 });
    assert_eq!(cursor.on_rotation(missing()), Step::Waiting(WaitReason::Missing), "once more");
}

#[test]
fn files_that_may_be_missing_are_announced_once_before_or_with_the_next_span() {
    let waiting = || NextSpan::Waiting(WaitReason::Missing);
    let next = || NextSpan::Span(at(FIRST + 1, 0), Reason::Rotated);
    let mut cursor = live(options(), 5);
    assert_eq!(cursor.on_unknown_files(), Some(gap(FIRST, 5, None)));
    assert_eq!(cursor.on_unknown_files(), None);
    assert_eq!(cursor.on_rotation(waiting()), Step::Waiting(WaitReason::Missing));
    assert_eq!(cursor.on_rotation(next()), reset(FIRST + 1, 0, Reason::Rotated));

    let mut cursor = live(options(), 5);
    assert_eq!(cursor.on_rotation(waiting()), Step::Waiting(WaitReason::Missing));
    assert_eq!(cursor.on_unknown_files(), None, "it has no position");
    assert_eq!(cursor.on_rotation(next()), gap(FIRST + 1, 0, None));
    assert_eq!(cursor.step(open(0)), reset(FIRST + 1, 0, Reason::Rotated));
    assert_eq!(cursor.on_unknown_files(), Some(gap(FIRST + 1, 0, None)), "again, later");
}

#[test]
fn a_viewer_between_two_spans_waits_or_ends() {
    let until = Some(TimelinePosition { span: FIRST + 9, offset: Offset(0) });
    for (options, next, step) in [
        (options(), NextSpan::Nothing, Step::Wait),
        (options(), NextSpan::Ended, Step::End(Ending::Shutdown)),
        (Options { until, ..options() }, NextSpan::Nothing, Step::End(Ending::Complete)),
        (Options { until, ..options() }, NextSpan::Ended, Step::End(Ending::Shutdown)),
    ] {
        let mut cursor = opened(options, 10);
        assert_eq!(cursor.step(closed(10)), Step::Enter { after: FIRST });
        assert_eq!(cursor.on_rotation(next), step);
        assert_eq!(cursor.step(closed(10)), Step::Enter { after: FIRST }, "asked again");
    }
    let mut cursor = live(options(), 10);
    assert_eq!(cursor.on_rotation(NextSpan::Nothing), Step::Wait);
    assert_eq!(cursor.mode(), Mode::CatchingUp);
}

#[test]
fn a_viewer_that_does_not_follow_ends_at_the_log_end_of_its_join() {
    let until = Some(TimelinePosition { span: FIRST, offset: Offset(20) });
    let mut cursor = opened(Options { until, ..options() }, 10);
    assert_eq!(cursor.step(open(30)), read(10, 30));
    assert_eq!(cursor.on_read(&bytes(10), Offset(30), false), Step::Deliver { skip: 0 });
    assert_eq!(cursor.step(open(30)), Step::CaughtUp);
    assert_eq!(cursor.step(open(30)), Step::End(Ending::Complete));
    assert!(!cursor.is_idle(open(20)), "a group is not to speak for it");
}

#[test]
fn the_result_of_a_read_is_delivered_or_left_out_or_checked_again() {
    let unreadable = Step::Waiting(WaitReason::Unreadable);
    for (outcome, is_closed, step, position) in [
        (bytes(3), false, Step::Deliver { skip: 0 }, 13),
        (ReadOutcome::Hole(Offset(17)), false, gap(FIRST, 10, Some(17)), 17),
        (ReadOutcome::Hole(Offset(99)), false, gap(FIRST, 10, Some(20)), 20),
        (ReadOutcome::Short, false, gap(FIRST, 10, Some(20)), 20),
        (ReadOutcome::Short, true, gap(FIRST, 10, Some(20)), 20),
        (ReadOutcome::Changed, true, gap(FIRST, 10, Some(20)), 20),
        (ReadOutcome::Changed, false, Step::ReadFingerprint, 10),
        (ReadOutcome::Gone, true, gap(FIRST, 10, Some(20)), 20),
        (ReadOutcome::Failed, false, unreadable, 10),
    ] {
        let mut cursor = opened(options(), 10);
        assert_eq!(cursor.on_read(&outcome, Offset(20), is_closed), step, "{outcome:?}");
        assert_eq!(offset(&cursor), Some((FIRST, position)), "{outcome:?}");
    }
}

#[test]
fn a_file_that_stays_unreadable_is_announced_once_until_bytes_come_again() {
    let mut cursor = opened(options(), 10);
    let unreadable = Step::Waiting(WaitReason::Unreadable);
    let fail = |cursor: &mut Cursor<()>| cursor.on_read(&ReadOutcome::Failed, Offset(20), false);
    assert_eq!(fail(&mut cursor), unreadable);
    assert_eq!(fail(&mut cursor), Step::Retry);
    cursor.on_read(&bytes(1), Offset(20), false);
    assert_eq!(fail(&mut cursor), unreadable);
}

#[test]
fn on_lag_a_viewer_reads_what_it_missed() {
    let mut cursor = live(options(), 10);
    assert_eq!(cursor.on_lag(), Step::Continue);
    assert_eq!(cursor.step(open(50)), read(10, 50));
}

#[test]
fn on_lag_a_viewer_that_skips_leaves_out_what_it_missed() {
    let options = Options { skip: true, ..options() };
    let mut cursor = live(options, 10);
    cursor.on_lag();
    assert_eq!(cursor.step(open(50)), Step::Skip);
    assert_eq!(cursor.step(open(60)), Step::Skip, "a step that was not done is given again");
    assert_eq!(cursor.on_skip(Fingerprint::at(Offset(60))), gap(FIRST, 10, Some(60)));
    assert_eq!(cursor.step(open(60)), Step::CaughtUp);

    let mut has_all = live(options, 10);
    has_all.on_lag();
    assert_eq!(has_all.step(open(10)), Step::Skip);
    assert_eq!(has_all.on_skip(Fingerprint::at(Offset(10))), Step::Continue, "no empty gap");

    let mut first_lines = opened(options, 10);
    first_lines.on_lag();
    assert_eq!(first_lines.step(open(50)), read(10, 50), "the lines that it came for are not lag");

    let mut of_a_group = live(options, 10);
    of_a_group.keep_all();
    of_a_group.on_lag();
    assert_eq!(of_a_group.step(open(50)), read(10, 50));
}

#[test]
fn a_start_that_is_not_the_requested_one_is_announced_as_a_reset() {
    let mut cursor = Cursor::new(options(), ROTATED_NUMBER_MAX);
    cursor.open_at(at(FIRST, 4), VecDeque::new(), false);
    let start = Step::Open { generation: generation(1), from: Offset(4) };
    assert_eq!(cursor.step(open(9)), start);
    assert_eq!(cursor.history_end(open(9)), None, "the reset comes first");
    assert_eq!(cursor.step(open(9)), reset(FIRST, 4, Reason::Replaced));
    assert_eq!(cursor.history_end(open(9)), Some(Offset(9)));
    assert_eq!(cursor.step(open(9)), read(4, 9));
}

#[test]
fn a_longer_signature_is_announced_to_viewers_that_want_it() {
    let short = Generation::new(Identity { device: 1, inode: 1 }, 1, b"xxx");
    for signed in [false, true] {
        let mut cursor = Cursor::new(Options { signed, ..options() }, ROTATED_NUMBER_MAX);
        cursor.open_at(SpanCursor { generation: short, ..at(FIRST, 10) }, VecDeque::new(), true);
        cursor.step(open(10));
        if signed {
            assert_eq!(cursor.step(open(10)), Step::Signed(generation(1)));
        }
        assert_eq!(cursor.step(open(10)), Step::CaughtUp);
        assert!(cursor.is_idle(open(10)));
    }
}

#[test]
fn late_bytes_come_before_the_position_and_their_loss_is_a_gap() {
    let late = VecDeque::from([
        Replay::Bytes(at(FIRST, 5)),
        Replay::Lost(generation(7), Offset(3)),
        Replay::Bytes(at(FIRST + 1, 0)),
    ]);
    let mut cursor = Cursor::new(options(), ROTATED_NUMBER_MAX);
    cursor.open_at(at(FIRST + 2, 10), late, true);
    let start = Step::Open { generation: generation(3), from: Offset(10) };
    assert_eq!(cursor.step(open(10)), start);
    assert_eq!(cursor.history_end(open(20)), None, "late bytes come first");
    assert_eq!(cursor.step(open(10)), reset(FIRST, 5, Reason::Late));
    assert_eq!(cursor.step(closed(8)), read(5, 8));
    cursor.on_read(&bytes(3), Offset(8), true);
    let lost = Step::Gap { generation: generation(7), from: Offset(3), to: None };
    assert_eq!(cursor.step(closed(8)), lost);
    assert_eq!(cursor.step(open(8)), reset(FIRST + 1, 0, Reason::Late));
    assert_eq!(cursor.step(closed(2)), read(0, 2));
    cursor.on_read(&ReadOutcome::Gone, Offset(2), true);
    assert_eq!(cursor.step(closed(2)), reset(FIRST + 2, 10, Reason::Back));
    assert_eq!(cursor.step(open(10)), Step::CaughtUp);
}

#[test]
fn a_viewer_of_a_missing_log_seeks_until_the_log_exists() {
    let mut cursor: Cursor<()> = Cursor::new(options(), ROTATED_NUMBER_MAX);
    assert_eq!(cursor.step(open(0)), Step::Seek { after: ROTATED_NUMBER_MAX });
    let missing = NextSpan::Waiting(WaitReason::Missing);
    assert_eq!(cursor.on_rotation(missing), Step::Waiting(WaitReason::Missing));
    assert_eq!(cursor.step(open(0)), Step::Seek { after: ROTATED_NUMBER_MAX });
    assert_eq!(cursor.on_unreadable(), Some(Step::Waiting(WaitReason::Unreadable)));
    assert_eq!(cursor.on_unreadable(), None);
    cursor.open_at(at(FIRST, 0), VecDeque::new(), true);
    assert!(matches!(cursor.step(open(0)), Step::Open { .. }));
}

#[test]
fn a_saved_cursor_continues_at_its_position_without_opening_the_stream_again() {
    let resumed = live(options(), 10).resumed(options());
    assert_eq!((resumed.mode(), offset(&resumed)), (Mode::CatchingUp, Some((FIRST, 10))));
    let mut resumed = resumed;
    assert_eq!(resumed.step(open(12)), read(10, 12));

    let mut waiting = live(options(), 10);
    waiting.on_rotation(NextSpan::Waiting(WaitReason::Missing));
    let mut waiting = waiting.resumed(options());
    assert_eq!(waiting.step(open(0)), Step::Enter { after: FIRST });

    let mut rewound = live(options(), 10);
    rewound.rewind_to(Offset(4));
    assert_eq!(rewound.resumed(options()).step(open(10)), read(4, 10));
}

/// What happens to the log, and to the viewer.
#[derive(Clone, Debug)]
enum Act {
    /// This many bytes are published, in chunks of this size.
    Append(usize, usize),
    /// Another span begins, of a new file or of a file that gets late bytes.
    Rotate(bool),
    /// The file is truncated: nothing of it can be read any more.
    Truncate,
    /// The log's name is gone.
    Remove,
    /// The oldest span is forgotten.
    Forget,
    /// The viewer takes this many steps, and each read returns at most this many bytes.
    Run(usize, usize),
    /// The next read returns something other than bytes.
    Disturb(u8),
    /// The viewer is replaced by one that resumes from its cursor.
    Resume,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..40usize, 1..12usize).prop_map(|(len, chunk)| Act::Append(len, chunk)),
        2 => any::<bool>().prop_map(Act::Rotate),
        1 => Just(Act::Truncate),
        1 => Just(Act::Remove),
        1 => Just(Act::Forget),
        8 => (1..12usize, 1..30usize).prop_map(|(steps, len)| Act::Run(steps, len)),
        2 => (0..4u8).prop_map(Act::Disturb),
        1 => Just(Act::Resume),
    ]
}

struct ModelSpan {
    generation: Generation,
    from: u64,
    /// The content of the file up to the end of the span. Each byte depends on its offset and file.
    content: Vec<u8>,
    closed: bool,
    /// The bytes can't be read any more.
    lost: bool,
    reason: Reason,
}

enum ModelEvent {
    Chunk(Chunk),
    TimelineChanged,
}

/// A log without files, and the viewer as a client would see it.
struct Model {
    spans: Vec<ModelSpan>,
    forgotten: usize,
    files: u32,
    waiting: bool,
    /// The events in the broadcast. The viewer has missed those that were dropped.
    queue: VecDeque<ModelEvent>,
    capacity: usize,
    has_lagged: bool,
    cursor: Cursor<()>,
    disturbance: Option<ReadOutcome>,
    /// The generation and offset according to the announced and delivered items.
    told: Option<(Generation, u64)>,
    span: usize,
    skips: bool,
}

impl Model {
    fn new(options: Options, capacity: usize, start: usize) -> Self {
        let mut model = Self {
            spans: Vec::new(),
            forgotten: 0,
            files: 0,
            waiting: false,
            queue: VecDeque::new(),
            capacity,
            has_lagged: false,
            cursor: Cursor::new(options, ROTATED_NUMBER_MAX),
            disturbance: None,
            told: None,
            span: 0,
            skips: options.skip,
        };
        model.begin(Reason::Joined);
        model.append(20, 20);
        let first = SpanCursor { handle: (), span: FIRST, ..at(FIRST, start as u64) };
        model.cursor.open_at(first, VecDeque::new(), true);
        model
    }

    fn begin(&mut self, reason: Reason) {
        self.close(false);
        self.files += 1;
        let generation = generation(self.files);
        let (from, content) = (0, Vec::new());
        self.spans.push(ModelSpan {
            generation,
            from,
            content,
            closed: false,
            lost: false,
            reason,
        });
        self.waiting = false;
        self.publish(ModelEvent::TimelineChanged);
    }

    /// Late bytes of an earlier file, from its end on.
    fn begin_late(&mut self) {
        let last = self.spans.len() - 1;
        let Some(earlier) = self.spans[..last].last().filter(|span| !span.lost) else { return };
        let (generation, content) = (earlier.generation, earlier.content.clone());
        let from = content.len() as u64;
        self.close(false);
        let reason = Reason::Late;
        self.spans.push(ModelSpan {
            generation,
            from,
            content,
            closed: false,
            lost: false,
            reason,
        });
        self.publish(ModelEvent::TimelineChanged);
    }

    fn close(&mut self, lost: bool) {
        if let Some(last) = self.spans.last_mut() {
            last.closed = true;
            let generation = last.generation;
            let same = self.spans.iter_mut().filter(|span| span.generation == generation);
            same.for_each(|span| span.lost |= lost);
        }
    }

    fn publish(&mut self, event: ModelEvent) {
        self.queue.push_back(event);
        while self.queue.len() > self.capacity {
            self.queue.pop_front();
            self.has_lagged = true;
        }
    }

    fn append(&mut self, len: usize, chunk: usize) {
        let number = FIRST + self.spans.len() as u64 - 1;
        let Some(span) = self.spans.last_mut().filter(|span| !span.closed) else { return };
        let from = span.content.len();
        let file = span.generation.nonce;
        span.content.extend((from..from + len).map(|at| (at as u8) ^ (file as u8) << 4));
        let content = Bytes::copy_from_slice(&span.content);
        for start in (from..from + len).step_by(chunk) {
            let bytes = content.slice(start..(start + chunk).min(from + len));
            let start = Offset(start as u64);
            let written = SystemTime::UNIX_EPOCH;
            self.publish(ModelEvent::Chunk(Chunk { span: number, start, bytes, written }));
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Append(len, chunk) => self.append(len, chunk),
            Act::Rotate(false) => self.begin(Reason::Rotated),
            Act::Rotate(true) => self.begin_late(),
            Act::Truncate => {
                self.close(true);
                self.begin(Reason::Truncated);
            }
            Act::Remove => {
                self.close(false);
                self.waiting = true;
                self.publish(ModelEvent::TimelineChanged);
            }
            Act::Forget => {
                self.forgotten = (self.forgotten + 1).min(self.spans.len() - 1);
                self.spans[..self.forgotten].iter_mut().for_each(|span| span.lost = true);
            }
            Act::Run(steps, len) => self.run(steps, len),
            Act::Disturb(which) => {
                self.disturbance = Some(match which {
                    0 => ReadOutcome::Short,
                    1 => ReadOutcome::Failed,
                    2 => ReadOutcome::Gone,
                    _ => ReadOutcome::Changed,
                });
            }
            Act::Resume => {
                if self.told.is_some() {
                    let options =
                        Options { until: None, stop: None, signed: false, skip: self.skips };
                    self.cursor = self.cursor.clone().resumed(options);
                    // It subscribes again first, and looks at the timeline afterwards.
                    self.queue.clear();
                    self.has_lagged = false;
                }
            }
        }
    }

    fn look(&self) -> impl Fn(&()) -> SpanState + use<> {
        let number = self.cursor.at().map_or(FIRST, |at| at.span);
        let span = &self.spans[(number - FIRST) as usize];
        let (closed, end, signed) = (span.closed, span.content.len() as u64, span.generation);
        move |()| SpanState { closed, end: Offset(end), signed }
    }

    /// Takes steps until the viewer waits for an event that has not been published.
    fn run(&mut self, steps: usize, len: usize) {
        for _ in 0..steps {
            let look = self.look();
            let step = self.cursor.step(look);
            if !self.perform(step, len) {
                return;
            }
        }
    }

    /// False when the viewer waits.
    fn perform(&mut self, step: Step, len: usize) -> bool {
        match step {
            Step::Wait => return self.listen(len),
            Step::Read { from, to } => {
                let (from, to) = (from.0 as usize, to.0 as usize);
                let (number, _) = offset(&self.cursor).unwrap();
                let span = &self.spans[(number - FIRST) as usize];
                let closed = span.closed;
                let outcome = match self.disturbance.take() {
                    Some(outcome) => outcome,
                    None if span.lost => ReadOutcome::Gone,
                    None => {
                        let bytes = &span.content[from..to.min(from + len)];
                        ReadOutcome::Bytes(Bytes::copy_from_slice(bytes))
                    }
                };
                let step = self.cursor.on_read(&outcome, Offset(to as u64), closed);
                if let (Step::Deliver { skip: 0 }, ReadOutcome::Bytes(bytes)) = (&step, &outcome) {
                    self.take(bytes);
                } else {
                    return self.perform(step, len);
                }
            }
            Step::ReadFingerprint => {
                let (_, at) = offset(&self.cursor).unwrap();
                self.cursor.on_fingerprint(Fingerprint::at(Offset(at)));
            }
            Step::Skip => {
                assert!(self.skips, "something is left out that was not to be");
                self.queue.clear();
                self.has_lagged = false;
                let look = self.look();
                let step = self.cursor.on_skip(Fingerprint::at(look(&()).end));
                return self.perform(step, len);
            }
            Step::Enter { after } => {
                let next = (after + 1).max(FIRST + self.forgotten as u64);
                let next = match self.spans.get((next - FIRST) as usize) {
                    Some(span) => {
                        let from = Fingerprint::at(Offset(span.from));
                        let generation = span.generation;
                        let place =
                            SpanCursor { handle: (), span: next, generation, fingerprint: from };
                        NextSpan::Span(place, span.reason)
                    }
                    None if self.waiting => NextSpan::Waiting(WaitReason::Missing),
                    None => NextSpan::Nothing,
                };
                let step = self.cursor.on_rotation(next);
                if step == Step::Wait {
                    return self.queue.pop_front().is_some();
                }
                return self.perform(step, len);
            }
            Step::Open { generation, from } => self.told = Some((generation, from.0)),
            Step::Reset { generation, from, .. } => {
                let (number, _) = offset(&self.cursor).unwrap();
                let span = &self.spans[(number - FIRST) as usize];
                assert_eq!((generation, from.0), (span.generation, span.from), "a reset elsewhere");
                self.leave_span();
                self.span = (number - FIRST) as usize;
                self.told = Some((generation, from.0));
            }
            Step::Gap { generation, from, to: Some(to) } => {
                assert_eq!(self.told, Some((generation, from.0)), "a gap elsewhere");
                assert!(to > from, "an empty gap");
                self.told = Some((generation, to.0));
            }
            // Spans were forgotten: the viewer had all of its own, and misses those after it.
            Step::Gap { .. } => {
                let (_, at) = self.told.expect("the stream was opened");
                assert_eq!(at, self.spans[self.span].content.len() as u64, "a span was cut off");
                self.span = (offset(&self.cursor).unwrap().0 - FIRST) as usize - 1;
                let missed = &self.spans[self.span];
                self.told = Some((missed.generation, missed.content.len() as u64));
            }
            Step::Waiting(_) | Step::CaughtUp | Step::Continue | Step::Retry => {}
            Step::Deliver { .. } | Step::Signed(_) | Step::Seek { .. } | Step::End(_) => {
                panic!("an unexpected step: {step:?}")
            }
        }
        true
    }

    fn listen(&mut self, len: usize) -> bool {
        let step = if std::mem::take(&mut self.has_lagged) {
            self.cursor.on_lag()
        } else {
            let look = self.look();
            match self.queue.pop_front() {
                None => return false,
                Some(ModelEvent::TimelineChanged) => self.cursor.on_timeline(look),
                Some(ModelEvent::Chunk(chunk)) => match self.cursor.on_chunk(&chunk) {
                    Step::Deliver { skip } => {
                        self.take(&chunk.bytes.slice(skip..));
                        return true;
                    }
                    step => step,
                },
            }
        };
        self.perform(step, len)
    }

    fn take(&mut self, bytes: &[u8]) {
        let (generation, from) = self.told.expect("the stream was opened");
        let span = &self.spans[self.span];
        assert_eq!(generation, span.generation, "bytes of another generation than was announced");
        let wanted = span.content.get(from as usize..from as usize + bytes.len());
        assert_eq!(wanted, Some(bytes), "other bytes than those at {from}");
        self.told = Some((generation, from + bytes.len() as u64));
        let at = offset(&self.cursor).unwrap().1;
        assert_eq!(at, from + bytes.len() as u64, "the cursor is elsewhere");
    }

    /// Asserts that the viewer received all of the span that it leaves, and enters the next one.
    fn leave_span(&self) {
        let (_, at) = self.told.expect("the stream was opened");
        let (number, _) = offset(&self.cursor).unwrap();
        let left = &self.spans[self.span];
        assert_eq!(at, left.content.len() as u64, "a span was left before its end");
        assert_eq!(self.span as u64 + 1, number - FIRST, "a span was left out silently");
    }

    /// Asserts that the viewer has everything that was published, or that the rest was announced as
    /// missing.
    fn settle(&mut self) {
        self.disturbance = None;
        self.run(10_000, 1000);
        let (_, at) = self.told.expect("the stream was opened");
        assert_eq!(self.span, self.spans.len() - 1, "the viewer is in another span");
        assert_eq!(at, self.spans[self.span].content.len() as u64, "not all was given");
    }
}

proptest! {
    #![proptest_config(crate::testing::cases(256))]

    /// Whatever happens to the log, and however the viewer lags, each byte of a generation is
    /// delivered once and in order, or announced as missing, and every other move is announced.
    #[test]
    fn every_byte_is_delivered_once_in_order_or_announced_as_missing(
        skip in any::<bool>(),
        capacity in 1..12usize,
        start in 0..20usize,
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut model = Model::new(Options { skip, ..options() }, capacity, start);
        for act in &acts {
            model.act(act);
        }
        model.settle();
    }
}
