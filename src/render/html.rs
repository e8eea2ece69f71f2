//! Rows as HTML: elements from an allow-list (`a b i s span u`), inline styles, text escaped.
//!
//! Each run of one style is enclosed in the tags that [`tags`](super::tags) creates for it. The
//! sixteen theme colours are CSS variables with a fallback (`var(--red,#a00)`). So are the default
//! colours of inverse text (`--fg`, `--bg`) and the animation of blinking text (`--blink`), which
//! is off unless the page defines it.

use super::row::Row;
use super::tags;

/// Writes the row's text from byte `from` on as HTML.
pub(super) fn write(row: &Row, from: usize, out: &mut String) {
    if row.styled.is_none() {
        return escape(row.text.get(from..).unwrap_or_default(), out);
    }
    tags::with(|tags| {
        let mut link = None;
        for (style, text) in row.runs_from(from) {
            let target = row.link(style);
            if target != link {
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
            if style.is_plain() {
                escape(text, out);
                continue;
            }
            let tags = tags.of(style);
            out.push_str(&tags.open);
            escape(text, out);
            out.push_str(&tags.close);
        }
        if link.is_some() {
            out.push_str("</a>");
        }
    });
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

/// Appends text, escaped for an HTML element or attribute value.
pub fn escape(text: &str, out: &mut String) {
    let mut start = 0;
    let mut done = 0;
    // Without an early exit in a block the compiler uses vector instructions. Most text has nothing
    // to escape.
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
