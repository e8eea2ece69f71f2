//! Conditions on fields: what `where=` says.

use std::cmp::Ordering;

use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;

use super::level::Severity;
use super::quantity::Quantity;
use super::value::{Number, Value};
use super::{Found, Key};

/// The longest text of conditions, in bytes.
const TEXT_BYTES_MAX: usize = 2048;
/// The most conditions.
const CONDITIONS_MAX: usize = 16;
/// The largest compiled expression, in bytes. There may be as many as conditions, for each log of a
/// request.
const COMPILED_BYTES_MAX: usize = 256 * 1024;
/// The most memory of a lazy DFA while it is used, in bytes.
const CACHE_BYTES_MAX: usize = 256 * 1024;
/// How deep groups may be nested.
const NEST_MAX: u32 = 50;

/// Why conditions are refused: one line for the person who typed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCondition(pub String);

/// A condition on one field.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) key: Key,
    pub(super) test: Test,
}

/// What has to hold of a field.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// There is one.
    Exists,
    /// There is none.
    Absent,
    /// `=`, `!=`, `<`, `<=`, `>` and `>=`.
    Compares(Comparison, Operand),
    /// `:`, `!:`, `~` and `!~`: whether the expression matches. It may be a text in any case.
    Matches { expression: Regex, text: Option<String>, is_wanted: bool },
}

impl Test {
    /// The only text of which it holds.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Compares(Comparison::Equal, operand) if operand.is_text() => Some(&operand.text),
            _ => None,
        }
    }

    /// The text that all values have in them, in any case, of which it holds.
    pub(super) fn text_in_any_case(&self) -> Option<&str> {
        match self {
            Self::Matches { text, is_wanted: true, .. } => text.as_deref(),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The right side of a comparison.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    text: String,
    number: Option<Number>,
    quantity: Option<Quantity>,
    /// Of a condition on the level.
    severity: Option<Severity>,
}

/// The operators. One that begins with another stands before it.
const OPERATORS: [&str; 10] = ["!=", "!:", "!~", ">=", "<=", "=", ":", "~", ">", "<"];

/// Parses conditions, which all have to hold.
///
/// # Errors
/// When one of them cannot be understood, or there is none.
pub(super) fn parse(text: &str) -> Result<Vec<Condition>, BadCondition> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(BadCondition(format!("the conditions are longer than {TEXT_BYTES_MAX} bytes")));
    }
    let mut conditions = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (condition, next) = parse_one(rest)?;
        conditions.push(condition);
        rest = next.trim_start();
        if conditions.len() > CONDITIONS_MAX {
            return Err(BadCondition(format!("there are more than {CONDITIONS_MAX} conditions")));
        }
    }
    if conditions.is_empty() {
        return Err(BadCondition("there is no condition: write one as `status>=500`".to_owned()));
    }
    Ok(conditions)
}

fn parse_one(text: &str) -> Result<(Condition, &str), BadCondition> {
    let (is_negated, named) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (name, rest) = word(named, |rest| {
        OPERATORS.iter().any(|operator| rest.starts_with(operator))
            || rest.starts_with(char::is_whitespace)
    })?;
    if name.is_empty() {
        let start: String = text.chars().take(20).collect();
        return Err(BadCondition(format!("the name of a field is missing before `{start}`")));
    }
    let key = Key::new(&name);
    let operated = |operator| Some((operator, rest.strip_prefix(operator)?));
    let Some((operator, value)) = OPERATORS.into_iter().find_map(operated) else {
        let test = if is_negated { Test::Absent } else { Test::Exists };
        return Ok((Condition { key, test }, rest));
    };
    if is_negated {
        return Err(BadCondition(format!(
            "`!{name}` means that there is no `{name}`; write `{name}!=…`, `{name}!:…` or `{name}!~…`"
        )));
    }
    let (value, rest) = word(value, |rest| rest.starts_with(char::is_whitespace))?;
    if value.is_empty() && !matches!(operator, "=" | "!=") {
        return Err(BadCondition(format!("a value is missing after `{name}{operator}`")));
    }
    Ok((Condition { test: test(&key, operator, value)?, key }, rest))
}

/// The word with which a text begins, up to where `is_end` holds, and the rest. A part in quotes
/// counts as it is.
fn word(text: &str, is_end: impl Fn(&str) -> bool) -> Result<(String, &str), BadCondition> {
    let mut word = String::new();
    let Some(quoted) = text.strip_prefix('"') else {
        let mut rest = text.chars();
        while !is_end(rest.as_str())
            && let Some(char) = rest.next()
        {
            word.push(char);
        }
        return Ok((word, rest.as_str()));
    };
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return Ok((word, chars.as_str())),
            '\\' => word.extend(chars.next()),
            char => word.push(char),
        }
    }
    Err(BadCondition(format!("the quotes of {text} are not closed")))
}

fn test(key: &Key, operator: &str, value: String) -> Result<Test, BadCondition> {
    let comparison = match operator {
        "=" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        operator => {
            let is_wanted = !operator.starts_with('!');
            let is_text = operator.ends_with(':');
            let expression = compile(&value, is_text)?;
            return Ok(Test::Matches { expression, text: is_text.then_some(value), is_wanted });
        }
    };
    let severity = Severity::of_name(&value).filter(|_| key.is_level());
    let (number, quantity) = (Number::parse(&value), Quantity::parse(&value));
    let is_order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    if key.is_level() && is_order && severity.is_none() && number.is_none() {
        return Err(BadCondition(format!(
            "`{value}` is no level: trace, debug, info, warn, error or fatal"
        )));
    }
    Ok(Test::Compares(comparison, Operand { text: value, number, quantity, severity }))
}

/// A text, in any case, or a regular expression as one.
fn compile(value: &str, is_text: bool) -> Result<Regex, BadCondition> {
    let pattern = if is_text { regex_syntax::escape(value) } else { value.to_owned() };
    Regex::builder()
        .configure(
            Regex::config()
                .nfa_size_limit(Some(COMPILED_BYTES_MAX))
                .hybrid_cache_capacity(CACHE_BYTES_MAX)
                .onepass(false)
                .which_captures(WhichCaptures::None),
        )
        .syntax(syntax::Config::new().case_insensitive(is_text).nest_limit(NEST_MAX))
        .build(&pattern)
        .map_err(|error| {
            let problem = match error.syntax_error() {
                Some(syntax) => syntax.to_string(),
                None => format!("it is larger than {COMPILED_BYTES_MAX} bytes when compiled"),
            };
            let last = problem.lines().next_back().unwrap_or_default().trim();
            BadCondition(format!("`{value}`: {}", last.trim_start_matches("error: ")))
        })
}

impl Condition {
    /// Whether it holds of no line without the field.
    pub(super) fn needs_field(&self) -> bool {
        match &self.test {
            Test::Exists => true,
            Test::Absent => false,
            Test::Compares(comparison, _) => *comparison != Comparison::NotEqual,
            Test::Matches { is_wanted, .. } => *is_wanted,
        }
    }

    /// Whether it holds of a field, or of a line without it.
    pub(super) fn accepts(&self, field: Option<&Found<'_>>) -> bool {
        match &self.test {
            Test::Exists => field.is_some(),
            Test::Absent => field.is_none(),
            Test::Matches { expression, is_wanted, .. } => {
                let is_match = |value: &Value<'_>| match value {
                    Value::Text(text) => expression.is_match(&**text),
                    value => expression.is_match(&value.to_string()),
                };
                field.is_some_and(|field| any(&field.value, is_match)) == *is_wanted
            }
            Test::Compares(Comparison::NotEqual, operand) => {
                let is_equal = |field| operand.is(Comparison::Equal, field);
                !field.is_some_and(is_equal)
            }
            Test::Compares(comparison, operand) => {
                field.is_some_and(|field| operand.is(*comparison, field))
            }
        }
    }
}

/// Whether something holds of a value, or of an element of it.
fn any(value: &Value<'_>, holds: impl Fn(&Value<'_>) -> bool) -> bool {
    match value {
        Value::List(values) => values.iter().any(holds),
        value => holds(value),
    }
}

impl Operand {
    /// Whether only this very text is equal to it, and no other way to write a number.
    fn is_text(&self) -> bool {
        self.number.is_none() && self.quantity.is_none() && self.severity.is_none()
    }

    fn is(&self, comparison: Comparison, field: &Found<'_>) -> bool {
        if let Some(severity) = self.severity {
            let said = Severity::of_field(field);
            return said.is_some_and(|said| comparison.holds(Some(said.cmp(&severity))));
        }
        any(&field.value, |value| comparison.holds(self.compare(value)))
    }

    /// How a value compares to this. None if the two cannot be compared.
    fn compare(&self, value: &Value<'_>) -> Option<Ordering> {
        if let (Some(number), Some(operand)) = (value.number(), self.number) {
            return number.partial_cmp(&operand);
        }
        let text = match value {
            Value::Text(text) => &**text,
            value => &value.to_string(),
        };
        match self.quantity {
            Some(quantity) => Quantity::parse(text)?.partial_cmp(&quantity),
            None if self.number.is_some() => {
                // `status=500` is not met by `500x`, and `x>5` by no text.
                (text == self.text).then_some(Ordering::Equal)
            }
            None => Some(text.cmp(&self.text)),
        }
    }
}

impl Comparison {
    fn holds(self, ordering: Option<Ordering>) -> bool {
        let Some(ordering) = ordering else { return self == Self::NotEqual };
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}
