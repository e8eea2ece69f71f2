//! Spans of time, as people write them.

use std::time::Duration;

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
