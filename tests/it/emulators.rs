//! The cells that real terminal emulators show, in the same form as those of HTML.

use crate::markup::{Cell, Look, NAMES};

/// The colour of an index.
fn indexed(n: u8) -> String {
    let cube = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match n {
        0..=15 => NAMES[usize::from(n)].to_owned(),
        16..=231 => rgb(cube((n - 16) / 36), cube((n - 16) / 6 % 6), cube((n - 16) % 6)),
        _ => rgb(8 + 10 * (n - 232), 8 + 10 * (n - 232), 8 + 10 * (n - 232)),
    }
}

fn rgb(r: u8, g: u8, b: u8) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Swaps the colours for inverse video.
fn inverted(mut look: Look) -> Look {
    std::mem::swap(&mut look.fg, &mut look.bg);
    for (color, default) in [(&mut look.fg, "bg"), (&mut look.bg, "fg")] {
        if color.is_empty() {
            default.clone_into(color);
        }
    }
    look
}

/// The cells of `avt` after these bytes, including the scrollback.
pub fn of_avt(columns: usize, rows: usize, log: &str) -> Vec<Vec<Cell>> {
    let mut terminal = avt::Terminal::with_scrollback(columns, rows, None).unwrap();
    terminal.feed(log);
    let color = |color: Option<avt::Color>| match color {
        None => String::new(),
        Some(avt::Color::Indexed(n)) => indexed(n),
        Some(avt::Color::RGB(avt::Rgb { r, g, b })) => rgb(r, g, b),
    };
    let look = |pen: &avt::Pen| {
        let look = Look {
            fg: color(pen.foreground()),
            bg: color(pen.background()),
            bold: pen.is_bold(),
            faint: pen.is_faint(),
            italic: pen.is_italic(),
            underline: pen.is_underline(),
            strike: pen.is_strikethrough(),
            blink: pen.is_blink(),
            ..Look::default()
        };
        if pen.is_inverse() { inverted(look) } else { look }
    };
    let cell = |cell: &avt::Cell| Cell {
        text: if cell.width() == 0 { String::new() } else { cell.char().to_string() },
        look: look(cell.pen()),
    };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut wraps = false;
    for line in terminal.screen().all_lines() {
        let used = line
            .cells()
            .iter()
            .rposition(|cell| cell.char() != ' ' || cell.width() == 0 || !cell.pen().is_default());
        let cells = line.cells().iter().take(used.map_or(0, |last| last + 1)).map(cell);
        match rows.last_mut() {
            Some(row) if wraps => row.extend(cells),
            _ => rows.push(cells.collect()),
        }
        wraps = line.is_wrapped();
    }
    rows
}

/// The cells of `vt100` after these bytes, including the scrollback. It supports neither strike nor
/// blink.
pub fn of_vt100(columns: u16, rows: u16, log: &[u8]) -> Vec<Vec<Cell>> {
    let size = |n| std::num::NonZeroU16::new(n).unwrap();
    let mut parser = vt100::Parser::new(size(rows), size(columns), 100_000);
    parser.process(log);
    let color = |color: vt100::Color| match color {
        vt100::Color::Default => String::new(),
        vt100::Color::Idx(n) => indexed(n),
        vt100::Color::Rgb(r, g, b) => rgb(r, g, b),
    };
    let cell = |cell: &vt100::Cell| {
        let look = Look {
            fg: color(cell.fgcolor()),
            bg: color(cell.bgcolor()),
            bold: cell.bold(),
            faint: cell.dim(),
            italic: cell.italic(),
            underline: cell.underline(),
            ..Look::default()
        };
        let text = match cell.contents() {
            _ if cell.is_wide_continuation() => "",
            "" => " ",
            contents => contents,
        };
        let look = if cell.inverse() { inverted(look) } else { look };
        Cell { text: text.to_owned(), look }
    };
    let mut seen = Vec::new();
    let mut wraps = false;
    let history = parser.screen().scrollback_len();
    for back in (0..=history).rev() {
        parser.screen_mut().set_scrollback(back);
        let shown = if back == 0 { rows } else { 1 };
        for row in 0..shown {
            let cells = (0..columns).filter_map(|column| parser.screen().cell(row, column));
            match seen.last_mut() {
                Some(row) if wraps => Vec::extend(row, cells.map(cell)),
                _ => seen.push(cells.map(cell).collect::<Vec<_>>()),
            }
            wraps = parser.screen().row_wrapped(row);
        }
    }
    seen
}
