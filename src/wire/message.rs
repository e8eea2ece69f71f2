//! The messages of `tailcast.v1`, written and read, and nothing else that is serialised.

use std::fmt;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::log::timeline;
use crate::log::{Generation, LogPath, Offset, Refusal};
use crate::render::Annotation;
use crate::wire::frame::{Frame, Frames, MESSAGE_BYTES_MAX};

/// The name of the WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "tailcast.v1";

/// One text message: a JSON object whose kind is in its field `type`. Fields that are not known are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// Where this stream starts.
    Open {
        /// The log's absolute path as it is listed: what does not show or would mislead is escaped.
        path: String,
        /// The generation of the first bytes.
        generation: String,
        /// The offset of the first byte.
        from: u64,
        /// The size of the file at this moment, in bytes.
        size: u64,
        /// When the file was last written, in milliseconds since 1970; null when that is not known.
        #[serde(default)]
        modified: Option<u64>,
        /// Whether the stream follows.
        tail: bool,
        /// Whether a wanted position was honoured; true where none was wanted.
        recovered: bool,
        /// How the server notices that the log grew.
        watch: Watch,
    },
    /// The rows from `from` on. The server writes them with [`RowsMessages`].
    Rows {
        /// Drop the rows of this offset and after.
        from: u64,
        /// The offset after the bytes that made them.
        next: u64,
        /// The rows to append: the offset of the byte that began each, and its content. What follows them in a row is passed over.
        #[serde(deserialize_with = "rows_of_two")]
        rows: Vec<(u64, String)>,
    },
    /// Bytes that were left out.
    Gap {
        /// Whose they were.
        generation: String,
        /// The first that is missing.
        from: u64,
        /// The first that is not; null when that is not known.
        to: Option<u64>,
    },
    /// What follows belongs to this generation, from that offset.
    Reset {
        /// The generation.
        generation: String,
        /// The offset.
        from: u64,
        /// What happened.
        reason: Reason,
    },
    /// The generation has another text from now on, by which it is recognised more surely. Only who asked for it with
    /// `signed=1` is told.
    Signed {
        /// The generation.
        generation: String,
    },
    /// There is nothing to follow at the moment.
    Waiting {
        /// What is in the way.
        reason: WaitReason,
    },
    /// The stream has come to its end.
    End,
    /// The request is refused.
    Error {
        /// The close code that follows: 4403, 4404 or 1013.
        code: u16,
        /// For a person.
        message: String,
    },
    /// A message of a kind that was thought of later: ignore it.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// Reads rows that may have more than their offset and content.
fn rows_of_two<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<(u64, String)>, D::Error> {
    struct Row(u64, String);

    struct Elements;

    impl<'de> Visitor<'de> for Elements {
        type Value = Row;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an offset, a content, and whatever comes after them")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Row, A::Error> {
            let missing = |n| A::Error::invalid_length(n, &"an offset and a content");
            let offset = elements.next_element()?.ok_or_else(|| missing(0))?;
            let content = elements.next_element()?.ok_or_else(|| missing(1))?;
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Row(offset, content))
        }
    }

    impl<'de> Deserialize<'de> for Row {
        fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
            input.deserialize_seq(Elements)
        }
    }

    let rows = Vec::<Row>::deserialize(input)?;
    Ok(rows.into_iter().map(|Row(offset, content)| (offset, content)).collect())
}

/// The third element of a row: what its [`Annotation`] says.
#[derive(Serialize)]
pub(super) struct AnnotationJson<'n> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Grouping<'n>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    #[serde(rename = "match", skip_serializing_if = "<[_]>::is_empty")]
    matches: &'n [(usize, usize)],
}

#[derive(Serialize)]
struct Grouping<'n> {
    #[serde(skip_serializing_if = "Option::is_none")]
    closes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opens: Option<&'n str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<usize>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    collapsed: bool,
}

impl<'n> AnnotationJson<'n> {
    pub(super) fn new(note: &'n Annotation, matches: &'n [(usize, usize)]) -> Self {
        let grouping = note.group.as_ref().map(|group| {
            let opening = group.opens.as_ref();
            Grouping {
                closes: group.closes,
                opens: opening.map(|opening| &*opening.name),
                level: opening.map(|opening| opening.level),
                collapsed: opening.is_some_and(|opening| opening.collapsed),
            }
        });
        let level = note.level.map(|level| level.name());
        Self { group: grouping, level, time: note.time, matches }
    }
}

/// A row as it is sent: its offset, its content, and a third element where there is more to say. `matches` are parts of
/// its text, in UTF-16 units.
#[must_use]
pub fn row(
    offset: u64,
    content: &str,
    note: Option<&Annotation>,
    matches: &[(usize, usize)],
) -> String {
    let mut json = Vec::with_capacity(content.len() + 32);
    write_row(&mut json, offset, content, note, matches);
    String::from_utf8(json).unwrap_or_default()
}

fn write_row(
    json: &mut Vec<u8>,
    offset: u64,
    content: &str,
    note: Option<&Annotation>,
    matches: &[(usize, usize)],
) {
    // None of this has a form that JSON lacks, and memory takes it all.
    json.push(b'[');
    serde_json::to_writer(&mut *json, &offset).unwrap_or_default();
    json.push(b',');
    if is_plain(content) {
        json.push(b'"');
        json.extend_from_slice(content.as_bytes());
        json.push(b'"');
    } else {
        serde_json::to_writer(&mut *json, content).unwrap_or_default();
    }
    if note.is_some() || !matches.is_empty() {
        let nothing = Annotation::default();
        let annotation = AnnotationJson::new(note.unwrap_or(&nothing), matches);
        json.push(b',');
        serde_json::to_writer(&mut *json, &annotation).unwrap_or_default();
    }
    json.push(b']');
}

/// Whether a text stands in JSON as it is, which most rows do.
fn is_plain(text: &str) -> bool {
    let special = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    // Without an early exit the compiler uses vector instructions.
    !text.as_bytes().iter().fold(false, |any, byte| any | special(byte))
}

/// How a log is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// The file system tells.
    Events,
    /// It does not: the file is looked at every now and then.
    Poll,
    /// In a way that was thought of later.
    #[serde(other)]
    Other,
}

/// Why a stream goes on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The file was renamed, and another took its name; the old one has been read to its end.
    Rotated,
    /// The file was cut, and may have grown since.
    Truncated,
    /// Another file has the name, or a wanted position could not be honoured.
    Replaced,
    /// A writer still wrote to a file that was rotated away.
    Late,
    /// On with the present file.
    Back,
    /// Something that was thought of later.
    #[serde(other)]
    Other,
}

impl From<timeline::Reason> for Reason {
    fn from(reason: timeline::Reason) -> Self {
        match reason {
            timeline::Reason::Rotated => Self::Rotated,
            timeline::Reason::Truncated => Self::Truncated,
            timeline::Reason::Replaced | timeline::Reason::Joined => Self::Replaced,
            timeline::Reason::Late => Self::Late,
            timeline::Reason::Back => Self::Back,
        }
    }
}

/// Why there is nothing to follow at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitReason {
    /// Nothing has the log's name.
    Missing,
    /// Something has it that is no regular file inside the served directories.
    Untailable,
    /// It can't be opened or read.
    Unreadable,
    /// Something that was thought of later.
    #[serde(other)]
    Other,
}

impl From<timeline::WaitReason> for WaitReason {
    fn from(reason: timeline::WaitReason) -> Self {
        match reason {
            timeline::WaitReason::Missing => Self::Missing,
            timeline::WaitReason::Untailable => Self::Untailable,
            timeline::WaitReason::Unreadable => Self::Unreadable,
        }
    }
}

impl Message {
    pub(crate) fn open(opening: &Opening) -> Self {
        Self::Open {
            path: opening.log.display().to_string(),
            generation: opening.generation.to_string(),
            from: opening.from.0,
            size: opening.size,
            modified: opening
                .modified
                .and_then(|modified| modified.duration_since(UNIX_EPOCH).ok())
                .map(|since| since.as_millis() as u64),
            tail: opening.tail,
            recovered: opening.recovered,
            watch: if opening.polling { Watch::Poll } else { Watch::Events },
        }
    }

    pub(crate) fn signed(generation: Generation) -> Self {
        Self::Signed { generation: generation.to_string() }
    }

    pub(crate) fn reset(generation: Generation, from: Offset, reason: timeline::Reason) -> Self {
        Self::Reset { generation: generation.to_string(), from: from.0, reason: reason.into() }
    }

    pub(crate) fn gap(generation: Generation, from: Offset, to: Option<Offset>) -> Self {
        Self::Gap { generation: generation.to_string(), from: from.0, to: to.map(|to| to.0) }
    }

    pub(crate) fn waiting(reason: timeline::WaitReason) -> Self {
        Self::Waiting { reason: reason.into() }
    }

    /// What a refused viewer is told before the close with the same code.
    #[must_use]
    pub fn refusal(refusal: Refusal) -> (u16, Self) {
        let (code, message) = match refusal {
            Refusal::Forbidden | Refusal::Unreadable => (4403, "Forbidden"),
            Refusal::NotFound | Refusal::Untailable => (4404, "Not found"),
            Refusal::Exhausted => (1013, "Out of descriptors"),
        };
        (code, Self::Error { code, message: message.to_owned() })
    }

    /// The message as it is sent.
    #[must_use]
    pub fn to_json(&self) -> String {
        // These fields have no form that JSON lacks.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a text message.
    ///
    /// # Errors
    /// When it is no message of `tailcast.v1`, in words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

/// Rows as messages: one, or several where one would be too large. Rows that were pushed may be taken back until the end.
#[derive(Debug)]
pub struct RowsMessages {
    from: u64,
    /// The rows as JSON, each with a comma behind it.
    json: Vec<u8>,
    /// The offset of each row, and where it begins in that.
    starts: Vec<(u64, usize)>,
}

impl RowsMessages {
    /// Room for the fields around the rows.
    const ROWS_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 256;
    /// More than a note weighs: the name of a group, doubled by JSON, and a few words.
    const NOTE_BYTES_MAX: usize = 1024;
    /// The most bytes of a row's content: its text is a fraction of it, and only that has what JSON doubles.
    pub const ROW_BYTES_MAX: usize =
        Self::ROWS_BYTES_MAX - Self::NOTE_BYTES_MAX - crate::render::ROW_BYTES_MAX - 32;

    /// Messages that replace the rows from `from` on, with room for rows of so many bytes.
    #[must_use]
    pub fn new(from: u64, room: usize) -> Self {
        Self { from, json: Vec::with_capacity(room), starts: Vec::new() }
    }

    /// Replaces the rows from there on, too: those that were pushed are taken back.
    pub fn replace_from(&mut self, from: u64) {
        self.from = self.from.min(from);
        let kept = self.starts.partition_point(|&(offset, _)| offset < from);
        if let Some(&(_, start)) = self.starts.get(kept) {
            self.json.truncate(start);
            self.starts.truncate(kept);
        }
    }

    /// Adds a row, of at most [`ROW_BYTES_MAX`](Self::ROW_BYTES_MAX) bytes.
    pub fn push(&mut self, offset: u64, content: &str, note: Option<&Annotation>) {
        debug_assert!(content.len() <= Self::ROW_BYTES_MAX, "a row of {} bytes", content.len());
        self.starts.push((offset, self.json.len()));
        write_row(&mut self.json, offset, content, note, &[]);
        self.json.push(b',');
    }

    /// The messages; the last resumes at `next`.
    #[must_use]
    pub fn finish(self, next: u64) -> Frames {
        let mut frames = Frames::new();
        let mut from = self.from;
        let mut begun = 0;
        for (i, &(_, start)) in self.starts.iter().enumerate().skip(1) {
            let end = self.starts.get(i + 1).map_or(self.json.len(), |&(_, end)| end);
            if end - begun > Self::ROWS_BYTES_MAX {
                let (offset, _) = self.starts[i];
                frames.push(self.frame(from, offset, begun..start));
                (from, begun) = (offset, start);
            }
        }
        frames.push(self.frame(from, next, begun..self.json.len()));
        frames
    }

    fn frame(&self, from: u64, next: u64, rows: Range<usize>) -> Frame {
        let rows = self.json.get(rows).unwrap_or_default();
        let rows = rows.strip_suffix(b",").unwrap_or(rows);
        let head = format!(r#"{{"type":"rows","from":{from},"next":{next},"rows":["#);
        Frame::text_of(&[head.as_bytes(), rows, b"]}"])
    }
}

/// Where a stream starts.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The log.
    pub log: LogPath,
    /// The generation of the first bytes.
    pub generation: Generation,
    /// The first byte's offset.
    pub from: Offset,
    /// The file's size now, in bytes.
    pub size: u64,
    /// When the file was last written, if that can be told.
    pub modified: Option<SystemTime>,
    /// Whether the stream follows.
    pub tail: bool,
    /// Whether a wanted position was honoured.
    pub recovered: bool,
    /// Whether the log is polled for want of events.
    pub polling: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{Group, GroupStart, Level};

    #[test]
    fn what_was_thought_of_later_is_ignored() {
        let read = |text| Message::from_json(text).unwrap();
        assert_eq!(read(r#"{"type":"mood","of":[1,{"x":null}]}"#), Message::Unknown);
        let reason = WaitReason::Missing;
        assert_eq!(
            read(r#"{"type":"waiting","reason":"missing","since":3}"#),
            Message::Waiting { reason }
        );
        let reason = WaitReason::Other;
        assert_eq!(read(r#"{"type":"waiting","reason":"full moon"}"#), Message::Waiting { reason });
        assert_eq!(
            read(r#"{"type":"rows","from":1,"next":2,"rows":[[1,"x",{"mood":[]},2],[3,"y"]]}"#),
            Message::Rows {
                from: 1,
                next: 2,
                rows: vec![(1, "x".to_owned()), (3, "y".to_owned())]
            }
        );
        assert!(Message::from_json(r#"{"type":"rows","from":1,"next":2,"rows":[[1]]}"#).is_err());
        assert!(Message::from_json("ping").is_err());
    }

    #[test]
    fn what_is_written_can_be_read() {
        let refusal = Message::refusal(Refusal::NotFound).1;
        let gap = Message::Gap { generation: "g".to_owned(), from: 1, to: None };
        let reset =
            Message::Reset { generation: "g".to_owned(), from: 7, reason: Reason::Truncated };
        for message in [refusal, gap, reset, Message::End] {
            assert_eq!(Message::from_json(&message.to_json()), Ok(message));
        }
        let mut rows = RowsMessages::new(3, 0);
        rows.push(3, "<b>\"x\"</b>", None);
        let payload = rows.finish(9)[0].payload();
        let rows = vec![(3, "<b>\"x\"</b>".to_owned())];
        assert_eq!(
            Message::from_json(std::str::from_utf8(&payload).unwrap()),
            Ok(Message::Rows { from: 3, next: 9, rows })
        );
    }
    #[test]
    fn a_note_is_a_third_element_that_may_be_passed_over() {
        let message = |note: Annotation| {
            let mut rows = RowsMessages::new(3, 0);
            rows.push(3, "x", Some(&note));
            let payload = rows.finish(9)[0].payload();
            String::from_utf8(payload.to_vec()).unwrap()
        };
        let opening = GroupStart { name: "a \"b\"".to_owned(), level: 2, collapsed: true };
        let group = Some(Group { closes: Some(2), opens: Some(opening) });
        let full = message(Annotation { group, level: Some(Level::Error), time: Some(7) });
        assert_eq!(
            full,
            r#"{"type":"rows","from":3,"next":9,"rows":[[3,"x",{"group":{"closes":2,"opens":"a \"b\"","level":2,"collapsed":true},"level":"error","time":7}]]}"#
        );
        let closes = Some(Group { closes: Some(1), opens: None });
        let small = message(Annotation { group: closes, ..Annotation::default() });
        assert!(small.ends_with(r#""rows":[[3,"x",{"group":{"closes":1}}]]}"#), "{small}");
        let rows = vec![(3, "x".to_owned())];
        for text in [full, small] {
            let rows = rows.clone();
            assert_eq!(Message::from_json(&text), Ok(Message::Rows { from: 3, next: 9, rows }));
        }
        // The heaviest note is lighter than the room that is kept for it.
        let opening = GroupStart { name: "\"".repeat(256), level: 32, collapsed: true };
        let group = Some(Group { closes: Some(32), opens: Some(opening) });
        let heavy = Annotation { group, level: Some(Level::Warning), time: Some(u64::MAX) };
        assert!(message(heavy).len() < RowsMessages::NOTE_BYTES_MAX);
    }
}
