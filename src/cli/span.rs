//! Spans of time, as people write and read them.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// A span for people: `0.4 s`, `12 s`, `3 min 2 s`, `2 h 5 min`.
pub(super) struct Span(pub(super) Duration);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(span) = self;
        if *span < Duration::from_secs(10) {
            let tenths = span.as_millis() / 100;
            return match tenths % 10 {
                0 => write!(f, "{} s", tenths / 10),
                rest => write!(f, "{}.{rest} s", tenths / 10),
            };
        }
        let seconds = span.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes, seconds) {
            (0, 0, seconds) => write!(f, "{seconds} s"),
            (0, minutes, 0) => write!(f, "{minutes} min"),
            (0, minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
            (hours, 0, _) => write!(f, "{hours} h"),
            (hours, minutes, _) => write!(f, "{hours} h {minutes} min"),
        }
    }
}

/// Parses a span such as `30s`, `10m`, `2h`, `1d`, `1h30m`, or a number of seconds.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as `30s`, `10m` or `2h`".to_owned();
    let (mut seconds, mut rest) = (0.0, text);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|ch: char| !ch.is_ascii_digit() && ch != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let unit = after.find(|ch: char| !ch.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        seconds += number
            * match unit {
                "s" => 1.0,
                // Seconds, if there is nothing else.
                "" if digits == text.len() => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return Err(wrong()),
            };
        rest = after;
    }
    // A year is longer than any of these has to be.
    match Duration::try_from_secs_f64(seconds) {
        Ok(span) if span <= Duration::from_secs(31_536_000) => Ok(span),
        _ => Err("expected at most a year".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_two_units_at_most() {
        for (milliseconds, said) in [
            (0, "0 s"),
            (432, "0.4 s"),
            (3_000, "3 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (182_400, "3 min 2 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(Span(Duration::from_millis(milliseconds)).to_string(), said);
        }
    }

    #[test]
    fn a_span_is_read_with_its_units() {
        for (text, seconds) in [
            ("30s", 30.0),
            ("10m", 600.0),
            ("2h", 7200.0),
            ("1h30m", 5400.0),
            ("5", 5.0),
            ("1.5s", 1.5),
        ] {
            assert_eq!(span(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "s", "1x", "1m5", "-1s", "1 s", "99999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
