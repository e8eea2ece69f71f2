//! The markers that build systems put at the start of a line, recognised in the line's text.
//!
//! - GitHub (and those who follow it): `::group::NAME`, `::endgroup::`, `::error …::TEXT`; in stored
//!   logs `##[group]NAME`.
//! - Azure: the same `##[…]`, `##[command]TEXT`, `##vso[task.logissue type=error]TEXT`, and
//!   `##[section]Starting: NAME`, which `##[section]Finishing: NAME` ends.
//! - GitLab: `section_start:TIME:NAME[collapsed=true]`, wiped from the screen by a carriage return,
//!   and `section_end:TIME:NAME`.
//! - Travis: `travis_fold:start:NAME`, `travis_fold:end:NAME` and `travis_time:…`, wiped as well.
//! - Buildkite: `--- NAME`, `+++ NAME`, `~~~ NAME`.
//! - TeamCity: `##teamcity[blockOpened name='NAME']`, which `blockClosed` ends; the same for test
//!   suites; and the status of a `message`.

use std::borrow::Cow;

use super::annotation::Level;

/// How much of a line is searched for a marker, in bytes.
pub(super) const BYTES_MAX: usize = 512;

/// The longest group name that is kept, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// The longest timestamp in front of a marker, with the blank after it.
const TIME_BYTES_MAX: usize = 40;

/// The build system of a marker. Markers of one system do not end groups of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CiSystem {
    GitHub,
    Azure,
    GitLab,
    Travis,
    Buildkite,
    TeamCity,
}

impl CiSystem {
    /// Whether a group ends where the next one begins.
    pub(super) fn has_headers(self) -> bool {
        self == Self::Buildkite
    }

    /// Whether the end of a group repeats its name.
    pub(super) fn names_ends(self) -> bool {
        matches!(self, Self::Azure | Self::GitLab | Self::Travis | Self::TeamCity)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CiMarker {
    Open {
        system: CiSystem,
        name: String,
        collapsed: bool,
    },
    Close {
        system: CiSystem,
        name: String,
    },
    Level(Level),
    /// A marker without a group, which may have a time in milliseconds since 1970.
    Time(Option<u64>),
}

impl CiMarker {
    /// Whether it takes effect at the end of its line, and not at a carriage return.
    pub(super) fn is_read_at_end(&self) -> bool {
        match self {
            Self::Open { system, .. } | Self::Close { system, .. } => {
                !matches!(system, CiSystem::GitLab | CiSystem::Travis)
            }
            Self::Level(_) => true,
            Self::Time(_) => false,
        }
    }
}

/// Whether a line that begins with this byte may have a marker. This rules out most lines.
pub(super) fn may_begin(byte: u8) -> bool {
    matches!(byte, b':' | b'#' | b'-' | b'+' | b'~' | b's' | b't' | b'0'..=b'9' | b' ' | b'\t')
}

/// Whether a line that begins with this byte may have a marker that ends with a return.
pub(super) fn may_begin_at_return(byte: u8) -> bool {
    matches!(byte, b's' | b't' | b'0'..=b'9')
}

/// The marker of a line that ends with a newline.
pub(super) fn at_line_end(line: &str) -> Option<CiMarker> {
    let line = after_timestamp(line);
    // GitHub's runner leaves out blanks before a command.
    let command = line.trim_start();
    if !matches!(command.as_bytes().first(), Some(b':' | b'#' | b'-' | b'+' | b'~')) {
        return None;
    }
    if let Some(rest) = command.strip_prefix("::") {
        let end = rest.find([':', ' '])?;
        let (word, rest) = rest.split_at_checked(end)?;
        // The parameters are between the command and the second `::`.
        let (_, text) = rest.split_once("::")?;
        return github(word, text);
    }
    if let Some(rest) = command.strip_prefix("##[") {
        let (word, text) = rest.split_once(']')?;
        return match word {
            "section" => azure_section(text),
            "command" => Some(CiMarker::Level(Level::Notice)),
            _ => github(word, text),
        };
    }
    if let Some(rest) = line.strip_prefix("##teamcity[") {
        return teamcity(rest);
    }
    if let Some(rest) = line.strip_prefix("##vso[task.logissue ") {
        let (parameters, _) = rest.split_once(']')?;
        let mut parameters = parameters.split(';').map(str::trim);
        return github(parameters.find_map(|parameter| parameter.strip_prefix("type="))?, "");
    }
    buildkite(line)
}

/// The marker of a line in which the cursor returns to the left edge.
pub(super) fn at_return(line: &str) -> Option<CiMarker> {
    let line = after_timestamp(line);
    if let Some(rest) = line.strip_prefix("travis_") {
        return travis(rest);
    }
    let rest = line.strip_prefix("section_")?;
    let (word, rest) = rest.split_once(':')?;
    let (time, name) = rest.split_once(':')?;
    if time.is_empty() || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (name, options) = name.split_once('[').unwrap_or((name, ""));
    if !is_name(name) {
        return None;
    }
    let (system, name) = (CiSystem::GitLab, name.to_owned());
    match word {
        "start" => {
            let options = options.strip_suffix(']').unwrap_or_default();
            let collapsed = options.split(',').any(|option| option.trim() == "collapsed=true");
            Some(CiMarker::Open { system, name, collapsed })
        }
        "end" => Some(CiMarker::Close { system, name }),
        _ => None,
    }
}

/// Whether it is the name of a group whose marker is wiped from the screen.
fn is_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_of_name)
}

/// `fold:start:NAME`, `fold:end:NAME`, `time:start:ID` and
/// `time:end:ID:start=…,finish=…,duration=…`, all in nanoseconds.
fn travis(rest: &str) -> Option<CiMarker> {
    let (kind, rest) = rest.split_once(':')?;
    let (word, rest) = rest.split_once(':')?;
    let (system, name) = (CiSystem::Travis, rest.to_owned());
    match (kind, word) {
        ("fold", "start") if is_name(rest) => {
            Some(CiMarker::Open { system, name, collapsed: true })
        }
        ("fold", "end") if is_name(rest) => Some(CiMarker::Close { system, name }),
        ("time", "start") => Some(CiMarker::Time(None)),
        ("time", "end") => {
            let (_, times) = rest.split_once(':')?;
            let finish = times.split(',').find_map(|time| time.strip_prefix("finish="));
            let finish = finish.and_then(|time| time.parse().ok());
            Some(CiMarker::Time(finish.map(|nanoseconds: u64| nanoseconds / 1_000_000)))
        }
        _ => None,
    }
}

fn azure_section(text: &str) -> Option<CiMarker> {
    let system = CiSystem::Azure;
    if let Some(text) = text.strip_prefix("Starting: ") {
        return Some(CiMarker::Open { system, name: name(text), collapsed: false });
    }
    let text = text.strip_prefix("Finishing: ")?;
    Some(CiMarker::Close { system, name: name(text) })
}

/// A message to TeamCity, from its name on.
fn teamcity(message: &str) -> Option<CiMarker> {
    let (word, attributes) = message.split_once(' ')?;
    let system = CiSystem::TeamCity;
    let value = |wanted: &str| teamcity_value(attributes, wanted);
    Some(match word {
        "blockOpened" | "testSuiteStarted" => {
            CiMarker::Open { system, name: name(&value("name")?), collapsed: false }
        }
        "blockClosed" | "testSuiteFinished" => {
            CiMarker::Close { system, name: name(&value("name")?) }
        }
        "message" => CiMarker::Level(match &*value("status")? {
            "ERROR" | "FAILURE" => Level::Error,
            "WARNING" => Level::Warning,
            _ => return None,
        }),
        "buildProblem" | "testFailed" => CiMarker::Level(Level::Error),
        _ => return None,
    })
}

/// The value of an attribute in `name='value' other='…']`, without TeamCity's escapes.
fn teamcity_value<'a>(attributes: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let mut rest = attributes;
    loop {
        let (name, after) = rest.trim_start().split_once("='")?;
        let mut is_escaped = false;
        let end = after.find(|ch| {
            let ends = ch == '\'' && !is_escaped;
            is_escaped = ch == '|' && !is_escaped;
            ends
        })?;
        let (value, after) = after.split_at_checked(end)?;
        if name == wanted {
            return Some(unescaped(value));
        }
        rest = after.get(1..)?;
    }
}

/// The text of a value: `|n`, `|r`, `|x`, `|l` and `|p` end lines, `|0xHHHH` is a character, and any
/// other character after `|` is itself. A name has one line, so that its ends become blanks.
fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('|') {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('|') {
        text.push_str(before);
        let code = after.strip_prefix("0x").and_then(|code| code.get(..4));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        let mut chars = after.chars();
        let ch = match (code, chars.next()) {
            (Some(code), _) => {
                chars = after.get(6..).unwrap_or_default().chars();
                char::from_u32(code).filter(|ch| !ch.is_control())
            }
            (None, Some('n' | 'r' | 'x' | 'l' | 'p')) => Some(' '),
            (None, ch) => ch,
        };
        text.extend(ch);
        rest = chars.as_str();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

fn github(word: &str, text: &str) -> Option<CiMarker> {
    let system = CiSystem::GitHub;
    Some(match word.to_ascii_lowercase().as_str() {
        "group" => CiMarker::Open { system, name: name(text), collapsed: false },
        "endgroup" => CiMarker::Close { system, name: String::new() },
        "error" => CiMarker::Level(Level::Error),
        "warning" => CiMarker::Level(Level::Warning),
        "notice" => CiMarker::Level(Level::Notice),
        "debug" => CiMarker::Level(Level::Debug),
        _ => return None,
    })
}

fn buildkite(line: &str) -> Option<CiMarker> {
    let (marker, text) = line.split_at_checked(3)?;
    let collapsed = match marker {
        "---" | "~~~" => true,
        "+++" => false,
        _ => return None,
    };
    let text = text.strip_prefix(' ').filter(|text| !text.trim().is_empty())?;
    if is_of_a_diff(text) || is_of_go_test(text) {
        return None;
    }
    Some(CiMarker::Open { system: CiSystem::Buildkite, name: name(text), collapsed })
}

/// Whether the text after `---` or `+++` is a file name, as in a diff.
fn is_of_a_diff(text: &str) -> bool {
    ["a/", "b/", "\"a/", "\"b/", "/dev/null"].iter().any(|prefix| text.starts_with(prefix))
        || text.contains('\t')
}

fn is_of_go_test(text: &str) -> bool {
    ["PASS: ", "FAIL: ", "SKIP: ", "BENCH: "].iter().any(|prefix| text.starts_with(prefix))
}

fn name(text: &str) -> String {
    let text = text.trim();
    text.get(..text.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default().to_owned()
}

/// The line without the timestamp that GitHub, Azure and GitLab put in front of it:
/// `2026-03-14T15:09:26.5358979Z `.
fn after_timestamp(line: &str) -> &str {
    let bytes = line.as_bytes();
    // Jenkins' Timestamper: `14:02:07  `.
    if let Some(b":") = bytes.get(5..6)
        && let Some((time, rest)) = line.split_once("  ")
        && time.len() == "14:02:07".len()
        && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
    {
        return rest;
    }
    if bytes.get(4) != Some(&b'-') || bytes.get(10) != Some(&b'T') {
        return line;
    }
    let space = memchr::memchr(b' ', bytes.get(..TIME_BYTES_MAX).unwrap_or(bytes));
    let (time, rest) = line.split_at(space.unwrap_or_default());
    if time.ends_with('Z') { rest.get(1..).unwrap_or_default() } else { line }
}
