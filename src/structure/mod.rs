//! The fields of structured lines, JSON and logfmt, and conditions on them: `status>=500 path:/api
//! user.id=7`. Pure: lines in, answers out.
//!
//! A line is JSON from its first `{` on if that begins an object; what is before it, or the whole
//! line otherwise, is logfmt: `key=value key="a value"`. Inner objects have dotted names, and so has
//! an object whose keys have dots themselves.

mod condition;
mod filter;
mod json;
mod level;
mod logfmt;
mod quantity;
mod skim;
mod value;

#[cfg(test)]
mod tests;

pub use condition::BadCondition;
pub use filter::FieldFilter;
pub use value::Value;

use json::Wanted;
use level::Severity;

/// The name of a field, with the other names under which programs write the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    names: Vec<String>,
}

/// Names of the level of a line.
const LEVEL_NAMES: [&str; 14] = [
    "level",
    "severity",
    "lvl",
    "levelname",
    "loglevel",
    "log_level",
    "log.level",
    "@l",
    "severityText",
    "severity_text",
    "SeverityText",
    "severityNumber",
    "SeverityNumber",
    "levelno",
];
/// Names of the message of a line.
const MESSAGE_NAMES: [&str; 7] = ["msg", "message", "@m", "@mt", "short_message", "body", "event"];

impl Key {
    /// The key of this name. `level` and `severity`, `msg` and `message` stand for all usual names of
    /// these.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let names = match name {
            "level" | "severity" => names(&LEVEL_NAMES),
            "msg" | "message" => names(&MESSAGE_NAMES),
            name => vec![name.to_owned()],
        };
        Self { names }
    }

    /// Whether it is the level of a line.
    fn is_level(&self) -> bool {
        self.names[0] == "level"
    }
}

/// So many braces of a line are tried as the beginning of an object.
const OBJECTS_MAX: usize = 4;

/// The first value of each key in a line. None for a key that the line does not have.
fn values<'l>(line: &'l [u8], keys: &'l [Key]) -> Vec<Option<Found<'l>>> {
    let mut found = vec![None; keys.len()];
    let wanted: Vec<Wanted<'l>> = keys
        .iter()
        .enumerate()
        .flat_map(|(key, Key { names })| {
            names.iter().map(move |name| Wanted { key, full: name, name })
        })
        .collect();
    find(line, &wanted, &mut found);
    found
}

/// Finds the first value of each key in a line.
fn find<'l>(line: &'l [u8], wanted: &[Wanted<'l>], found: &mut [Option<Found<'l>>]) {
    // A brace may also be that of other text: `INFO {main} {"status":503}`.
    let mut starts = memchr::memchr_iter(b'{', line).take(OBJECTS_MAX);
    let object = starts
        .find(|&at| json::fields(&line[at..], wanted, found) || found.iter().all(Option::is_some));
    logfmt::fields(&line[..object.unwrap_or(line.len())], wanted, found);
}

/// The value of a field, and which of its names the line uses.
#[derive(Clone, Debug, PartialEq)]
struct Found<'l> {
    name: &'l str,
    value: Value<'l>,
}

/// The value of a field in a line.
fn value_of<'l>(line: &'l [u8], key: &'l Key) -> Option<Found<'l>> {
    // Most fields have one name, and many lines are looked at.
    if let [name] = &key.names[..] {
        let mut found = [None];
        find(line, &[Wanted { key: 0, full: name, name }], &mut found);
        let [found] = found;
        return found;
    }
    values(line, std::slice::from_ref(key)).pop().flatten()
}

/// Calls `each` with the values of a field in a line, as text: one, or each different element of an
/// array. So each row is counted under what finds it. Of the level of a line, the value is its severity
/// by the usual name, whatever the program writes. Returns whether the line has the field.
pub fn each_value(line: &[u8], key: &Key, mut each: impl FnMut(&str)) -> bool {
    let Some(found) = value_of(line, key) else { return false };
    if key.is_level()
        && let Some(severity) = Severity::of_field(&found)
    {
        each(severity.name());
        return true;
    }
    match &found.value {
        Value::List(elements) => {
            let mut texts: Vec<_> = elements.iter().map(Value::text).collect();
            texts.sort_unstable();
            texts.dedup();
            texts.iter().for_each(|text| each(text));
        }
        value => each(&value.text()),
    }
    true
}
