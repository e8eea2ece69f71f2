//! The markers that build systems put at the beginning of a line, recognised in what the line shows.
//!
//! GitHub (and those who follow it): `::group::NAME`, `::endgroup::`, `::error …::TEXT`; in stored logs `##[group]NAME`, after a time
//! stamp. GitLab: `section_start:TIME:NAME[collapsed=true]`, wiped from the screen by a carriage return, and `section_end:TIME:NAME`.
//! Buildkite: `--- NAME`, `+++ NAME`, `~~~ NAME`.

use super::annotation::Level;

/// How much of a line is looked at.
pub(super) const BYTES_MAX: usize = 512;

/// The longest name of a group that is kept.
const NAME_BYTES_MAX: usize = 256;

/// The longest time stamp in front of a marker, with the blank after it.
const TIME_BYTES_MAX: usize = 40;

/// Whose markers they are: one system's do not end what another's began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    GitHub,
    GitLab,
    Buildkite,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CiMarker {
    Open { kind: Kind, name: String, collapsed: bool },
    Close { kind: Kind, name: String },
    Level(Level),
}

impl CiMarker {
    /// Whether it counts when its line ends, and not when the cursor returns in it.
    pub(super) fn is_read_at_end(&self) -> bool {
        !matches!(
            self,
            Self::Open { kind: Kind::GitLab, .. } | Self::Close { kind: Kind::GitLab, .. }
        )
    }
}

/// Whether a line that begins with this byte may have a marker; most lines are done with here.
pub(super) fn may_begin(byte: u8) -> bool {
    matches!(byte, b':' | b'#' | b'-' | b'+' | b'~' | b's' | b'0'..=b'9')
}

/// The marker of a line that a newline ends.
pub(super) fn at_line_end(line: &str) -> Option<CiMarker> {
    let line = after_timestamp(line);
    if let Some(rest) = line.strip_prefix("::") {
        let end = rest.find([':', ' '])?;
        let (word, rest) = rest.split_at_checked(end)?;
        // Parameters stand between the word and the second `::`.
        let (_, text) = rest.split_once("::")?;
        return github(word, text);
    }
    if let Some(rest) = line.strip_prefix("##[") {
        let (word, text) = rest.split_once(']')?;
        return github(word, text);
    }
    buildkite(line)
}

/// The marker of a line in which the cursor returns to the left edge.
pub(super) fn at_return(line: &str) -> Option<CiMarker> {
    let rest = after_timestamp(line).strip_prefix("section_")?;
    let (word, rest) = rest.split_once(':')?;
    let (time, name) = rest.split_once(':')?;
    if time.is_empty() || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (name, options) = name.split_once('[').unwrap_or((name, ""));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
        return None;
    }
    let (kind, name) = (Kind::GitLab, name.to_owned());
    match word {
        "start" => {
            let options = options.strip_suffix(']').unwrap_or_default();
            let collapsed = options.split(',').any(|option| option.trim() == "collapsed=true");
            Some(CiMarker::Open { kind, name, collapsed })
        }
        "end" => Some(CiMarker::Close { kind, name }),
        _ => None,
    }
}

fn github(word: &str, text: &str) -> Option<CiMarker> {
    let kind = Kind::GitHub;
    Some(match word {
        "group" => CiMarker::Open { kind, name: name(text), collapsed: false },
        "endgroup" => CiMarker::Close { kind, name: String::new() },
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
    Some(CiMarker::Open { kind: Kind::Buildkite, name: name(text), collapsed })
}

/// The names of the files that a diff compares stand behind the same marks.
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

/// The line without the time that GitHub, Azure and GitLab put in front of it: `2026-03-14T15:09:26.5358979Z `.
fn after_timestamp(line: &str) -> &str {
    let bytes = line.as_bytes();
    if bytes.get(4) != Some(&b'-') || bytes.get(10) != Some(&b'T') {
        return line;
    }
    let space = memchr::memchr(b' ', bytes.get(..TIME_BYTES_MAX).unwrap_or(bytes));
    let (time, rest) = line.split_at(space.unwrap_or_default());
    if time.ends_with('Z') { rest.get(1..).unwrap_or_default() } else { line }
}
