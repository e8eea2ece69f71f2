//! The times in envelopes: RFC 3339, in milliseconds since 1970.

use super::NoEnvelope;

/// The length of a date and a time to the second.
const SECOND_BYTES: usize = b"2026-11-28T14:02:07".len();

/// The most digits behind the second.
const DIGITS_MAX: usize = 9;

/// The time with which the bytes begin, and its length.
pub(super) fn read(bytes: &[u8]) -> Result<(u64, usize), NoEnvelope> {
    use NoEnvelope::{Other, Unfinished};
    let Some(second) = bytes.first_chunk::<SECOND_BYTES>() else {
        let is_so_far = bytes.iter().zip(b"0000-00-00T00:00:00").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        });
        return Err(if is_so_far { Unfinished } else { Other });
    };
    let has_marks = second[4] == b'-'
        && second[7] == b'-'
        && second[10] == b'T'
        && second[13] == b':'
        && second[16] == b':';
    let number = |range: std::ops::Range<usize>| {
        let digits = second.get(range).unwrap_or_default();
        digits.iter().try_fold(0, |number, byte| match byte.wrapping_sub(b'0') {
            digit @ 0..=9 => Ok(number * 10 + u64::from(digit)),
            _ => Err(Other),
        })
    };
    if !has_marks {
        return Err(Other);
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, seconds) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let is_date = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || seconds > 60 {
        return Err(Other);
    }
    let mut at = SECOND_BYTES;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let digits =
            bytes.iter().skip(at).take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit());
        let mut count = 0;
        for digit in digits {
            count += 1;
            if count <= 3 {
                fraction = fraction * 10 + u64::from(digit - b'0');
            }
        }
        at += count;
        fraction *= 10_u64.pow(3 - count.min(3) as u32);
    }
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute;
    let minutes = match bytes.get(at).ok_or(Unfinished)? {
        b'Z' => {
            at += 1;
            minutes
        }
        sign @ (b'+' | b'-') => {
            let zone = bytes.get(at + 1..at + 6).ok_or(Unfinished)?;
            let &[h10, h1, b':', m10, m1] = zone else { return Err(Other) };
            if ![h10, h1, m10, m1].iter().all(u8::is_ascii_digit) {
                return Err(Other);
            }
            let two = |tens: u8, ones: u8| u64::from(tens - b'0') * 10 + u64::from(ones - b'0');
            let zone = two(h10, h1) * 60 + two(m10, m1);
            at += 6;
            let utc =
                if *sign == b'+' { minutes.checked_sub(zone) } else { minutes.checked_add(zone) };
            utc.ok_or(Other)?
        }
        _ => return Err(Other),
    };
    Ok(((minutes * 60 + seconds) * 1000 + fraction, at))
}

/// The days from 1970 to a date of the Gregorian calendar, for which March begins a year.
pub(crate) fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    (before + (month * 153 + 2) / 5 + day - 1).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_any_fraction_and_zone() {
        let utc = 1_795_874_527_000;
        for (text, expected) in [
            ("2026-11-28T14:02:07Z", utc),
            ("2026-11-28T14:02:07.1Z", utc + 100),
            ("2026-11-28T14:02:07.123456789Z", utc + 123),
            ("2026-11-28T15:02:07.123456789+01:00", utc + 123),
            ("2026-11-28T11:32:07.02-02:30", utc + 20),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(read(text.as_bytes()), Ok((expected, text.len())), "{text}");
            assert_eq!(read(format!("{text} x").as_bytes()), Ok((expected, text.len())), "{text}");
            for len in 0..text.len() {
                let part = &text.as_bytes()[..len];
                assert_eq!(read(part), Err(NoEnvelope::Unfinished), "{len} bytes of {text}");
            }
        }
        for text in [
            "2026-11-28 14:02:07Z",
            "2026-13-28T14:02:07Z",
            "2026-11-28T24:02:07Z",
            "2026-11-28T14:02:07 ",
            "2026-11-28T14:02:07.1234567891Z",
            "2026-11-28T14:02:07+0100 ",
            "1969-11-28T14:02:07Z",
            "1970-01-01T00:00:00+00:01",
            "2026-11-2x",
            "x",
        ] {
            assert_eq!(read(text.as_bytes()), Err(NoEnvelope::Other), "{text}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (date, expected) in [
            ((1970, 1, 1), 0),
            ((1970, 3, 1), 59),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 28), 20_785),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }
}
