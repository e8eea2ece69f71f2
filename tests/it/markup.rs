//! Converts HTML to cells, as a browser would show it, and fails on HTML that is not allowed.

/// The look of a cell. Colours are `red`, `bright-red`, `#rrggbb`, or `fg` and `bg` for swapped
/// default colours.
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
    /// A character with its marks; empty in the second column of a wide character.
    pub text: String,
    pub look: Look,
}

/// A row as text with each change of style, for comparison.
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

/// The rows that differ, in both forms; empty if all are equal.
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

/// The visible part of the rows: blanks have no text colour, and blanks at the end of a row are
/// dropped. So are backgrounds from erasing to the right edge, because a log has no right edge.
pub fn trimmed(mut rows: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    for row in &mut rows {
        for i in 1..row.len() {
            // The second half of a wide character gets the look of the first, whatever an emulator
            // stores there.
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

/// Converts HTML to cells.
pub fn of_html(html: &str) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (text, look) in parts(html) {
        put(&mut cells, &text, &look);
    }
    cells
}

/// Parses HTML into pieces of text with their looks. Fails on any element, attribute or style that
/// is not allowed.
pub fn parts(html: &str) -> Vec<(String, Look)> {
    let mut parts = Vec::new();
    let mut open: Vec<(&str, Look)> = Vec::new();
    let mut rest = html;
    while !rest.is_empty() {
        let look = open.last().map(|(_, look)| look.clone()).unwrap_or_default();
        if let Some(tag) = rest.strip_prefix("</") {
            let (name, after) = tag.split_once('>').expect("a tag that ends");
            assert_eq!(open.pop().map(|(name, _)| name), Some(name), "{html}");
            rest = after;
        } else if let Some(tag) = rest.strip_prefix('<') {
            let (tag, after) = tag.split_once('>').expect("a tag that ends");
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            open.push((name, opened(name, attributes, look)));
            assert!(open.len() <= DEPTH_MAX, "elements pile up: {html}");
            rest = after;
        } else {
            let (text, after) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
            parts.push((unescape(text), look));
            rest = after;
        }
    }
    assert!(open.is_empty(), "an element is not closed: {html}");
    parts
}

/// The deepest nesting: more than the elements of a link, four attributes, two colours and two
/// spans.
const DEPTH_MAX: usize = 12;

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

/// Converts text to cells: tabs become blanks, wide characters take two columns, marks none.
fn put(cells: &mut Vec<Cell>, text: &str, look: &Look) {
    use unicode_width::UnicodeWidthChar;
    for ch in text.chars() {
        assert!(ch == '\t' || !ch.is_control(), "{ch:?} is shown");
        if ch == '\t' {
            // A tab moves the cursor and paints nothing.
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
