//! What an edge asks the agent of a machine, what that answers, and how an agent says that it is
//! there.

use std::time::SystemTime;

use bytes::Bytes;

use crate::broker::fields::{BadField, Fields};
use crate::broker::message::{milliseconds, time};
use crate::broker::names::{decode_path, encode_path};
use crate::log::archive::Compression;
use crate::log::mirrored::Successor;
use crate::log::{Generation, Offset};
use crate::mirror::{RemotePast, RemotePosition};

const ASK: &str = "Tc-Ask";
const STATUS: &str = "Tc-Status";
const PATH: &str = "Tc-Path";
const GENERATION: &str = "Tc-Generation";
const OFFSET: &str = "Tc-Offset";
const LENGTH: &str = "Tc-Length";
const SIZE: &str = "Tc-Size";
const PAGE: &str = "Tc-Page";
const PAGES: &str = "Tc-Pages";
const TAG: &str = "Tc-Tag";
const INSTANCE: &str = "Tc-Instance";
const SINCE: &str = "Tc-Since";
const VERSION: &str = "Tc-Version";
const NEXT: &str = "Tc-Next";
/// The same where others may have been between.
const LATER: &str = "Tc-Later";
const GONE: &str = "Tc-Gone";
const TELL: &str = "Tc-Tell";

/// One run of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// A random number.
    pub instance: u64,
    /// When it got the name of its machine, in milliseconds since 1970. Of two with one name, the
    /// earlier one keeps it.
    pub since: u64,
    /// The version of tailcast.
    pub version: String,
    /// It says so for the last time.
    pub is_leaving: bool,
}

impl Here {
    /// Its headers.
    #[must_use]
    pub fn encode(&self) -> Fields {
        Fields::default()
            .with(INSTANCE, self.instance)
            .with(SINCE, self.since)
            .with(VERSION, &self.version)
            .with_some(GONE, self.is_leaving.then_some(1))
    }

    /// What these headers say.
    ///
    /// # Errors
    /// When one is missing or wrong.
    pub fn decode(fields: &Fields) -> Result<Self, BadField> {
        Ok(Self {
            instance: fields.parse(INSTANCE)?,
            since: fields.parse(SINCE)?,
            version: fields.text(VERSION)?.to_owned(),
            is_leaving: fields.get(GONE).is_some(),
        })
    }

    /// Whether this one keeps the name rather than another one with it.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        (self.since, self.instance) < (other.since, other.instance)
    }
}

/// A log that an edge wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLog {
    /// Its path on its machine.
    pub path: Vec<u8>,
    /// What the edge has of it; None if that is nothing.
    pub known: Option<KnownPlace>,
}

/// Where an edge has got to in a log. The stream may have lost all that led there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPlace {
    /// The offset of the next byte.
    pub at: RemotePosition,
    /// The last bytes before it, as far as they are known.
    pub tail: Vec<u8>,
}

impl WantedLog {
    /// The line `PATH`, or `PATH GENERATION OFFSET TAIL`, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let path = encode_path(&self.path);
        match &self.known {
            Some(KnownPlace { at: RemotePosition { generation, offset }, tail }) => {
                format!("{path} {generation} {offset} {}\n", encode_path(tail))
            }
            None => path + "\n",
        }
    }

    /// The log of a line. A place that is none is left out.
    #[must_use]
    pub fn of_line(line: &str) -> Self {
        let mut parts = line.splitn(4, ' ');
        let mut next = || parts.next();
        let path = decode_path(next().unwrap_or_default());
        let mut known = || {
            let (generation, offset) = (next()?.parse().ok()?, Offset(next()?.parse().ok()?));
            let at = RemotePosition { generation, offset };
            Some(KnownPlace { at, tail: decode_path(next()?) })
        };
        Self { path, known: known() }
    }
}

/// What an agent is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Which run it is.
    Who,
    /// To publish these logs for a while longer.
    Want {
        /// The logs.
        logs: Vec<WantedLog>,
        /// Also to say again where each of them is, if the stream does not.
        tell: bool,
    },
    /// A page of its list of logs.
    List {
        /// From 0.
        page: usize,
        /// The tag of the list that the edge has.
        known: Option<u64>,
    },
    /// The files that had the name of a log before.
    Past {
        /// The log.
        path: Vec<u8>,
    },
    /// Bytes of a log.
    Range {
        /// The log.
        path: Vec<u8>,
        /// The first byte.
        from: RemotePosition,
        /// How many at most.
        length: usize,
        /// Also which generation had the log's name after this one. To find that may take long.
        next: bool,
    },
}

impl Request {
    /// Its headers and its payload.
    #[must_use]
    pub fn encode(&self) -> (Fields, Bytes) {
        let ask = |kind: &str| Fields::default().with(ASK, kind);
        match self {
            Self::Who => (ask("who"), Bytes::new()),
            Self::Want { logs, tell } => {
                let lines: String = logs.iter().map(WantedLog::line).collect();
                (ask("want").with_some(TELL, tell.then_some(1)), lines.into())
            }
            Self::List { page, known } => {
                (ask("list").with(PAGE, page).with_some(TAG, *known), Bytes::new())
            }
            Self::Past { path } => (ask("past").with(PATH, encode_path(path)), Bytes::new()),
            Self::Range { path, from, length, next } => {
                let fields = ask("range").with(PATH, encode_path(path));
                let fields = fields.with(GENERATION, from.generation).with(OFFSET, from.offset);
                let fields = fields.with(LENGTH, length).with_some(NEXT, next.then_some(1));
                (fields, Bytes::new())
            }
        }
    }

    /// The request with these headers and this payload.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(fields: &Fields, payload: &[u8]) -> Result<Self, BadField> {
        let kind = fields.text(ASK)?;
        Ok(match kind {
            "who" => Self::Who,
            "want" => {
                let lines = String::from_utf8_lossy(payload);
                let logs = lines.lines().map(WantedLog::of_line).collect();
                Self::Want { logs, tell: fields.get(TELL).is_some() }
            }
            "list" => Self::List { page: fields.parse(PAGE)?, known: fields.parse_some(TAG)? },
            "past" => Self::Past { path: decode_path(fields.text(PATH)?) },
            "range" => {
                let generation = generation(GENERATION, fields.text(GENERATION)?)?;
                let offset = Offset(fields.parse(OFFSET)?);
                Self::Range {
                    path: decode_path(fields.text(PATH)?),
                    from: RemotePosition { generation, offset },
                    length: fields.parse(LENGTH)?,
                    next: fields.get(NEXT).is_some(),
                }
            }
            _ => return Err(BadField { name: ASK, value: Some(kind.to_owned()) }),
        })
    }
}

fn generation(name: &'static str, text: &str) -> Result<Generation, BadField> {
    text.parse().map_err(|_| BadField { name, value: Some(text.to_owned()) })
}

/// Why an agent does not give what it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It has no such bytes any more.
    Gone,
    /// It may not give this log.
    Refused,
    /// It does too much at once: ask later.
    Busy,
    /// It does not understand the request.
    Unknown,
}

const DENIALS: [(Denial, &str); 4] = [
    (Denial::Gone, "gone"),
    (Denial::Refused, "refused"),
    (Denial::Busy, "busy"),
    (Denial::Unknown, "unknown"),
];

/// What an agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Which run it is.
    Here(Here),
    /// It publishes the logs that were wanted, but these.
    Wanted {
        /// Which run it is.
        here: Here,
        /// The paths of the logs that it may not give.
        refused: Vec<Vec<u8>>,
    },
    /// The list is the one that the edge has.
    Unchanged,
    /// A page of the list.
    Page {
        /// Two lists with one tag are the same.
        tag: u64,
        /// How many pages the list has.
        pages: usize,
        /// Lines of [`ListedLog`].
        lines: Bytes,
    },
    /// Bytes of a log.
    Range {
        /// How many the generation has now.
        size: u64,
        /// Those that were asked for, or the first of them.
        bytes: Bytes,
        /// The generation that had the log's name after this one, if that was asked and is known.
        next: Option<Successor>,
    },
    /// The files that had the name of a log before.
    Past {
        /// Lines of [`PastFile`], the oldest first.
        lines: Bytes,
    },
    /// Nothing of that.
    Denied(Denial),
}

impl Answer {
    /// Its headers and its payload.
    #[must_use]
    pub fn encode(&self) -> (Fields, Bytes) {
        let status = |text: &str| Fields::default().with(STATUS, text);
        match self {
            Self::Here(here) => (here.encode().with(STATUS, "here"), Bytes::new()),
            Self::Wanted { here, refused } => {
                let lines: String = refused.iter().map(|path| encode_path(path) + "\n").collect();
                (here.encode().with(STATUS, "wanted"), lines.into())
            }
            Self::Unchanged => (status("unchanged"), Bytes::new()),
            Self::Page { tag, pages, lines } => {
                (status("page").with(TAG, tag).with(PAGES, pages), lines.clone())
            }
            Self::Range { size, bytes, next } => {
                let of = |is_direct: bool| {
                    next.filter(|next| next.is_direct == is_direct).map(|next| next.generation)
                };
                let fields = status("range").with(SIZE, size);
                (fields.with_some(NEXT, of(true)).with_some(LATER, of(false)), bytes.clone())
            }
            Self::Past { lines } => (status("past"), lines.clone()),
            Self::Denied(denial) => {
                let named = DENIALS.iter().find(|(known, _)| known == denial);
                (status(named.map_or("unknown", |(_, name)| name)), Bytes::new())
            }
        }
    }

    /// The answer with these headers and this payload.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(fields: &Fields, payload: Bytes) -> Result<Self, BadField> {
        let status = fields.text(STATUS)?;
        Ok(match status {
            "here" => Self::Here(Here::decode(fields)?),
            "wanted" => {
                let lines = String::from_utf8_lossy(&payload);
                let refused = lines.lines().map(decode_path).collect();
                Self::Wanted { here: Here::decode(fields)?, refused }
            }
            "unchanged" => Self::Unchanged,
            "page" => {
                let (tag, pages) = (fields.parse(TAG)?, fields.parse(PAGES)?);
                Self::Page { tag, pages, lines: payload }
            }
            "range" => {
                let of = |name| fields.get(name).map(|text| generation(name, text)).transpose();
                let next = match (of(NEXT)?, of(LATER)?) {
                    (Some(generation), _) => Some(Successor { generation, is_direct: true }),
                    (None, Some(generation)) => Some(Successor { generation, is_direct: false }),
                    (None, None) => None,
                };
                Self::Range { size: fields.parse(SIZE)?, bytes: payload, next }
            }
            "past" => Self::Past { lines: payload },
            _ => match DENIALS.iter().find(|(_, name)| *name == status) {
                Some((denial, _)) => Self::Denied(*denial),
                None => return Err(BadField { name: STATUS, value: Some(status.to_owned()) }),
            },
        })
    }
}

/// A line of the past of a log: `GENERATION SIZE MODIFIED GAP COMPRESSION PATH`; `-` for what is not
/// known, or is none.
pub struct PastFile;

impl PastFile {
    /// The line, with its newline.
    #[must_use]
    pub fn line(past: &RemotePast) -> String {
        let RemotePast { path, generation, compression, modified, disk_size, is_gap_after } = past;
        let modified = modified.map_or_else(|| "-".to_owned(), |it| milliseconds(it).to_string());
        let compression = compression.map_or("-", Compression::ending);
        let (gap, path) = (u8::from(*is_gap_after), encode_path(path));
        format!("{generation} {disk_size} {modified} {gap} {compression} {path}\n")
    }

    /// The file of a line. None for what is none.
    #[must_use]
    pub fn of_line(line: &str) -> Option<RemotePast> {
        let mut parts = line.splitn(6, ' ');
        let generation = parts.next()?.parse().ok()?;
        let disk_size = parts.next()?.parse().ok()?;
        let modified = match parts.next()? {
            "-" => None,
            text => Some(time(text.parse().ok()?)),
        };
        let is_gap_after = parts.next()? == "1";
        let compression = match parts.next()? {
            "-" => None,
            ending => Some(*Compression::ALL.iter().find(|it| it.ending() == ending)?),
        };
        let path = decode_path(parts.next()?);
        Some(RemotePast { path, generation, compression, modified, disk_size, is_gap_after })
    }
}

/// A line of a list of logs: `SIZE MODIFIED PATH`, in bytes and milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLog {
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// Its path on its machine.
    pub path: Vec<u8>,
}

impl ListedLog {
    /// The line, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let (size, modified) = (self.size, milliseconds(self.modified));
        format!("{size} {modified} {}\n", encode_path(&self.path))
    }

    /// The log of a line; None if it is none.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ' ');
        let mut next = || parts.next();
        let (size, modified) = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(Self { size, modified: time(modified), path: decode_path(next()?) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::log::access::Identity;

    fn here(instance: u64, since: u64) -> Here {
        Here { instance, since, version: "1.2.3".to_owned(), is_leaving: false }
    }

    fn any_path() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 1..50)
    }

    fn any_wanted() -> impl Strategy<Value = WantedLog> {
        let generation = Generation::new(Identity { device: 1, inode: 2 }, 7, b"the head");
        let known = (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..64));
        let known = known.prop_map(move |(offset, tail)| {
            let at = RemotePosition { generation, offset: Offset(offset) };
            KnownPlace { at, tail }
        });
        (any_path(), proptest::option::of(known))
            .prop_map(|(path, known)| WantedLog { path, known })
    }

    fn any_request() -> impl Strategy<Value = Request> {
        let generation =
            Generation::new(Identity { device: 1, inode: 2 }, 7, b"the head of the file");
        prop_oneof![
            Just(Request::Who),
            (proptest::collection::vec(any_wanted(), 0..9), any::<bool>())
                .prop_map(|(logs, tell)| Request::Want { logs, tell }),
            (any::<usize>(), any::<Option<u64>>())
                .prop_map(|(page, known)| Request::List { page, known }),
            (any_path(), any::<u64>(), any::<usize>(), any::<bool>()).prop_map(
                move |(path, offset, length, next)| {
                    let from = RemotePosition { generation, offset: Offset(offset) };
                    Request::Range { path, from, length, next }
                }
            ),
            any_path().prop_map(|path| Request::Past { path }),
        ]
    }

    fn any_answer() -> impl Strategy<Value = Answer> {
        let here = (any::<u64>(), any::<u64>(), any::<bool>())
            .prop_map(|(instance, since, is_leaving)| Here { is_leaving, ..here(instance, since) });
        let refused = proptest::collection::vec(any_path(), 0..9);
        prop_oneof![
            here.clone().prop_map(Answer::Here),
            (here, refused).prop_map(|(here, refused)| Answer::Wanted { here, refused }),
            Just(Answer::Unchanged),
            (any::<u64>(), any::<usize>(), any::<Vec<u8>>()).prop_map(|(tag, pages, lines)| {
                Answer::Page { tag, pages, lines: lines.into() }
            }),
            any::<Vec<u8>>().prop_map(|lines| Answer::Past { lines: lines.into() }),
            (any::<u64>(), any::<Vec<u8>>(), any::<Option<(u32, bool)>>()).prop_map(
                |(size, bytes, next)| {
                    let identity = Identity { device: 1, inode: 2 };
                    let next = next.map(|(nonce, is_direct)| {
                        let generation = Generation::new(identity, nonce, b"head");
                        Successor { generation, is_direct }
                    });
                    Answer::Range { size, bytes: bytes.into(), next }
                }
            ),
            (0usize..4).prop_map(|nth| Answer::Denied(DENIALS[nth].0)),
        ]
    }

    proptest! {
        #[test]
        fn a_request_survives_the_way(request in any_request()) {
            let (fields, payload) = request.encode();
            prop_assert_eq!(Request::decode(&fields, &payload), Ok(request));
        }

        #[test]
        fn an_answer_survives_the_way(answer in any_answer()) {
            let (fields, payload) = answer.encode();
            prop_assert_eq!(Answer::decode(&fields, payload), Ok(answer));
        }

        #[test]
        fn a_listed_log_survives_its_line(size: u64, since: u32, path in any_path()) {
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(since));
            let log = ListedLog { size, modified, path };
            let line = log.line();
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert_eq!(ListedLog::of_line(line.trim_end_matches('\n')), Some(log));
        }

        #[test]
        fn a_file_of_the_past_survives_its_line(
            path in any_path(),
            disk_size: u64,
            since: Option<u32>,
            kind in 0..=Compression::ALL.len(),
            is_gap_after: bool,
        ) {
            let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds));
            let generation = Generation::new(Identity { device: 1, inode: 2 }, 7, b"the head");
            let (modified, compression) = (since.map(time), Compression::ALL.get(kind).copied());
            let past = RemotePast { path, generation, compression, modified, disk_size, is_gap_after };
            let line = PastFile::line(&past);
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert_eq!(PastFile::of_line(line.trim_end_matches('\n')), Some(past));
        }

        #[test]
        fn any_line_is_a_log_or_is_none(line in "\\PC*") {
            if let Some(log) = ListedLog::of_line(&line) {
                prop_assert_eq!(ListedLog::of_line(log.line().trim_end_matches('\n')), Some(log));
            }
        }
    }

    #[test]
    fn of_two_runs_with_one_name_exactly_one_keeps_it() {
        let runs = [here(1, 5), here(2, 5), here(1, 6)];
        for (nth, one) in runs.iter().enumerate() {
            for (other_nth, other) in runs.iter().enumerate() {
                assert_eq!(one.is_before(other), nth < other_nth);
            }
        }
    }

    #[test]
    fn a_request_that_is_none_says_why() {
        let said = |fields: &Fields| Request::decode(fields, b"").unwrap_err().to_string();
        assert_eq!(said(&Fields::default()), "the header `Tc-Ask` is missing");
        assert_eq!(said(&Fields::default().with(ASK, "x")), "the header `Tc-Ask` says `x`");
        let list = Fields::default().with(ASK, "list");
        assert_eq!(said(&list), "the header `Tc-Page` is missing");
        let range = Fields::default().with(ASK, "range").with(GENERATION, "new");
        assert_eq!(said(&range), "the header `Tc-Generation` says `new`");
    }
}
