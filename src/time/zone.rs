//! The time zone of stamps that say none.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use jiff::tz::{self, TimeZone};

/// A time zone: that of this machine, one by its name, or a fixed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(pub(super) TimeZone);

/// A text that names no time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadZone;

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone of this machine, as `TZ` or `/etc/localtime` says; universal time where nothing
    /// does.
    #[must_use]
    pub fn of_machine() -> Self {
        Self(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }
}

impl FromStr for Zone {
    type Err = BadZone;

    /// Reads `local`, `UTC`, the name of a zone, or an offset such as `+01:00`.
    fn from_str(text: &str) -> Result<Self, BadZone> {
        match text {
            "local" => return Ok(Self::of_machine()),
            "UTC" | "utc" | "Z" => return Ok(Self::UTC),
            _ => {}
        }
        if let Some((offset, len)) = super::stamp::offset(text.as_bytes()) {
            let offset = (len == text.len()).then(|| tz::Offset::from_seconds(offset).ok());
            return offset.flatten().map(|offset| Self(TimeZone::fixed(offset))).ok_or(BadZone);
        }
        TimeZone::get(text).map(Self).map_err(|_| BadZone)
    }
}

impl Display for Zone {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0.iana_name(), self.0.to_fixed_offset()) {
            (Some(name), _) => f.write_str(name),
            (None, Ok(offset)) => offset.fmt(f),
            (None, Err(_)) => f.write_str("local"),
        }
    }
}

impl Display for BadZone {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("expected the name of a time zone such as `Europe/Berlin`, `UTC` or `local`, or an offset such as `+01:00`")
    }
}

impl std::error::Error for BadZone {}
