//! Times of day and zones.

use super::two;

/// A time of day at the start of a text, in milliseconds since midnight, and its length:
/// `14:02:07`, with a fraction behind `.` or `,`, three digits behind `:`, or `AM` and `PM`. The
/// seconds may be missing if `minutes` says so. A leap second is the first of the next minute.
#[inline]
pub(super) fn clock(text: &[u8], minutes: bool) -> Option<(i64, usize)> {
    let hour_len = if text.get(1) == Some(&b':') { 1 } else { 2 };
    let mut hour = match hour_len {
        1 => i16::from(text.first()?.checked_sub(b'0').filter(|digit| *digit <= 9)?),
        _ => two(text, 0)?,
    };
    let mut at = hour_len;
    if text.get(at) != Some(&b':') {
        return None;
    }
    let minute = two(text, at + 1)?;
    at += 3;
    let (mut second, mut milliseconds) = (0, 0);
    match (text.get(at), two(text, at + 1)) {
        (Some(b':'), Some(seconds)) => {
            second = seconds;
            at += 3;
            (milliseconds, at) = fraction(text, at);
        }
        (Some(b':'), None) => return None,
        _ if minutes => {}
        _ => return None,
    }
    if let Some((is_afternoon, len)) = half(text.get(at..)?) {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if is_afternoon { 12 } else { 0 };
        at += len;
    }
    let is_over = text.get(at).is_none_or(|byte| !byte.is_ascii_digit());
    if hour > 23 || minute > 59 || second > 60 || !is_over {
        return None;
    }
    let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    Some((seconds * 1000 + milliseconds, at))
}

/// The milliseconds of a fraction that may be at `at`, and where it ends.
#[inline]
fn fraction(text: &[u8], at: usize) -> (i64, usize) {
    let Some(mark @ (b'.' | b',' | b':')) = text.get(at) else { return (0, at) };
    let rest = &text[at + 1..];
    let (mut milliseconds, mut digits) = (0, 0);
    for digit in rest.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit <= 9) {
        if digits < 3 {
            milliseconds = milliseconds * 10 + i64::from(digit);
        }
        digits += 1;
    }
    if digits == 0 || (*mark == b':' && digits != 3) {
        return (0, at);
    }
    (milliseconds * [100, 10, 1][digits.min(3) - 1], at + 1 + digits)
}

/// Whether it is after noon, as ` PM` says, and the length of that.
fn half(text: &[u8]) -> Option<(bool, usize)> {
    // Between them may be a narrow blank, which does not break.
    let blank = match text {
        [b' ', ..] => 1,
        [0xe2, 0x80, 0xaf, ..] => 3,
        _ => 0,
    };
    let is_afternoon = match text.get(blank..blank + 2)? {
        [b'A' | b'a', b'M' | b'm'] => false,
        [b'P' | b'p', b'M' | b'm'] => true,
        _ => return None,
    };
    let is_over = text.get(blank + 2).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    is_over.then_some((is_afternoon, blank + 2))
}

/// Whether a time of day says that it is before or after noon.
pub(super) fn has_half(clock: &[u8]) -> bool {
    matches!(clock, [.., b'M' | b'm'])
}

/// `140207` or `14:02:07`, each with a fraction.
pub(super) fn compact_clock(text: &[u8]) -> Option<(i64, usize)> {
    if text.get(2) == Some(&b':') {
        return clock(text, false);
    }
    let (hour, minute, second) = (two(text, 0)?, two(text, 2)?, two(text, 4)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (milliseconds, at) = fraction(text, 6);
    let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    Some((seconds * 1000 + milliseconds, at))
}

/// What the zone with a short name is ahead of universal time, in minutes. Names that mean several
/// zones say nothing.
fn named(name: &[u8]) -> Option<i32> {
    Some(match name {
        b"UTC" | b"GMT" | b"WET" => 0,
        b"WEST" | b"CET" => 60,
        b"CEST" | b"EET" => 120,
        b"EEST" | b"MSK" => 180,
        b"HKT" | b"SGT" | b"AWST" => 480,
        b"JST" | b"KST" => 540,
        b"AEST" => 600,
        b"AEDT" => 660,
        b"NZST" => 720,
        b"NZDT" => 780,
        b"EDT" => -240,
        b"EST" | b"CDT" => -300,
        b"MDT" => -360,
        b"MST" | b"PDT" => -420,
        b"PST" | b"AKDT" => -480,
        b"AKST" => -540,
        b"HST" => -600,
        _ => return None,
    })
}

/// The zone at the start of a text, in seconds ahead of universal time, and its length.
#[inline]
pub(super) fn zone(text: &[u8]) -> Option<(i32, usize)> {
    let blank = usize::from(text.first() == Some(&b' '));
    let rest = &text[blank..];
    match rest.first()? {
        b'+' | b'-' => {
            let (ahead, len) = offset(rest)?;
            // Behind a blank two digits may be any number.
            (blank == 0 || len > 3).then_some((ahead, blank + len))
        }
        b'Z' | b'z' if rest.get(1).is_none_or(|byte| !byte.is_ascii_alphanumeric()) => {
            (blank == 0).then_some((0, 1))
        }
        b'A'..=b'Z' => {
            let len = rest.iter().take(5).take_while(|byte| byte.is_ascii_uppercase()).count();
            if rest.get(len).is_some_and(u8::is_ascii_alphanumeric) {
                return None;
            }
            let ahead = named(&rest[..len])? * 60;
            // `GMT+0100`
            Some(match (&rest[..len], offset(&rest[len..])) {
                (b"UTC" | b"GMT", Some((ahead, more))) if more > 3 => (ahead, blank + len + more),
                _ => (ahead, blank + len),
            })
        }
        _ => None,
    }
}

/// `+01:00`, `+0100` or `+01` in seconds, and its length.
pub(in crate::time) fn offset(text: &[u8]) -> Option<(i32, usize)> {
    let sign = match text.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = two(text, 1)?;
    let (minutes, len) = match text.get(3) {
        Some(b':') => (two(text, 4)?, 6),
        Some(byte) if byte.is_ascii_digit() => (two(text, 3)?, 5),
        _ => (0, 3),
    };
    let is_over = text.get(len).is_none_or(|byte| !byte.is_ascii_digit());
    let is_zone = hours <= 15 && minutes <= 59 && is_over;
    is_zone.then_some((sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60), len))
}
