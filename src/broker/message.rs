//! The messages of a log's subject: its bytes, and what happens between them, in one order.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::broker::fields::{BadField, Fields};
use crate::broker::names::{decode_path, encode_path};
use crate::log::timeline::{Reason, WaitReason};
use crate::log::{Generation, Offset};
use crate::mirror::RemotePosition;

const KIND: &str = "Tc-Kind";
const PATH: &str = "Tc-Path";
const GENERATION: &str = "Tc-Generation";
const OFFSET: &str = "Tc-Offset";
const LENGTH: &str = "Tc-Length";
const WRITTEN: &str = "Tc-Written";
const REASON: &str = "Tc-Reason";
const SIZE: &str = "Tc-Size";
const BEFORE_GENERATION: &str = "Tc-Before-Generation";
const BEFORE_OFFSET: &str = "Tc-Before-Offset";
const TO: &str = "Tc-To";

/// The most bytes of a log in one message.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// A message of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The path of the log on its machine.
    pub path: Vec<u8>,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes of the log.
    Bytes {
        /// The generation with its latest signature, and the offset of the first byte.
        at: RemotePosition,
        /// At least one.
        bytes: Bytes,
        /// When the file was last written to before they were read.
        written: SystemTime,
    },
    /// What follows belongs to this generation, from this offset on.
    Turn {
        /// Where it goes on.
        at: RemotePosition,
        /// Why.
        reason: Reason,
        /// How long the file was.
        size: u64,
        /// Where the generation before ended, if that is known.
        before: Option<RemotePosition>,
    },
    /// Bytes that the machine has not got any more.
    Gap {
        /// The first of them.
        from: RemotePosition,
        /// The offset after the last.
        to: Offset,
    },
    /// There is nothing to follow.
    Waiting {
        /// Why.
        reason: WaitReason,
        /// Where the log had got to; None if it had no file since it is followed.
        after: Option<RemotePosition>,
    },
}

/// Why something on the subject of a log is no message of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadMessage {
    /// A header is wrong.
    Field(BadField),
    /// The length in the header is not that of the bytes.
    Length {
        /// What the header says.
        said: usize,
        /// How many bytes there are.
        found: usize,
    },
}

impl Display for BadMessage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => field.fmt(f),
            Self::Length { said, found } => {
                write!(f, "it has {found} bytes, and its header says {said}")
            }
        }
    }
}

impl std::error::Error for BadMessage {}

impl From<BadField> for BadMessage {
    fn from(field: BadField) -> Self {
        Self::Field(field)
    }
}

impl Content {
    /// The position after the message: where a log goes on whose last message it is.
    #[must_use]
    pub fn end(&self) -> Option<RemotePosition> {
        match self {
            Self::Bytes { at, bytes, .. } => {
                Some(RemotePosition { offset: at.offset.plus(bytes.len()), ..*at })
            }
            Self::Turn { at, .. } => Some(*at),
            Self::Gap { from, to } => Some(RemotePosition { offset: *to, ..*from }),
            Self::Waiting { after, .. } => *after,
        }
    }

    /// The bytes before [`end`](Self::end), as far as they are here.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        match self {
            Self::Bytes { bytes, .. } => bytes,
            Self::Turn { .. } | Self::Gap { .. } | Self::Waiting { .. } => &[],
        }
    }

    /// By what the broker knows that it has these bytes already. The length belongs to it, because
    /// after a restart the same bytes may be cut elsewhere. None for what is not told apart by its
    /// position.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Bytes { at, bytes, .. } => {
                // The signature of a short file grows, also between two attempts.
                let Generation { identity, nonce, .. } = at.generation;
                let (device, inode) = (identity.device, identity.inode);
                Some(format!("{device:x}-{inode:x}-{nonce:x}:{}:{}", at.offset, bytes.len()))
            }
            Self::Turn { .. } | Self::Gap { .. } | Self::Waiting { .. } => None,
        }
    }
}

impl Message {
    /// Its headers and its payload.
    #[must_use]
    pub fn encode(&self) -> (Fields, Bytes) {
        let place = |fields: Fields, at: &RemotePosition| {
            fields.with(GENERATION, at.generation).with(OFFSET, at.offset)
        };
        let begin =
            |kind: &str| Fields::default().with(KIND, kind).with(PATH, encode_path(&self.path));
        match &self.content {
            Content::Bytes { at, bytes, written } => {
                let fields = place(begin("bytes"), at).with(LENGTH, bytes.len());
                (fields.with(WRITTEN, milliseconds(*written)), bytes.clone())
            }
            Content::Turn { at, reason, size, before } => {
                let fields = place(begin("turn"), at).with(REASON, reason_name(*reason));
                let fields = fields
                    .with(SIZE, size)
                    .with_some(BEFORE_GENERATION, before.map(|before| before.generation))
                    .with_some(BEFORE_OFFSET, before.map(|before| before.offset));
                (fields, Bytes::new())
            }
            Content::Gap { from, to } => (place(begin("gap"), from).with(TO, to), Bytes::new()),
            Content::Waiting { reason, after } => {
                let fields = begin("waiting").with(REASON, wait_name(*reason));
                let fields = match after {
                    Some(after) => place(fields, after),
                    None => fields,
                };
                (fields, Bytes::new())
            }
        }
    }

    /// The message with these headers and this payload.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(fields: &Fields, payload: Bytes) -> Result<Self, BadMessage> {
        let path = decode_path(fields.text(PATH)?);
        let position = |generation, offset| -> Result<Option<RemotePosition>, BadField> {
            let found: Option<Generation> = parse_generation(fields, generation)?;
            let offset: Option<u64> = fields.parse_some(offset)?;
            let place = |generation, offset| RemotePosition { generation, offset: Offset(offset) };
            Ok(found.zip(offset).map(|(generation, offset)| place(generation, offset)))
        };
        let at = || -> Result<RemotePosition, BadField> {
            fields.text(GENERATION)?;
            fields.text(OFFSET)?;
            position(GENERATION, OFFSET)?.ok_or(BadField { name: OFFSET, value: None })
        };
        let kind = fields.text(KIND)?;
        let content = match kind {
            "bytes" => {
                let (said, found) = (fields.parse(LENGTH)?, payload.len());
                if said != found || found == 0 {
                    return Err(BadMessage::Length { said, found });
                }
                let written = time(fields.parse(WRITTEN)?);
                Content::Bytes { at: at()?, bytes: payload, written }
            }
            "turn" => {
                let before = position(BEFORE_GENERATION, BEFORE_OFFSET)?;
                let reason = by_name(fields, Reason::ALL, reason_name)?;
                Content::Turn { at: at()?, reason, size: fields.parse(SIZE)?, before }
            }
            "gap" => Content::Gap { from: at()?, to: Offset(fields.parse(TO)?) },
            "waiting" => {
                let reason = by_name(fields, WAIT_REASONS, wait_name)?;
                Content::Waiting { reason, after: position(GENERATION, OFFSET)? }
            }
            _ => return Err(BadField { name: KIND, value: Some(kind.to_owned()) }.into()),
        };
        Ok(Self { path, content })
    }
}

/// The path of a log and how long it is, as its last message says it without its payload.
#[must_use]
pub fn path_and_size(fields: &Fields) -> Option<(Vec<u8>, u64)> {
    let path = decode_path(fields.get(PATH)?);
    let number = |name| fields.parse_some::<u64>(name).ok().flatten().unwrap_or(0);
    let end = number(OFFSET).saturating_add(number(LENGTH));
    Some((path, end.max(number(SIZE)).max(number(TO))))
}

/// Where a message is, and the offset after it, as it says without its payload. None for one that
/// says no place, or is of another log than that at this path.
#[must_use]
pub fn place(fields: &Fields, path: &[u8]) -> Option<(RemotePosition, Offset)> {
    if decode_path(fields.get(PATH)?) != path {
        return None;
    }
    let generation = parse_generation(fields, GENERATION).ok()??;
    let number = |name| fields.parse_some::<u64>(name).ok().flatten();
    let at = RemotePosition { generation, offset: Offset(number(OFFSET)?) };
    let end = at.offset.0.saturating_add(number(LENGTH).unwrap_or(0));
    Some((at, Offset(end.max(number(TO).unwrap_or(0)))))
}

/// Which generation came directly after which other one, as a message says without its payload, and
/// where the first of them ended. None for one that says no such thing, or is of another log.
#[must_use]
pub fn succession(fields: &Fields, path: &[u8]) -> Option<(RemotePosition, Generation)> {
    let (at, _) = place(fields, path)?;
    let reason = by_name(fields, Reason::ALL, reason_name).ok()?;
    let generation = parse_generation(fields, BEFORE_GENERATION).ok()??;
    let offset = Offset(fields.parse_some(BEFORE_OFFSET).ok()??);
    let is_other = !generation.is(&at.generation);
    let is_succession = !matches!(reason, Reason::Late | Reason::Back | Reason::Joined);
    (is_other && is_succession).then_some((RemotePosition { generation, offset }, at.generation))
}

const WAIT_REASONS: [WaitReason; 4] =
    [WaitReason::Missing, WaitReason::Untailable, WaitReason::Unreadable, WaitReason::Unreachable];

fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Joined => "joined",
        Reason::Rotated => "rotated",
        Reason::Truncated => "truncated",
        Reason::Replaced => "replaced",
        Reason::Late => "late",
        Reason::Back => "back",
    }
}

fn wait_name(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::Missing => "missing",
        WaitReason::Untailable => "untailable",
        WaitReason::Unreadable => "unreadable",
        WaitReason::Unreachable => "unreachable",
    }
}

fn by_name<T: Copy>(
    fields: &Fields,
    all: impl IntoIterator<Item = T>,
    name: impl Fn(T) -> &'static str,
) -> Result<T, BadField> {
    let said = fields.text(REASON)?;
    let found = all.into_iter().find(|one| name(*one) == said);
    found.ok_or_else(|| BadField { name: REASON, value: Some(said.to_owned()) })
}

fn parse_generation(fields: &Fields, name: &'static str) -> Result<Option<Generation>, BadField> {
    let Some(text) = fields.get(name) else { return Ok(None) };
    let bad = |_| BadField { name, value: Some(text.to_owned()) };
    text.parse().map(Some).map_err(bad)
}

/// Milliseconds since 1970. A time before that is 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn time(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::access::Identity;

    fn position(device: u64, inode: u64, nonce: u32, head: &[u8], offset: u64) -> RemotePosition {
        let generation = Generation::new(Identity { device, inode }, nonce, head);
        RemotePosition { generation, offset: Offset(offset) }
    }

    fn any_position() -> impl Strategy<Value = RemotePosition> {
        let parts = (any::<u64>(), any::<u64>(), any::<u32>(), any::<Vec<u8>>(), 0..u64::MAX / 2);
        parts.prop_map(|(device, inode, nonce, head, offset)| {
            position(device, inode, nonce, &head, offset)
        })
    }

    fn any_content() -> impl Strategy<Value = Content> {
        let payload = proptest::collection::vec(any::<u8>(), 1..200);
        let before = proptest::option::of(any_position());
        prop_oneof![
            (any_position(), payload, any::<u32>()).prop_map(|(at, bytes, written)| {
                Content::Bytes { at, bytes: bytes.into(), written: time(u64::from(written)) }
            }),
            (any_position(), 0usize..6, any::<u64>(), before).prop_map(
                |(at, reason, size, before)| {
                    Content::Turn { at, reason: Reason::ALL[reason], size, before }
                }
            ),
            (any_position(), any::<u64>())
                .prop_map(|(from, to)| Content::Gap { from, to: Offset(to) }),
            (0usize..4, proptest::option::of(any_position())).prop_map(|(reason, after)| {
                Content::Waiting { reason: WAIT_REASONS[reason], after }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_message_survives_the_way(path: Vec<u8>, content in any_content()) {
            let message = Message { path, content };
            let (fields, payload) = message.encode();
            for (name, value) in fields.iter() {
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{}: {}", name, value);
            }
            let end = place(&fields, &message.path).map(|(at, end)| RemotePosition { offset: end, ..at });
            let expected = message.content.end().map(|expected| match &message.content {
                // It need not say that it ends behind where it begins.
                Content::Gap { from, .. } => RemotePosition { offset: expected.offset.max(from.offset), ..expected },
                _ => expected,
            });
            prop_assert_eq!(end, expected);
            prop_assert_eq!(Message::decode(&fields, payload), Ok(message));
        }

        #[test]
        fn whatever_comes_is_a_message_or_is_refused(
            fields in proptest::collection::vec(("Tc-[A-Z][a-z]{3,9}", "\\PC{0,20}"), 0..9),
            kind in "bytes|turn|gap|waiting|x",
            payload: Vec<u8>,
        ) {
            let fields: Fields = fields.into_iter().collect();
            let fields = fields.with(KIND, kind).with(PATH, "/x");
            if let Ok(message) = Message::decode(&fields, payload.into()) {
                prop_assert_eq!(message.path, b"/x");
            }
        }
    }

    fn bytes(nonce: u32, head: &[u8], offset: u64, text: &'static str) -> Content {
        let at = position(1, 2, nonce, head, offset);
        Content::Bytes { at, bytes: Bytes::from_static(text.as_bytes()), written: time(0) }
    }

    #[test]
    fn bytes_are_known_by_where_they_are_and_how_many_they_are() {
        let id = |content: Content| content.id();
        let first = id(bytes(7, b"", 10, "abc"));
        assert_eq!(first.as_deref(), Some("1-2-7:10:3"));
        assert_eq!(id(bytes(7, b"abcd", 10, "abc")), first, "a longer signature");
        assert_ne!(id(bytes(7, b"", 10, "abcd")), first, "cut elsewhere");
        assert_ne!(id(bytes(7, b"", 11, "abc")), first);
        assert_ne!(id(bytes(8, b"", 10, "abc")), first, "another generation");
        let at = position(1, 2, 7, b"", 10);
        // Two late writes to a file may lead back to the same position twice.
        let back = Content::Turn { at, reason: Reason::Back, size: 10, before: None };
        assert_eq!(back.id(), None);
    }

    #[test]
    fn a_log_goes_on_behind_its_last_message() {
        let at = position(1, 2, 7, b"", 10);
        let end = |content: &Content| content.end().map(|end| end.offset.0);
        assert_eq!(end(&bytes(7, b"", 10, "abc")), Some(13));
        assert_eq!(end(&Content::Gap { from: at, to: Offset(99) }), Some(99));
        let turn = Content::Turn { at, reason: Reason::Rotated, size: 50, before: None };
        assert_eq!(end(&turn), Some(10));
        let waiting = |after| Content::Waiting { reason: WaitReason::Missing, after };
        assert_eq!((end(&waiting(Some(at))), end(&waiting(None))), (Some(10), None));
        assert_eq!(bytes(7, b"", 10, "abc").tail(), b"abc");
    }

    #[test]
    fn the_headers_of_its_last_message_say_how_long_a_log_is() {
        let at = position(1, 2, 7, b"", 10);
        for (content, size) in [
            (bytes(7, b"", 10, "abc"), 13),
            (Content::Gap { from: at, to: Offset(99) }, 99),
            (Content::Turn { at, reason: Reason::Joined, size: 50, before: None }, 50),
            (Content::Waiting { reason: WaitReason::Missing, after: Some(at) }, 10),
            (Content::Waiting { reason: WaitReason::Missing, after: None }, 0),
        ] {
            let (fields, _) = Message { path: b"/x".to_vec(), content }.encode();
            assert_eq!(path_and_size(&fields), Some((b"/x".to_vec(), size)));
        }
        assert_eq!(path_and_size(&Fields::default()), None);
    }

    #[test]
    fn a_message_that_is_none_says_why() {
        let (fields, payload) =
            Message { path: b"/x".to_vec(), content: bytes(7, b"", 10, "abc") }.encode();
        let said = |fields: &Fields, payload: &Bytes| {
            Message::decode(fields, payload.clone()).unwrap_err().to_string()
        };
        let changed = |name: &str, value: Option<&str>| -> Fields {
            let keep = |(known, old): (&str, &str)| {
                let value = if known == name { value?.to_owned() } else { old.to_owned() };
                Some((known.to_owned(), value))
            };
            fields.iter().filter_map(keep).collect()
        };
        assert_eq!(said(&fields, &payload.slice(1..)), "it has 2 bytes, and its header says 3");
        let said = |name, value| said(&changed(name, value), &payload);
        assert_eq!(said("Tc-Path", None), "the header `Tc-Path` is missing");
        assert_eq!(said("Tc-Kind", Some("x")), "the header `Tc-Kind` says `x`");
        assert_eq!(said("Tc-Offset", Some("-1")), "the header `Tc-Offset` says `-1`");
        assert_eq!(said("Tc-Offset", None), "the header `Tc-Offset` is missing");
        assert_eq!(said("Tc-Generation", Some("1-2")), "the header `Tc-Generation` says `1-2`");
    }
}
