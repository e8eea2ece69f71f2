//! The text in which a line says its time.

mod clock;
mod date;

pub(super) use clock::offset;
use clock::{clock, compact_clock, has_half, zone};

/// What a stamp says. The parts that it leaves out are the business of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) date: Date,
    /// Since midnight, in milliseconds.
    pub(super) clock: i64,
    /// What the clock is ahead of universal time, in seconds, if that is said.
    pub(super) zone: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Date {
    /// An instant, in milliseconds since 1970.
    Instant(i64),
    /// Year, month, day.
    Full(i16, i8, i8),
    /// Month, day.
    NoYear(i8, i8),
    /// Three numbers whose order the log decides.
    Parts([i16; 3]),
    /// A time of day alone.
    Today,
}

/// The order of a date's numbers, by the first of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Day,
    Month,
    Year,
}

impl Order {
    pub(super) const ALL: [Self; 3] = [Self::Day, Self::Month, Self::Year];

    /// Year, month and day; `None` where the numbers can't be these.
    pub(super) fn apply(self, [one, two, three]: [i16; 3]) -> Option<(i16, i8, i8)> {
        let (year, month, day) = match self {
            Self::Day => (three, two, one),
            Self::Month => (three, one, two),
            Self::Year => (one, two, three),
        };
        let year = if year < 100 { year + 2000 } else { year };
        let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
        is_date.then_some((year, month as i8, day as i8))
    }
}

/// Stamps that are none unless the log is known to have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// A number since 1970.
    Number,
    /// A time of day.
    Clock,
}

/// The years of stamps. A number beyond is none.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2199;

/// How far from the start of a line a stamp may begin, in bytes.
const REACH: usize = 200;

/// The stamp with which a line begins, behind brackets, colours and the priority of syslog. `bare`
/// says which bare stamps count.
pub(super) fn leading(line: &[u8], bare: Option<Bare>) -> Option<Stamp> {
    let rest = line.get(prefix(line)..)?;
    // No date begins with so many digits.
    if bare == Some(Bare::Number)
        && let Some(time) = number_at(rest)
    {
        return Some(instant(time));
    }
    dated(rest).or_else(|| with_level(rest)).or_else(|| match bare? {
        Bare::Number => number_at(rest).map(instant),
        Bare::Clock => {
            let (clock, len) = clock(rest, false)?;
            // `0:00:00` is a duration.
            if rest.get(1) == Some(&b':') && !has_half(&rest[..len]) {
                return None;
            }
            let (zone, len) = with_zone(rest, len);
            let is_end = match rest.get(len..len + 2) {
                Some([b':', next]) => !next.is_ascii_digit(),
                _ => rest.get(len).is_none_or(|byte| !byte.is_ascii_alphanumeric()),
            };
            is_end.then_some(Stamp { date: Date::Today, clock, zone })
        }
    })
}

/// The first stamp with a date and a time near the start of a line.
pub(super) fn within(line: &[u8]) -> Option<Stamp> {
    // An inner object has times of its own.
    if line.trim_ascii_start().first() == Some(&b'{') {
        return None;
    }
    let reach = line.len().min(REACH);
    let mut before = b' ';
    for (at, &byte) in line.iter().take(reach).enumerate() {
        let may_begin = byte.is_ascii_digit() || byte.is_ascii_uppercase();
        let joins = before.is_ascii_alphanumeric() || b".-_+=".contains(&before);
        before = byte;
        if !may_begin || joins {
            continue;
        }
        let rest = &line[at..];
        if let Some(stamp) = dated(rest) {
            return Some(stamp);
        }
        if line[..at].ends_with(b"audit(")
            && let Some(time) = number_at(rest)
        {
            return Some(instant(time));
        }
    }
    None
}

/// A stamp in a field of a line: the whole text of a value.
pub(super) fn value(text: &[u8]) -> Option<Stamp> {
    let text = text.trim_ascii();
    if text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+')) {
        return number(text).map(instant);
    }
    dated(text)
}

/// An ISO 8601 date and time at the start, the most common form. What [`dated`] finds is the same.
#[inline]
pub(super) fn iso(text: &[u8]) -> Option<Stamp> {
    let head = text.first_chunk::<19>()?;
    let mark = head[4];
    let has_marks = matches!(mark, b'-' | b'/' | b'.')
        && head[7] == mark
        && matches!(head[10], b'T' | b' ')
        && head[13] == b':'
        && head[16] == b':';
    if !has_marks {
        return None;
    }
    let year = two(head, 0)? * 100 + two(head, 2)?;
    let date = full(year, two(head, 5)?, two(head, 8)?)?;
    let (clock, len) = clock(&text[11..], true)?;
    let (zone, _) = with_zone(text, 11 + len);
    Some(Stamp { date, clock, zone })
}

/// An ISO 8601 date and time at the start of a text, and its length. The seconds may be missing.
pub(super) fn whole(text: &[u8]) -> Option<(Stamp, usize)> {
    let (date, at) = date::numeric(text)?;
    let (clock, len) = clock(text.get(at..)?, true)?;
    let (zone, len) = with_zone(text, at + len);
    Some((Stamp { date, clock, zone }, len))
}

/// A stamp with a date at the start of a text.
pub(super) fn dated(text: &[u8]) -> Option<Stamp> {
    if let Some(stamp) = iso(text) {
        return Some(stamp);
    }
    match text.first()? {
        b'0'..=b'9' => {
            if let Some((date, at)) = date::numeric(text) {
                return at_clock(text, date, at, true);
            }
            if let Some((date, at)) = date::day_and_month_name(text) {
                return at_clock(text, date, at, false);
            }
            if let Some((date, at)) = date::compact(text) {
                let (clock, len) = compact_clock(&text[at..])?;
                let (zone, len) = with_zone(text, at + len);
                return ends(text, len).then_some(Stamp { date, clock, zone });
            }
            let (date, at) = date::six_digits(text)?;
            at_clock(text, date, at, false)
        }
        b'A'..=b'Z' => {
            let (weekday, rest) = match date::weekday(text) {
                Some(len) => (len, &text[len..]),
                None => (0, text),
            };
            if let Some((date, at)) = date::month_name_first(rest) {
                let stamp = at_clock(rest, date, at, false)?;
                return Some(match (date, weekday) {
                    (Date::NoYear(month, day), 1..) => date::year_behind(rest, at)
                        .and_then(|year| full(year, month.into(), day.into()))
                        .map_or(stamp, |date| Stamp { date, ..stamp }),
                    _ => stamp,
                });
            }
            if weekday == 0 {
                return None;
            }
            let (date, at) = date::day_and_month_name(rest).or_else(|| date::numeric(rest))?;
            at_clock(rest, date, at, false)
        }
        _ => None,
    }
}

/// The stamps of klog and glog: a level, month and day, and the time with six digits.
fn with_level(text: &[u8]) -> Option<Stamp> {
    if !matches!(text.first()?, b'I' | b'W' | b'E' | b'F' | b'D') {
        return None;
    }
    let digits = text.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    let (date, at) = match digits {
        4 => (Date::NoYear(month(two(text, 1)?)?, day(two(text, 3)?)?), 5),
        8 => (full(two(text, 1)? * 100 + two(text, 3)?, two(text, 5)?, two(text, 7)?)?, 9),
        _ => return None,
    };
    let clock_at = at + text.get(at..)?.iter().take_while(|byte| **byte == b' ').count();
    if clock_at == at || text.get(clock_at + 8) != Some(&b'.') {
        return None;
    }
    at_clock(text, date, clock_at, false)
}

fn at_clock(text: &[u8], date: Date, at: usize, minutes: bool) -> Option<Stamp> {
    let (clock, len) = clock(text.get(at..)?, minutes)?;
    let (zone, len) = with_zone(text, at + len);
    ends(text, len).then_some(Stamp { date, clock, zone })
}

/// The zone behind a time that ends at `at`, and where that ends.
fn with_zone(text: &[u8], at: usize) -> (Option<i32>, usize) {
    match zone(text.get(at..).unwrap_or_default()) {
        Some((zone, len)) => (Some(zone), at + len),
        None => (None, at),
    }
}

/// Whether a stamp that ends at `at` goes on as something else.
fn ends(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| !byte.is_ascii_digit())
}

/// A number since 1970 with which a text begins: seconds with 10 digits, and a fraction;
/// milliseconds with 13, microseconds with 16, nanoseconds with 19.
fn number_at(text: &[u8]) -> Option<i64> {
    let whole = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut len = whole;
    if whole == 10 && matches!(text.get(len), Some(b'.' | b',')) {
        let digits = text[len + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        len += if digits > 0 { digits + 1 } else { 0 };
    }
    let is_end = text.get(len).is_none_or(|byte| b" \t\r])}:;,|\"'".contains(byte));
    if !is_end || !matches!(whole, 10 | 13 | 16 | 19) {
        return None;
    }
    number(&text[..len])
}

/// A number since 1970: its size says the unit.
fn number(text: &[u8]) -> Option<i64> {
    let whole = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=19).contains(&whole) {
        return None;
    }
    let milliseconds = if text.iter().any(|byte| byte.eq_ignore_ascii_case(&b'e')) {
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        let unit = [1e11, 1e14, 1e17].iter().position(|limit| number < *limit).unwrap_or(3);
        (number * [1e3, 1.0, 1e-3, 1e-6][unit]) as i64
    } else {
        let digits = |digits: &[u8]| {
            digits.iter().fold(0_i64, |number, digit| {
                number.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0')))
            })
        };
        let number = digits(&text[..whole]);
        match (whole, text.get(whole)) {
            (_, None) => {}
            (1..=11, Some(b'.' | b',')) => {}
            // A fraction of a millisecond.
            (12..=14, Some(b'.')) => {}
            _ => return None,
        }
        let fraction = text.get(whole + 1..).unwrap_or_default();
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        match whole {
            ..=11 => {
                let three = [0, 1, 2].map(|nth| fraction.get(nth).copied().unwrap_or(b'0'));
                number * 1000 + digits(&three)
            }
            12..=14 => number,
            15..=17 => number / 1000,
            _ => number / 1_000_000,
        }
    };
    // From 2001 to 2100.
    (978_307_200_000..4_102_444_800_000).contains(&milliseconds).then_some(milliseconds)
}

fn instant(time: i64) -> Stamp {
    Stamp { date: Date::Instant(time), clock: 0, zone: Some(0) }
}

/// The length of what may come before a leading stamp.
pub(super) fn prefix(line: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        let rest = &line[at..];
        at += match byte {
            b' ' | b'\t' | b'[' | b'(' | b'"' | b'\'' | b'|' | b'*' | b'#' | b'\0' => 1,
            b'\x1b' => match escape(rest) {
                Some(len) => len,
                None => break,
            },
            b'<' => match priority(rest) {
                Some(len) => len,
                None => break,
            },
            0xef if rest.starts_with("\u{feff}".as_bytes()) => 3,
            _ => break,
        };
        if at > 64 {
            break;
        }
    }
    at
}

/// The length of an escape sequence that sets colours.
fn escape(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"\x1b[")?;
    let parameters = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    (rest.get(parameters) == Some(&b'm')).then_some(parameters + 3)
}

/// The length of `<34>`, and of the version behind it.
fn priority(text: &[u8]) -> Option<usize> {
    let digits = text.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) || text.get(digits + 1) != Some(&b'>') {
        return None;
    }
    let at = digits + 2;
    match text.get(at..at + 2) {
        Some([b'1'..=b'9', b' ']) => Some(at + 2),
        _ => Some(at),
    }
}

/// The number that two digits are.
#[inline]
pub(super) fn two(text: &[u8], at: usize) -> Option<i16> {
    let &[tens, ones] = text.get(at..at + 2)? else { return None };
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(i16::from(tens) * 10 + i16::from(ones))
}

fn month(number: i16) -> Option<i8> {
    (1..=12).contains(&number).then_some(number as i8)
}

fn day(number: i16) -> Option<i8> {
    (1..=31).contains(&number).then_some(number as i8)
}

pub(super) fn full(year: i16, month_number: i16, day_number: i16) -> Option<Date> {
    let is_year = YEARS.contains(&year);
    Some(Date::Full(is_year.then_some(year)?, month(month_number)?, day(day_number)?))
}
