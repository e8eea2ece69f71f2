//! Texts that a program means to draw over: those of progress bars, counters and spinners.

/// The marks of a text that is drawn again and again, between other characters.
const MARKS: [&str; 4] = ["%", "...", "…", "/s"];

/// The fewest characters of a bar.
const BAR_CHARS_MIN: usize = 3;

/// Whether a text looks like one of many that are drawn over each other. A line of a log seldom
/// does.
pub(super) fn is_progress(text: &str) -> bool {
    let padded = text.trim_end().len() < text.len();
    padded
        || is_right_aligned(text)
        || MARKS.iter().any(|mark| text.contains(mark))
        || text.chars().any(is_of_drawing)
        || is_spinner(text.trim_start())
        || has_bar(text.as_bytes())
        || has_count(text)
}

/// A number behind blanks, as in a column.
fn is_right_aligned(text: &str) -> bool {
    text.starts_with(' ') && text.trim_start().starts_with(|ch: char| ch.is_ascii_digit())
}

/// Braille, blocks, boxes and geometric shapes, of which bars and spinners are made.
pub(super) fn is_of_drawing(ch: char) -> bool {
    matches!(ch, '\u{2500}'..='\u{25ff}' | '\u{2800}'..='\u{28ff}')
}

/// `|`, `/`, `-` and `\`, which turn.
fn is_spinner(text: &str) -> bool {
    let rest = text.strip_prefix(['|', '/', '-', '\\']);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// `###` and the like.
fn has_bar(text: &[u8]) -> bool {
    let bars = text.windows(BAR_CHARS_MIN);
    let mut bars = bars.filter(|bar| b"#=>-*._".contains(&bar[0]));
    bars.any(|bar| bar.iter().all(|byte| *byte == bar[0]))
}

/// `3/10` and `3 of 10`.
fn has_count(text: &str) -> bool {
    let is_count = |(before, after): (&str, &str)| {
        before.trim_end().ends_with(|ch: char| ch.is_ascii_digit())
            && after.trim_start().starts_with(|ch: char| ch.is_ascii_digit())
    };
    let dates = text.matches('/').count() > 1;
    text.split_once(" of ").is_some_and(is_count)
        || (!dates && text.split_once('/').is_some_and(is_count))
}

#[cfg(test)]
mod tests {
    use super::is_progress;

    #[test]
    fn progress_is_told_from_lines() {
        for (text, expected) in [
            ("10%", true),
            ("Loading...", true),
            ("file 3/10", true),
            ("3 of 10 files", true),
            ("1.2 MB/s", true),
            ("[####  ]", true),
            ("⠋ working", true),
            ("/ working", true),
            ("|", true),
            ("done    ", true),
            ("  0 100M    0     0", true),
            ("  indented", false),
            ("l1", false),
            ("2026/11/28 14:02:07 started", false),
            ("-x is an option", false),
            ("GET /index.html", false),
            ("a list of 10 things", false),
            ("", false),
        ] {
            assert_eq!(is_progress(text), expected, "{text:?}");
        }
    }
}
