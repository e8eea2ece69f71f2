//! The parameters of those who look around.

use crate::log::Offset;
use crate::search::Place;
use crate::serve::query::{self, BadParameter, Format, number};
use crate::session::Of;
use crate::session::frame::Form;

/// So many rows are given where nothing is said.
const ROWS: usize = 500;
/// The most rows that are given at once.
const ROWS_MAX: usize = 2000;

/// Where the rows begin or end that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// At an offset.
    At(Place),
}

/// The parameters as they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) of: Of,
    pub(super) begin: Begin,
    pub(super) count: usize,
    pub(super) form: Form,
}

impl Around {
    /// Reads the part of the target after `?`. Parameters that are not ours are left alone.
    pub(super) fn parse(query: &str) -> Result<Self, BadParameter> {
        let (mut of, mut begin, mut count, mut form) = (Of::Present, None, ROWS, Form::Rows);
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let offset = || number(&name, &value, "a byte offset").map(Offset);
            let place = match name.as_ref() {
                "generation" => {
                    of = query::of(&value);
                    None
                }
                "from" => Some(Begin::At(Place::From(offset()?))),
                "before" => Some(Begin::At(Place::Before(offset()?))),
                "count" => {
                    let rows = number(&name, &value, "a number of rows")?;
                    count = usize::try_from(rows).unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX);
                    None
                }
                "format" => {
                    form = match query::format(&value)? {
                        Format::Rows | Format::Html => Form::Rows,
                        Format::Text => Form::TextRows,
                        Format::Raw => {
                            return Err(BadParameter("rows have no `format=raw`".to_owned()));
                        }
                    };
                    None
                }
                _ => continue,
            };
            if seen.iter().any(|other| *other == name) {
                return Err(BadParameter(format!("`{name}` is given more than once")));
            }
            seen.push(name.into_owned());
            if place.is_some() && std::mem::replace(&mut begin, place).is_some() {
                return Err(BadParameter("only one of `from` and `before` can be met".to_owned()));
            }
        }
        let begin = begin.unwrap_or(Begin::At(Place::From(Offset(0))));
        Ok(Self { of, begin, count, form })
    }
}
