//! Rows for viewers that can only append: sent text cannot be changed.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use super::{Patch, Row, SCREEN_ROWS, html};

/// Turns patches into text that only grows.
///
/// An open row is sent as it grows. Once it is rewritten (a progress bar), nothing more of it is
/// sent until it has ended. Then the whole row is sent, on a new line: intermediate states are
/// lost, the final one never is. If an ended row is redrawn, it is sent again, once for each patch
/// that changes it. Erased rows stay on the viewer's screen.
#[derive(Clone, Debug, Default)]
pub struct Appender {
    /// The last sent line has no newline yet, and the next row does not continue it.
    mid_line: bool,
    /// The last row was cut, so the next one continues the same line.
    continues: bool,
    /// The last state of the open row, and how much of it was sent.
    open: Option<Open>,
    /// The rows that were sent as ended and can still change, in the order of their offsets.
    sent: VecDeque<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Open {
    row: Row,
    /// The number of bytes of its text that were sent and have not changed since.
    sent: usize,
    /// The sent text is no longer the beginning of the row.
    stale: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Html,
    Text,
}

impl Appender {
    /// An appender that has not sent anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The HTML to send after this patch: every element is closed, rows are joined by newlines.
    /// Empty when there is nothing to send.
    pub fn html(&mut self, patch: &Patch<'_>) -> String {
        self.append(patch, Form::Html)
    }

    /// The plain text to send after this patch, rows joined by newlines.
    pub fn text(&mut self, patch: &Patch<'_>) -> String {
        self.append(patch, Form::Text)
    }

    /// The HTML of the open row that was not sent yet, for the end of a file. The first row of the
    /// next file begins a new line.
    pub fn finish_html(&mut self) -> String {
        self.finish(Form::Html)
    }

    /// The same as plain text.
    pub fn finish_text(&mut self) -> String {
        self.finish(Form::Text)
    }

    fn append(&mut self, patch: &Patch<'_>, form: Form) -> String {
        let mut out = String::with_capacity(patch.rows().map(|row| row.text().len() + 1).sum());
        let lives = |open: &Open| {
            open.row.offset < patch.from || patch.rows().any(|row| row.offset == open.row.offset)
        };
        self.open.take_if(|open| !lives(open));
        // Final rows cannot change, so they are not stored.
        let first_kept = patch.rows().len().saturating_sub(SCREEN_ROWS);
        for (i, row) in patch.rows().enumerate() {
            let known = self.sent.binary_search_by_key(&row.offset, |&(offset, _)| offset).ok();
            if known.is_some_and(|known| self.sent[known].1 == fingerprint(row)) {
                continue;
            }
            if row.ended || row.cut {
                self.ended(row, form, &mut out);
                match known {
                    Some(known) => self.sent[known].1 = fingerprint(row),
                    None if i >= first_kept => {
                        self.sent.push_back((row.offset, fingerprint(row)));
                        if self.sent.len() > SCREEN_ROWS {
                            self.sent.pop_front();
                        }
                    }
                    None => {}
                }
            } else {
                self.opened(row, form, &mut out);
            }
        }
        out
    }

    /// Sends an ended row, or the rest of it.
    fn ended(&mut self, row: &Row, form: Form, out: &mut String) {
        let open = self.open.take_if(|open| open.row.offset == row.offset);
        match open {
            Some(open) if open.sent > 0 && !open.stale && looks_begun(&open, row, form) => {
                write(row, open.sent, form, out);
            }
            _ => {
                self.begin_line(row, out);
                write(row, 0, form, out);
            }
        }
        if row.ended {
            out.push('\n');
        }
        self.mid_line = !row.ended;
        self.continues = row.cut;
    }

    /// Sends the new text of an open row, unless the row was rewritten.
    fn opened(&mut self, row: &Row, form: Form, out: &mut String) {
        let mut open = match self.open.take_if(|open| open.row.offset == row.offset) {
            Some(open) => open,
            None => Open { row: Row::new(row.offset), sent: 0, stale: false },
        };
        open.stale |= open.sent > 0 && !looks_begun(&open, row, form);
        if !open.stale && !row.edited && row.text().len() > open.sent {
            if open.sent == 0 {
                self.begin_line(row, out);
            }
            write(row, open.sent, form, out);
            open.sent = row.text().len();
            self.mid_line = true;
            self.continues = false;
        }
        open.row = row.clone();
        self.open = Some(open);
    }

    /// Starts a new line if this one has text. A row that began in it has to be sent as a whole.
    fn begin_line(&mut self, row: &Row, out: &mut String) {
        if self.mid_line && !self.continues {
            out.push('\n');
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.row.offset != row.offset) {
            open.stale |= open.sent > 0;
        }
    }

    fn finish(&mut self, form: Form) -> String {
        let mut out = String::new();
        if let Some(open) =
            self.open.take().filter(|open| open.stale || open.sent < open.row.text().len())
        {
            self.begin_line(&open.row, &mut out);
            write(&open.row, 0, form, &mut out);
            self.mid_line = true;
        }
        self.continues = false;
        self.sent.clear();
        out
    }
}

fn looks_begun(open: &Open, row: &Row, form: Form) -> bool {
    match form {
        Form::Html => open.row.begins(row),
        Form::Text => row.text().starts_with(open.row.text()),
    }
}

fn write(row: &Row, from: usize, form: Form, out: &mut String) {
    match form {
        Form::Html => html::write(row, from, out),
        Form::Text => out.push_str(row.text().get(from..).unwrap_or_default()),
    }
}

fn fingerprint(row: &Row) -> u64 {
    let mut hasher = Folding(0);
    row.text().hash(&mut hasher);
    // Not by their `Hash`, which folds each byte of a style.
    for run in row.styled.iter().flat_map(|styled| &styled.runs) {
        hasher.write_usize(run.end);
        run.style.words().into_iter().for_each(|word| hasher.write_u64(word));
    }
    row.styled.iter().flat_map(|styled| &styled.links).for_each(|link| link.hash(&mut hasher));
    hasher.finish()
}

/// A fast hash, not resistant to attacks. If a log contains a collision, one of its own rows is not
/// sent again after a redraw.
struct Folding(u64);

impl Folding {
    /// The number of independent lanes: the steps of one lane depend on each other.
    const LANES: usize = 4;

    fn fold(hash: u64, word: u64) -> u64 {
        (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let (blocks, words) = words.as_chunks::<{ Self::LANES }>();
        let mut lanes = [0; Self::LANES];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block) {
                *lane = Self::fold(*lane, u64::from_le_bytes(*word));
            }
        }
        lanes.iter().for_each(|&lane| self.write_u64(lane));
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.write_u64(u64::from_le_bytes(last));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = Self::fold(self.0, word);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::super::Terminal;
    use super::Appender;

    fn sent(chunks: &[&str]) -> (Vec<String>, Vec<String>, [String; 2]) {
        let mut terminal = Terminal::new(0);
        let (mut html, mut text) = (Appender::new(), Appender::new());
        let mut both = |chunk: &&str| {
            let patch = terminal.feed(chunk.as_bytes());
            (html.html(&patch), text.text(&patch))
        };
        let (htmls, texts) = chunks.iter().map(&mut both).unzip();
        (htmls, texts, [html.finish_html(), text.finish_text()])
    }

    #[track_caller]
    fn check(chunks: &[&str], expected: &[&str], rest: &str) {
        let (_, texts, [_, text_rest]) = sent(chunks);
        assert_eq!(texts, expected, "{chunks:?}");
        assert_eq!(text_rest, rest, "{chunks:?}");
    }

    #[test]
    fn an_open_row_is_sent_as_it_grows() {
        check(&["a", "b\nc"], &["a", "b\nc"], "");
        check(&["a\n", "\n", "b"], &["a\n", "\n", "b"], "");
        check(&["a", "", "\n"], &["a", "", "\n"], "");
    }

    #[test]
    fn a_rewritten_row_is_sent_once_it_has_ended() {
        check(&["1%", "\r2%", "\r3%", "\nx"], &["1%", "", "", "\n3%\nx"], "");
        check(&["1%\r2%", "\r3%\n"], &["", "3%\n"], "");
        check(&["a\n1%\r2%"], &["a\n"], "2%");
        check(&["1%", "\r2%"], &["1%", ""], "\n2%");
        check(&["abc", "\r\x1b[K", "xyz", "\n"], &["abc", "", "", "\nxyz\n"], "");
        // A row that was overwritten with the same text continues after the sent part.
        check(&["ab", "\rab", "c\n"], &["ab", "", "c\n"], "");
    }

    #[test]
    fn the_first_row_after_the_end_of_a_file_begins_a_line() {
        let mut appender = Appender::new();
        let text =
            |appender: &mut Appender, bytes: &[u8]| appender.text(&Terminal::new(0).feed(bytes));
        assert_eq!(text(&mut appender, b"half a line"), "half a line");
        assert_eq!(appender.finish_text(), "");
        assert_eq!(text(&mut appender, b"another file\n"), "\nanother file\n");
        assert_eq!(text(&mut appender, b"1%\r2%"), "");
        assert_eq!(appender.finish_text(), "2%");
        assert_eq!(text(&mut appender, b"a third\n"), "\na third\n");
    }

    #[test]
    fn redrawn_rows_are_sent_again() {
        check(&["a\nb\n", "\x1b[2AX\n", "\x1b[B"], &["a\nb\n", "X\n", ""], "");
        check(&["a\nb\nc", "\x1b[2A\rX"], &["a\nb\nc", "\nX\n"], "\nc".trim_start());
    }

    #[test]
    fn each_message_closes_its_elements_and_a_new_style_is_a_rewrite() {
        let red = |text: &str| format!("<span style='color:var(--red,#a00)'>{text}</span>");
        let (html, text, _) = sent(&["\x1b[31ma", "b", "\x1b[mc\n"]);
        assert_eq!(html, [red("a"), red("b"), "c\n".into()]);
        assert_eq!(text, ["a", "b", "c\n"]);
        let (html, text, _) = sent(&["ab", "\r\x1b[31mab\n"]);
        assert_eq!(html, ["ab".to_owned(), format!("\n{}\n", red("ab"))]);
        assert_eq!(text, ["ab", "\n"]);
    }

    #[test]
    fn a_cut_line_stays_one_line() {
        let long = "é".repeat(100_000);
        let (html, text, _) = sent(&[&long, &long, "\nx\n"]);
        assert_eq!(html.concat(), format!("{long}{long}\nx\n"));
        assert_eq!(text, html);
    }
}
