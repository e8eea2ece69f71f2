//! Lines whose fields fit conditions.

use memchr::memmem::Finder;

use super::condition::{self, BadCondition, Comparison, Condition, Test};
use super::{Found, Key, values};

/// A shorter text is in too many lines to be worth a search of its own.
const LITERAL_BYTES_MIN: usize = 2;

/// Conditions on the fields of a line, which all have to hold.
#[derive(Clone, Debug)]
pub struct FieldFilter {
    keys: Vec<Key>,
    conditions: Vec<Condition>,
    /// A text that each line that fits has in it.
    literal: Option<Finder<'static>>,
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
        Ok(Self { keys, conditions, literal })
    }

    /// Whether a line fits. A line without any field fits only conditions that say what it must not
    /// have.
    #[must_use]
    pub fn accepts(&self, line: &[u8]) -> bool {
        if self.literal.as_ref().is_some_and(|literal| literal.find(line).is_none()) {
            return false;
        }
        self.holds(&values(line, &self.keys))
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

/// A text that each line has in it of which a condition holds. Writers of JSON escape none of its
/// characters.
fn literal(condition: &Condition) -> Option<&str> {
    let is_plain = |text: &&str| {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        text.len() >= LITERAL_BYTES_MIN && text.bytes().all(is_plain)
    };
    let [name] = condition.key.names.as_slice() else { return None };
    // An inner field may stand below the name of its object.
    let name = name.rsplit_once('.').map_or(name.as_str(), |(_, name)| name);
    match &condition.test {
        Test::Compares(Comparison::NotEqual, _)
        | Test::Absent
        | Test::Matches { is_wanted: false, .. } => None,
        Test::Compares(Comparison::Equal, operand) if operand.is_text() => {
            let texts = [operand.text.as_str(), name].into_iter().filter(is_plain);
            texts.max_by_key(|text| text.len())
        }
        Test::Exists | Test::Compares(..) | Test::Matches { .. } => Some(name).filter(is_plain),
    }
}
