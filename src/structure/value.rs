//! The value of a field.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

/// The value of a field. Objects and arrays are none, but the elements of an array are.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'l> {
    /// JSON's `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written.
    Number(&'l str),
    /// A text. All values of logfmt are.
    Text(Cow<'l, str>),
    /// An array of values.
    List(Vec<Self>),
}

impl Value<'_> {
    /// As a number, if it is one or says one.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Number(text) => Number::parse(text),
            Self::Text(text) => Number::parse(text),
            Self::Null | Self::Bool(_) | Self::List(_) => None,
        }
    }
}

impl Value<'_> {
    /// As text, which is borrowed where it can be.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => "null".into(),
            Self::Bool(true) => "true".into(),
            Self::Bool(false) => "false".into(),
            Self::Number(text) => (*text).into(),
            Self::Text(text) => (&**text).into(),
            Self::List(_) => self.to_string().into(),
        }
    }
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(text) => f.write_str(text),
            Self::Text(text) => f.write_str(text),
            Self::List(values) => {
                for (nth, value) in values.iter().enumerate() {
                    let comma = if nth == 0 { "" } else { "," };
                    write!(f, "{comma}{value}")?;
                }
                Ok(())
            }
        }
    }
}

/// A number. Whole numbers are compared exactly: identifiers have up to 20 digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// The number that a text is. `1e3` is one, `nan`, `inf` and `0x10` are none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let first = text.bytes().find(|byte| !matches!(byte, b'-' | b'+' | b'.'))?;
        if !first.is_ascii_digit() {
            return None;
        }
        match text.parse() {
            Ok(number) => Some(Self::Integer(number)),
            Err(_) => text.parse().ok().map(Self::Float),
        }
    }

    fn as_float(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => Some(one.cmp(other)),
            (one, other) => one.as_float().partial_cmp(&other.as_float()),
        }
    }
}
