//! The effect of escape sequences on the screen. Unknown sequences are ignored.

use std::sync::Arc;

use vte::{Params, Perform};

use super::ascent::Step;
use super::charset::Charsets;
use super::screen::Screen;
use super::sequence::StringKind;
use super::style::Style;

/// The longest link target, in bytes; text with a longer one is shown without the link.
const LINK_BYTES_MAX: usize = 2048;

impl Perform for Screen {
    fn execute(&mut self, byte: u8) {
        if self.page.is_hidden() {
            return;
        }
        if matches!(byte, 0x08 | 0x0b | 0x0c) {
            self.leave_text();
            self.end_ascent();
        }
        match byte {
            b'\r' => self.step(Step::Return),
            0x08 => self.left(1),
            b'\t' => self.print("\t", self.place()),
            0x0b | 0x0c => self.index(),
            0x0e => self.charsets.shift(true),
            0x0f => self.charsets.shift(false),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: char) {
        match (intermediates, action) {
            ([], 'm') => return self.pen.style.sgr(params.iter()),
            // Selective erasing. Protected characters are not supported, so it erases everything.
            ([], _) | (b"?", 'J' | 'K') => {}
            (b"?", _) => {
                self.leave_text();
                return self.mode(params, action);
            }
            (b"!", 'p') => return self.reset_pen(),
            _ => return,
        }
        self.leave_text();
        if !matches!(action, 'A' | 'k' | 'F' | 'D' | 'j' | 'G' | '`' | 'J' | 'K') {
            self.leave_lines();
        }
        let leaves_status = matches!(action, 'H' | 'f' | 'd' | 'r' | 'u');
        if self.page.alternate().is_some() || (self.page.in_status() && !leaves_status) {
            return;
        }
        let param = |i: usize| {
            params.iter().nth(i).and_then(|group| group.first()).map_or(0, |&n| usize::from(n))
        };
        let n = param(0).max(1);
        match action {
            '@' => self.insert_chars(n),
            'A' | 'k' => self.step(Step::Up(n)),
            'B' | 'e' => self.down(n),
            'C' | 'a' => self.right(n),
            'D' | 'j' => self.step(Step::Left(n)),
            'E' => {
                self.down(n);
                self.carriage_return();
            }
            'F' => {
                self.step(Step::Up(n));
                self.step(Step::Return);
            }
            'G' | '`' => self.step(Step::Column(n - 1)),
            'H' | 'f' => self.address(n - 1, param(1).max(1) - 1),
            'I' => self.tab(n, false),
            'J' => match param(0) {
                0 => self.step(Step::EraseAfter),
                _ => self.erase_page(param(0)),
            },
            'K' => match param(0) {
                0 => self.step(Step::EraseRowAfter),
                1 => self.step(Step::EraseRowBefore),
                2 => self.step(Step::EraseRow),
                _ => {}
            },
            'L' => self.insert_rows(n),
            'M' => self.delete_rows(n),
            'P' => self.delete_chars(n),
            'S' => self.scroll_up(n),
            'T' => self.scroll_down(n),
            'X' => self.erase_chars(n),
            'Z' => self.tab(n, true),
            'b' => self.repeat(n, self.place()),
            'd' => self.address_row(n - 1),
            'r' => self.page.set_region(param(0), param(1)),
            's' => self.save(),
            't' if param(0) == 8 => self.size.ask_for(param(2), param(1)),
            'u' => self.restore(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        let hidden = self.page.is_hidden();
        self.leave_text();
        self.leave_lines();
        match (intermediates, byte) {
            ([], b'c') => self.reset(),
            ([], b'8') if self.page.alternate().is_none() => self.restore(),
            _ if hidden => {}
            ([which], set) => self.charsets.designate(*which, set),
            ([], b'7') => self.save(),
            ([], b'D') => self.index(),
            ([], b'E') => self.newline(),
            ([], b'M') => self.up(1),
            _ => {}
        }
    }
}

impl Screen {
    /// The cursor moves other than behind text, or something is erased.
    fn leave_text(&mut self) {
        self.forget_returns();
        self.end_line_start();
    }

    /// The cursor goes where writing lines and going up does not lead.
    fn leave_lines(&mut self) {
        self.end_ascent();
        (self.landing, self.covered) = (None, None);
    }

    /// ED, but for erasing what follows the cursor.
    fn erase_page(&mut self, what: usize) {
        self.leave_lines();
        match what {
            1 => self.erase_before(),
            // 3 clears only the scrollback, which is the whole log.
            2 => self.clear(),
            _ => {}
        }
    }

    /// DECSET and DECRST. Only the alternate screen, the saved cursor and the width are relevant to
    /// a log.
    fn mode(&mut self, params: &Params, action: char) {
        for group in params.iter() {
            if let [47 | 1047 | 1048 | 1049] = group {
                self.leave_lines();
            }
            match (group, action) {
                ([47 | 1047 | 1049], 'h') => self.enter_alternate(),
                ([47 | 1047 | 1049], 'l') => self.leave_alternate(),
                ([1048], 'h') if !self.page.is_hidden() => self.save(),
                // DECCOLM. Few terminals go back to 80 columns, though programs often ask for it.
                ([3], 'h') => self.size.need_columns(132),
                ([1048], 'l') if self.page.alternate().is_none() => self.restore(),
                _ => {}
            }
        }
    }

    /// Resets the style of new text. A link continues until it is closed.
    pub(super) fn reset_pen(&mut self) {
        self.pen.style = Style::default();
        self.charsets = Charsets::default();
    }

    /// A command to the terminal. Three are relevant to a log: links, the marks around the output of
    /// a command, and the time that Buildkite puts in front of a row.
    pub(super) fn string(&mut self, kind: StringKind, command: &[u8]) {
        match kind {
            StringKind::Osc if command.starts_with(b"8;") => self.link(command),
            StringKind::Osc => self.command_mark(command),
            StringKind::Apc => {
                let time =
                    command.strip_prefix(b"bk;t=").and_then(|time| std::str::from_utf8(time).ok());
                if let Some(time) = time.and_then(|time| time.parse().ok()) {
                    self.forget_returns();
                    self.end_ascent();
                    self.timestamp(time);
                }
            }
            StringKind::Text => {}
        }
    }

    /// OSC 8.
    fn link(&mut self, command: &[u8]) {
        let Some(link) = command.strip_prefix(b"8;") else { return };
        let Some(start) = memchr::memchr(b';', link) else { return };
        let target = link.get(start + 1..).unwrap_or_default();
        self.pen.link =
            std::str::from_utf8(target).ok().filter(|target| is_safe_link(target)).map(Arc::from);
    }
}

/// Whether the scheme is allowed: HTTP, HTTPS or mail. A target with a control character or a blank
/// is refused, because a browser ignores some of them, and would find another scheme.
fn is_safe_link(target: &str) -> bool {
    let scheme = target.split(':').next().unwrap_or_default();
    ["http", "https", "mailto"].iter().any(|safe| scheme.eq_ignore_ascii_case(safe))
        && target.len() <= LINK_BYTES_MAX
        && target.len() > scheme.len()
        && !target.contains(|ch: char| ch.is_control() || ch.is_whitespace())
}
