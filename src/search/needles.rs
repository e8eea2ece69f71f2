//! Texts of which every match of a pattern has one in it, so that a search for many texts at once finds
//! the few lines that a pattern has to be tried on.

use std::collections::BTreeMap;

use aho_corasick::Span;
use aho_corasick::packed::{Config, Searcher};
use memchr::memmem;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// More texts are not worth a search.
const TEXTS_MAX: usize = 48;
/// So many bytes of a text are looked for.
const PART_BYTES_MIN: usize = 3;
const PART_BYTES_MAX: usize = 4;
/// A text that is found as often as this, for each byte, costs as much as one more text does.
const RATE_PER_TEXT: f64 = 4e-6;
/// The most texts that are looked for at once.
const GROUP_MAX: usize = 32;

/// The texts of which one is in each match of the pattern, before which a newline stands if it begins
/// with a line. None if there are no such texts.
pub(super) fn needles(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    rarest(hir, rate_of_part)
}

/// The same if the texts are looked for in full length.
pub(super) fn whole_needles(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    rarest(hir, rate)
}

/// About how often a text is found in logs.
type Rate = fn(&[u8]) -> f64;

fn rarest(hir: &Hir, rate: Rate) -> Option<Vec<Vec<u8>>> {
    let whole = texts(hir).filter(|texts| is_usable(texts));
    let inner = match hir.kind() {
        HirKind::Concat(subs) => of_parts(subs, rate),
        HirKind::Alternation(subs) => {
            let each: Option<Vec<_>> = subs.iter().map(|sub| rarest(sub, rate)).collect();
            each.map(|each| each.concat()).filter(|texts| is_usable(texts))
        }
        HirKind::Repetition(repeated) if repeated.min > 0 => rarest(&repeated.sub, rate),
        HirKind::Capture(group) => rarest(&group.sub, rate),
        _ => None,
    };
    best(whole.into_iter().chain(inner), rate)
}

/// Whether each text says something: a newline is before each line.
fn is_usable(texts: &[Vec<u8>]) -> bool {
    texts.iter().all(|text| !text.is_empty() && text != b"\n")
}

/// The best needles of the parts that follow each other, and of what neighbours are together.
fn of_parts(parts: &[Hir], rate: Rate) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut run: Vec<Vec<u8>> = vec![Vec::new()];
    for part in parts {
        if let Some(joined) = texts(part).and_then(|texts| product(&run, &texts)) {
            run = joined;
            continue;
        }
        // A part may begin with texts although it does not end.
        if let Some(joined) = beginnings(part).and_then(|texts| product(&run, &texts)) {
            found.push(joined);
        }
        found.push(std::mem::replace(&mut run, vec![Vec::new()]));
        match texts(part) {
            Some(texts) => run = texts,
            None => found.extend(rarest(part, rate)),
        }
    }
    found.push(run);
    best(found.into_iter().filter(|texts| is_usable(texts)), rate)
}

/// The first bytes of a repetition that cannot be empty.
fn beginnings(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Repetition(repeated) if repeated.min > 0 => texts(&repeated.sub),
        HirKind::Capture(group) => beginnings(&group.sub),
        HirKind::Concat(subs) => texts(subs.first()?).or_else(|| beginnings(subs.first()?)),
        HirKind::Alternation(subs) => {
            let each: Option<Vec<_>> =
                subs.iter().map(|sub| texts(sub).or_else(|| beginnings(sub))).collect();
            Some(each?.concat()).filter(|texts| texts.len() <= TEXTS_MAX)
        }
        _ => None,
    }
}

/// All texts that a pattern matches, if they are few.
fn texts(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let all = match hir.kind() {
        HirKind::Empty => vec![Vec::new()],
        HirKind::Literal(literal) => vec![literal.0.to_vec()],
        HirKind::Class(Class::Bytes(class)) => {
            let bytes = class.ranges().iter().flat_map(|range| range.start()..=range.end());
            bytes.take(TEXTS_MAX + 1).map(|byte| vec![byte]).collect()
        }
        HirKind::Class(Class::Unicode(class)) => {
            let chars = class.ranges().iter().flat_map(|range| range.start()..=range.end());
            chars.take(TEXTS_MAX + 1).map(|char| char.to_string().into_bytes()).collect()
        }
        HirKind::Look(Look::StartLF) => vec![b"\n".to_vec()],
        HirKind::Look(_) => vec![Vec::new()],
        HirKind::Repetition(repeated) if repeated.max == Some(1) && repeated.min == 0 => {
            [vec![Vec::new()], texts(&repeated.sub)?].concat()
        }
        HirKind::Repetition(repeated) if repeated.max == Some(repeated.min) => {
            let sub = texts(&repeated.sub)?;
            (0..repeated.min).try_fold(vec![Vec::new()], |all, _| product(&all, &sub))?
        }
        HirKind::Repetition(_) => return None,
        HirKind::Capture(group) => texts(&group.sub)?,
        HirKind::Concat(subs) => {
            subs.iter().try_fold(vec![Vec::new()], |all, sub| product(&all, &texts(sub)?))?
        }
        HirKind::Alternation(subs) => subs.iter().map(texts).collect::<Option<Vec<_>>>()?.concat(),
    };
    (all.len() <= TEXTS_MAX).then_some(all)
}

/// Each text of one list followed by each of another, if these are few.
fn product(first: &[Vec<u8>], second: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let is_few = first.len() * second.len() <= TEXTS_MAX;
    let each =
        |one: &Vec<u8>| second.iter().filter_map(|other| joined(one, other)).collect::<Vec<_>>();
    is_few.then(|| first.iter().flat_map(each).collect())
}

/// A text followed by another. None if a line would have to begin in the middle.
fn joined(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    match (one, other.strip_prefix(b"\n")) {
        ([] | b"\n", Some(line)) => Some([b"\n", line].concat()),
        (_, Some(_)) => None,
        (_, None) => Some([one, other].concat()),
    }
}

fn best(all: impl IntoIterator<Item = Vec<Vec<u8>>>, rate: Rate) -> Option<Vec<Vec<u8>>> {
    let cost = |texts: &Vec<Vec<u8>>| -> f64 { texts.iter().map(|text| rate(text)).sum() };
    all.into_iter().min_by(|one, other| cost(one).total_cmp(&cost(other)))
}

/// The rate of the most telling part of a text.
fn rate_of_part(text: &[u8]) -> f64 {
    rate(telling(text))
}

fn rate(text: &[u8]) -> f64 {
    let common = text.windows(2).filter(|pair| COMMON_PAIRS.contains(&[pair[0], pair[1]])).count();
    text.iter().map(rate_of_byte).product::<f64>() * 4f64.powi(common as i32)
}

/// The pairs of letters that are most frequent in English.
const COMMON_PAIRS: [[u8; 2]; 30] = [
    *b"th", *b"he", *b"in", *b"er", *b"an", *b"re", *b"on", *b"at", *b"en", *b"nd", *b"ti", *b"es",
    *b"or", *b"te", *b"of", *b"ed", *b"is", *b"it", *b"al", *b"ar", *b"st", *b"to", *b"nt", *b"ng",
    *b"se", *b"io", *b"le", *b"ve", *b"co", *b"me",
];

/// The most telling part of a text.
fn telling(text: &[u8]) -> &[u8] {
    let parts = text.windows(text.len().clamp(1, PART_BYTES_MAX));
    parts.min_by(|one, other| rate(one).total_cmp(&rate(other))).unwrap_or(text)
}

fn rate_of_byte(byte: &u8) -> f64 {
    match byte {
        b' ' => 0.2,
        b'\n' => 0.02,
        b'a'..=b'z' | b'0'..=b'9' => 0.08,
        b'.' | b',' | b':' | b'/' | b'-' | b'"' | b'=' => 0.05,
        _ => 0.015,
    }
}

/// Short texts of which one is in each of these, as few and as rare ones as can be found quickly.
fn parts_of(texts: &[Vec<u8>]) -> Vec<&[u8]> {
    let texts = without_longer(texts.iter().map(Vec::as_slice).collect());
    let mut all: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    // Texts of one length are looked for together.
    let least = if texts.len() > GROUP_MAX { PART_BYTES_MIN } else { PART_BYTES_MAX };
    for (nth, text) in texts.iter().enumerate() {
        let lens = text.len().min(least)..=text.len().min(PART_BYTES_MAX);
        for part in lens.flat_map(|len| text.windows(len)) {
            all.entry(part).or_default().push(nth);
        }
    }
    let (mut parts, mut is_open) = (Vec::new(), vec![true; texts.len()]);
    while is_open.contains(&true) {
        let gain = |part: &[u8]| {
            let count = all[part].iter().filter(|&&nth| is_open[nth]).count() as f64;
            count / (1.0 + rate(part) / RATE_PER_TEXT)
        };
        let gains = all.keys().map(|&part| (gain(part), part));
        let best = gains.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let Some((_, part)) = best else { break };
        all[part].iter().for_each(|&nth| is_open[nth] = false);
        parts.push(part);
    }
    without_longer(parts)
}

/// The texts that have no other one in them.
fn without_longer(mut texts: Vec<&[u8]>) -> Vec<&[u8]> {
    texts.sort_unstable();
    texts.dedup();
    let all = texts.clone();
    let has_other =
        |text: &[u8]| all.iter().any(|other| *other != text && memmem::find(text, other).is_some());
    texts.retain(|text| !has_other(text));
    texts
}

/// Searches for many texts at once.
#[derive(Debug)]
pub(super) struct NeedleSearch {
    /// Texts of about the same length are quick to tell from others.
    groups: Vec<Searcher>,
    texts: Vec<Vec<u8>>,
}

impl NeedleSearch {
    /// A search for the needles of patterns. None if one of these has none, or if this processor cannot
    /// search so.
    pub(super) fn new<'h>(patterns: impl IntoIterator<Item = &'h Hir>) -> Option<Self> {
        Self::of(&patterns.into_iter().map(needles).collect::<Option<Vec<_>>>()?.concat())
    }

    /// A search for texts. None if this processor cannot search so.
    pub(super) fn of(texts: &[Vec<u8>]) -> Option<Self> {
        let mut parts = parts_of(texts);
        parts.sort_by_key(|part| part.len());
        // Of texts that are looked for together, only as much as the shortest has tells them from others.
        let (short, long) =
            parts.split_at(parts.partition_point(|part| part.len() < PART_BYTES_MIN));
        let groups = short.chunks(GROUP_MAX).chain(long.chunks(GROUP_MAX)).map(|texts| {
            Config::new().heuristic_pattern_limits(false).builder().extend(texts).build()
        });
        let groups = groups.collect::<Option<_>>()?;
        Some(Self { groups, texts: parts.into_iter().map(<[u8]>::to_vec).collect() })
    }

    /// What is looked for: a part of each text.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().map(Vec::as_slice)
    }

    /// The needles in a text, to be asked for in order.
    pub(super) fn in_text<'t>(&'t self, text: &'t [u8]) -> Needles<'t> {
        Needles { search: self, text, next: vec![Some(0); self.groups.len()] }
    }
}

/// The places of needles in a text.
pub(super) struct Needles<'t> {
    search: &'t NeedleSearch,
    text: &'t [u8],
    /// Where the next needle of each group ends, or a place from which on it has to be looked for.
    next: Vec<Option<usize>>,
}

impl Needles<'_> {
    /// The first place from `at` on that is in the line of a needle.
    pub(super) fn next(&mut self, at: usize) -> Option<usize> {
        let mut first: Option<usize> = None;
        for (group, next) in self.search.groups.iter().zip(&mut self.next) {
            if next.is_some_and(|next| next < at || next == 0) {
                let found = group.find_in(self.text, Span::from(at..self.text.len()));
                // A needle that begins with a newline is in the line behind that.
                *next = found.map(|found| found.end() - 1);
            }
            first = match (first, *next) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_syntax::ParserBuilder;

    fn parsed(pattern: &str) -> Hir {
        ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .multi_line(true)
            .build()
            .parse(pattern)
            .unwrap()
    }

    #[test]
    fn a_pattern_has_the_texts_that_tell_most() {
        for (pattern, wanted) in [
            ("ERROR", Some(&["ERROR"][..])),
            ("^(?:a|bc)[de]x", Some(&["\nadx", "\naex", "\nbcdx", "\nbcex"])),
            (r"x+(?:ERROR)\d*", Some(&["ERROR"])),
            (r"\w*(?:ERROR|PANIC: [01]+)", Some(&["ERROR", "PANIC: "])),
            (r"\w+", None),
            (r"^\d?(?:ERROR|\w+)", None),
            ("^", None),
        ] {
            let found = needles(&parsed(pattern));
            let texts =
                |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            let wanted: Option<Vec<Vec<u8>>> = wanted.map(texts);
            assert_eq!(found, wanted, "{pattern}");
        }
    }

    #[test]
    fn lines_with_needles_are_found_in_order() {
        let search =
            NeedleSearch::new(&[parsed("^E: "), parsed("FATAL"), parsed("panic|oops")]).unwrap();
        let text = b"nothing\nE: one\nof E: two\nthree FATAL and panic\noops";
        let mut needles = search.in_text(text);
        let (mut lines, mut at) = (Vec::new(), 1);
        while let Some(place) = needles.next(at - 1) {
            lines.push(text[..place].iter().filter(|&&byte| byte == b'\n').count());
            at = memchr::memchr(b'\n', &text[place..]).map_or(text.len(), |len| place + len) + 1;
        }
        assert_eq!(lines, [1, 3, 4]);
    }
}
