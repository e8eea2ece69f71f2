//! What escape sequences mean for the screen. Those that are not named here are swallowed.

use std::sync::Arc;

use vte::{Params, Perform};

use super::screen::Screen;

/// The longest link that is kept, in bytes; longer ones are shown as text.
const LINK_BYTES_MAX: usize = 2048;

impl Perform for Screen {
    fn execute(&mut self, byte: u8) {
        if self.alternate().is_some() {
            return;
        }
        match byte {
            b'\r' => self.carriage_return(),
            0x08 => self.left(1),
            b'\t' => self.print("\t", self.offset()),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: char) {
        if intermediates == b"?" {
            return self.mode(params, action);
        }
        if !intermediates.is_empty() {
            return;
        }
        if action == 'm' {
            return self.pen.style.sgr(params);
        }
        if self.alternate().is_some() {
            return;
        }
        let param = |i: usize| {
            params.iter().nth(i).and_then(|group| group.first()).map_or(0, |&n| usize::from(n))
        };
        let n = param(0).max(1);
        match action {
            '@' => self.insert_chars(n),
            'A' | 'k' => self.up(n),
            'B' | 'e' => self.down(n),
            'C' | 'a' => self.right(n),
            'D' | 'j' => self.left(n),
            'E' => {
                self.down(n);
                self.carriage_return();
            }
            'F' => {
                self.up(n);
                self.carriage_return();
            }
            'G' | '`' => self.address_column(n - 1),
            'H' | 'f' => {
                self.address_row(n - 1);
                self.address_column(param(1).max(1) - 1);
            }
            'I' => (0..n.min(super::COLUMNS_MAX)).for_each(|_| self.print("\t", self.offset())),
            'J' => match param(0) {
                0 => self.erase_after(),
                1 => self.erase_before(),
                2 | 3 => self.clear(),
                _ => {}
            },
            'K' => match param(0) {
                0 => self.erase_row_after(),
                1 => self.erase_row_before(),
                2 => self.erase_row(),
                _ => {}
            },
            'L' => self.insert_rows(n),
            'M' => self.delete_rows(n),
            'P' => self.delete_chars(n),
            'X' => self.erase_chars(n),
            'b' => self.repeat(n, self.offset()),
            'd' => self.address_row(n - 1),
            's' => self.save(),
            'u' => self.restore(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        if !intermediates.is_empty() {
            return;
        }
        if byte == b'c' {
            self.leave_alternate();
            self.clear();
            self.carriage_return();
            self.pen = super::line::Pen::default();
            return;
        }
        if self.alternate().is_some() {
            return;
        }
        match byte {
            b'7' => self.save(),
            b'8' => self.restore(),
            b'D' | b'E' => self.newline(),
            b'M' => self.up(1),
            _ => {}
        }
    }
}

impl Screen {
    /// DECSET and DECRST, of which only the alternate screen concerns a log.
    fn mode(&mut self, params: &Params, action: char) {
        let alternate = params.iter().any(|group| matches!(group, [47 | 1047 | 1049]));
        match action {
            'h' if alternate => self.enter_alternate(),
            'l' if alternate => self.leave_alternate(),
            _ => {}
        }
    }

    /// An operating system command: all but links (OSC 8) mean nothing to a log.
    pub(super) fn command(&mut self, command: &[u8]) {
        let Some(link) = command.strip_prefix(b"8;") else { return };
        let Some(start) = memchr::memchr(b';', link) else { return };
        let target = link.get(start + 1..).unwrap_or_default();
        self.pen.link =
            std::str::from_utf8(target).ok().filter(|target| is_safe_link(target)).map(Arc::from);
    }
}

/// Only what leads to another document or opens a letter. A control character or a blank could hide the scheme from this check and not
/// from a browser.
fn is_safe_link(target: &str) -> bool {
    let scheme = target.split(':').next().unwrap_or_default();
    ["http", "https", "mailto"].iter().any(|safe| scheme.eq_ignore_ascii_case(safe))
        && target.len() <= LINK_BYTES_MAX
        && target.len() > scheme.len()
        && !target.contains(|ch: char| ch.is_control() || ch.is_whitespace())
}
