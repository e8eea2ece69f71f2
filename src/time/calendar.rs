//! From what a stamp says to milliseconds since 1970.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::Offset;

use super::Zone;
use super::stamp::{Date, Order, Stamp};

pub(super) const DAY: i64 = 86_400_000;
/// How far behind the last write a stamp may lie: clocks of two machines differ.
const SLACK: i64 = DAY;
/// The same for a time of day.
const DAY_SLACK: i64 = 60_000;

/// The calendar of one file: what its stamps leave out is taken from the zone and from the time at
/// which the file was last written.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    zone: Zone,
    /// When the file was last written, in milliseconds since 1970.
    written: i64,
    /// The same by the clock of the zone, as if that were universal time.
    written_civil: i64,
    pub(super) order: Order,
    /// The date of the last stamp, and its first millisecond by the clock.
    date: ((i16, i8, i8), i64),
    stretch: Stretch,
    /// The year of the last date without one.
    year: i16,
}

/// A stretch of time in which the clock of the zone is not changed.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: i64,
    until: i64,
    /// What the clock is ahead of universal time, in milliseconds.
    ahead: i64,
}

impl Calendar {
    pub(super) fn new(zone: Zone, written: i64) -> Self {
        let date = ((1970, 1, 1), 0);
        let mut calendar = Self {
            written,
            written_civil: written,
            order: Order::default(),
            date,
            stretch: Stretch::around(&zone, written),
            zone,
            year: 1970,
        };
        calendar.written_civil = written.saturating_add(calendar.stretch.ahead);
        calendar
    }

    pub(super) fn written(&self) -> i64 {
        self.written
    }

    /// The time of a stamp; `None` where its parts are none, such as a 30 February.
    pub(super) fn time_of(&mut self, stamp: &Stamp) -> Option<i64> {
        let Stamp { date, clock, zone } = *stamp;
        let civil = match date {
            Date::Instant(time) => return Some(time),
            Date::Full(year, month, day) => self.midnight(year, month, day)? + clock,
            Date::Parts(parts) => {
                let (year, month, day) = self.order.apply(parts)?;
                self.midnight(year, month, day)? + clock
            }
            Date::NoYear(month, day) => return self.latest_year(month, day, clock, zone),
            Date::Today => {
                let (now, slack) = match zone {
                    Some(ahead) => (self.written + i64::from(ahead) * 1000, DAY_SLACK),
                    None => (self.written_civil, DAY_SLACK),
                };
                let today = now - now.rem_euclid(DAY) + clock;
                if today > now + slack { today - DAY } else { today }
            }
        };
        Some(self.instant(civil, zone))
    }

    /// A date without a year is the last one up to the time at which the file was written.
    fn latest_year(&mut self, month: i8, day: i8, clock: i64, zone: Option<i32>) -> Option<i64> {
        let latest = self.written.saturating_add(SLACK);
        let of_year = |calendar: &mut Self, year: i16| {
            let civil = calendar.midnight(year, month, day)? + clock;
            let time = calendar.instant(civil, zone);
            (time <= latest).then_some(time)
        };
        // Most lines have the year of the line before them.
        if let Some(time) = of_year(self, self.year).filter(|time| latest - time < 360 * DAY) {
            return Some(time);
        }
        let written = Timestamp::from_millisecond(self.written_civil).ok()?;
        let year = Offset::UTC.to_datetime(written).year() + 1;
        // A 29 February may be eight years back.
        let (year, time) =
            (0..=9).find_map(|back| Some((year - back, of_year(self, year - back)?)))?;
        self.year = year;
        Some(time)
    }

    /// The first millisecond of a date by the clock. Neighbouring lines have the same date.
    fn midnight(&mut self, year: i16, month: i8, day: i8) -> Option<i64> {
        if self.date.0 == (year, month, day) {
            return Some(self.date.1);
        }
        let date = civil::Date::new(year, month, day).ok()?;
        let midnight = Offset::UTC.to_timestamp(date.to_datetime(civil::Time::midnight())).ok()?;
        self.date = ((year, month, day), midnight.as_millisecond());
        Some(self.date.1)
    }

    /// The instant at which the clock showed this. Where it did twice, the first.
    fn instant(&mut self, civil: i64, zone: Option<i32>) -> i64 {
        if let Some(ahead) = zone {
            return civil - i64::from(ahead) * 1000;
        }
        let instant = civil - self.stretch.ahead;
        // Near its ends the clock may show the same time twice, or pass over it.
        let is_within = instant >= self.stretch.from.saturating_add(DAY)
            && instant < self.stretch.until.saturating_sub(DAY);
        if is_within {
            return instant;
        }
        let found = Timestamp::from_millisecond(civil)
            .and_then(|shown| self.zone.0.to_timestamp(Offset::UTC.to_datetime(shown)));
        let Ok(found) = found else { return instant };
        let found = found.as_millisecond();
        self.stretch = Stretch::around(&self.zone, found);
        found
    }
}

impl Stretch {
    fn around(zone: &Zone, instant: i64) -> Self {
        let always = Self { from: i64::MIN, until: i64::MAX, ahead: 0 };
        let Ok(at) = Timestamp::from_millisecond(instant) else { return always };
        let ahead = i64::from(zone.0.to_offset(at).seconds()) * 1000;
        // A second later, since a change at the very instant has happened.
        let behind = Timestamp::from_millisecond(instant + 1000).unwrap_or(at);
        let from = zone.0.preceding(behind).next();
        let until = zone.0.following(at).next();
        Self {
            from: from.map_or(i64::MIN, |change| change.timestamp().as_millisecond()),
            until: until.map_or(i64::MAX, |change| change.timestamp().as_millisecond()),
            ahead,
        }
    }
}
