//! Lines whose fields fit conditions.
//!
//! Most lines do not fit, and are judged without reading all of their fields: by texts that each line
//! that fits has in it, and by what stands behind the names of the fields. This holds as long as the
//! line says its letters and digits as they are. A line with an escape sequence for one is read.

use memchr::memmem::Finder;
use regex_automata::meta::Regex;

use super::condition::{self, BadCondition, Condition};
use super::{Found, Key, Value, json, logfmt, values};

/// A shorter text is in too many lines to be worth a search of its own.
const LITERAL_BYTES_MIN: usize = 2;

/// Conditions on the fields of a line, which all have to hold.
#[derive(Clone, Debug)]
pub struct FieldFilter {
    keys: Vec<Key>,
    conditions: Vec<Condition>,
    /// What each line that fits has in it.
    needle: Option<Needle>,
    /// For some conditions, the names of the field.
    named: Vec<(usize, Names)>,
}

/// A text that is looked for in many lines at once.
#[derive(Clone, Debug)]
enum Needle {
    Text(Box<Finder<'static>>),
    /// In any case.
    AnyCase(Regex),
}

impl Needle {
    fn find(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Text(finder) => finder.find(text),
            Self::AnyCase(regex) => regex.find(text).map(|found| found.start()),
        }
    }
}

impl FieldFilter {
    /// Parses conditions such as `status>=500 path:/api user.id=7`.
    ///
    /// # Errors
    /// When one of them cannot be understood.
    pub fn parse(text: &str) -> Result<Self, BadCondition> {
        let conditions = condition::parse(text)?;
        let keys = conditions.iter().map(|condition| condition.key.clone()).collect();
        let named = conditions.iter().enumerate().filter(|(_, condition)| condition.needs_field());
        let named = named.filter_map(|(nth, condition)| Some((nth, Names::of(&condition.key)?)));
        Ok(Self { keys, needle: needle(&conditions), named: named.collect(), conditions })
    }

    /// Whether a line fits. A line without any field fits only conditions that say what it must not
    /// have.
    #[must_use]
    pub fn accepts(&self, line: &[u8]) -> bool {
        let is_plain = next_escape(line, 0).is_none();
        if is_plain && self.needle.as_ref().is_some_and(|needle| needle.find(line).is_none()) {
            return false;
        }
        self.accepts_candidate(line, is_plain)
    }

    /// Whether a line fits that has the needle in it, or has escape sequences.
    fn accepts_candidate(&self, line: &[u8], is_plain: bool) -> bool {
        let may_hold = |(nth, names): &(usize, Names)| names.may_hold(&self.conditions[*nth], line);
        (!is_plain || self.named.iter().all(may_hold)) && self.holds(&values(line, &self.keys))
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
        let mut escape = next_escape(text, 0);
        let mut at = 0;
        while at < text.len() {
            if escape.is_some_and(|escape| escape < at) {
                escape = next_escape(text, at);
            }
            let start = match &self.needle {
                Some(needle) => {
                    let before = &text[at..escape.unwrap_or(text.len())];
                    let found = needle.find(before).map(|found| at + found).or(escape);
                    let Some(found) = found else { return };
                    memchr::memrchr(b'\n', &text[at..found]).map_or(at, |newline| at + newline + 1)
                }
                None => at,
            };
            let len = memchr::memchr(b'\n', &text[start..]).unwrap_or(text.len() - start);
            let line = &text[start..start + len];
            let is_plain = escape.is_none_or(|escape| escape >= start + len);
            if self.accepts_candidate(line, is_plain) && !on_match(start, line) {
                return;
            }
            at = start + len + 1;
        }
    }
}

/// The next place from `at` on where an escape sequence may stand for a letter or a digit: JSON's
/// `\u0041`, or logfmt's `\A`.
fn next_escape(text: &[u8], at: usize) -> Option<usize> {
    let is_one =
        |place: &usize| !matches!(text.get(place + 1), Some(b'"' | b'\\' | b'/' | b'n' | b't'));
    memchr::memchr_iter(b'\\', text.get(at..)?).map(|place| at + place).find(is_one)
}

/// The names of a field, by their last parts: an inner field may stand below the name of its object.
#[derive(Clone, Debug)]
struct Names {
    /// The longer ones first, so that none hides another that begins with it.
    names: Vec<String>,
    finder: NameFinder,
}

#[derive(Clone, Debug)]
enum NameFinder {
    One(Box<Finder<'static>>),
    Any(Regex),
}

impl Names {
    /// None if a name may be written in more than one way.
    fn of(key: &Key) -> Option<Self> {
        let mut names: Vec<String> = key
            .names
            .iter()
            .map(|name| last_part(name).map(str::to_owned))
            .collect::<Option<_>>()?;
        names.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        names.dedup();
        let finder = match &names[..] {
            [name] => NameFinder::One(finder(name)),
            names => NameFinder::Any(Regex::new(&names.join("|")).ok()?),
        };
        Some(Self { names, finder })
    }

    /// Whether a condition may hold of a line, judged by what stands behind each place at which a name
    /// of its field stands. This is several times as fast as reading all fields.
    fn may_hold(&self, condition: &Condition, line: &[u8]) -> bool {
        match &self.finder {
            NameFinder::One(finder) => finder.find_iter(line).any(|at| {
                may_be_held(condition, &self.names[0], &line[at + self.names[0].len()..])
            }),
            NameFinder::Any(regex) => regex.find_iter(line).any(|found| {
                let name = std::str::from_utf8(&line[found.range()]).unwrap_or_default();
                may_be_held(condition, name, &line[found.end()..])
            }),
        }
    }
}

/// Whether a condition may hold of the value that stands behind the name of its field, if there is one.
fn may_be_held(condition: &Condition, name: &str, behind: &[u8]) -> bool {
    let holds = |value| condition.accepts(Some(&Found { name, value }));
    if let Some(value) = behind.strip_prefix(b"=") {
        return holds(Value::Text(logfmt::value(value)));
    }
    let behind = behind.strip_prefix(b"\"").unwrap_or(behind).trim_ascii_start();
    let Some(value) = behind.strip_prefix(b":") else { return false };
    // What is not understood here has to be read.
    json::scalar(value.trim_ascii_start()).is_none_or(holds)
}

fn finder(text: &str) -> Box<Finder<'static>> {
    Box::new(Finder::new(text.as_bytes()).into_owned())
}

/// The last part of the name of a field, as it stands in each line that has the field.
fn last_part(name: &str) -> Option<&str> {
    Some(name.rsplit_once('.').map_or(name, |(_, name)| name)).filter(is_plain)
}

/// Whether a text stands in a line as it is, unless that has escape sequences of its own, and is worth
/// a search.
fn is_plain(text: &&str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'@');
    text.len() >= LITERAL_BYTES_MIN && text.bytes().all(is_plain)
}

/// The best text to look for in many lines at once. A value is in fewer lines than a name.
fn needle(conditions: &[Condition]) -> Option<Needle> {
    let needed = || conditions.iter().filter(|condition| condition.needs_field());
    let longest =
        |texts: Vec<&str>| texts.into_iter().max_by_key(|text| text.len()).map(str::to_owned);
    let exact =
        longest(needed().filter_map(|condition| condition.test.text().filter(is_plain)).collect());
    let any_case = longest(
        needed()
            .filter_map(|condition| condition.test.text_in_any_case().filter(is_plain))
            .collect(),
    );
    let text = |text: String| Needle::Text(finder(&text));
    if let Some(exact) =
        exact.filter(|exact| any_case.as_ref().is_none_or(|any| any.len() <= exact.len()))
    {
        return Some(text(exact));
    }
    if let Some(any_case) = any_case {
        return Regex::new(&format!("(?i){any_case}")).ok().map(Needle::AnyCase);
    }
    let names = needed().filter_map(|condition| match condition.key.names.as_slice() {
        [name] => last_part(name),
        _ => None,
    });
    longest(names.collect()).map(text)
}
