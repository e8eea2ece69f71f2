//! The HTML tags of a style. `ansi-to-html` creates them once, then they are cached.
//!
//! The library gets each style as one SGR sequence that it supports: it fails on unknown codes, has
//! no state between calls and takes quadratic time for nested styles. Attributes that it does not
//! support are put around its output. It never gets the text of the log.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::LazyLock;

use ansi_to_html::Converter;

use super::style::{Color, Flags, Style, Underline};

static CONVERTER: LazyLock<Converter> = LazyLock::new(|| {
    Converter::new().skip_escape(true).skip_optimize(true).four_bit_var_prefix(None)
});

/// The number of styles that a thread caches, at about 200 bytes each. Logs use a dozen.
const REMEMBERED: usize = 256;

/// The placeholder for the text when a style is converted. No tag contains it.
const TEXT: char = '|';

/// The tags before and after a text of some style.
#[derive(Debug, Default)]
pub(super) struct Tags {
    pub(super) open: String,
    pub(super) close: String,
}

/// A cache of tags. Each style has one slot, whose previous style it replaces.
pub(super) struct Remembered(Vec<Option<(Style, Tags)>>);

thread_local! {
    static TAGS: RefCell<Remembered> = const { RefCell::new(Remembered(Vec::new())) };
}

/// Calls a closure with the cache of this thread.
pub(super) fn with<T>(use_them: impl FnOnce(&mut Remembered) -> T) -> T {
    TAGS.with_borrow_mut(use_them)
}

impl Remembered {
    /// The tags of a style, without its link.
    pub(super) fn of(&mut self, style: Style) -> &Tags {
        let style = Style { link: 0, ..style };
        if self.0.is_empty() {
            self.0.resize_with(REMEMBERED, || None);
        }
        let place = &mut self.0[style.number() % REMEMBERED];
        if place.as_ref().is_none_or(|(known, _)| *known != style) {
            *place = None;
        }
        &place.get_or_insert_with(|| (style, Tags::new(style))).1
    }
}

impl Tags {
    fn new(style: Style) -> Self {
        let (inner, css, line_css) = unwrap(style);
        let mut sgr = String::new();
        write_sgr(&inner, &mut sgr);
        sgr.push(TEXT);
        // The library supports all codes that are written here. If it failed nevertheless, the text
        // would be shown without its style.
        let html = CONVERTER.convert(&sgr).unwrap_or_default();
        let (open, close) = html.split_once(TEXT).unwrap_or_default();
        let mut tags = Self::default();
        if !css.is_empty() {
            element(&mut tags.open, "span", &css);
        }
        if let Some(line_css) = &line_css {
            element(&mut tags.open, "u", line_css);
        }
        tags.open.push_str(open);
        tags.close.push_str(close);
        tags.close.push_str(if line_css.is_some() { "</u>" } else { "" });
        tags.close.push_str(if css.is_empty() { "" } else { "</span>" });
        tags
    }
}

/// The names of the theme colours and their fallbacks, as in the converter.
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

fn element(out: &mut String, name: &str, css: &str) {
    for part in ["<", name, " style='", css, "'>"] {
        out.push_str(part);
    }
}

/// Divides a style into the part for the converter, the CSS of a `span` and the CSS of a `u` around
/// it.
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
        // Transparent, so that it can be selected, as in a terminal.
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

/// Writes a style as one SGR sequence that begins with a reset.
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
        out.push_str(&n.to_string());
    }
}

/// Writes a colour as CSS. The cube and the greys have the values of common terminals.
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
