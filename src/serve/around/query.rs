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
/// The most offsets whose lines are told at once.
const OFFSETS_MAX: usize = 500;

/// The parameters as they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) of: Of,
    /// Which rows; the first ones where nothing is said.
    pub(super) place: Option<Place>,
    /// Of which offsets the lines are wanted.
    pub(super) at: Vec<Offset>,
    pub(super) count: usize,
    pub(super) form: Form,
}

impl Around {
    /// Reads the part of the target after `?`. Parameters that are not ours are left alone.
    pub(super) fn parse(query: &str) -> Result<Self, BadParameter> {
        let mut around =
            Self { of: Of::Present, place: None, at: Vec::new(), count: ROWS, form: Form::Rows };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let offset = || number(&name, &value, "a byte offset").map(Offset);
            let place = match name.as_ref() {
                "generation" => {
                    around.of = query::of(&value);
                    None
                }
                "from" => Some(Place::From(offset()?)),
                "before" => Some(Place::Before(offset()?)),
                "line" => Some(Place::Line(number(&name, &value, "the number of a line")?)),
                "at" => {
                    around.at = offsets(&value)?;
                    None
                }
                "count" => {
                    let rows = number(&name, &value, "a number of rows")?;
                    around.count = usize::try_from(rows).unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX);
                    None
                }
                "format" => {
                    around.form = match query::format(&value)? {
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
            if place.is_some() && around.place.is_some() {
                let one = "only one of `from`, `before` and `line` can be met";
                return Err(BadParameter(one.to_owned()));
            }
            around.place = around.place.or(place);
        }
        Ok(around)
    }
}

/// `at=O1,O2,…`
fn offsets(value: &str) -> Result<Vec<Offset>, BadParameter> {
    let offsets = value.split(',').filter(|offset| !offset.is_empty()).take(OFFSETS_MAX + 1);
    let offsets = offsets.map(|offset| number("at", offset, "a list of byte offsets").map(Offset));
    let offsets = offsets.collect::<Result<Vec<Offset>, BadParameter>>()?;
    if offsets.len() > OFFSETS_MAX {
        return Err(BadParameter(format!("`at` takes {OFFSETS_MAX} offsets, not more")));
    }
    Ok(offsets)
}
