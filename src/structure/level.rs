//! The severity that a field says, as one scale for all programs.

use super::Found;
use super::value::{Number, Value};

/// From trace to fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

const ALL: [Severity; 6] = [
    Severity::Trace,
    Severity::Debug,
    Severity::Info,
    Severity::Warn,
    Severity::Error,
    Severity::Fatal,
];

impl Severity {
    /// Its usual name, by which conditions find it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The severity of this name, in any case.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let is_one_of = |names: &[&str]| names.iter().any(|one| one.eq_ignore_ascii_case(name));
        let names: [(&[&str], Self); 6] = [
            (&["trace", "trc", "verbose", "finest", "finer", "t"], Self::Trace),
            (&["debug", "dbg", "fine", "d"], Self::Debug),
            (&["info", "inf", "information", "informational", "notice", "i"], Self::Info),
            (&["warn", "warning", "wrn", "w"], Self::Warn),
            (&["error", "err", "eror", "severe", "e"], Self::Error),
            (
                &[
                    "fatal",
                    "ftl",
                    "critical",
                    "crit",
                    "alert",
                    "emerg",
                    "emergency",
                    "panic",
                    "dpanic",
                    "f",
                ],
                Self::Fatal,
            ),
        ];
        names.into_iter().find(|(names, _)| is_one_of(names)).map(|(_, severity)| severity)
    }

    /// The severity that a field says. Numbers are those of OpenTelemetry (1 to 24), Python (10 to
    /// 50, by its field `levelno`), syslog and GELF (0 to 7), and else of pino and bunyan (10 to 60).
    pub(super) fn of_field(field: &Found<'_>) -> Option<Self> {
        let number = match (&field.value, field.value.number()) {
            (Value::Text(name), None) => return Self::of_name(name),
            (_, Some(Number::Integer(number))) => number,
            _ => return None,
        };
        let scale = |step: i128, first: i128| {
            let nth = usize::try_from(number.checked_sub(first)?.div_euclid(step)).ok()?;
            Some(ALL[nth.min(ALL.len() - 1)])
        };
        match field.name {
            name if name.ends_with("everityNumber") => scale(4, 1),
            "levelno" => match number {
                50.. => Some(Self::Fatal),
                _ => scale(10, 0),
            },
            _ => match number {
                0..=2 => Some(Self::Fatal),
                3 => Some(Self::Error),
                4 => Some(Self::Warn),
                5 | 6 => Some(Self::Info),
                7 => Some(Self::Debug),
                10.. => scale(10, 10),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_count_severity_in_their_own_ways() {
        let text = |text: &'static str| Value::Text(text.into());
        for (name, value, wanted) in [
            ("level", text("WARNING"), Some(Severity::Warn)),
            ("level", text("eror"), Some(Severity::Error)),
            ("level", text("strange"), None),
            ("level", text("50"), Some(Severity::Error)),
            ("level", Value::Number("10"), Some(Severity::Trace)),
            ("level", Value::Number("30"), Some(Severity::Info)),
            ("level", Value::Number("35"), Some(Severity::Info)),
            ("level", Value::Number("50"), Some(Severity::Error)),
            ("level", Value::Number("60"), Some(Severity::Fatal)),
            ("level", Value::Number("3"), Some(Severity::Error)),
            ("level", Value::Number("7"), Some(Severity::Debug)),
            ("level", Value::Number("-1"), None),
            ("levelno", Value::Number("10"), Some(Severity::Debug)),
            ("levelno", Value::Number("40"), Some(Severity::Error)),
            ("levelno", Value::Number("50"), Some(Severity::Fatal)),
            ("severityNumber", Value::Number("1"), Some(Severity::Trace)),
            ("SeverityNumber", Value::Number("9"), Some(Severity::Info)),
            ("severityNumber", Value::Number("17"), Some(Severity::Error)),
            ("severityNumber", Value::Number("24"), Some(Severity::Fatal)),
            ("severityNumber", Value::Number("-170141183460469231731687303715884105728"), None),
            ("level", Value::Bool(true), None),
        ] {
            let field = Found { name, value };
            assert_eq!(Severity::of_field(&field), wanted, "{field:?}");
        }
    }
}
