//! Times as people ask for them.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Zone;
use super::calendar::Calendar;
use super::stamp::{self, Date, Stamp};

/// A time that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// An instant, in milliseconds since 1970.
    At(i64),
    /// This long before now.
    Ago(Duration),
    /// What the clock shows in the zone of the log: year, month, day, and the milliseconds since
    /// midnight.
    Shown(i16, i8, i8, i64),
}

/// A text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMoment;

/// A part of a log, by the times of its lines: from the first line not before `since` to the first
/// not before `until`, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Lines before this are left out.
    pub since: Option<i64>,
    /// Lines from this on are left out.
    pub until: Option<i64>,
    /// The zone of stamps that say none.
    pub zone: Zone,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self { since: None, until: None, zone: Zone::UTC }
    }
}

impl TimeRange {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }
}

impl Moment {
    /// The same, so that it means the same later: a span before now becomes an instant.
    #[must_use]
    pub fn fixed(self, now: SystemTime) -> Self {
        match self {
            // The zone does not matter for it.
            Self::Ago(_) => Self::At(self.resolve(now, &Zone::UTC)),
            Self::At(_) | Self::Shown(..) => self,
        }
    }

    /// The instant, in milliseconds since 1970.
    #[must_use]
    pub fn resolve(self, now: SystemTime, zone: &Zone) -> i64 {
        let now = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        match self {
            Self::At(time) => time,
            Self::Ago(span) => {
                now.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Shown(year, month, day, clock) => {
                let stamp = Stamp { date: Date::Full(year, month, day), clock, zone: None };
                // The text was checked when it was read.
                Calendar::new(zone.clone(), now).time_of(&stamp).unwrap_or(now)
            }
        }
    }
}

/// As [`from_str`](FromStr::from_str) reads it.
impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::At(time) => write!(f, "{}.{:03}", time.max(0) / 1000, time.max(0) % 1000),
            Self::Ago(span) => write!(f, "{}s", span.as_secs()),
            Self::Shown(year, month, day, clock) => {
                let (seconds, fraction) = (clock / 1000, clock % 1000);
                let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                write!(
                    f,
                    "{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{fraction:03}"
                )
            }
        }
    }
}

impl FromStr for Moment {
    type Err = BadMoment;

    /// Reads RFC 3339, seconds since 1970, a span before now such as `10m`, or a date with or
    /// without a time of the log's own zone.
    fn from_str(text: &str) -> Result<Self, BadMoment> {
        if let Some(span) = span(text) {
            return Ok(Self::Ago(span));
        }
        seconds(text).map(Self::At).or_else(|| date_and_time(text)).ok_or(BadMoment)
    }
}

/// `10m`, `2h30m`, `1d`, `90s`, each unit once and the greater first.
fn span(text: &str) -> Option<Duration> {
    const UNITS: [(char, u64); 5] =
        [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let (mut seconds, mut rest, mut units) = (0_u64, text, UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.find(|ch: char| !ch.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.chars().next()?;
        let nth = units.iter().position(|(name, _)| *name == unit)?;
        let number: u64 = number.parse().ok()?;
        seconds = seconds.checked_add(number.checked_mul(units[nth].1)?)?;
        units = &units[nth + 1..];
        rest = behind.strip_prefix(unit)?;
    }
    // Before that there was no computer.
    (!text.is_empty() && seconds <= 100 * 366 * 86_400).then(|| Duration::from_secs(seconds))
}

/// Seconds since 1970, with a fraction.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits are milliseconds, which would silently be a year in the far future.
    if !is_number(whole) || !is_number(fraction) || whole.len() > 11 {
        return None;
    }
    let three = fraction.bytes().chain([b'0'; 3]).take(3);
    let milliseconds = three.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    Some(whole.parse::<i64>().ok()? * 1000 + milliseconds)
}

fn date_and_time(text: &str) -> Option<Moment> {
    // In the query of a URL a `+` is a blank.
    let text = match text.as_bytes() {
        [.., b' ', h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) && text.len() > 19 =>
        {
            let (time, zone) = text.split_at(text.len() - 6);
            format!("{time}+{}", zone.trim_start())
        }
        _ => text.to_owned(),
    };
    let bytes = text.as_bytes();
    let is_date = |at: usize, mark: u8| bytes.get(at) == Some(&mark);
    if !is_date(4, b'-') || !is_date(7, b'-') {
        return None;
    }
    let (stamp, len) = if bytes.len() == 10 {
        let year = stamp::two(bytes, 0)? * 100 + stamp::two(bytes, 2)?;
        let date = stamp::full(year, stamp::two(bytes, 5)?, stamp::two(bytes, 8)?)?;
        (Stamp { date, clock: 0, zone: None }, 10)
    } else {
        stamp::whole(bytes)?
    };
    // Also a 30 February is no date.
    let time = Calendar::new(Zone::UTC, 0).time_of(&stamp)?;
    match (stamp.date, stamp.zone) {
        _ if len != bytes.len() => None,
        (_, Some(_)) => Some(Moment::At(time)),
        (Date::Full(year, month, day), None) => Some(Moment::Shown(year, month, day, stamp.clock)),
        _ => None,
    }
}

impl Display for BadMoment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as `2026-11-28T14:02:07Z`, seconds since 1970, or `10m`, `2h30m` or `1d` ago")
    }
}

impl std::error::Error for BadMoment {}
