//! What a sample of a log's lines says about its stamps.

use super::calendar::{Calendar, DAY};
use super::stamp::{self, Bare, Date, Order, Stamp};
use super::{Zone, fields};

/// Where the stamps of a log are, and how they are read. It does not change while a log is read, so
/// that a line has one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The bare stamps that count.
    pub(super) bare: Option<Bare>,
    /// Stamps count although something else begins the line.
    pub(super) within: bool,
    /// Lines are objects of JSON, or fields of logfmt.
    pub(super) fields: bool,
    pub(super) order: Order,
}

/// How many years back a number can lie that is a time.
const YEARS_BACK: i64 = 30;

impl Profile {
    /// Looks at a sample of the lines of a file. `written` is when the file was last written, in
    /// milliseconds since 1970.
    pub fn of<'a>(
        lines: impl Iterator<Item = &'a [u8]> + Clone,
        zone: &Zone,
        written: i64,
    ) -> Self {
        let is_near = |time: i64| {
            (written.saturating_sub(YEARS_BACK * 365 * DAY)..=written.saturating_add(DAY))
                .contains(&time)
        };
        let (mut leading, mut in_fields, mut within, mut numbers, mut clocks) = (0, 0, 0, 0, 0);
        let (mut dates, mut written_lines) = (Vec::new(), 0);
        for line in lines {
            written_lines += usize::from(!line.trim_ascii().is_empty());
            let found = if let Some(stamp) = stamp::leading(line, None) {
                leading += 1;
                stamp
            } else if let Some(stamp) = fields::json(line).or_else(|| fields::logfmt(line)) {
                in_fields += 1;
                stamp
            } else if let Some(stamp) = stamp::within(line) {
                within += 1;
                stamp
            } else if let Some(stamp) = stamp::leading(line, Some(Bare::Number)) {
                numbers += usize::from(matches!(stamp.date, Date::Instant(time) if is_near(time)));
                continue;
            } else {
                clocks += usize::from(stamp::leading(line, Some(Bare::Clock)).is_some());
                continue;
            };
            if let Date::Parts(parts) = found.date {
                dates.push((parts, found));
            }
        }
        let dated = leading + in_fields + within;
        let bare = match numbers.max(clocks) {
            count if count <= dated => None,
            _ if numbers >= clocks => Some(Bare::Number),
            _ => Some(Bare::Clock),
        };
        Self {
            bare,
            // A date in a message now and then is none of its line.
            within: within > leading + in_fields + numbers.max(clocks)
                && within * 10 >= written_lines,
            fields: in_fields > 0,
            order: order_of(&dates, zone, written),
        }
    }
}

/// The order in which all dates are dates; of several, the one whose last date is closest to the
/// time at which the file was written.
fn order_of(dates: &[([i16; 3], Stamp)], zone: &Zone, written: i64) -> Order {
    let Some(&([_, _, third], last)) = dates.last() else { return Order::default() };
    let mut possible = Order::ALL.into_iter().filter(|order| {
        (third < 100 || *order != Order::Year)
            && dates.iter().all(|(parts, _)| order.apply(*parts).is_some())
    });
    let mut calendar = Calendar::new(zone.clone(), written);
    let Some(first) = possible.next() else { return Order::default() };
    let mut distance = |order: Order| {
        calendar.order = order;
        let time = calendar.time_of(&last).unwrap_or(i64::MAX);
        // Nothing is written before its time.
        (time > written.saturating_add(DAY), time.abs_diff(written))
    };
    let mut best = (distance(first), first);
    for order in possible {
        let next = (distance(order), order);
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}
