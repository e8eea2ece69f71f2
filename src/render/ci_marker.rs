//! The markers that build systems put at the start of a line, recognised in the line's text.
//!
//! GitHub and compatible systems: `::group::NAME`, `::endgroup::`, `::error …::TEXT`; in stored
//! logs `##[group]NAME`, after a timestamp. GitLab: `section_start:TIME:NAME[collapsed=true]`,
//! overwritten after a carriage return, and `section_end:TIME:NAME`. Buildkite: `--- NAME`,
//! `+++ NAME`, `~~~ NAME`.

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
    GitLab,
    Buildkite,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CiMarker {
    Open { system: CiSystem, name: String, collapsed: bool },
    Close { system: CiSystem, name: String },
    Level(Level),
}

impl CiMarker {
    /// Whether it takes effect at the end of its line, and not at a carriage return.
    pub(super) fn is_read_at_end(&self) -> bool {
        !matches!(
            self,
            Self::Open { system: CiSystem::GitLab, .. }
                | Self::Close { system: CiSystem::GitLab, .. }
        )
    }
}

/// Whether a line that begins with this byte may have a marker. This rules out most lines.
pub(super) fn may_begin(byte: u8) -> bool {
    matches!(byte, b':' | b'#' | b'-' | b'+' | b'~' | b's' | b'0'..=b'9')
}

/// The marker of a line that ends with a newline.
pub(super) fn at_line_end(line: &str) -> Option<CiMarker> {
    let line = after_timestamp(line);
    if let Some(rest) = line.strip_prefix("::") {
        let end = rest.find([':', ' '])?;
        let (word, rest) = rest.split_at_checked(end)?;
        // The parameters are between the command and the second `::`.
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

fn github(word: &str, text: &str) -> Option<CiMarker> {
    let system = CiSystem::GitHub;
    Some(match word {
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
    if bytes.get(4) != Some(&b'-') || bytes.get(10) != Some(&b'T') {
        return line;
    }
    let space = memchr::memchr(b' ', bytes.get(..TIME_BYTES_MAX).unwrap_or(bytes));
    let (time, rest) = line.split_at(space.unwrap_or_default());
    if time.ends_with('Z') { rest.get(1..).unwrap_or_default() } else { line }
}
