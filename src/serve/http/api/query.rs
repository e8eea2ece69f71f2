//! The parameters of those who look around.

use crate::log::Offset;
use crate::render::Level;
use crate::search::RowPosition;
use crate::search::pattern::PatternSpec;
use crate::serve::query::{self, BadParameter, Format, number, switch};
use crate::session::WantedGeneration;
use crate::wire::frame::Form;

/// So many rows are given where nothing is said.
const ROWS: usize = 500;
/// The most rows that are given at once.
const ROWS_MAX: usize = 2000;
/// So many rows that were found are told where nothing is said.
const FOUND_ROWS: usize = 10_000;
/// The most rows that were found which are told.
const FOUND_ROWS_MAX: usize = 50_000;
/// The most offsets whose lines are told at once.
const OFFSETS_MAX: usize = 500;

/// The parameters as they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiQuery {
    pub(super) of: WantedGeneration,
    /// Which rows; the first ones where nothing is said.
    pub(super) place: Option<RowPosition>,
    /// Of which offsets the lines are wanted.
    pub(super) at: Vec<Offset>,
    pub(super) count: usize,
    pub(super) form: Form,
    /// What is looked for.
    pub(super) sought: PatternSpec,
    /// Only rows that are looked for.
    pub(super) filter: bool,
    /// Up to where.
    pub(super) to: Option<Offset>,
    /// Beside what first.
    pub(super) near: Option<Offset>,
    /// At most so many rows are told.
    pub(super) max: usize,
    /// Lines as they are shown.
    pub(super) plain: bool,
}

impl ApiQuery {
    /// The first byte that is wanted.
    pub(super) fn from(&self) -> Offset {
        match self.place {
            Some(RowPosition::From(offset)) => offset,
            Some(RowPosition::Before(_) | RowPosition::Line(_)) | None => Offset(0),
        }
    }
}

impl Default for ApiQuery {
    fn default() -> Self {
        Self {
            of: WantedGeneration::Present,
            place: None,
            at: Vec::new(),
            count: ROWS,
            form: Form::Rows,
            sought: PatternSpec::default(),
            filter: false,
            to: None,
            near: None,
            max: FOUND_ROWS,
            plain: false,
        }
    }
}

impl ApiQuery {
    /// Reads the part of the target after `?`. Parameters that are not ours are left alone.
    pub(super) fn parse(query: &str) -> Result<Self, BadParameter> {
        let mut around = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let offset = || number(&name, &value, "a byte offset").map(Offset);
            let flag = || switch(&name, &value);
            let rows = |max| {
                let rows = number(&name, &value, "a number of rows")?;
                Ok::<usize, BadParameter>(usize::try_from(rows).unwrap_or(max).clamp(1, max))
            };
            let mut place = None;
            match name.as_ref() {
                "generation" => around.of = query::of(&value),
                "from" => place = Some(RowPosition::From(offset()?)),
                "before" => place = Some(RowPosition::Before(offset()?)),
                "line" => {
                    place = Some(RowPosition::Line(number(&name, &value, "the number of a line")?))
                }
                "at" => around.at = offsets(&value)?,
                "count" => around.count = rows(ROWS_MAX)?,
                "format" => around.form = form(&value)?,
                "q" => around.sought.pattern = Some(value.into_owned()),
                "regex" => around.sought.is_regex = flag()?,
                "case" => around.sought.has_case = flag()?,
                "word" => around.sought.is_word = flag()?,
                "level" => {
                    let (level, or_worse) = level(&value)?;
                    around.sought.level = Some(level);
                    around.sought.or_worse = or_worse;
                }
                "invert" => around.sought.invert = flag()?,
                "filter" => around.filter = flag()?,
                "to" => around.to = Some(offset()?),
                "near" => around.near = Some(offset()?),
                "plain" => around.plain = flag()?,
                "max" => around.max = rows(FOUND_ROWS_MAX)?,
                _ => continue,
            }
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

fn form(value: &str) -> Result<Form, BadParameter> {
    match query::format(value)? {
        Format::Rows | Format::Html => Ok(Form::Rows),
        Format::Text => Ok(Form::TextRows),
        Format::Raw => Err(BadParameter("rows have no `format=raw`".to_owned())),
    }
}

/// A level, and whether it is also about worse ones.
fn level(value: &str) -> Result<(Level, bool), BadParameter> {
    match value {
        "error" => Ok((Level::Error, false)),
        "warning" => Ok((Level::Warning, false)),
        "error,warning" | "warning,error" => Ok((Level::Warning, true)),
        _ => Err(BadParameter(format!(
            "`level` is `error`, `warning` or `error,warning`, not {value:?}"
        ))),
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
