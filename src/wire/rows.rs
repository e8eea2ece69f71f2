//! The encoding of rows: a JSON array of the offset, the content and, if there is one, the
//! annotation of each row.
//!
//! The server writes most rows without a JSON library: their content needs no escaping, and a
//! busy log has many of them.

use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::render::Annotation;
use crate::wire::frame::{Frame, Frames, MESSAGE_BYTES_MAX};

/// Deserialises rows. Elements after the offset and the content are ignored.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Vec<(u64, String)>, D::Error> {
    struct Row(u64, String);

    struct Elements;

    impl<'de> Visitor<'de> for Elements {
        type Value = Row;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array that begins with an offset and a content")
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

/// The third element of a row: its [`Annotation`], and the matches of a search.
#[derive(Serialize)]
pub(super) struct AnnotationJson<'n> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupJson<'n>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<ExitJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    #[serde(rename = "match", skip_serializing_if = "<[_]>::is_empty")]
    matches: &'n [(usize, usize)],
}

#[derive(Serialize)]
struct ExitJson {
    status: Option<i32>,
}

#[derive(Serialize)]
struct GroupJson<'n> {
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
    pub(super) fn new(annotation: &'n Annotation, matches: &'n [(usize, usize)]) -> Self {
        let group = annotation.group.as_ref().map(|group| {
            let opening = group.opens.as_ref();
            GroupJson {
                closes: group.closes,
                opens: opening.map(|opening| &*opening.name),
                level: opening.map(|opening| opening.level),
                collapsed: opening.is_some_and(|opening| opening.collapsed),
            }
        });
        let level = annotation.level.map(|level| level.name());
        let stream = annotation.stream.map(|stream| stream.name());
        let exit = annotation.exit.map(|exit| ExitJson { status: exit.status });
        let duration = annotation.exit.and_then(|exit| exit.duration);
        Self { group, level, time: annotation.time, stream, exit, duration, matches }
    }
}

/// A row as JSON: `[offset, content]`, with an annotation as the third element where there is
/// one. `matches` are ranges of the row's text, in UTF-16 code units.
#[must_use]
pub fn row(
    offset: u64,
    content: &str,
    annotation: Option<&Annotation>,
    matches: &[(usize, usize)],
) -> String {
    let mut json = Vec::with_capacity(content.len() + 32);
    write_row(&mut json, offset, content, annotation, matches);
    String::from_utf8(json).unwrap_or_default()
}

fn write_row(
    json: &mut Vec<u8>,
    offset: u64,
    content: &str,
    annotation: Option<&Annotation>,
    matches: &[(usize, usize)],
) {
    // Writing these types as JSON to memory does not fail.
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
    if annotation.is_some() || !matches.is_empty() {
        let none = Annotation::default();
        let element = AnnotationJson::new(annotation.unwrap_or(&none), matches);
        json.push(b',');
        serde_json::to_writer(&mut *json, &element).unwrap_or_default();
    }
    json.push(b']');
}

/// Whether JSON needs no escapes for the text, which is so for most rows.
fn is_plain(text: &str) -> bool {
    let special = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    // Without an early exit the compiler uses vector instructions.
    !text.as_bytes().iter().fold(false, |any, byte| any | special(byte))
}

/// Collects rows and cuts them into `rows` messages of at most [`MESSAGE_BYTES_MAX`] bytes.
///
/// Rows that were pushed can be replaced until [`finish`](Self::finish).
#[derive(Debug)]
pub struct RowsMessages {
    from: u64,
    /// The rows as JSON, each followed by a comma.
    json: Vec<u8>,
    /// The offset of each row, and where its JSON begins in `json`.
    starts: Vec<(u64, usize)>,
}

impl RowsMessages {
    /// The rest of a message is for the fields around the rows.
    const ROWS_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 256;
    /// More than the JSON of an annotation: the name of a group, doubled by escapes, and a few
    /// words.
    const ANNOTATION_BYTES_MAX: usize = 1024;
    /// The most bytes of a row's content. JSON escapes only double bytes of its text, which has
    /// at most [`render::ROW_BYTES_MAX`](crate::render::ROW_BYTES_MAX) bytes.
    pub const ROW_BYTES_MAX: usize =
        Self::ROWS_BYTES_MAX - Self::ANNOTATION_BYTES_MAX - crate::render::ROW_BYTES_MAX - 32;

    /// Messages that replace the rows from offset `from` on. Allocates `capacity` bytes of JSON.
    #[must_use]
    pub fn new(from: u64, capacity: usize) -> Self {
        Self { from, json: Vec::with_capacity(capacity), starts: Vec::new() }
    }

    /// Drops the pushed rows from offset `from` on; the viewer drops its rows from there on, too.
    pub fn replace_from(&mut self, from: u64) {
        self.from = self.from.min(from);
        let kept = self.starts.partition_point(|&(offset, _)| offset < from);
        if let Some(&(_, start)) = self.starts.get(kept) {
            self.json.truncate(start);
            self.starts.truncate(kept);
        }
    }

    /// Adds a row, of at most [`ROW_BYTES_MAX`](Self::ROW_BYTES_MAX) bytes.
    pub fn push(&mut self, offset: u64, content: &str, annotation: Option<&Annotation>) {
        debug_assert!(content.len() <= Self::ROW_BYTES_MAX, "a row of {} bytes", content.len());
        self.starts.push((offset, self.json.len()));
        write_row(&mut self.json, offset, content, annotation, &[]);
        self.json.push(b',');
    }

    /// The messages, in order; at least one. A viewer that has them all resumes at `next`.
    #[must_use]
    pub fn finish(self, next: u64) -> Frames {
        let mut frames = Frames::new();
        let mut from = self.from;
        let mut begin = 0;
        for (i, &(_, start)) in self.starts.iter().enumerate().skip(1) {
            let end = self.starts.get(i + 1).map_or(self.json.len(), |&(_, end)| end);
            if end - begin > Self::ROWS_BYTES_MAX {
                let (offset, _) = self.starts[i];
                frames.push(self.frame(from, offset, begin..start));
                (from, begin) = (offset, start);
            }
        }
        frames.push(self.frame(from, next, begin..self.json.len()));
        frames
    }

    fn frame(&self, from: u64, next: u64, rows: Range<usize>) -> Frame {
        let rows = self.json.get(rows).unwrap_or_default();
        let rows = rows.strip_suffix(b",").unwrap_or(rows);
        let head = format!(r#"{{"type":"rows","from":{from},"next":{next},"rows":["#);
        Frame::text_of(&[head.as_bytes(), rows, b"]}"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::envelope::Stream;
    use crate::render::{Exit, Group, GroupStart, Level};
    use crate::wire::message::Message;

    #[test]
    fn an_annotation_is_a_third_element_that_readers_may_ignore() {
        let message = |annotation: Annotation| {
            let mut rows = RowsMessages::new(3, 0);
            rows.push(3, "x", Some(&annotation));
            let payload = rows.finish(9)[0].payload();
            String::from_utf8(payload.to_vec()).unwrap()
        };
        let opening = GroupStart { name: "a \"b\"".to_owned(), level: 2, collapsed: true };
        let group = Some(Group { closes: Some(2), opens: Some(opening) });
        let full = message(Annotation {
            group,
            level: Some(Level::Error),
            time: Some(7),
            stream: Some(Stream::Stderr),
            exit: Some(Exit { status: Some(-1), duration: Some(9) }),
        });
        assert_eq!(
            full,
            r#"{"type":"rows","from":3,"next":9,"rows":[[3,"x",{"group":{"closes":2,"opens":"a \"b\"","level":2,"collapsed":true},"level":"error","time":7,"stream":"stderr","exit":{"status":-1},"duration":9}]]}"#
        );
        let closes = Some(Group { closes: Some(1), opens: None });
        let small = message(Annotation { group: closes, ..Annotation::default() });
        assert!(small.ends_with(r#""rows":[[3,"x",{"group":{"closes":1}}]]}"#), "{small}");
        let rows = vec![(3, "x".to_owned())];
        for text in [full, small] {
            let rows = rows.clone();
            assert_eq!(Message::from_json(&text), Ok(Message::Rows { from: 3, next: 9, rows }));
        }
        // The largest annotation fits the room that is reserved for it.
        let opening = GroupStart { name: "\"".repeat(256), level: 32, collapsed: true };
        let group = Some(Group { closes: Some(32), opens: Some(opening) });
        let largest = Annotation {
            group,
            level: Some(Level::Warning),
            time: Some(u64::MAX),
            stream: Some(Stream::Stderr),
            exit: Some(Exit { status: Some(i32::MIN), duration: Some(u64::MAX) }),
        };
        assert!(message(largest).len() < RowsMessages::ANNOTATION_BYTES_MAX);
    }
}
