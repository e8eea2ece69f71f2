//! The time of a line.

use super::calendar::Calendar;
use super::stamp::{self, Stamp};
use super::{Profile, Zone, fields};

/// The longest prefix of a stamp that is remembered, in bytes.
const PREFIX_BYTES_MAX: usize = 16;

/// Recognises the times of the lines of one file. It remembers where the last stamp was, which makes
/// it fast and changes no answer.
#[derive(Clone, Debug)]
pub struct Recognizer {
    profile: Profile,
    calendar: Calendar,
    /// What came before the last stamp, if that began its line.
    prefix: ([u8; PREFIX_BYTES_MAX], usize),
}

impl Recognizer {
    /// For a file with this profile. A stamp without a zone is of `zone`, and what else it leaves
    /// out follows from when the file was last `written`, in milliseconds since 1970.
    #[must_use]
    pub fn new(profile: Profile, zone: Zone, written: i64) -> Self {
        let mut calendar = Calendar::new(zone, written);
        calendar.order = profile.order;
        Self { profile, calendar, prefix: ([0; PREFIX_BYTES_MAX], 0) }
    }

    /// What is known of the stamps of the file.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// When the file was last written, in milliseconds since 1970.
    #[must_use]
    pub fn written(&self) -> i64 {
        self.calendar.written()
    }

    /// The time that a line says, in milliseconds since 1970. A line without one has the time of the
    /// line before it.
    #[inline]
    pub fn time_of(&mut self, line: &[u8]) -> Option<i64> {
        let (prefix, len) = &self.prefix;
        if let Some(rest) = line.strip_prefix(&prefix[..*len])
            && let Some(stamp) = stamp::iso(rest)
        {
            return self.calendar.time_of(&stamp);
        }
        let stamp = self.stamp_of(line)?;
        self.calendar.time_of(&stamp)
    }

    fn stamp_of(&mut self, line: &[u8]) -> Option<Stamp> {
        if let Some(stamp) = stamp::leading(line, self.profile.bare) {
            let len = stamp::prefix(line);
            if len <= PREFIX_BYTES_MAX {
                self.prefix.0[..len].copy_from_slice(&line[..len]);
                self.prefix.1 = len;
            }
            return Some(stamp);
        }
        if self.profile.fields
            && let Some(stamp) = fields::json(line).or_else(|| fields::logfmt(line))
        {
            return Some(stamp);
        }
        if self.profile.within { stamp::within(line) } else { None }
    }
}
