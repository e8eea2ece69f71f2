//! Texts of which every match of a pattern has one in it, so that a search passes over lines without.

use memchr::memmem::Finder;
use regex_syntax::ParserBuilder;

use super::needles::{NeedleSearch, Needles, whole_needles};
use super::pattern::PatternSpec;
use super::plain;
use super::skim::{Neighbours, may_be_in_colour, skim};

/// Where more lines of so many bytes may match, all are searched at once. To do without the colours of
/// all costs more.
const BYTES_PER_LINE_MIN: usize = 2048;
const COLOURED_BYTES_PER_LINE_MIN: usize = 512;

/// What a quick look at lines tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// They are text with colours, and only those that begin here may match.
    Few(Vec<usize>),
    /// They are text with colours, and can be searched with these.
    Coloured,
    /// They may be anything.
    Unknown,
}

/// Finds the lines of text with colours that may match a pattern.
#[derive(Clone, Debug)]
pub(super) struct Prefilter {
    sought: Sought,
    neighbours: Neighbours,
    /// No match of the text has a byte of a colour in it, unless the colour splits it.
    sees_colours: bool,
}

#[derive(Clone, Debug)]
enum Sought {
    Text(Box<Finder<'static>>),
    Texts(std::sync::Arc<NeedleSearch>),
}

impl Prefilter {
    /// For a valid pattern. None if its matches have no such texts.
    pub(super) fn new(pattern: &str, spec: &PatternSpec) -> Option<Self> {
        if !spec.is_regex && spec.has_case {
            let text = pattern.as_bytes();
            // A match that begins in a colour would begin with one of its bytes.
            let is_apart = text.first().is_none_or(|&byte| !may_be_in_colour(byte));
            let is_all = !spec.is_word && spec.level.is_none() && spec.fields.is_none();
            return Some(Self { sees_colours: is_apart && is_all, ..Self::of_text(text) });
        }
        let pattern =
            if spec.is_regex { pattern.to_owned() } else { regex_syntax::escape(pattern) };
        let mut parser = ParserBuilder::new();
        let parser = parser.multi_line(true).utf8(false).case_insensitive(!spec.has_case);
        let hir = parser.build().parse(&pattern).ok()?;
        // Where a line begins is no part of its bytes.
        let mut texts = whole_needles(&hir)?;
        texts.iter_mut().for_each(|text| text.retain(|&byte| byte != b'\n'));
        if let [text] = &texts[..] {
            return Some(Self::of_text(text));
        }
        let search = NeedleSearch::of(&texts)?;
        let neighbours = Neighbours::of(search.texts());
        Some(Self { sought: Sought::Texts(search.into()), neighbours, sees_colours: false })
    }

    fn of_text(text: &[u8]) -> Self {
        let sought = Sought::Text(Finder::new(text).into_owned().into());
        Self { sought, neighbours: Neighbours::of([text]), sees_colours: false }
    }

    /// A look at whole lines. They are coloured if a search for the text finds the same with their
    /// colours as without.
    pub(super) fn glance(&self, lines: &[u8]) -> Glance {
        let is_coloured = has_escape(lines);
        let least = if is_coloured { COLOURED_BYTES_PER_LINE_MIN } else { BYTES_PER_LINE_MIN };
        let max = lines.len() / least;
        let mut starts = self.starts(lines, max + 1);
        let is_known = starts.len() <= max || (self.sees_colours && is_coloured);
        let mut splits = Vec::new();
        if !is_known || !skim(lines, &self.neighbours, &mut splits) {
            return Glance::Unknown;
        }
        if starts.len() > max {
            let is_coloured = splits.is_empty() && plain::has_no_stamps(lines);
            return if is_coloured { Glance::Coloured } else { Glance::Unknown };
        }
        if !splits.is_empty() {
            starts.extend(splits.into_iter().map(|place| line_start(lines, place)));
            starts.sort_unstable();
            starts.dedup();
        }
        if starts.len() <= max { Glance::Few(starts) } else { Glance::Unknown }
    }

    /// The starts of the first `max` lines with one of the texts.
    fn starts(&self, lines: &[u8], max: usize) -> Vec<usize> {
        let mut starts = Vec::new();
        let mut at = 0;
        let mut places = self.search(lines);
        while starts.len() < max
            && let Some(place) = places.next(at)
        {
            starts.push(line_start(lines, place));
            at = memchr::memchr(b'\n', &lines[place..]).map_or(lines.len(), |len| place + len + 1);
        }
        starts
    }

    fn search<'t>(&'t self, text: &'t [u8]) -> Places<'t> {
        match &self.sought {
            Sought::Text(finder) => Places::Text(finder, text),
            Sought::Texts(search) => Places::Texts(search.in_text(text)),
        }
    }
}

/// The same for a search that can read lines with their colours, whatever is sought.
pub(super) fn glance(lines: &[u8]) -> Glance {
    let is_coloured = has_escape(lines)
        && skim(lines, &Neighbours::none(), &mut Vec::new())
        && plain::has_no_stamps(lines);
    if is_coloured { Glance::Coloured } else { Glance::Unknown }
}

/// The places of texts in lines.
enum Places<'t> {
    Text(&'t Finder<'static>, &'t [u8]),
    Texts(Needles<'t>),
}

impl Places<'_> {
    /// The first place from `at` on that is in a line with one of the texts.
    fn next(&mut self, at: usize) -> Option<usize> {
        match self {
            Self::Text(finder, text) => finder.find(&text[at..]).map(|found| at + found),
            Self::Texts(needles) => needles.next(at),
        }
    }
}

/// Whether an escape is among the first lines.
fn has_escape(lines: &[u8]) -> bool {
    memchr::memchr(0x1b, &lines[..lines.len().min(4096)]).is_some()
}

fn line_start(lines: &[u8], place: usize) -> usize {
    memchr::memrchr(b'\n', &lines[..place]).map_or(0, |newline| newline + 1)
}
