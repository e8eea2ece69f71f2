//! What the lines of a log have in common up to their level, so that most of them need no regular
//! expression.
//!
//! The rules that read a stated level from the start of a line are automata. Bytes that lead from the
//! same state to the same state are as good as each other: any digit of a date is. So a line that was
//! read once tells the level of all lines that could have taken the same way, and a comparison with
//! ranges of bytes tells whether a line could have.

use std::sync::LazyLock;

use parking_lot::Mutex;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input};

use super::levels::{Step, stating_steps};
use super::plain::invisible_len;
use crate::render::Level;

/// The most shapes that are told apart. Others are read line by line.
const SHAPES_MAX: usize = 16;
/// So many lines of unknown shape are looked at. Of the later ones, one in [`MISSES_PER_TRY`] is.
const TRIES_MAX: usize = 2 * SHAPES_MAX;
const MISSES_PER_TRY: usize = 512;
/// A level that stands behind more bytes has no shape.
const SHAPE_BYTES_MAX: usize = 192;
/// The most ways that are followed at once.
const STATES_MAX: usize = 16;
/// The bytes that are compared together: those of a vector of any processor.
const LANES: usize = 16;

/// The first bytes of lines of a level.
#[derive(Debug)]
struct Shape {
    /// For each place the least byte, and how much greater a byte there may be. Behind the last place
    /// any byte may stand, up to a multiple of [`LANES`].
    ranges: Vec<([u8; LANES], [u8; LANES])>,
    /// The number of places.
    len: usize,
    level: Level,
}

impl Shape {
    /// Of the ranges of bytes that each place may have.
    fn new(places: &[(u8, u8)], level: Level) -> Self {
        let lanes = |places: &[(u8, u8)]| {
            let (mut least, mut more) = ([0; LANES], [u8::MAX; LANES]);
            for (at, &(first, last)) in places.iter().enumerate() {
                (least[at], more[at]) = (first, last - first);
            }
            (least, more)
        };
        Self { ranges: places.chunks(LANES).map(lanes).collect(), len: places.len(), level }
    }

    /// Whether the line with which a text begins has this shape.
    fn fits(&self, text: &[u8]) -> bool {
        let mut rest = text;
        for (least, more) in &self.ranges {
            let mut bytes = [b'\n'; LANES];
            match rest.split_first_chunk::<LANES>() {
                Some((first, behind)) => (bytes, rest) = (*first, behind),
                None => {
                    bytes[..rest.len()].copy_from_slice(rest);
                    rest = &[];
                }
            }
            // How far each byte is above the greatest one.
            let mut above = [0; LANES];
            for at in 0..LANES {
                above[at] = bytes[at].wrapping_sub(least[at]).saturating_sub(more[at]);
            }
            if u128::from_ne_bytes(above) != 0 {
                return false;
            }
        }
        text.len() >= self.len
    }
}

/// The shapes of the lines of a log that state their level.
#[derive(Debug, Default)]
pub(super) struct LevelShapes {
    shapes: Vec<Shape>,
    /// The lines of other shapes.
    misses: usize,
    /// The coloured lines that were looked at, and those among them that state no level.
    coloured: usize,
    without: usize,
}

impl LevelShapes {
    /// The level of the line with which a text begins, and the length of the part of it that states
    /// that. None if no line of this shape is known.
    pub(super) fn level_of(&self, text: &[u8]) -> Option<(Level, usize)> {
        let shape = self.shapes.iter().find(|shape| shape.fits(text))?;
        Some((shape.level, shape.len))
    }

    /// Remembers the shape of a line that states its level, if it has one. A new shape may take the
    /// place of another.
    pub(super) fn learn(&mut self, line: &[u8]) {
        if self.is_tried() {
            let shape = shape_of(line, &mut CACHES.lock());
            shape.into_iter().for_each(|(places, level)| self.keep(Shape::new(&places, level)));
        }
    }

    /// The same for a line of text with colours, and its text.
    pub(super) fn learn_coloured(&mut self, line: &[u8], text: &[u8]) {
        if self.is_tried() {
            let shape = shape_of(text, &mut CACHES.lock());
            let with_colours = shape
                .and_then(|(places, level)| Some(Shape::new(&with_colours(&places, line)?, level)));
            with_colours.into_iter().for_each(|shape| self.keep(shape));
        }
    }

    /// Whether the shape of one more line is looked for.
    fn is_tried(&mut self) -> bool {
        self.misses += 1;
        self.misses <= TRIES_MAX || self.misses.is_multiple_of(MISSES_PER_TRY)
    }

    fn keep(&mut self, shape: Shape) {
        if self.shapes.len() < SHAPES_MAX {
            self.shapes.push(shape);
        } else if self.misses > TRIES_MAX {
            self.shapes[self.misses / MISSES_PER_TRY % SHAPES_MAX] = shape;
        }
    }

    /// Counts lines with colours, and those that state no level.
    pub(super) fn count_coloured(&mut self, lines: usize, without: usize) {
        self.coloured += lines;
        self.without += without;
    }

    /// Whether most lines with colours state their level. The others are quicker to search without.
    pub(super) fn are_usual(&self) -> bool {
        self.without <= TRIES_MAX + self.coloured / 16
    }
}

/// The places of a line with its colours, of those of its text. Sequences with other digits in them
/// are colours, too, if they have so many that none is concealed text. None if the line has other
/// bytes.
fn with_colours(places: &[(u8, u8)], line: &[u8]) -> Option<Vec<(u8, u8)>> {
    let mut all = Vec::new();
    let (mut at, mut places) = (0, places.iter());
    while !places.as_slice().is_empty() {
        let byte = *line.get(at)?;
        if byte != 0x1b {
            all.push(*places.next()?);
            at += 1;
            continue;
        }
        let sequence = &line[at..at + invisible_len(&line[at..])?];
        let has_any_digits = sequence.len() > b"\x1b[8m".len() && sequence.ends_with(b"m");
        all.extend(sequence.iter().map(|&byte| match byte {
            b'0'..=b'9' if has_any_digits => (b'0', b'9'),
            _ => (byte, byte),
        }));
        at += sequence.len();
    }
    Some(all)
}

/// A step of the rules as an automaton.
struct Way {
    step: &'static Step,
    dfa: DFA,
}

/// The steps that read a level from the start of a line, and nothing else. Those behind the first
/// other step are left out.
static WAYS: LazyLock<Vec<Way>> = LazyLock::new(|| {
    let anchored = stating_steps().iter().take_while(|step| step.is_anchored());
    anchored.map(|step| Way { step, dfa: automaton(step) }).collect()
});

/// What the automata have found out so far, for all searches: each needs it for a few lines only.
static CACHES: LazyLock<Mutex<Vec<Cache>>> =
    LazyLock::new(|| Mutex::new(WAYS.iter().map(|way| way.dfa.create_cache()).collect()));

fn automaton(step: &Step) -> DFA {
    let config = thompson::Config::new().utf8(false).which_captures(WhichCaptures::None);
    let nfa = thompson::Compiler::new().configure(config).build_many_from_hir(step.hirs());
    let nfa = nfa.expect("`levels.json` contains valid patterns");
    let config = DFA::config().skip_cache_capacity_check(true);
    DFA::builder().configure(config).build_from_nfa(nfa).expect("it uses no Unicode word boundary")
}

/// The ranges of the bytes at the start of a line, and its level, with any digit in the place of a digit if that makes no difference. None if it
/// has no level at its start.
fn shape_of(line: &[u8], caches: &mut [Cache]) -> Option<(Vec<(u8, u8)>, Level)> {
    shape_with(line, caches, true).or_else(|| shape_with(line, caches, false))
}

fn shape_with(
    line: &[u8],
    caches: &mut [Cache],
    any_digit: bool,
) -> Option<(Vec<(u8, u8)>, Level)> {
    let mut places = Places { line, ranges: Vec::new() };
    for (way, cache) in WAYS.iter().zip(caches) {
        let prefix = way.step.prefix();
        if !line.starts_with(prefix) {
            // Another line must not begin with it, either.
            let other = line.iter().zip(prefix).position(|(byte, wanted)| byte != wanted)?;
            places.exclude(other, prefix[other]);
        } else if let Some(pattern) = way.take(cache, &mut places, any_digit)? {
            return Some((places.without_controls(), way.step.level(pattern)?));
        }
    }
    None
}

/// The ranges of bytes that the first places of lines may have that are like this one.
struct Places<'l> {
    line: &'l [u8],
    ranges: Vec<(u8, u8)>,
}

impl Places<'_> {
    /// Takes the bytes out of the range of a place that are not from `first` to `last`.
    fn narrow(&mut self, at: usize, first: u8, last: u8) {
        // A newline would end the line.
        let any = |&byte: &u8| if byte < b'\n' { (0, b'\n' - 1) } else { (b'\n' + 1, u8::MAX) };
        let missing = self.line.get(self.ranges.len()..=at).unwrap_or_default();
        self.ranges.extend(missing.iter().map(any));
        let (least, most) = &mut self.ranges[at];
        (*least, *most) = (first.max(*least), last.min(*most));
    }

    /// The ranges without the bytes that begin a colour, behind which the text would go on.
    fn without_controls(self) -> Vec<(u8, u8)> {
        let each = self.ranges.iter().zip(self.line);
        let range = |(&(least, most), &byte): (&(u8, u8), &u8)| {
            if byte < b' ' { (byte, byte) } else { (least.max(b' '), most) }
        };
        each.map(range).collect()
    }

    /// Takes a byte out of the range of a place, which the line does not have there.
    fn exclude(&mut self, at: usize, other: u8) {
        if other < self.line[at] {
            self.narrow(at, other + 1, u8::MAX);
        } else {
            self.narrow(at, 0, other - 1);
        }
    }
}

impl Way {
    /// Takes the way of a line, and narrows the ranges to the bytes that lead the same way, or with
    /// another digit another way to the same end. Returns the pattern that matches, or that none does.
    /// None if the start of the line does not decide that.
    fn take(
        &self,
        cache: &mut Cache,
        places: &mut Places<'_>,
        any_digit: bool,
    ) -> Option<Option<usize>> {
        let clears = cache.clear_count();
        let input = Input::new(places.line).anchored(Anchored::Yes);
        let mut states = vec![self.dfa.start_state_forward(cache, &input).ok()?];
        for (at, &byte) in places.line.iter().enumerate().take(SHAPE_BYTES_MAX) {
            let next = if any_digit && byte.is_ascii_digit() {
                places.narrow(at, b'0', b'9');
                let digits = (b'0'..=b'9').map(|digit| self.next(cache, clears, &states, digit));
                digits.collect::<Option<Vec<_>>>()?.concat()
            } else {
                let next = self.next(cache, clears, &states, byte)?;
                let mut leads_there =
                    |byte: &u8| self.next(cache, clears, &states, *byte).as_ref() == Some(&next);
                let first = (0..byte).rev().take_while(&mut leads_there).last().unwrap_or(byte);
                let last = (byte..=u8::MAX).skip(1).take_while(&mut leads_there).last();
                places.narrow(at, first, last.unwrap_or(byte));
                next
            };
            states.clear();
            for state in next {
                if !states.contains(&state) {
                    states.push(state);
                }
            }
            if cache.clear_count() != clears || states.len() > STATES_MAX {
                return None;
            }
            if states.iter().all(|state| state.is_match()) {
                let mut patterns =
                    states.iter().map(|&state| self.dfa.match_pattern(cache, state, 0));
                let pattern = patterns.next()?;
                return patterns.all(|other| other == pattern).then_some(Some(pattern.as_usize()));
            }
            if states.iter().all(|state| state.is_dead()) {
                return Some(None);
            }
            if states.iter().any(|state| state.is_match() || state.is_dead() || state.is_quit()) {
                return None;
            }
        }
        None
    }

    /// The state after each of these states. None if the cache was cleared since it had been so often,
    /// after which states have other names.
    fn next(
        &self,
        cache: &mut Cache,
        clears: usize,
        states: &[LazyStateID],
        byte: u8,
    ) -> Option<Vec<LazyStateID>> {
        let mut next = |state: &LazyStateID| {
            let is_known = cache.clear_count() == clears;
            is_known.then(|| self.dfa.next_state(cache, *state, byte).ok())?
        };
        states.iter().map(&mut next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::levels::{LevelFilter, level_of};
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use serde_json::Value;

    fn examples() -> Vec<Vec<u8>> {
        let examples = include_str!("../../tests/it/levels.json");
        let examples: Vec<Value> = serde_json::from_str(examples).unwrap();
        examples.iter().map(|one| one["line"].as_str().unwrap().as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_line_tells_the_level_of_the_lines_that_begin_alike() {
        for (line, alike, others) in [
            (
                "2026-01-02T03:04:05.123456Z ERROR worker-7: failed",
                &["2031-12-30T23:59:59.000000Z ERROR in x"][..],
                &["2026-01-02T03:04:05.123456Z INFO  worker", "2026-01-02T03:04:05.123456Z E"][..],
            ),
            (
                r#"{"time": "2026-01-02T03:04:05.123Z", "level": "warn", "msg": "a"}"#,
                &[r#"{"time": "2026-01-02T13:04:06.999Z", "level": "warn", "n": 1}"#],
                &[r#"{"time": "2026-01-02T03:04:05.123Z", "level": "info"}"#, "{"],
            ),
            (
                r#"{"time":"2026-01-02T03:04:05.123Z","level":"warn","id":1,"path":"/a/b"}"#,
                &[r#"{"time":"2026-01-02T03:04:05.123Z","level":"warn","id":22,"msg":"a b"}"#],
                &[r#"{"time":"2026-01-02T03:04:05.123Z","level":"info"}"#],
            ),
            ("[12:00:00] [main/WARN]: text", &["[23:59:59] [main/WARN]: \t"], &["\t[main/WARN]"]),
        ] {
            let mut shapes = LevelShapes::default();
            shapes.learn(line.as_bytes());
            for alike in [&[line], alike].concat() {
                let known = shapes.level_of(format!("{alike}\nnext").as_bytes());
                assert_eq!(known.map(|(level, _)| level), level_of(line.as_bytes()), "{alike}");
                assert!(known.is_some(), "{alike}");
            }
            for other in others {
                let text = format!("{other}\n{line}");
                assert_eq!(shapes.level_of(text.as_bytes()), None, "{other}");
            }
        }
    }

    #[test]
    fn a_line_has_no_shape_if_the_automata_forget_while_it_is_read() {
        let mut caches: Vec<Cache> = WAYS.iter().map(|way| way.dfa.create_cache()).collect();
        let mut random = fastrand::Rng::with_seed(7);
        let mut examples = examples();
        examples.retain(|line| !line.is_empty());
        let is_new = |caches: &[Cache]| caches.iter().all(|cache| cache.clear_count() < 8);
        while is_new(&caches) {
            let mut line = random.choice(&examples).unwrap().clone();
            for _ in 0..4 {
                let at = random.usize(..line.len());
                line[at] = random.choice(b"0123456789EIW ab[]:.\t").copied().unwrap();
            }
            let Some((_, level)) = shape_of(&line, &mut caches) else { continue };
            assert_eq!(Some(level), level_of(&line), "{}", line.escape_ascii());
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(192))]
        #[test]
        fn lines_of_known_shapes_have_the_levels_of_the_rules(
            chosen in proptest::collection::vec(any::<Index>(), 1..9),
            changes in proptest::collection::vec(
                (any::<Index>(), any::<Index>(), prop_oneof![
                    (b' '..=b'~').boxed(), select(b"0123456789EIW\t\r\x1b\xc3".to_vec()).boxed(),
                ]),
                0..60,
            ),
            wanted in select(vec![Level::Error, Level::Warning, Level::Notice, Level::Debug]),
            or_worse: bool,
        ) {
            let examples = examples();
            let chosen: Vec<&Vec<u8>> = chosen.iter().map(|one| one.get(&examples)).collect();
            // Each of them often, as in a log, and every line with a change or more.
            let mut lines: Vec<Vec<u8>> = (0..8).flat_map(|_| chosen.iter().map(|&line| line.clone())).collect();
            for (line, at, byte) in &changes {
                let line = line.index(lines.len());
                let line = &mut lines[line];
                if !line.is_empty() {
                    let at = at.index(line.len());
                    line[at] = *byte;
                }
            }
            let text = lines.join(&b'\n');
            let filter = LevelFilter { level: wanted, or_worse };
            let mut shapes = LevelShapes::default();
            for _ in 0..2 {
                let mut found = Vec::new();
                filter.for_each_line(&text, &mut shapes, |_, line| {
                    found.push(line.to_vec());
                    true
                });
                let fits: Vec<Vec<u8>> =
                    lines.iter().filter(|line| filter.accepts(line)).cloned().collect();
                prop_assert_eq!(found, fits);
            }
            // The same lines with colours, some between the bytes that state the level.
            let is_text = |line: &&Vec<u8>| line.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t');
            let plain: Vec<&Vec<u8>> = lines.iter().filter(is_text).collect();
            let coloured = |(nth, line): (usize, &&Vec<u8>)| {
                let at = [0, 4, 24, 28, 200][nth % 5].min(line.len());
                let colour = ["\x1b[1m", "\x1b[31m", "\x1b[38;5;9m", "\x1b[0K"][nth % 4];
                [&line[..at], format!("{colour}\x1b[3{}m", nth % 10).as_bytes(), &line[at..], b"\x1b[m\n"].concat()
            };
            let coloured: Vec<Vec<u8>> = plain.iter().enumerate().map(coloured).collect();
            let mut shapes = LevelShapes::default();
            for _ in 0..2 {
                let mut found = Vec::new();
                filter.for_each_coloured_line(&coloured.concat(), &mut shapes, |at| found.push(at));
                let start = |nth: usize| coloured[..nth].iter().map(Vec::len).sum::<usize>();
                let fits = plain.iter().enumerate().filter(|(_, line)| filter.accepts(line));
                prop_assert_eq!(found, fits.map(|(nth, _)| start(nth)).collect::<Vec<_>>());
            }
        }
    }
}
