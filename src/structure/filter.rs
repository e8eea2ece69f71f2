//! Lines whose fields fit conditions.

use memchr::memmem::Finder;

use super::condition::{self, BadCondition, Comparison, Condition, Test};
use super::{Found, Key, Value, values};

/// A shorter text is in too many lines to be worth a search of its own.
const LITERAL_BYTES_MIN: usize = 2;

/// Conditions on the fields of a line, which all have to hold.
#[derive(Clone, Debug)]
pub struct FieldFilter {
    keys: Vec<Key>,
    conditions: Vec<Condition>,
    /// A text that each line that fits has in it.
    literal: Option<Finder<'static>>,
    /// For some conditions, the last part of the field's name.
    names: Vec<(usize, Finder<'static>)>,
}

impl FieldFilter {
    /// Parses conditions such as `status>=500 path:/api user.id=7`.
    ///
    /// # Errors
    /// When one of them cannot be understood.
    pub fn parse(text: &str) -> Result<Self, BadCondition> {
        let conditions = condition::parse(text)?;
        let keys = conditions.iter().map(|condition| condition.key.clone()).collect();
        let literals = conditions.iter().filter_map(literal);
        let literal = literals.max_by_key(|literal| literal.len());
        let literal = literal.map(|literal| Finder::new(literal.as_bytes()).into_owned());
        let names = conditions.iter().enumerate().filter_map(|(nth, condition)| {
            let name = needed_name(condition)?;
            Some((nth, Finder::new(name.as_bytes()).into_owned()))
        });
        let names = names.collect();
        Ok(Self { keys, conditions, literal, names })
    }

    /// Whether a line fits. A line without any field fits only conditions that say what it must not
    /// have.
    #[must_use]
    pub fn accepts(&self, line: &[u8]) -> bool {
        if self.literal.as_ref().is_some_and(|literal| literal.find(line).is_none()) {
            return false;
        }
        let may_hold =
            |(nth, name): &(usize, Finder<'_>)| may_hold(&self.conditions[*nth], name, line);
        self.names.iter().all(may_hold) && self.holds(&values(line, &self.keys))
    }

    /// The fields that are looked at.
    #[cfg(test)]
    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether the conditions hold of these values of the fields.
    pub(super) fn holds(&self, values: &[Option<Found<'_>>]) -> bool {
        let mut both = self.conditions.iter().zip(values);
        both.all(|(condition, value)| condition.accepts(value.as_ref()))
    }

    /// Calls `on_match` with the start and the text of each line that fits, until it returns false.
    pub fn for_each_line(&self, text: &[u8], mut on_match: impl FnMut(usize, &[u8]) -> bool) {
        let mut at = 0;
        while at < text.len() {
            let start = match &self.literal {
                Some(literal) => {
                    let Some(found) = literal.find(&text[at..]) else { return };
                    let before = memchr::memrchr(b'\n', &text[at..at + found]);
                    before.map_or(at, |newline| at + newline + 1)
                }
                None => at,
            };
            let len = memchr::memchr(b'\n', &text[start..]).unwrap_or(text.len() - start);
            let line = &text[start..start + len];
            if self.accepts(line) && !on_match(start, line) {
                return;
            }
            at = start + len + 1;
        }
    }
}

/// Whether a condition may hold of a line, judged by what stands behind each place at which the name
/// of its field stands. This is several times as fast as reading all fields.
fn may_hold(condition: &Condition, name: &Finder<'_>, line: &[u8]) -> bool {
    name.find_iter(line).any(|at| {
        let behind = &line[at + name.needle().len()..];
        let behind = behind.strip_prefix(b"\"").unwrap_or(behind).trim_ascii_start();
        let Some(value) = behind.strip_prefix(b":").or_else(|| behind.strip_prefix(b"=")) else {
            return false;
        };
        let value = value.trim_ascii_start();
        let end = match value.first() {
            // It would have to be read for that.
            None | Some(b'[' | b'{' | b'"') => return true,
            _ => value.iter().position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\t')),
        };
        let Ok(value) = std::str::from_utf8(&value[..end.unwrap_or(value.len())]) else {
            return true;
        };
        // Behind a value of logfmt there may be more punctuation.
        let is_number =
            value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
        !is_number || condition.accepts(Some(&Found { name: "", value: Value::Number(value) }))
    })
}

/// The last part of the name of a field that a line has to have if a comparison with a number holds.
fn needed_name(condition: &Condition) -> Option<&str> {
    let is_ordered = match &condition.test {
        Test::Compares(Comparison::NotEqual, _) => false,
        Test::Compares(_, operand) => operand.is_number(),
        _ => false,
    };
    plain_name(condition).filter(|_| is_ordered)
}

/// The last part of the name of a field, as it stands in each line that has the field. Writers of
/// JSON escape none of its characters.
fn plain_name(condition: &Condition) -> Option<&str> {
    let [name] = condition.key.names.as_slice() else { return None };
    // An inner field may stand below the name of its object.
    Some(name.rsplit_once('.').map_or(name.as_str(), |(_, name)| name)).filter(is_plain)
}

/// Whether a text stands in a line of JSON as it is, and is worth a search.
fn is_plain(text: &&str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    text.len() >= LITERAL_BYTES_MIN && text.bytes().all(is_plain)
}

/// A text that each line has in it of which a condition holds.
fn literal(condition: &Condition) -> Option<&str> {
    let name = plain_name(condition);
    match &condition.test {
        Test::Compares(Comparison::NotEqual, _)
        | Test::Absent
        | Test::Matches { is_wanted: false, .. } => None,
        Test::Compares(Comparison::Equal, operand) if operand.is_text() => {
            let text = Some(operand.text.as_str()).filter(is_plain);
            text.into_iter().chain(name).max_by_key(|text| text.len())
        }
        Test::Exists | Test::Compares(..) | Test::Matches { .. } => name,
    }
}
