//! What is seen of a row, cell by cell: read from HTML, or from a real terminal emulator.

/// How a cell looks. Colours are `red`, `bright-red`, `#rrggbb`, or what stands for the default where it is swapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub fg: String,
    pub bg: String,
    pub bold: bool,
    pub faint: bool,
    pub italic: bool,
    pub underline: bool,
    pub strike: bool,
    pub blink: bool,
    pub conceal: bool,
    pub overline: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// A character with its marks; empty for what a wide one takes after its first column.
    pub text: String,
    pub look: Look,
}

/// A row as text in which each change of look is told, for those who compare.
pub fn shown(row: &[Cell]) -> String {
    let mut text = String::new();
    let mut look = &Look::default();
    for cell in row {
        if cell.look != *look {
            look = &cell.look;
            let Look { fg, bg, .. } = look;
            let flags = [
                (look.bold, " bold"),
                (look.faint, " faint"),
                (look.italic, " italic"),
                (look.underline, " underline"),
                (look.strike, " strike"),
                (look.blink, " blink"),
                (look.conceal, " conceal"),
                (look.overline, " overline"),
            ];
            let flags: String =
                flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            text += &format!("[{fg}/{bg}{flags}]");
        }
        text += &cell.text;
    }
    text
}

/// The rows that differ, as both show them; empty when all are alike.
pub fn differences(ours: &[Vec<Cell>], theirs: &[Vec<Cell>]) -> String {
    let mut found = String::new();
    for i in 0..ours.len().max(theirs.len()) {
        let row = |rows: &[Vec<Cell>]| rows.get(i).map(|row| shown(row));
        if ours.get(i) != theirs.get(i) {
            found += &format!("row {i}:\n  ours   {:?}\n  theirs {:?}\n", row(ours), row(theirs));
        }
    }
    found
}

pub const NAMES: [&str; 16] = [
    "black",
    "red",
    "green",
    "yellow",
    "blue",
    "magenta",
    "cyan",
    "white",
    "bright-black",
    "bright-red",
    "bright-green",
    "bright-yellow",
    "bright-blue",
    "bright-magenta",
    "bright-cyan",
    "bright-white",
];

/// What can be seen of the rows: blanks have no colour of their own, and at the end of a row they are nothing. A background that was left by
/// erasing up to the right edge has no edge in a log, so that is passed over, too.
pub fn trimmed(mut rows: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    for row in &mut rows {
        for i in 1..row.len() {
            // The second half of a wide character looks as the first, whatever an emulator keeps there.
            if row[i].text.is_empty() {
                row[i].look = row[i - 1].look.clone();
            }
        }
        for cell in row.iter_mut().filter(|cell| cell.text == " ") {
            let old = std::mem::take(&mut cell.look);
            let lined = old.underline || old.strike || old.overline;
            let fg = if lined { old.fg } else { String::new() };
            let Look { bg, underline, strike, overline, .. } = old;
            cell.look = Look { fg, bg, underline, strike, overline, ..Look::default() };
        }
        let is_erased = |cell: &Cell| {
            cell.text == " " && cell.look == Look { bg: cell.look.bg.clone(), ..Look::default() }
        };
        while row.last().is_some_and(is_erased) {
            row.pop();
        }
    }
    while rows.last().is_some_and(Vec::is_empty) {
        rows.pop();
    }
    rows
}

/// Reads HTML as a browser would show it, and fails on any element, attribute or style that is not on the list.
pub fn of_html(html: &str) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut open: Vec<(String, Look)> = Vec::new();
    let mut rest = html;
    while !rest.is_empty() {
        let look = open.last().map(|(_, look)| look.clone()).unwrap_or_default();
        if let Some(tag) = rest.strip_prefix("</") {
            let (name, after) = tag.split_once('>').expect("a tag that ends");
            assert_eq!(open.pop().map(|(name, _)| name).as_deref(), Some(name), "{html}");
            rest = after;
        } else if let Some(tag) = rest.strip_prefix('<') {
            let (tag, after) = tag.split_once('>').expect("a tag that ends");
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            open.push((name.to_owned(), opened(name, attributes, look)));
            rest = after;
        } else {
            let end = rest.find('<').unwrap_or(rest.len());
            let (text, after) = rest.split_at(end);
            put(&mut cells, &unescape(text), &look);
            rest = after;
        }
    }
    assert!(open.is_empty(), "an element is not closed: {html}");
    cells
}

fn opened(name: &str, attributes: &str, mut look: Look) -> Look {
    match (name, attributes) {
        ("b", "") => look.bold = true,
        ("i", "") => look.italic = true,
        ("s", "") => look.strike = true,
        ("u", "") => look.underline = true,
        ("a", href) => {
            let target = href
                .strip_prefix("href=\"")
                .and_then(|href| href.strip_suffix("\" rel=\"noopener\" target=\"_blank\""))
                .unwrap_or_else(|| panic!("an `a` with {href}"));
            assert!(!target.contains(['"', '\'', '<', '>', ' ']), "{target}");
            let scheme = target.split(':').next().unwrap().to_ascii_lowercase();
            assert!(["http", "https", "mailto"].contains(&scheme.as_str()), "{target}");
        }
        ("span" | "u", style) => {
            let style = style
                .strip_prefix("style='")
                .and_then(|style| style.strip_suffix('\''))
                .unwrap_or_else(|| panic!("a `{name}` with {style}"));
            for declaration in style.split(';') {
                let (property, value) = declaration.split_once(':').expect("a declaration");
                declare(property, value, &mut look);
            }
        }
        _ => panic!("`{name}` with {attributes:?} is not allowed"),
    }
    look
}

fn declare(property: &str, value: &str, look: &mut Look) {
    match (property, value) {
        ("color", "transparent") => look.conceal = true,
        ("color", value) => look.fg = color(value),
        ("background", value) => look.bg = color(value),
        ("opacity", "0.67") => look.faint = true,
        ("animation", "var(--blink,none)") => look.blink = true,
        ("text-decoration", "overline") => look.overline = true,
        ("text-decoration-style", "solid" | "double" | "wavy" | "dotted" | "dashed") => {
            look.underline = true;
        }
        ("text-decoration-color", value) => drop(color(value)),
        _ => panic!("`{property}:{value}` is not allowed"),
    }
}

fn color(value: &str) -> String {
    let is_hex = |text: &str| {
        text.strip_prefix('#').is_some_and(|hex| {
            [3, 6].contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    if is_hex(value) {
        let digits = value
            .chars()
            .skip(1)
            .flat_map(|digit| std::iter::repeat_n(digit, if value.len() == 4 { 2 } else { 1 }));
        return std::iter::once('#').chain(digits).collect();
    }
    let (name, fallback) = value
        .strip_prefix("var(--")
        .and_then(|value| value.strip_suffix(')'))
        .and_then(|value| value.split_once(','))
        .unwrap_or_else(|| panic!("{value} is no colour"));
    assert!(is_hex(fallback), "{value}");
    assert!(NAMES.contains(&name) || ["fg", "bg"].contains(&name), "{value}");
    name.to_owned()
}

fn unescape(text: &str) -> String {
    assert!(!text.contains(['>', '"', '\'']), "{text} is not escaped");
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, entity)) = rest.split_once('&') {
        let (name, after) = entity.split_once(';').expect("an entity that ends");
        plain.push_str(before);
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            _ => panic!("&{name};"),
        });
        rest = after;
    }
    plain + rest
}

/// Lays text out as a terminal does: tabs are blanks, wide characters take two columns, marks none.
fn put(cells: &mut Vec<Cell>, text: &str, look: &Look) {
    use unicode_width::UnicodeWidthChar;
    for ch in text.chars() {
        assert!(ch == '\t' || !ch.is_control(), "{ch:?} is shown");
        if ch == '\t' {
            // A terminal's tab moves and paints nothing.
            let to = cells.len() / 8 * 8 + 8;
            cells.resize(to, Cell { text: " ".to_owned(), look: Look::default() });
            continue;
        }
        match (ch.width().unwrap_or(0), cells.iter_mut().rfind(|cell| !cell.text.is_empty())) {
            (0, Some(cell)) => cell.text.push(ch),
            (n, _) => {
                for i in 0..n.max(1) {
                    let text = if i == 0 { ch.to_string() } else { String::new() };
                    cells.push(Cell { text, look: look.clone() });
                }
            }
        }
    }
}

/// The colour of an index above the sixteen that have names.
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

/// Inverse video swaps what is there.
fn inverted(mut look: Look) -> Look {
    std::mem::swap(&mut look.fg, &mut look.bg);
    for (color, default) in [(&mut look.fg, "bg"), (&mut look.bg, "fg")] {
        if color.is_empty() {
            default.clone_into(color);
        }
    }
    look
}

/// What `avt` shows after these bytes, history included.
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

/// What `vt100` shows after these bytes, history included. It knows neither strike nor blink.
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
