//! Dates: each function returns the date with which a text begins, and where its time of day is.

use super::{Date, YEARS, day, full, month, two};

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// The number of the month whose short name is at `at`.
fn named_month(text: &[u8], at: usize) -> Option<i8> {
    let name = text.get(at..at + 3)?;
    let nth = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    Some(nth as i8 + 1)
}

/// The length of a weekday and what divides it from the rest: `Sat `, `Sat, `.
pub(super) fn weekday(text: &[u8]) -> Option<usize> {
    let name = text.get(..3)?;
    WEEKDAYS.iter().find(|day| day.as_slice() == name)?;
    let comma = usize::from(text.get(3) == Some(&b','));
    let blanks = text.get(3 + comma..)?.iter().take_while(|byte| **byte == b' ').count();
    (blanks > 0).then_some(3 + comma + blanks)
}

fn year(text: &[u8], at: usize) -> Option<i16> {
    let year = two(text, at)? * 100 + two(text, at + 2)?;
    YEARS.contains(&year).then_some(year)
}

/// A day of one or two digits, which may have a blank before it, and where it ends.
fn day_at(text: &[u8], at: usize) -> Option<(i8, usize)> {
    let at = if text.get(at) == Some(&b' ') { at + 1 } else { at };
    if let Some(number) = two(text, at) {
        return Some((day(number)?, at + 2));
    }
    let digit = text.get(at)?.wrapping_sub(b'0');
    (1..=9).contains(&digit).then_some((digit as i8, at + 1))
}

/// Where the time of day begins behind a date that ends at `at`.
fn behind(text: &[u8], at: usize) -> Option<usize> {
    let comma = usize::from(text.get(at) == Some(&b','));
    let blanks = text.get(at + comma..)?.iter().take_while(|byte| **byte == b' ').count();
    match text.get(at)? {
        b' ' | b',' if (1..=3).contains(&blanks) => Some(at + comma + blanks),
        b'T' | b't' | b'_' | b'-' => Some(at + 1),
        b':' if text.get(at + 1) == Some(&b':') => Some(at + 2),
        b':' => Some(at + 1),
        _ => None,
    }
}

/// `2026-11-28`, `2026/11/28`, `28.11.2026`, and numbers whose order the log decides:
/// `11/28/2026`, `26/11/28`.
pub(super) fn numeric(text: &[u8]) -> Option<(Date, usize)> {
    let mut numbers = [0_i16; 3];
    let mut digits = [0_usize; 3];
    let mut at = 0;
    let mut mark = 0;
    for nth in 0..3 {
        let start = at;
        while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0'))
            && digit <= 9
        {
            if at - start == 4 {
                return None;
            }
            numbers[nth] = numbers[nth] * 10 + i16::from(digit);
            at += 1;
        }
        digits[nth] = at - start;
        match (nth, text.get(at)) {
            (0, Some(&byte @ (b'-' | b'/' | b'.'))) => mark = byte,
            (1, Some(&byte)) if byte == mark => {}
            (2, _) => break,
            _ => return None,
        }
        at += 1;
    }
    let date = match digits {
        [4, 1..=2, 1..=2] => full(numbers[0], numbers[1], numbers[2])?,
        [1..=2, 1..=2, 4] if mark == b'.' => full(numbers[2], numbers[1], numbers[0])?,
        [1..=2, 1..=2, 4] if YEARS.contains(&numbers[2]) => Date::Parts(numbers),
        [2, 2, 2] if mark != b'-' => Date::Parts(numbers),
        _ => return None,
    };
    Some((date, behind(text, at)?))
}

/// `28/Nov/2026:`, `28-Nov-2026 `, `28 Nov 2026 `, and `28 Nov `.
pub(super) fn day_and_month_name(text: &[u8]) -> Option<(Date, usize)> {
    let (day, at) = day_at(text, 0)?;
    let mark = *text.get(at)?;
    if !matches!(mark, b' ' | b'/' | b'-') {
        return None;
    }
    let month = named_month(text, at + 1)?;
    let at = at + 4;
    if text.get(at) == Some(&mark)
        && let Some(year) = year(text, at + 1)
    {
        return Some((Date::Full(year, month, day), behind(text, at + 5)?));
    }
    (mark == b' ' && text.get(at) == Some(&b' ')).then_some((Date::NoYear(month, day), at + 1))
}

/// `Nov 28 `, `Nov  8 `, `Nov 28 2026 `, `Nov 28, 2026 `.
pub(super) fn month_name_first(text: &[u8]) -> Option<(Date, usize)> {
    let month = named_month(text, 0)?;
    if text.get(3) != Some(&b' ') {
        return None;
    }
    let (day, at) = day_at(text, 4)?;
    let comma = usize::from(text.get(at) == Some(&b','));
    if text.get(at + comma) != Some(&b' ') {
        return None;
    }
    let at = at + comma + 1;
    if let Some(year) = year(text, at)
        && let Some(behind) = behind(text, at + 4)
    {
        return Some((Date::Full(year, month, day), behind));
    }
    (comma == 0).then_some((Date::NoYear(month, day), at))
}

/// The year behind the time at `at`: `14:02:07 2026`, `14:02:07.123456 2026`, `14:02:07 UTC 2026`.
pub(super) fn year_behind(text: &[u8], at: usize) -> Option<i16> {
    let rest = text.get(at..)?;
    let mut words = rest.splitn(4, |byte| *byte == b' ').skip(1);
    let is_year = |word: &[u8]| {
        let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (digits == 4).then(|| year(word, 0)).flatten()
    };
    words.next().and_then(is_year).or_else(|| words.next().and_then(is_year))
}

/// `20261128T`, `20261128 14:`, `20261128-`.
pub(super) fn compact(text: &[u8]) -> Option<(Date, usize)> {
    let digits = text.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    if digits != 8 {
        return None;
    }
    let date = full(year(text, 0)?, two(text, 4)?, two(text, 6)?)?;
    match text.get(8)? {
        b'T' | b't' | b'-' | b'_' => Some((date, 9)),
        // Six digits behind a blank are any number.
        b' ' if text.get(11) == Some(&b':') => Some((date, 9)),
        _ => None,
    }
}

/// `261128 14:02:07`, as MySQL wrote it.
pub(super) fn six_digits(text: &[u8]) -> Option<(Date, usize)> {
    let digits = text.iter().take(7).take_while(|byte| byte.is_ascii_digit()).count();
    if digits != 6 || text.get(6) != Some(&b' ') {
        return None;
    }
    let date = Date::Full(two(text, 0)? + 2000, month(two(text, 2)?)?, day(two(text, 4)?)?);
    let at = if text.get(7) == Some(&b' ') { 8 } else { 7 };
    Some((date, at))
}
