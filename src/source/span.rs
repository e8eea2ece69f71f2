//! Spans of time, as people read them.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// A span for people: `0.4 s`, `12 s`, `3 min 2 s`, `2 h 5 min`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

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
}
