//! The target of a request: the log's path and the parameters of a stream.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::encoding::Encoding;
use crate::log::pattern::{RequestedPath, Symbol};
use crate::log::{LogPath, Offset};
use crate::render::{COLUMNS_MAX, Decode, Interpretation, Rendition, SCREEN_ROWS, Size};
use crate::serve::{BasePath, Settings};
use crate::time::{BadMoment, Moment, TimeRange};
use crate::wire::frame::Form;
use crate::wire::request::{LATE_MAX, Late, StartAt, StreamRequest, WantedGeneration};

/// How many lines before the end a stream starts by default.
pub(super) const LINES: u64 = 1000;
/// The most logs in one stream.
const LOGS_MAX: usize = 16;

/// A path or parameter that can't be parsed, with a message for the sender.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadParameter(pub(super) String);

/// The parameters of a stream, as they were sent. `docs/protocol.md` explains each of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) tail: bool,
    /// `history=1`: the old files of the log stand before it.
    pub(super) history: bool,
    pub(super) lines: Option<Lines>,
    /// `since=` and `until=`.
    pub(super) since: Option<Moment>,
    pub(super) until: Option<Moment>,
    /// The same as instants.
    pub(super) range: TimeRange,
    pub(super) from: Option<Offset>,
    pub(super) of: WantedGeneration,
    pub(super) late: Vec<Late>,
    pub(super) format: Option<Format>,
    pub(super) rendition: Rendition,
    pub(super) wait: Option<bool>,
    pub(super) skip: bool,
    pub(super) signed: bool,
    /// `viewers=1`: tell who views the log.
    pub(super) audience: bool,
    pub(super) interpretation: Interpretation,
    /// `decode=auto|off`; without it, as the settings say.
    pub(super) decode: Option<Decode>,
}

/// `lines=N|all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    Last(u64),
    All,
}

/// `format=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Text,
    Raw,
    Rows,
}

/// The parameter `origin` of a target's part after `?`.
///
/// # Errors
/// When it is missing or repeated.
pub(super) fn origin(query: &str) -> Result<String, BadParameter> {
    let mut given = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "origin");
    match (given.next(), given.next()) {
        (Some((_, origin)), None) => Ok(origin.into_owned()),
        _ => Err(BadParameter("`origin` must be given once, as `http://host:port`".to_owned())),
    }
}

impl Query {
    /// Parses the part of the target after `?`. Unknown parameters are ignored.
    ///
    /// # Errors
    /// When a value can't be parsed, a parameter is repeated, or a parameter needs another that is
    /// missing.
    pub(super) fn parse(query: &str) -> Result<Self, BadParameter> {
        let mut parsed = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "tail" => parsed.tail = switch(&name, &value)?,
                "history" => parsed.history = switch(&name, &value)?,
                "wait" => parsed.wait = Some(switch(&name, &value)?),
                "lines" if value == "all" => parsed.lines = Some(Lines::All),
                "lines" => {
                    parsed.lines =
                        Some(Lines::Last(number(&name, &value, "a number of lines or `all`")?))
                }
                "from" => parsed.from = Some(Offset(number(&name, &value, "a byte offset")?)),
                "since" => parsed.since = Some(moment(&name, &value)?),
                "until" => parsed.until = Some(moment(&name, &value)?),
                "generation" => parsed.of = of(&value),
                "late" => {
                    parsed.late.push(late(&value)?);
                    if parsed.late.len() > LATE_MAX {
                        let words = format!("`late` is given more than {LATE_MAX} times");
                        return Err(BadParameter(words));
                    }
                    // This one may be repeated.
                    continue;
                }
                "format" => parsed.format = Some(format(&value)?),
                "raw" => parsed.rendition = rendition(&value)?,
                "signed" => parsed.signed = switch(&name, &value)?,
                "viewers" => parsed.audience = switch(&name, &value)?,
                "lag" => parsed.skip = lag(&value)?,
                "encoding" | "cols" | "rows" => {
                    interpret(&mut parsed.interpretation, &name, &value)?;
                }
                "decode" => parsed.decode = Some(decode(&value)?),
                _ => continue,
            }
            if seen.iter().any(|other| *other == name) {
                return Err(BadParameter(format!("`{name}` is given more than once")));
            }
            seen.push(name.into_owned());
        }
        if parsed.of != WantedGeneration::Present && parsed.from.is_none() {
            return Err(BadParameter("`generation` needs `from`, the offset in it".to_owned()));
        }
        if !parsed.late.is_empty() && parsed.from.is_none() {
            return Err(BadParameter("`late` needs `from`, the present position".to_owned()));
        }
        Ok(parsed)
    }

    /// The same with what the settings say where the request does not.
    pub(super) fn with_settings(mut self, settings: &Settings) -> Self {
        self.interpretation.decode = self.decode.unwrap_or(settings.decode);
        self.range = range(self.since, self.until, settings);
        self
    }

    /// Whether a plain GET means the file itself: the query has no parameters for lines, a
    /// position, following, or a form other than the bytes.
    pub(super) fn is_whole_file(&self) -> bool {
        !self.tail
            && !self.history
            && self.lines.is_none()
            && self.since.is_none()
            && self.until.is_none()
            && self.from.is_none()
            && matches!(self.format, None | Some(Format::Raw))
    }

    /// The request for the stream. `lines` and `wait` are the defaults of the transport.
    pub(super) fn start(&self, lines: Lines, wait: bool) -> StreamRequest {
        let last = |lines| match lines {
            Lines::Last(lines) => Some(lines),
            Lines::All => None,
        };
        let begin = match self.from {
            Some(offset) => {
                StartAt::From { offset, of: self.of, otherwise: self.lines.and_then(last) }
            }
            None => {
                // A time says where to begin, unless a number of lines does, too.
                let otherwise = if self.since.is_some() { Lines::All } else { lines };
                last(self.lines.unwrap_or(otherwise)).map_or(StartAt::All, StartAt::Lines)
            }
        };
        StreamRequest {
            begin,
            late: self.late.clone(),
            history: self.history,
            range: self.range.clone(),
            tail: self.tail,
            wait: self.tail && self.wait.unwrap_or(wait),
            signed: self.signed,
            audience: self.audience,
            skip: self.skip,
            interpretation: self.interpretation,
        }
    }
}

/// The logs of a stream that has several, and how each starts.
///
/// # Errors
/// Those of [`each_log`], a path that can't be decoded, and a wrong parameter.
pub(super) fn several_logs(query: &str) -> Result<Vec<(Vec<u8>, Query)>, BadParameter> {
    let logs = each_log(query, LOGS_MAX)?.into_iter();
    logs.map(|(path, own)| Ok((decode_path(path)?, Query::parse(&own)?))).collect()
}

/// The path, percent-encoded, and the parameters of each log of a request about several.
///
/// Each `log=PATH` begins a log, and the parameters after it are of this log. Parameters before the
/// first are of all logs. A path is percent-encoded once, as in its own URL.
///
/// # Errors
/// When there is no log or more than `max`.
pub(super) fn each_log(query: &str, max: usize) -> Result<Vec<(&str, String)>, BadParameter> {
    let mut common = Vec::new();
    let mut logs: Vec<(&str, Vec<&str>)> = Vec::new();
    for parameter in query.split('&') {
        match (parameter.strip_prefix("log="), logs.last_mut()) {
            (Some(path), _) => logs.push((path, common.clone())),
            (None, Some((_, own))) => own.push(parameter),
            (None, None) => common.push(parameter),
        }
    }
    if logs.is_empty() || logs.len() > max {
        return Err(BadParameter(format!("`log` is given once for each log, {max} at most")));
    }
    Ok(logs.into_iter().map(|(path, own)| (path, own.join("&"))).collect())
}

/// Whether the page is shown in a pane beside others (`pane=1`).
pub(super) fn is_pane(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "pane" && value == "1")
}

/// The generation that a text names. A text that no server has issued never named a file, so its
/// position can't be recovered.
pub(super) fn of(generation: &str) -> WantedGeneration {
    generation.parse().map_or(WantedGeneration::Nothing, WantedGeneration::Generation)
}

fn late(value: &str) -> Result<Late, BadParameter> {
    let (generation, offset) = value
        .rsplit_once(':')
        .filter(|(generation, _)| !generation.is_empty())
        .ok_or_else(|| BadParameter("`late` is a generation, `:` and a byte offset".to_owned()))?;
    let offset = Offset(number("late", offset, "a generation, `:` and a byte offset")?);
    Ok(Late { generation: generation.parse().ok(), offset })
}

pub(super) fn switch(name: &str, value: &str) -> Result<bool, BadParameter> {
    match value {
        "1" => Ok(true),
        "0" | "" => Ok(false),
        _ => Err(BadParameter(format!("`{name}` is `1` or `0`, not {value:?}"))),
    }
}

/// `raw=1` asks for everything that was written.
pub(super) fn rendition(value: &str) -> Result<Rendition, BadParameter> {
    Ok(if switch("raw", value)? { Rendition::Written } else { Rendition::Shown })
}

/// A form in the rendition that was asked for.
///
/// # Errors
/// When the form has no rows, and would lose what was written.
pub(super) fn rendered(form: Form, rendition: Rendition) -> Result<Form, BadParameter> {
    let has_all = form.has_rows() || !form.is_rendered();
    if rendition == Rendition::Written && !has_all {
        let words = "`raw=1` is for rows: it needs `tailcast.v1` or events; `format=raw` has \
                     the bytes";
        return Err(BadParameter(words.to_owned()));
    }
    Ok(form.with(rendition))
}

/// `since=`, `until=` and `time=`
pub(super) fn moment(name: &str, value: &str) -> Result<Moment, BadParameter> {
    value.parse().map_err(|bad: BadMoment| {
        let shown: String = value.chars().take(40).collect();
        BadParameter(format!("`{name}` is {bad}, not {shown:?}"))
    })
}

/// The part of a log between two moments.
pub(super) fn range(
    since: Option<Moment>,
    until: Option<Moment>,
    settings: &Settings,
) -> TimeRange {
    let now = SystemTime::now();
    let instant = |moment: Option<Moment>| Some(moment?.resolve(now, &settings.zone));
    TimeRange { since: instant(since), until: instant(until), zone: settings.zone.clone() }
}

pub(super) fn number(name: &str, value: &str, what: &str) -> Result<u64, BadParameter> {
    // `parse` would accept a sign, too.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    let shown: String = value.chars().take(40).collect();
    number.ok_or_else(|| BadParameter(format!("`{name}` is {what}, not {shown:?}")))
}

pub(super) fn format(value: &str) -> Result<Format, BadParameter> {
    match value {
        "html" => Ok(Format::Html),
        "text" => Ok(Format::Text),
        "raw" => Ok(Format::Raw),
        "rows" => Ok(Format::Rows),
        _ => {
            Err(BadParameter(format!("`format` is `html`, `text`, `raw` or `rows`, not {value:?}")))
        }
    }
}

/// Takes one of the parameters that say how a log is to be understood. A screen of which only one
/// measure is given has the usual other one.
pub(super) fn interpret(
    chosen: &mut Interpretation,
    name: &str,
    value: &str,
) -> Result<(), BadParameter> {
    let mut measure = |kind: &str, max: usize, put: fn(&mut Size, usize)| {
        let what = format!("a number of {kind} from 1 to {max}");
        let number = usize::try_from(number(name, value, &what)?).unwrap_or(usize::MAX);
        if !(1..=max).contains(&number) {
            return Err(BadParameter(format!("`{name}` is {what}, not {number}")));
        }
        put(chosen.screen.get_or_insert_default(), number);
        Ok(())
    };
    match name {
        "cols" => measure("columns", COLUMNS_MAX, |size, columns| size.columns = columns),
        "rows" => measure("rows", SCREEN_ROWS, |size, rows| size.rows = rows),
        _ => {
            chosen.encoding = Some(encoding(value)?);
            Ok(())
        }
    }
}

/// `decode=auto|off`
pub(super) fn decode(value: &str) -> Result<Decode, BadParameter> {
    match value {
        "auto" => Ok(Decode::Auto),
        "off" => Ok(Decode::Off),
        _ => Err(BadParameter(format!("`decode` is `auto` or `off`, not {value:?}"))),
    }
}

/// The encoding with this label.
fn encoding(label: &str) -> Result<Encoding, BadParameter> {
    Encoding::for_label(label).ok_or_else(|| {
        let shown: String = label.chars().take(40).collect();
        BadParameter(format!(
            "`encoding` is a label of the Encoding Standard, such as `gbk`, `shift_jis`, \
             `windows-1252` or `utf-16le`, not {shown:?}"
        ))
    })
}

fn lag(value: &str) -> Result<bool, BadParameter> {
    match value {
        "all" => Ok(false),
        "skip" => Ok(true),
        _ => Err(BadParameter(format!("`lag` is `all` or `skip`, not {value:?}"))),
    }
}

/// The path in a target, percent-decoded once. A `*` is a wildcard unless it is encoded. A `?` can
/// only be encoded, and is a wildcard in the name of a file.
///
/// # Errors
/// When a `%` is not followed by two hexadecimal digits, or the path is a pattern that can't be
/// followed.
pub(super) fn requested_path(path: &str) -> Result<RequestedPath, BadParameter> {
    let decoded = decode_path(path)?;
    let mut rest = path.as_bytes();
    let symbol = |byte| {
        let length = if rest.first() == Some(&b'%') { 3 } else { 1 };
        rest = &rest[length..];
        match byte {
            b'*' if length == 1 => Symbol::Any,
            b'?' => Symbol::One,
            byte => Symbol::Byte(byte),
        }
    };
    let symbols: Vec<Symbol> = decoded.into_iter().map(symbol).collect();
    RequestedPath::new(&symbols).map_err(|bad| BadParameter(bad.to_string()))
}

/// The bytes of the path in a target, percent-decoded once.
fn decode_path(path: &str) -> Result<Vec<u8>, BadParameter> {
    let mut rest = path.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        let hex =
            rest.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if !hex {
            return Err(BadParameter(
                "a `%` in the path is not followed by two hexadecimal digits".to_owned(),
            ));
        }
        rest = &rest[at + 3..];
    }
    Ok(percent_decode_str(path).collect())
}

/// The characters of a path that are percent-encoded.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL of a log on this server, with the base.
pub(super) fn href(base: &BasePath, log: &LogPath) -> String {
    format!("{base}{}", path_of(log))
}

/// The path of a file in the URL of its log: absolute, percent-encoded.
#[must_use]
pub fn path_in_url(path: &Path) -> String {
    percent_encode(path.as_os_str().as_bytes(), PATH).to_string()
}

fn path_of(log: &LogPath) -> String {
    let path = log.as_path().as_os_str().as_bytes();
    let Some(pattern) = log.pattern() else { return percent_encode(path, PATH).to_string() };
    let directory = &path[..path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1)];
    let name = pattern.symbols().map(|symbol| match symbol {
        Symbol::Any => "*".to_owned(),
        Symbol::One => "%3F".to_owned(),
        Symbol::Byte(byte) => percent_encode(&[byte], PATH).to_string(),
    });
    name.fold(percent_encode(directory, PATH).to_string(), |url, part| url + &part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_parsed_and_bad_ones_are_named() {
        assert_eq!(Query::parse(""), Ok(Query::default()));
        assert_eq!(Query::parse("tail=1&v=123"), Ok(Query { tail: true, ..Query::default() }));
        let lines = |lines| Ok(Query { lines: Some(lines), ..Query::default() });
        assert_eq!(Query::parse("lines=0"), lines(Lines::Last(0)));
        assert_eq!(Query::parse("lines=all"), lines(Lines::All));
        for (query, named) in [
            ("tail=yes", "`tail`"),
            ("lines=-1", "`lines`"),
            ("lines=", "`lines`"),
            ("from=-1", "`from`"),
            ("from=%2B1", "`from`"),
            ("from=1e9", "`from`"),
            ("from=0x10", "`from`"),
            ("from=", "`from`"),
            ("from=18446744073709551616", "`from`"),
            ("from=1&from=2", "`from`"),
            ("tail=1&tail=1", "`tail`"),
            ("format=xml", "`format`"),
            ("raw=yes", "`raw`"),
            ("lag=none", "`lag`"),
            ("encoding=utf-9", "`encoding`"),
            ("decode=json", "`decode`"),
            ("decode=", "`decode`"),
            ("decode=off&decode=off", "`decode`"),
            ("since=soon", "`since`"),
            ("since=", "`since`"),
            ("since=14:02", "`since`"),
            ("until=2026-02-30", "`until`"),
            ("since=10m&since=5m", "`since`"),
            ("cols=0", "`cols`"),
            ("cols=513", "`cols`"),
            ("rows=65", "`rows`"),
            ("rows=x", "`rows`"),
            ("encoding=", "`encoding`"),
            ("encoding=iso-2022-jp", "`encoding`"),
            ("encoding=gbk&encoding=gbk", "`encoding`"),
            ("generation=x", "`generation`"),
            ("late=1-2-3-4-5:6", "`from`"),
            ("from=1&late=", "`late`"),
            ("from=1&late=6", "`late`"),
            ("from=1&late=:6", "`late`"),
            ("from=1&late=1-2-3-4-5:", "`late`"),
            ("from=1&late=1-2-3-4-5:-6", "`late`"),
            ("from=1&late=a:1&late=b:1&late=c:1&late=d:1&late=e:1", "more than 4"),
        ] {
            let BadParameter(message) = Query::parse(query).unwrap_err();
            assert!(message.contains(named), "{query}: {message}");
        }
    }

    #[test]
    fn each_log_of_a_stream_has_its_own_parameters_and_those_before_the_first_log() {
        let query = "tail=1&log=/a%20b+c&lines=5&log=/%ff&from=7";
        let tail = Query { tail: true, ..Query::default() };
        let first = Query { lines: Some(Lines::Last(5)), ..tail.clone() };
        let second = Query { from: Some(Offset(7)), ..tail };
        let expected = vec![(b"/a b+c".to_vec(), first), (b"/\xff".to_vec(), second)];
        assert_eq!(several_logs(query), Ok(expected));
        let many = vec!["log=/a"; LOGS_MAX + 1].join("&");
        for (query, named) in [
            ("", "`log`"),
            ("tail=1", "`log`"),
            (many.as_str(), "16"),
            ("log=/%z", "`%`"),
            ("tail=1&log=/a&tail=1", "`tail`"),
            ("log=/a&lines=x", "`lines`"),
        ] {
            let BadParameter(message) = several_logs(query).unwrap_err();
            assert!(message.contains(named), "{query}: {message}");
        }
    }

    #[test]
    fn late_positions_are_read_even_if_their_generation_is_unknown() {
        let late = |query| Query::parse(query).unwrap().late[0];
        let known = Late { generation: "1-2-3-4-5".parse().ok(), offset: Offset(6) };
        assert!(known.generation.is_some());
        assert_eq!(late("from=1&generation=x&late=1-2-3-4-5:6"), known);
        let unknown = Late { generation: None, offset: Offset(6) };
        assert_eq!(late("from=1&late=a%3Ab:6"), unknown);
        let both = Query::parse("from=1&late=1-2-3-4-5:6&late=a:6").unwrap().late;
        assert_eq!(both, [known, unknown]);
    }

    #[test]
    fn a_path_is_decoded_once_or_refused() {
        assert_eq!(decode_path("/a%20b").unwrap(), b"/a b");
        assert_eq!(decode_path("/%252e").unwrap(), b"/%2e");
        assert_eq!(decode_path("/%ff+").unwrap(), b"/\xff+");
        for bad in ["/%", "/%z1", "/%1", "/a%zz"] {
            assert!(decode_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_encoded_star_is_no_wildcard() {
        let access = crate::log::Access::new(["/"]).unwrap();
        let log = |path: &str| access.locate_requested(&requested_path(path).unwrap()).unwrap();
        for (path, name, is_pattern) in [
            ("/a/x*%2A%3F.log", "/a/x**?.log", true),
            ("/a/x%2A.log", "/a/x*.log", false),
            ("/a/x%3F.log", "/a/x?.log", true),
            ("/a%3F%2A/x.log", "/a?*/x.log", false),
            ("/a%2Fx*", "/a/x*", true),
        ] {
            let log = log(path);
            assert_eq!(log.as_path().to_str(), Some(name), "{path}");
            assert_eq!(log.pattern().is_some(), is_pattern, "{path}");
            assert_eq!(super::href(&BasePath::default(), &log), path.replace("%2F", "/"), "{path}");
        }
        let matches = |path: &str, name: &str| {
            log(path).pattern().is_some_and(|pattern| pattern.matches(name.as_bytes()))
        };
        assert!(matches("/x*%2A", "xa*") && !matches("/x*%2A", "xab"));
        for bad in ["/a*/b", "/a*%2Fb", "/**", "/a%2F**"] {
            assert!(requested_path(bad).is_err(), "{bad}");
        }
    }
}
