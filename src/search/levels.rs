//! The log level of a row, judged by its text: docs/levels.md.
//!
//! A level that the line states takes precedence over words in its text. The rules are in
//! `levels.json`, in the order in which they are tried, because the page uses the same ones. Their
//! patterns mean the same to the regex engines of Rust and JavaScript.

use std::sync::{LazyLock, OnceLock};

use grep_matcher::Matcher as _;
use grep_regex::RegexMatcher;
use regex_automata::Input;
use regex_automata::meta::Regex;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{Extractor, Seq};
use regex_syntax::hir::{Hir, HirKind, Look};
use serde_json::{Value, json};

use crate::render::Level;
use crate::search::level_shapes::LevelShapes;
use crate::search::needles::{NeedleSearch, Needles};
use crate::search::pattern::{builder, is_match};
use crate::search::plain::without_colours;

/// The rules as JSON: a list of `{"level","pattern"}`. A row has the level of the first rule whose
/// pattern matches it. A rule without `level` has named groups for its levels (`error1`,
/// `warning2`, …), and the row has the level whose group took part.
pub static RULES: LazyLock<String> = LazyLock::new(|| {
    let as_json = |Rule { level, pattern }: &Rule| match level {
        Some(level) => json!({ "level": level, "pattern": pattern }),
        None => json!({ "pattern": pattern }),
    };
    Value::from_iter(FLAT.iter().map(as_json)).to_string()
});

static FLAT: LazyLock<Vec<Rule>> = LazyLock::new(rules);
static STEPS: LazyLock<Vec<Step>> = LazyLock::new(|| steps(&FLAT));

const LEVELS: [Level; 4] = [Level::Error, Level::Warning, Level::Notice, Level::Debug];

/// A level for a pattern, or for each of its groups.
#[derive(Debug)]
struct Rule {
    level: Option<String>,
    pattern: String,
}

/// Parses `levels.json`. It contains rules with alternatives, whose groups may have the same names,
/// and parts, to which patterns and other parts refer as `{name}`.
fn rules() -> Vec<Rule> {
    // The rules are part of the program, and a test compiles them.
    let source: Value =
        serde_json::from_str(include_str!("levels.json")).expect("`levels.json` is JSON");
    let parts: Vec<(String, &str)> = source["parts"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, part)| Some((format!("{{{name}}}"), part.as_str()?)))
        .collect();
    let rules = source["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let expanded = rules.iter().map(|rule| {
        let alternatives = rule["pattern"].as_array().map_or(&[][..], Vec::as_slice);
        let alternatives: Vec<&str> = alternatives.iter().filter_map(Value::as_str).collect();
        let mut pattern = alternatives.join("|");
        while let Some((name, part)) =
            parts.iter().find(|(name, _)| pattern.contains(name.as_str()))
        {
            pattern = pattern.replace(name.as_str(), part);
        }
        let level = rule["level"].as_str().map(str::to_owned);
        Rule { level, pattern: with_numbers(&pattern) }
    });
    expanded.collect()
}

/// The pattern with a number in the name of each group, because no two names may be the same.
fn with_numbers(pattern: &str) -> String {
    let mut pieces = pattern.split("(?<");
    let mut numbered = pieces.next().unwrap_or_default().to_owned();
    for (nth, (name, rest)) in pieces.filter_map(|piece| piece.split_once('>')).enumerate() {
        numbered.push_str(&format!("(?<{name}{}>{rest}", nth + 1));
    }
    numbered
}

impl Rule {
    /// The pattern of the lines that have this level by the rule. None if there are no such lines.
    fn pattern_of(&self, level: Level, is_multi_line: bool) -> Option<Hir> {
        // JavaScript's character classes are ASCII.
        let mut parser =
            ParserBuilder::new().unicode(false).utf8(false).multi_line(is_multi_line).build();
        let hir = parser.parse(&self.pattern).expect("`levels.json` contains valid patterns");
        match &self.level {
            Some(name) => (name == level.name()).then_some(hir),
            None => only_group(&hir, level.name()),
        }
    }
}

/// The pattern without the groups of other levels. None if nothing is left to match.
fn only_group(hir: &Hir, name: &str) -> Option<Hir> {
    let each = |subs: &[Hir]| subs.iter().map(|sub| only_group(sub, name)).collect::<Vec<_>>();
    match hir.kind() {
        HirKind::Capture(group) => {
            let group_name = group.name.as_deref().unwrap_or_default();
            let level = group_name.trim_end_matches(|last: char| last.is_ascii_digit());
            (level == name).then(|| (*group.sub).clone())
        }
        HirKind::Concat(subs) => {
            each(subs).into_iter().collect::<Option<Vec<_>>>().map(Hir::concat)
        }
        HirKind::Alternation(subs) => {
            let subs: Vec<Hir> = each(subs).into_iter().flatten().collect();
            (!subs.is_empty()).then(|| Hir::alternation(subs))
        }
        _ => Some(hir.clone()),
    }
}

/// Rules that are tried together.
pub(super) struct Step {
    /// The level of each pattern.
    levels: Vec<Level>,
    hirs: Vec<Hir>,
    /// The bytes that every matching line begins with.
    prefix: Vec<u8>,
    regex: Regex,
}

impl Step {
    fn new(patterns: Vec<(Level, Hir)>) -> Self {
        let (levels, hirs): (Vec<Level>, Vec<Hir>) = patterns.into_iter().unzip();
        let regex = Regex::builder()
            .build_many_from_hir(&hirs)
            .expect("`levels.json` contains valid patterns");
        let mut step = Self { levels, prefix: Vec::new(), hirs, regex };
        if step.is_anchored() {
            step.prefix = common_prefix(&step.hirs);
        }
        step
    }

    /// Whether all matches begin where the line begins.
    pub(super) fn is_anchored(&self) -> bool {
        let at_start = |hir: &Hir| hir.properties().look_set_prefix().contains(Look::Start);
        self.hirs.iter().all(at_start)
    }

    /// The patterns.
    pub(super) fn hirs(&self) -> &[Hir] {
        &self.hirs
    }

    /// The bytes that every matching line begins with.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The level of a pattern.
    pub(super) fn level(&self, pattern: usize) -> Option<Level> {
        self.levels.get(pattern).copied()
    }
}

/// The bytes with which every line that matches one of the patterns begins.
fn common_prefix(hirs: &[Hir]) -> Vec<u8> {
    let mut prefixes = Seq::empty();
    hirs.iter().for_each(|hir| prefixes.union(&mut Extractor::new().extract(hir)));
    prefixes.longest_common_prefix().unwrap_or_default().to_vec()
}

/// The rules in their order. Neighbours with the same single level are one step.
fn steps(rules: &[Rule]) -> Vec<Step> {
    let same = |one: &Rule, next: &Rule| one.level.is_some() && one.level == next.level;
    let each = rules.chunk_by(same).map(|rules| {
        let all = rules.iter().flat_map(|rule| {
            LEVELS.iter().filter_map(|&level| Some((level, rule.pattern_of(level, false)?)))
        });
        Step::new(all.collect())
    });
    each.collect()
}

/// The level of a line, if it is known.
pub(super) fn level_of(line: &[u8]) -> Option<Level> {
    first_level(&STEPS, line)
}

fn first_level(steps: &[Step], line: &[u8]) -> Option<Level> {
    // Up to the end of the first match only one group of a rule matches, so that match decides.
    let input = Input::new(line).earliest(true);
    steps.iter().filter(|step| line.starts_with(&step.prefix)).find_map(|step| {
        let found = step.regex.search_half(&input)?;
        step.level(found.pattern().as_usize())
    })
}

/// The steps that find levels that lines state.
pub(super) fn stating_steps() -> &'static [Step] {
    let last = STEPS.iter().rposition(|step| step.levels.first() != step.levels.last());
    last.map_or(&[], |last| &STEPS[..=last])
}

/// The level of a search for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelFilter {
    pub(super) level: Level,
    /// Whether rows of a worse level match, too.
    pub(super) or_worse: bool,
}

impl LevelFilter {
    /// Whether a line has the level.
    pub(super) fn accepts(self, line: &[u8]) -> bool {
        level_of(line).is_some_and(|level| self.includes(level))
    }

    /// Whether rows of this level match. The worst level is declared first.
    fn includes(self, level: Level) -> bool {
        level == self.level || (self.or_worse && (level as u8) < self.level as u8)
    }

    /// Calls `on_match` with the start and the text of each line of the level, until it returns
    /// false.
    pub(super) fn for_each_line(
        self,
        text: &[u8],
        shapes: &mut LevelShapes,
        mut on_match: impl FnMut(usize, &[u8]) -> bool,
    ) {
        let end_of =
            |at: usize| memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |len| at + len);
        let candidates = self.candidates();
        let mut needles = self.needles().map(|needles| needles.in_text(text));
        let stating = stating_steps();
        // A line that states its level need not be searched to its end. In other text most lines
        // are not even candidates, and a search passes over many of them at once.
        let mut is_stated = true;
        let mut at = 0;
        while at < text.len() {
            let known = if is_stated { shapes.level_of(&text[at..]) } else { None };
            let mut end = end_of(at + known.map_or(0, |(_, len)| len));
            let mut level = known.map(|(level, _)| level);
            if is_stated && level.is_none() {
                level = first_level(stating, &text[at..end]);
                if level.is_some() {
                    shapes.learn(&text[at..end]);
                }
            }
            if level.is_none() {
                is_stated = false;
                let Some(place) = self.next_candidate(text, at, needles.as_mut()) else { return };
                at += memchr::memrchr(b'\n', &text[at..place]).map_or(0, |newline| newline + 1);
                end = end_of(place);
                let line = &text[at..end];
                if is_match(candidates, line) {
                    level = first_level(stating, line);
                    is_stated = level.is_some();
                    level = level.or_else(|| level_of(line));
                }
            }
            if level.is_some_and(|level| self.includes(level)) && !on_match(at, &text[at..end]) {
                return;
            }
            at = end + 1;
        }
    }

    /// Calls `on_match` with the start of each line of the level. The lines are text with colours.
    pub(super) fn for_each_coloured_line(
        self,
        text: &[u8],
        shapes: &mut LevelShapes,
        mut on_match: impl FnMut(usize),
    ) {
        let (mut at, mut lines, mut without) = (0, 0, 0);
        while at < text.len() {
            let known = shapes.level_of(&text[at..]);
            let told = at + known.map_or(0, |(_, len)| len);
            let end = memchr::memchr(b'\n', &text[told..]).map_or(text.len(), |len| told + len + 1);
            let level = known.map(|(level, _)| level).or_else(|| {
                let line = &text[at..end];
                let plain = without_colours(line).text;
                let plain = plain.strip_suffix(b"\n").unwrap_or(&plain);
                if let Some(stated) = first_level(stating_steps(), plain) {
                    shapes.learn_coloured(line, plain);
                    return Some(stated);
                }
                without += 1;
                is_match(self.candidates(), plain).then(|| level_of(plain)).flatten()
            });
            if level.is_some_and(|level| self.includes(level)) {
                on_match(at);
            }
            lines += 1;
            at = end;
        }
        shapes.count_coloured(lines, without);
    }

    /// A place in the first line from the one at `at` on that may have the level.
    fn next_candidate(
        self,
        text: &[u8],
        at: usize,
        needles: Option<&mut Needles<'_>>,
    ) -> Option<usize> {
        match needles {
            // There is no newline before the first line.
            Some(_) if at == 0 => Some(0),
            Some(needles) => needles.next(at - 1),
            // This kind of matcher never fails.
            None => self.candidates().shortest_match_at(text, at).ok().flatten(),
        }
    }

    /// The pattern that each line of the level matches. Lines of other levels may match it, too.
    pub(super) fn candidates(self) -> &'static RegexMatcher {
        static CANDIDATES: [OnceLock<RegexMatcher>; 2 * LEVELS.len()] =
            [const { OnceLock::new() }; 2 * LEVELS.len()];
        CANDIDATES[self.number()].get_or_init(|| {
            let patterns: Vec<String> = self.patterns().iter().map(Hir::to_string).collect();
            builder()
                .unicode(false)
                .build_many(&patterns)
                .expect("`levels.json` contains valid patterns")
        })
    }

    /// What finds the lines that may match that pattern. None if this processor cannot search so.
    fn needles(self) -> Option<&'static NeedleSearch> {
        static NEEDLES: [OnceLock<Option<NeedleSearch>>; 2 * LEVELS.len()] =
            [const { OnceLock::new() }; 2 * LEVELS.len()];
        NEEDLES[self.number()].get_or_init(|| NeedleSearch::new(&self.patterns())).as_ref()
    }

    fn number(self) -> usize {
        2 * self.level as usize + usize::from(self.or_worse)
    }

    /// The patterns of the lines that have the level, or would have it without an earlier rule.
    fn patterns(self) -> Vec<Hir> {
        let levels = LEVELS.iter().filter(|&&level| self.includes(level));
        levels
            .flat_map(|&level| FLAT.iter().filter_map(move |rule| rule.pattern_of(level, true)))
            .map(|hir| without_head(&hir))
            .collect()
    }
}

/// The pattern without the lazy repetitions between the start of the line and the level.
fn without_head(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Alternation(forms) => Hir::alternation(forms.iter().map(without_head).collect()),
        HirKind::Concat(subs) => match &subs[..] {
            [start, head, rest @ ..] if is_start(start) && is_lazy(head) => {
                Hir::concat(rest.to_vec())
            }
            // The parser takes out what alternatives begin with.
            [start, forms]
                if is_start(start) && matches!(forms.kind(), HirKind::Alternation(_)) =>
            {
                let HirKind::Alternation(forms) = forms.kind() else { return hir.clone() };
                let with_start = |form: &Hir| Hir::concat(vec![start.clone(), form.clone()]);
                Hir::alternation(forms.iter().map(|form| without_head(&with_start(form))).collect())
            }
            _ => hir.clone(),
        },
        _ => hir.clone(),
    }
}

fn is_start(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Look(_))
}

fn is_lazy(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Repetition(repetition) if !repetition.greedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::pattern::{Pattern, PatternSpec};

    #[test]
    fn example_lines_have_their_level() {
        let examples = include_str!("../../tests/it/levels.json");
        let examples: Value = serde_json::from_str(examples).unwrap();
        let pattern = |level| {
            Pattern::new(&PatternSpec { level: Some(level), ..PatternSpec::default() }).unwrap()
        };
        let (error, warning) = (pattern(Level::Error), pattern(Level::Warning));
        let mut wrong = Vec::new();
        for example in examples.as_array().unwrap() {
            let line = example["line"].as_str().unwrap();
            let found = match (error.accepts(line.as_bytes()), warning.accepts(line.as_bytes())) {
                (true, false) => "error".into(),
                (false, true) => "warning".into(),
                (false, false) => Value::Null,
                (true, true) => "both".into(),
            };
            if found != example["level"] {
                wrong.push((line, found));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_line_of_a_level_is_a_candidate_for_it() {
        let examples = include_str!("../../tests/it/levels.json");
        let examples: Value = serde_json::from_str(examples).unwrap();
        let mut missed = Vec::new();
        for example in examples.as_array().unwrap() {
            let line = example["line"].as_str().unwrap();
            let Some(level) = level_of(line.as_bytes()) else { continue };
            for (level, or_worse) in [(level, false), (level, true), (Level::Debug, true)] {
                let filter = LevelFilter { level, or_worse };
                let text = format!("\n{line}");
                let has_needle = filter
                    .needles()
                    .is_none_or(|needles| needles.in_text(text.as_bytes()).next(0).is_some());
                if !is_match(filter.candidates(), line.as_bytes()) || !has_needle {
                    missed.push((line, filter));
                }
            }
        }
        assert!(missed.is_empty(), "{missed:#?}");
    }

    #[test]
    fn the_lines_found_in_a_text_are_those_that_are_accepted_one_by_one() {
        let examples = include_str!("../../tests/it/levels.json");
        let examples: Value = serde_json::from_str(examples).unwrap();
        let examples = examples.as_array().unwrap();
        let (mut text, mut starts) = (String::new(), Vec::new());
        // Steps of different sizes put lines that state a level before and after all others.
        for step in [1, 7, 50, 101] {
            for nth in 0..examples.len() {
                starts.push(text.len());
                text.push_str(examples[nth * step % examples.len()]["line"].as_str().unwrap());
                text.push('\n');
            }
        }
        for (level, or_worse) in
            [(Level::Error, false), (Level::Warning, false), (Level::Warning, true)]
        {
            let filter = LevelFilter { level, or_worse };
            let line_at = |start: usize| text.get(start..).unwrap().split('\n').next().unwrap();
            let expected: Vec<usize> = starts
                .iter()
                .copied()
                .filter(|&start| filter.accepts(line_at(start).as_bytes()))
                .collect();
            let mut found = Vec::new();
            filter.for_each_line(text.as_bytes(), &mut LevelShapes::default(), |start, line| {
                assert_eq!(line, line_at(start).as_bytes());
                found.push(start);
                true
            });
            assert!(!found.is_empty());
            assert_eq!(found, expected, "{filter:?}");
        }
    }

    /// `LEVELS_TSV=DIRECTORY cargo test --lib labelled_lines -- --ignored --nocapture` measures the
    /// rules on files of `LEVEL<tab>LINE`: docs/levels.md.
    #[test]
    #[ignore = "the labelled lines are not part of the repository"]
    #[allow(clippy::disallowed_methods, reason = "the files are the measurer's own")]
    fn labelled_lines_have_their_level() {
        let directory = std::env::var("LEVELS_TSV").expect("LEVELS_TSV names a directory");
        let mut files: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "tsv"));
        files.sort();
        let mut all = [Counts::default(); 2];
        for path in files {
            let mut counts = [Counts::default(); 2];
            let text = std::fs::read_to_string(&path).unwrap();
            let rows: Vec<(&str, &str)> =
                text.lines().filter_map(|row| row.split_once('\t')).collect();
            for (label, line) in &rows {
                let found = level_of(line.as_bytes());
                for (counts, level) in counts.iter_mut().zip(LEVELS) {
                    counts.add(found == Some(level), level_named(label) == Some(level));
                }
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            println!("| {name} | {} | {} | {} |", rows.len(), counts[0], counts[1]);
            all.iter_mut().zip(counts).for_each(|(all, counts)| all.add_all(counts));
        }
        println!("| all | | {} | {} |", all[0], all[1]);
        let [error, warning] = all;
        assert!(error.precision() >= 0.99 && error.recall() >= 0.99, "errors: {error}");
        assert!(warning.precision() >= 0.97 && warning.recall() >= 0.97, "warnings: {warning}");
    }

    fn level_named(label: &str) -> Option<Level> {
        match label.to_ascii_lowercase().as_str() {
            "e" | "f" | "error" | "err" | "fatal" | "failure" | "severe" | "critical" | "crit"
            | "alert" | "emerg" => Some(Level::Error),
            "w" | "warn" | "warning" => Some(Level::Warning),
            _ => None,
        }
    }

    #[derive(Clone, Copy, Default)]
    struct Counts {
        right: u32,
        found: u32,
        labelled: u32,
    }

    impl Counts {
        fn add(&mut self, is_found: bool, is_labelled: bool) {
            self.right += u32::from(is_found && is_labelled);
            self.found += u32::from(is_found);
            self.labelled += u32::from(is_labelled);
        }

        fn add_all(&mut self, other: Self) {
            self.right += other.right;
            self.found += other.found;
            self.labelled += other.labelled;
        }

        fn precision(self) -> f64 {
            share(self.right, self.found)
        }

        fn recall(self) -> f64 {
            share(self.right, self.labelled)
        }
    }

    impl std::fmt::Display for Counts {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let (precision, recall) = (self.precision(), self.recall());
            write!(f, "{} | {precision:.3} | {recall:.3}", self.labelled)
        }
    }

    /// The quotient, or 1 when the whole is 0.
    fn share(part: u32, whole: u32) -> f64 {
        if whole == 0 { 1.0 } else { f64::from(part) / f64::from(whole) }
    }
}
