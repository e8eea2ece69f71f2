//! A row: the text and the styles of one line.

use std::sync::Arc;

use super::annotation::Annotation;
use super::line::Pen;
use super::style::Style;

/// One line as a terminal would show it, or a part of a line that is too long for one row.
///
/// The last row of a log is open: later bytes may add to it. Every other row has `ended` or was
/// `cut`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    /// The offset of the byte that began it. Later rows have greater offsets.
    pub offset: u64,
    /// A newline ended it, or a cursor movement created a row below it.
    pub ended: bool,
    /// It reached the limit of a row, and the line continues in the next row without a newline
    /// between them.
    pub cut: bool,
    /// A part of it was overwritten or erased, so the text that was sent before may not be its
    /// beginning any more.
    pub(super) edited: bool,
    pub(super) text: String,
    /// None when all of the text is unstyled, which most rows are.
    pub(super) styled: Option<Box<Styled>>,
    /// None for most rows, too.
    pub(super) note: Option<Box<Annotation>>,
}

/// The styles of a row's text: runs that cover it without gaps, with different styles in adjacent
/// runs, and the targets of its links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Styled {
    pub(super) runs: Vec<Run>,
    pub(super) links: Vec<Arc<str>>,
}

/// A run reaches from the end of the run before it to the byte `end` of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) end: usize,
    pub(super) style: Style,
}

impl Row {
    pub(super) fn new(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// The shown text: no styling, no newline, and no control character except tabs.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Information from known markers in the log, such as those of groups.
    pub fn note(&self) -> Option<&Annotation> {
        self.note.as_deref()
    }

    /// Appends it to `out` as escaped HTML with inline styles, every element closed, without a
    /// newline.
    pub fn write_html(&self, out: &mut String) {
        super::html::write(self, 0, out);
    }

    /// The same as a new string.
    pub fn html(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + 16);
        self.write_html(&mut out);
        out
    }

    /// The runs with the text they cover, from byte `from` of the text on.
    pub(super) fn runs_from(&self, from: usize) -> impl Iterator<Item = (Style, &str)> {
        let runs = self.styled.as_deref().map_or(&[][..], |styled| &styled.runs);
        let mut start = from;
        runs.iter().filter_map(move |run| {
            let text = self.text.get(start..run.end).filter(|text| !text.is_empty())?;
            start = run.end;
            Some((run.style, text))
        })
    }

    /// The pens with which its text would be written, and what of the text each would write.
    pub(super) fn pens(&self) -> impl Iterator<Item = (Pen, &str)> {
        let plain = self.styled.is_none().then(|| (Pen::default(), &*self.text));
        let styled = self.runs_from(0).map(|(style, text)| {
            let link = self.link(style).cloned();
            (Pen { style: Style { link: 0, ..style }, link }, text)
        });
        plain.into_iter().chain(styled)
    }

    pub(super) fn link(&self, style: Style) -> Option<&Arc<str>> {
        let index = usize::from(style.link).checked_sub(1)?;
        self.styled.as_deref()?.links.get(index)
    }

    /// Whether `other` begins with this row, styles included.
    pub(super) fn begins(&self, other: &Self) -> bool {
        if !other.text.starts_with(&self.text) {
            return false;
        }
        if self.text.is_empty() || self.styled.is_none() && other.styled.is_none() {
            return true;
        }
        let default =
            |row: &Self| row.styled.is_none().then_some((row.text.len(), Style::default(), None));
        let spans = |row: &Self| -> Vec<(usize, Style, Option<Arc<str>>)> {
            let runs = row.styled.as_deref().map_or(&[][..], |styled| &styled.runs);
            let styled = runs
                .iter()
                .map(|run| (run.end, Style { link: 0, ..run.style }, row.link(run.style).cloned()));
            default(row).into_iter().chain(styled).collect()
        };
        let mine = spans(self);
        let theirs = spans(other);
        let mut theirs = theirs.iter();
        mine.iter().enumerate().all(|(i, (end, style, link))| {
            // The last run of the shorter row may be longer in the other one.
            let last = i + 1 == mine.len();
            theirs.next().is_some_and(|(other_end, other_style, other_link)| {
                style == other_style
                    && link == other_link
                    && (end == other_end || last && end < other_end)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Terminal;

    fn row(bytes: &str) -> super::Row {
        Terminal::new(0).feed(bytes.as_bytes()).rows().next().unwrap().clone()
    }

    #[test]
    fn a_row_begins_another_only_if_it_looks_the_same() {
        for (short, long, expected) in [
            ("ab", "abc", true),
            ("ab", "ab", true),
            ("ab", "axc", false),
            ("a\x1b[31mb", "a\x1b[31mbc", true),
            ("a\x1b[31mb", "abc", false),
            ("ab", "a\x1b[31mbc", false),
            ("ab", "ab\x1b[31mc", true),
            ("a\x1b[31mb", "a\x1b[31mb\x1b[mc", true),
            ("\x1b]8;;http://a\x07x", "\x1b]8;;http://b\x07xy", false),
        ] {
            assert_eq!(row(short).begins(&row(long)), expected, "{short:?} {long:?}");
        }
    }
}
