//! Rows as HTML: elements from an allow-list (`a b i s span u`), inline styles, text escaped.
//!
//! `ansi-to-html` makes the elements. It gets a row's text with SGR codes of its own dialect only, each run beginning with a reset, since
//! it fails on codes that it does not know and is quadratic on styles that pile up. What it cannot say is put around its output.
//!
//! The sixteen theme colours are CSS variables with a fallback (`var(--red,#a00)`), and so are the default colours where they are
//! swapped (`--fg`, `--bg`) and the animation of blinking text (`--blink`), which stands still unless the page wants it otherwise.

use std::fmt::Write as _;
use std::sync::LazyLock;

use ansi_to_html::Converter;

use super::row::Row;
use super::style::{Color, Flags, Style, Underline};

static CONVERTER: LazyLock<Converter> = LazyLock::new(|| {
    // The text is escaped before it comes there, which is faster; the converter does not look into it.
    Converter::new().skip_escape(true).skip_optimize(true).four_bit_var_prefix(None)
});

/// The names and looks of the theme colours, as the converter has them.
const THEME: [(&str, &str); 16] = [
    ("black", "#000"),
    ("red", "#a00"),
    ("green", "#0a0"),
    ("yellow", "#a60"),
    ("blue", "#00a"),
    ("magenta", "#a0a"),
    ("cyan", "#0aa"),
    ("white", "#aaa"),
    ("bright-black", "#555"),
    ("bright-red", "#f55"),
    ("bright-green", "#5f5"),
    ("bright-yellow", "#ff5"),
    ("bright-blue", "#55f"),
    ("bright-magenta", "#f5f"),
    ("bright-cyan", "#5ff"),
    ("bright-white", "#fff"),
];

/// Writes what the row shows from byte `from` of its text on.
pub(super) fn write(row: &Row, from: usize, out: &mut String) {
    if row.styled.is_none() {
        return escape(row.text.get(from..).unwrap_or_default(), out);
    }
    // Neighbouring runs go through the converter together, unless something is to be put around one of them.
    let mut sgr = String::with_capacity(row.text.len() * 2);
    let mut link = None;
    for (style, text) in row.runs_from(from) {
        let target = row.link(style);
        if target != link {
            convert(&mut sgr, out);
            if link.is_some() {
                out.push_str("</a>");
            }
            if let Some(target) = target {
                out.push_str("<a href=\"");
                escape(target, out);
                out.push_str("\" rel=\"noopener\" target=\"_blank\">");
            }
            link = target;
        }
        if !needs_wrapping(&style) {
            write_sgr(&style, &mut sgr);
            escape(text, &mut sgr);
            continue;
        }
        convert(&mut sgr, out);
        let (inner, css, line_css) = unwrap(style);
        if !css.is_empty() {
            element(out, "span", &css);
        }
        if let Some(line_css) = &line_css {
            element(out, "u", line_css);
        }
        write_sgr(&inner, &mut sgr);
        escape(text, &mut sgr);
        convert(&mut sgr, out);
        if line_css.is_some() {
            out.push_str("</u>");
        }
        if !css.is_empty() {
            out.push_str("</span>");
        }
    }
    convert(&mut sgr, out);
    if link.is_some() {
        out.push_str("</a>");
    }
}

/// Moves SGR text through the converter to the output.
fn convert(sgr: &mut String, out: &mut String) {
    if sgr.is_empty() {
        return;
    }
    match CONVERTER.convert(sgr) {
        Ok(html) => out.push_str(&html),
        // It knows all the codes that are written here. If it ever did not, the text would matter more than its colour.
        Err(_) => sgr
            .split('\x1b')
            .for_each(|part| out.push_str(part.split_once('m').map_or(part, |(_, text)| text))),
    }
    sgr.clear();
}

fn element(out: &mut String, name: &str, css: &str) {
    for part in ["<", name, " style='", css, "'>"] {
        out.push_str(part);
    }
}

/// Whether the converter has no words for a style.
fn needs_wrapping(style: &Style) -> bool {
    let plain_line =
        matches!(style.underline, Underline::None | Underline::Single | Underline::Double);
    style.flags.has(Flags::INVERSE)
        || style.flags.has(Flags::BLINK)
        || style.flags.has(Flags::CONCEAL)
        || !plain_line
        || (style.line_color != Color::Default && style.underline != Underline::None)
}

/// Divides a style into what the converter can say, the CSS of a `span` around it, and the CSS of a `u` around it.
fn unwrap(style: Style) -> (Style, String, Option<String>) {
    let mut inner = style;
    let mut css = Vec::new();
    if style.flags.has(Flags::INVERSE) {
        (inner.fg, inner.bg) = (style.bg, style.fg);
        if inner.fg == Color::Default {
            css.push("color:var(--bg,#fff)");
        }
        if inner.bg == Color::Default {
            css.push("background:var(--fg,#000)");
        }
    }
    if style.flags.has(Flags::CONCEAL) {
        // It can still be selected, as in a terminal.
        inner.fg = Color::Default;
        css.retain(|part| !part.starts_with("color:"));
        css.push("color:transparent");
    }
    if style.flags.has(Flags::BLINK) {
        css.push("animation:var(--blink,none)");
    }
    let shape = match style.underline {
        Underline::None => return (inner, css.join(";"), None),
        Underline::Single => "solid",
        Underline::Double => "double",
        Underline::Curly => "wavy",
        Underline::Dotted => "dotted",
        Underline::Dashed => "dashed",
    };
    if matches!(style.underline, Underline::Single | Underline::Double)
        && style.line_color == Color::Default
    {
        return (inner, css.join(";"), None);
    }
    inner.underline = Underline::None;
    let mut line = format!("text-decoration-style:{shape}");
    if style.line_color != Color::Default {
        line.push_str(";text-decoration-color:");
        write_css(style.line_color, &mut line);
    }
    (inner, css.join(";"), Some(line))
}

/// Writes a style as one SGR sequence that does not depend on what came before.
fn write_sgr(style: &Style, out: &mut String) {
    out.push_str("\x1b[0");
    for (flag, code) in [
        (Flags::BOLD, ";1"),
        (Flags::FAINT, ";2"),
        (Flags::ITALIC, ";3"),
        (Flags::STRIKE, ";9"),
        (Flags::OVERLINE, ";53"),
    ] {
        if style.flags.has(flag) {
            out.push_str(code);
        }
    }
    match style.underline {
        Underline::None => {}
        Underline::Double => out.push_str(";21"),
        _ => out.push_str(";4"),
    }
    write_sgr_color(style.fg, "3", "9", out);
    write_sgr_color(style.bg, "4", "10", out);
    out.push('m');
}

fn write_sgr_color(color: Color, dim: &str, bright: &str, out: &mut String) {
    let (base, mode, numbers): (_, _, &[u8]) = match color {
        Color::Default => return,
        Color::Indexed(n @ 0..=7) => (dim, "", &[n]),
        Color::Indexed(n @ 8..=15) => (bright, "", &[n - 8]),
        Color::Indexed(n) => (dim, "8;5;", &[n]),
        Color::Rgb(r, g, b) => (dim, "8;2;", &[r, g, b]),
    };
    for part in [";", base, mode] {
        out.push_str(part);
    }
    for (i, &n) in numbers.iter().enumerate() {
        if i > 0 {
            out.push(';');
        }
        write_number(n, out);
    }
}

/// Writes a number; `write!` costs more than the rest of a sequence.
fn write_number(n: u8, out: &mut String) {
    for (least, place) in [(100, 100), (10, 10), (0, 1)] {
        if n >= least {
            out.push(char::from(b'0' + n / place % 10));
        }
    }
}

/// Writes a colour as CSS. The cube and the greys are computed as every terminal does.
fn write_css(color: Color, out: &mut String) {
    let cube = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    let (r, g, b) = match color {
        Color::Default => return out.push_str("currentcolor"),
        Color::Indexed(n @ 0..=15) => {
            let (name, hex) = THEME[usize::from(n)];
            return ["var(--", name, ",", hex, ")"].iter().for_each(|part| out.push_str(part));
        }
        Color::Indexed(n @ 16..=231) => {
            (cube((n - 16) / 36), cube((n - 16) / 6 % 6), cube((n - 16) % 6))
        }
        Color::Indexed(n) => (8 + 10 * (n - 232), 8 + 10 * (n - 232), 8 + 10 * (n - 232)),
        Color::Rgb(r, g, b) => (r, g, b),
    };
    let written = write!(out, "#{r:02x}{g:02x}{b:02x}");
    debug_assert!(written.is_ok());
}

fn entity(byte: u8) -> Option<&'static str> {
    match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\'' => Some("&#39;"),
        _ => None,
    }
}

/// Appends text so that it is text in HTML, in an element or in an attribute.
pub fn escape(text: &str, out: &mut String) {
    let mut start = 0;
    let mut done = 0;
    // Blocks without an early exit become vector instructions; most text has nothing to escape.
    for block in text.as_bytes().chunks(32) {
        if block
            .iter()
            .fold(false, |any, &byte| any | matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\''))
        {
            for (i, &byte) in block.iter().enumerate() {
                if let Some(entity) = entity(byte) {
                    out.push_str(text.get(start..done + i).unwrap_or_default());
                    out.push_str(entity);
                    start = done + i + 1;
                }
            }
        }
        done += block.len();
    }
    out.push_str(text.get(start..).unwrap_or_default());
}
