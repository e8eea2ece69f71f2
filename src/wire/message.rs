//! The text messages of `tailcast.v1`, written by the server and read by clients.
//!
//! `docs/protocol.md` describes them. Both sides ignore types and fields that they do not know.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;
use crate::log::archive::Notice;
use crate::log::timeline;
use crate::log::{Generation, LogPath, Offset, Refusal};
use crate::wire::rows;

/// The name of the WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "tailcast.v1";

/// Why a viewer is refused when the server has as many as it takes.
pub(crate) const FULL: &str = "as many viewers as this server takes";

/// One text message: a JSON object whose kind is in its field `type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// Where this stream starts.
    Open {
        /// The log's absolute path, with control and other misleading characters escaped.
        path: String,
        /// The generation of the first bytes.
        generation: String,
        /// The offset of the first byte.
        from: u64,
        /// The size of the file at this moment, in bytes.
        size: u64,
        /// When the file was last written, in milliseconds since 1970; null when unknown.
        #[serde(default)]
        modified: Option<u64>,
        /// Whether the stream follows.
        tail: bool,
        /// Whether the stream starts at the requested position. True when none was requested.
        recovered: bool,
        /// How the server notices that the log has grown.
        watch: Watch,
        /// The name of the log's encoding; none for UTF-8, and while it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encoding: Option<String>,
        /// Whether a container runtime wrote the lines.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        container: bool,
    },
    /// The rows from `from` on. The server writes them with [`rows::RowsMessages`].
    Rows {
        /// Drop the rows whose offset is this or more.
        from: u64,
        /// The offset after the bytes that these rows show: where to resume.
        next: u64,
        /// The rows to append: the offset of the first byte of each, and its content.
        #[serde(deserialize_with = "rows::deserialize")]
        rows: Vec<(u64, String)>,
    },
    /// Bytes that were left out.
    Gap {
        /// The generation that the bytes belong to.
        generation: String,
        /// The offset of the first missing byte.
        from: u64,
        /// The offset after the last missing byte; null when unknown.
        to: Option<u64>,
    },
    /// The following messages belong to this generation, from that offset on.
    Reset {
        /// The generation.
        generation: String,
        /// The offset.
        from: u64,
        /// Why.
        reason: Reason,
        /// The name of the encoding; none for UTF-8, and while it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encoding: Option<String>,
        /// Whether a container runtime wrote the lines.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        container: bool,
    },
    /// The same generation under a longer signature, which identifies its file more surely. Sent
    /// only to viewers that asked for it with `signed=1`.
    Signed {
        /// The generation.
        generation: String,
    },
    /// There is nothing to follow at the moment.
    Waiting {
        /// Why.
        reason: WaitReason,
    },
    /// Something that has to be said about the file of the following messages: it is compressed, and
    /// could not be unpacked to its end.
    Notice {
        /// The generation of the file.
        generation: String,
        /// `truncated`, `damaged`, `too-large`, `no-room`, `unsupported` or `unreadable`.
        code: String,
        /// A sentence for people.
        message: String,
    },
    /// Who views the log now. Sent only to viewers that asked for it with `viewers=1`.
    Viewers {
        /// How many viewers the log has.
        count: u32,
        /// The names of those that are signed in, each once, in order. There may be more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
    },
    /// The stream is complete: nothing follows.
    End,
    /// The request is refused.
    Error {
        /// The close code that follows: 4401, 4403, 4404 or 1013.
        code: u16,
        /// A sentence for people.
        message: String,
    },
    /// A message of a type that this version does not know: ignore it.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// How a log is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// The file system sends events.
    Events,
    /// The file system sends none, so the server polls the file.
    Poll,
    /// A way that this version does not know.
    #[serde(other)]
    Other,
}

/// Why a stream continues in another generation or at another offset.
///
/// [`timeline::Reason`] has no unknown reasons, and has one reason that is never sent. The
/// conversion below is the only place that uses both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The file was renamed, and another has its name. The old one was read to its end first.
    Rotated,
    /// The file was truncated. It may have grown again since.
    Truncated,
    /// Another file has the name, or the stream can't start at the requested position.
    Replaced,
    /// A writer still wrote to a file that was rotated away.
    Late,
    /// After late bytes, the stream continues at its earlier position.
    Back,
    /// A reason that this version does not know.
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
    /// There is no file of the log's name.
    Missing,
    /// The name belongs to something other than a regular file inside the served directories.
    Untailable,
    /// The file can't be opened or read.
    Unreadable,
    /// The log is on another machine, which does not answer.
    Unreachable,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

impl From<timeline::WaitReason> for WaitReason {
    fn from(reason: timeline::WaitReason) -> Self {
        match reason {
            timeline::WaitReason::Missing => Self::Missing,
            timeline::WaitReason::Untailable => Self::Untailable,
            timeline::WaitReason::Unreadable => Self::Unreadable,
            timeline::WaitReason::Unreachable => Self::Unreachable,
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
            encoding: opening.encoding.map(name_of),
            container: opening.is_container,
        }
    }

    pub(crate) fn signed(generation: Generation) -> Self {
        Self::Signed { generation: generation.to_string() }
    }

    pub(crate) fn reset(
        generation: Generation,
        from: Offset,
        reason: timeline::Reason,
        encoding: Option<Encoding>,
        is_container: bool,
    ) -> Self {
        Self::Reset {
            generation: generation.to_string(),
            from: from.0,
            reason: reason.into(),
            encoding: encoding.map(name_of),
            container: is_container,
        }
    }

    pub(crate) fn gap(generation: Generation, from: Offset, to: Option<Offset>) -> Self {
        Self::Gap { generation: generation.to_string(), from: from.0, to: to.map(|to| to.0) }
    }

    pub(crate) fn notice(generation: Generation, notice: &Notice) -> Self {
        Self::Notice {
            generation: generation.to_string(),
            code: notice.shortfall.code().to_owned(),
            message: notice.to_string(),
        }
    }

    pub(crate) fn waiting(reason: timeline::WaitReason) -> Self {
        Self::Waiting { reason: reason.into() }
    }

    /// The close code and the message for a viewer whose request is refused.
    #[must_use]
    pub fn refusal(refusal: Refusal) -> (u16, Self) {
        let (code, message) = match refusal {
            Refusal::Forbidden | Refusal::Unreadable => (4403, "Forbidden"),
            Refusal::NotFound | Refusal::Untailable => (4404, "Not found"),
            Refusal::Exhausted => (1013, "Out of descriptors"),
            Refusal::Unreachable => (1013, "Unreachable"),
        };
        (code, Self::Error { code, message: message.to_owned() })
    }

    /// The close code and the message for a viewer whose user, session or token has ended.
    #[must_use]
    pub(crate) fn signed_out() -> (u16, Self) {
        (4401, Self::Error { code: 4401, message: "Signed out".to_owned() })
    }

    /// The message for a viewer when the server has as many as it takes.
    #[must_use]
    pub(crate) fn full() -> Self {
        Self::Error { code: 1013, message: FULL.to_owned() }
    }

    /// The message as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serialising these types does not fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a text message.
    ///
    /// # Errors
    /// A description of what is wrong, when the text is no message of `tailcast.v1`.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

/// Where a stream starts: the content of an [`open`](Message::Open) message.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The log.
    pub log: LogPath,
    /// The generation of the first bytes.
    pub generation: Generation,
    /// The offset of the first byte.
    pub from: Offset,
    /// The file's size now, in bytes.
    pub size: u64,
    /// When the file was last written, if known.
    pub modified: Option<SystemTime>,
    /// Whether the stream follows.
    pub tail: bool,
    /// Whether the stream starts at the requested position. True when none was requested.
    pub recovered: bool,
    /// Whether the file system sends no events and the log is polled.
    pub polling: bool,
    /// The encoding of the log; none for UTF-8, and while it is not known.
    pub encoding: Option<Encoding>,
    /// Whether a container runtime wrote the lines.
    pub is_container: bool,
}

fn name_of(encoding: Encoding) -> String {
    encoding.name().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rows::RowsMessages;

    #[test]
    fn unknown_types_fields_and_reasons_are_accepted() {
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
    fn written_messages_can_be_read_again() {
        let refusal = Message::refusal(Refusal::NotFound).1;
        let gap = Message::Gap { generation: "g".to_owned(), from: 1, to: None };
        let reset = |encoding: Option<&str>| Message::Reset {
            generation: "g".to_owned(),
            from: 7,
            reason: Reason::Truncated,
            encoding: encoding.map(str::to_owned),
            container: false,
        };
        for message in [refusal, gap, reset(None), reset(Some("UTF-16LE")), Message::End] {
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
}
