//! The parameters of the random-access API.

use crate::log::Offset;
use crate::render::{Decode, Interpretation, Level, Rendition};
use crate::search::RowPosition;
use crate::search::pattern::PatternSpec;
use crate::serve::Settings;
use crate::serve::query::{self, BadParameter, Format, number, switch};
use crate::session::WantedGeneration;
use crate::time::{Moment, TimeRange};
use crate::wire::frame::Form;

/// Rows in an answer unless the request says otherwise.
const ROWS: usize = 500;
/// The most rows in an answer.
const ROWS_MAX: usize = 2000;
/// Rows that a search reports unless the request says otherwise.
const FOUND_ROWS: usize = 10_000;
/// The most rows that a search reports.
const FOUND_ROWS_MAX: usize = 50_000;
/// How many spans of time a log is divided into unless the request says otherwise.
const BUCKETS: usize = 200;
/// The most of them.
const BUCKETS_MAX: usize = 2000;
/// Values of a field that are named unless the request says otherwise.
const VALUES: usize = 20;
/// The most of them.
const VALUES_MAX: usize = 1000;
/// The most offsets whose line numbers can be requested at once.
const OFFSETS_MAX: usize = 500;

/// The parameters as they were sent. `docs/protocol.md` explains each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiQuery {
    pub(super) of: WantedGeneration,
    /// The old files of the log stand before it.
    pub(super) history: bool,
    /// Which rows; `None` means the first ones.
    pub(super) place: Option<RowPosition>,
    /// `time=`: rows from the first line on that is not before it.
    pub(super) time: Option<Moment>,
    /// `since=` and `until=`.
    pub(super) since: Option<Moment>,
    pub(super) until: Option<Moment>,
    /// The same as instants.
    pub(super) at_time: Option<i64>,
    pub(super) range: TimeRange,
    /// `buckets=`: into how many spans of time the log is divided.
    pub(super) buckets: usize,
    /// `field=`: the field whose values are counted.
    pub(super) field: Option<String>,
    /// `top=`: how many values are named.
    pub(super) top: usize,
    /// Offsets whose line numbers are wanted.
    pub(super) at: Vec<Offset>,
    pub(super) count: usize,
    /// The form of rows, and what they show.
    pub(super) form: Form,
    /// The pattern.
    pub(super) sought: PatternSpec,
    /// Only rows that match the pattern.
    pub(super) filter: bool,
    /// The offset at which a search ends; `None` means the end of the log.
    pub(super) to: Option<Offset>,
    /// The offset near which a search begins.
    pub(super) near: Option<Offset>,
    /// The most rows that a search reports.
    pub(super) max: usize,
    /// Lines as they are shown, without escape sequences.
    pub(super) plain: bool,
    /// How the log is to be understood.
    pub(super) interpretation: Interpretation,
    /// `decode=auto|off`; without it, as the settings say.
    pub(super) decode: Option<Decode>,
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
            history: false,
            place: None,
            time: None,
            since: None,
            until: None,
            at_time: None,
            range: TimeRange::default(),
            buckets: BUCKETS,
            field: None,
            top: VALUES,
            at: Vec::new(),
            count: ROWS,
            form: Form::Rows,
            sought: PatternSpec::default(),
            filter: false,
            to: None,
            near: None,
            max: FOUND_ROWS,
            plain: false,
            interpretation: Interpretation::default(),
            decode: None,
        }
    }
}

impl ApiQuery {
    /// The same with what the settings say where the request does not.
    pub(super) fn with_settings(mut self, settings: &Settings) -> Self {
        self.interpretation.decode = self.decode.unwrap_or(settings.decode);
        self.at_time = query::range(self.time, None, settings).since;
        self.range = query::range(self.since, self.until, settings);
        self
    }

    /// Parses the part of the target after `?`. Unknown parameters are ignored.
    ///
    /// # Errors
    /// When a value can't be understood, a parameter is repeated, or several say where the rows
    /// are.
    pub(super) fn parse(query: &str) -> Result<Self, BadParameter> {
        let mut parsed = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let mut rendition = Rendition::Shown;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let offset = || number(&name, &value, "a byte offset").map(Offset);
            let flag = || switch(&name, &value);
            let rows = |max| {
                let rows = number(&name, &value, "a number of rows")?;
                Ok::<usize, BadParameter>(usize::try_from(rows).unwrap_or(max).clamp(1, max))
            };
            let mut place = None;
            match name.as_ref() {
                "generation" => parsed.of = query::of(&value),
                "history" => parsed.history = flag()?,
                "from" => place = Some(RowPosition::From(offset()?)),
                "before" => place = Some(RowPosition::Before(offset()?)),
                "line" => {
                    place = Some(RowPosition::Line(number(&name, &value, "the number of a line")?))
                }
                "time" => parsed.time = Some(query::moment(&name, &value)?),
                "since" => parsed.since = Some(query::moment(&name, &value)?),
                "until" => parsed.until = Some(query::moment(&name, &value)?),
                "buckets" => parsed.buckets = buckets(&value)?,
                "field" => parsed.field = Some(value.into_owned()),
                "top" => parsed.top = rows(VALUES_MAX)?,
                "at" => parsed.at = offsets(&value)?,
                "count" => parsed.count = rows(ROWS_MAX)?,
                "format" => parsed.form = form(&value)?,
                "q" => parsed.sought.pattern = Some(value.into_owned()),
                "regex" => parsed.sought.is_regex = flag()?,
                "case" => parsed.sought.has_case = flag()?,
                "word" => parsed.sought.is_word = flag()?,
                "level" => {
                    let (level, or_worse) = level(&value)?;
                    parsed.sought.level = Some(level);
                    parsed.sought.or_worse = or_worse;
                }
                "where" => parsed.sought.fields = Some(value.into_owned()),
                "invert" => parsed.sought.invert = flag()?,
                "filter" => parsed.filter = flag()?,
                "to" => parsed.to = Some(offset()?),
                "near" => parsed.near = Some(offset()?),
                "plain" => parsed.plain = flag()?,
                "raw" => rendition = query::rendition(&value)?,
                "encoding" | "cols" | "rows" => {
                    query::interpret(&mut parsed.interpretation, &name, &value)?;
                }
                "decode" => parsed.decode = Some(query::decode(&value)?),
                "max" => parsed.max = rows(FOUND_ROWS_MAX)?,
                _ => continue,
            }
            if seen.iter().any(|other| *other == name) {
                return Err(BadParameter(format!("`{name}` is given more than once")));
            }
            seen.push(name.into_owned());
            let places = [place.is_some(), parsed.place.is_some(), parsed.time.is_some()];
            if places.into_iter().filter(|is_given| *is_given).count() > 1 {
                let one = "only one of `from`, `before`, `line` and `time` can be met";
                return Err(BadParameter(one.to_owned()));
            }
            parsed.place = parsed.place.or(place);
        }
        parsed.form = parsed.form.with(rendition);
        Ok(parsed)
    }
}

/// `buckets=N`
fn buckets(value: &str) -> Result<usize, BadParameter> {
    let what = format!("a number of spans of time from 1 to {BUCKETS_MAX}");
    let number = usize::try_from(number("buckets", value, &what)?).unwrap_or(usize::MAX);
    match number {
        1..=BUCKETS_MAX => Ok(number),
        _ => Err(BadParameter(format!("`buckets` is {what}, not {number}"))),
    }
}

fn form(value: &str) -> Result<Form, BadParameter> {
    match query::format(value)? {
        Format::Rows | Format::Html => Ok(Form::Rows),
        Format::Text => Ok(Form::TextRows),
        Format::Raw => Err(BadParameter("rows have no `format=raw`".to_owned())),
    }
}

/// A level, and whether worse ones are included.
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
