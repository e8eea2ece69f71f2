//! The border to whatever brings the logs of other machines here.
//!
//! A [`Remote`] knows the machines and their logs. It follows a log while somebody wants it, and
//! fetches bytes that are older than what it brings by itself. Generations and offsets are those of
//! the machine that has the file. They are the same for everybody who mirrors it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::log::archive::Compression;
use crate::log::mirrored::Successor;
use crate::log::pattern::{Pattern, RequestedPath, Symbol};
use crate::log::timeline::{Reason, WaitReason};
use crate::log::{Generation, Offset};

/// How many bytes one call of [`Remote::fetch`] may ask for.
pub const FETCH_BYTES_MAX: u64 = 512 * 1024;

/// The most bytes that one [`RemoteEvent::Bytes`] may carry.
pub const EVENT_BYTES_MAX: usize = 512 * 1024;

/// What the name of a pattern begins with. No path does.
const PATTERN: u8 = b'*';

/// A machine that has logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, unique among all machines. It has no slash and is not empty.
    pub name: Arc<str>,
    /// Since when nothing is heard of it. None while it is there.
    pub away: Option<SystemTime>,
}

/// A log in the list of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteLog {
    /// Its absolute path on the machine. It need not be UTF-8.
    pub path: Arc<[u8]>,
    /// Bytes.
    pub size: u64,
    /// When it was last written to, by the clock of its machine.
    pub modified: SystemTime,
}

/// Names a log of another machine.
///
/// For a pattern, which its machine follows from match to match, [`path`](Self::path) begins with a `*`.
/// Behind that comes the path of the pattern, in which `\\` stands before each `*`, `?` and `\\` of the
/// file's name that is that character itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteName {
    /// The name of the machine.
    pub host: Arc<str>,
    /// The absolute path on the machine, or a pattern. It need not be UTF-8.
    pub path: Arc<[u8]>,
}

impl RemoteName {
    /// The name of the log at a path on a machine, whose file's name may be a pattern.
    #[must_use]
    pub fn new(host: &str, path: &[u8], pattern: Option<&Pattern>) -> Self {
        let host = host.into();
        let Some(pattern) = pattern else { return Self { host, path: path.into() } };
        let directory = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let mut name = vec![PATTERN];
        name.extend_from_slice(&path[..directory]);
        for symbol in pattern.symbols() {
            match symbol {
                Symbol::Any => name.push(b'*'),
                Symbol::One => name.push(b'?'),
                Symbol::Byte(byte) => {
                    if matches!(byte, b'*' | b'?' | b'\\') {
                        name.push(b'\\');
                    }
                    name.push(byte);
                }
            }
        }
        Self { host, path: name.into() }
    }
}

/// The log that a machine is asked for by this name. None for what is no name.
#[must_use]
pub fn requested(name: &[u8]) -> Option<RequestedPath> {
    let Some(text) = name.strip_prefix(&[PATTERN]) else {
        let symbols: Vec<Symbol> = name.iter().copied().map(Symbol::Byte).collect();
        return RequestedPath::new(&symbols).ok();
    };
    let directory = text.iter().rposition(|&byte| byte == b'/')? + 1;
    let mut symbols: Vec<Symbol> = text[..directory].iter().copied().map(Symbol::Byte).collect();
    let mut rest = text[directory..].iter().copied();
    while let Some(byte) = rest.next() {
        symbols.push(match byte {
            b'*' => Symbol::Any,
            b'?' => Symbol::One,
            b'\\' => Symbol::Byte(rest.next()?),
            byte => Symbol::Byte(byte),
        });
    }
    RequestedPath::new(&symbols).ok()
}

impl fmt::Debug for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}{}", self.host, self.path.escape_ascii())
    }
}

/// A place in a log: the offset of the next byte, in a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemotePosition {
    /// The generation. Two are the same if [`Generation::is`] says so: the signature of a short
    /// file grows.
    pub generation: Generation,
    /// The offset of the next byte.
    pub offset: Offset,
}

/// What happens to a log that is followed, in the order in which its machine told it.
///
/// The first event is a [`Turn`](Self::Turn), or says why there is none yet.
#[derive(Clone, Debug)]
pub enum RemoteEvent {
    /// The bytes after this belong to another generation, or to the same one from another offset.
    ///
    /// A follower that has lost its place says where it goes on with a turn, too. The mirror then
    /// finds out by itself what it has not got, and fetches it.
    Turn {
        /// The generation with the latest signature, and where its bytes go on.
        at: RemotePosition,
        /// Why. [`Reason::Joined`] for the first one, and where only the place is said.
        reason: Reason,
        /// How long the file was when this was said; at least the offset.
        size: u64,
        /// The generation before this one, and its end. None if it is not known, and where the
        /// generation has not changed.
        before: Option<RemotePosition>,
    },
    /// Bytes of a generation.
    ///
    /// They may overlap with bytes that came earlier, and are then the same. If they begin after
    /// the end of those, the bytes between can be fetched.
    Bytes {
        /// The generation with the latest signature, and the offset of the first byte.
        at: RemotePosition,
        /// At least one, at most [`EVENT_BYTES_MAX`].
        bytes: Bytes,
        /// When the file was last written to before these bytes were read, by the clock of its
        /// machine.
        written: SystemTime,
    },
    /// Nobody has these bytes any more. The stream goes on after them.
    Gap {
        /// The generation, and the offset of the first byte that is missing.
        from: RemotePosition,
        /// The offset after the last byte that is missing.
        to: Offset,
    },
    /// The machine is there, and has nothing to follow under this name. It goes on with a turn.
    Waiting(WaitReason),
    /// The machine, or what lies between, does not answer. What is there stays readable.
    Unreachable,
    /// It answers again. Where bytes may be missing, a turn follows.
    Reachable,
}

/// Bytes of a generation, as they were fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// From the start of the range on; at most as many as were asked for. Fewer than that at the end
    /// of what the generation has now. Where [`size`](Self::size) says that there are more, the rest
    /// has to be asked for.
    pub bytes: Bytes,
    /// How many bytes the generation has now, as far as that is known.
    pub size: u64,
    /// The generation that had the log's name after this one, if that is known.
    pub next: Option<Successor>,
}

/// A file that had the name of a log before, on its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePast {
    /// Its absolute path on the machine now.
    pub path: Vec<u8>,
    /// The generation of its content.
    pub generation: Generation,
    /// How it is compressed; None where it is read as it is.
    pub compression: Option<Compression>,
    /// When it was last written, by the clock of its machine.
    pub modified: Option<SystemTime>,
    /// How many bytes it has on the disk.
    pub disk_size: u64,
    /// By the names, a file is missing between this one and the next.
    pub is_gap_after: bool,
}

/// Why bytes could not be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Nobody has these bytes any more, or that generation: the gap is for good.
    Gone,
    /// The machine does not answer now. It may later.
    Unreachable,
    /// The machine answers, and is not ready to give them: it does too much at once, or unpacks a file.
    Busy,
    /// The machine has no such log, or may not give it.
    Refused,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "nobody has these bytes any more",
            Self::Unreachable => "the machine that has these bytes does not answer",
            Self::Busy => "the machine is not ready yet to give these bytes",
            Self::Refused => "the machine does not give this log",
        })
    }
}

impl std::error::Error for FetchError {}

/// The connection to whatever brings the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether there is one.
    pub is_up: bool,
    /// How often it was lost.
    pub losses: u64,
}

/// The logs of other machines, as something that brings them here.
///
/// No method blocks. All may be called from any thread, inside a tokio runtime.
pub trait Remote: fmt::Debug + Send + Sync + 'static {
    /// The machines that have been heard of, in the order of their names. It answers from memory.
    fn hosts(&self) -> Vec<Host>;

    /// The logs of a machine as last heard, also while it is away. Empty for an unknown one. It
    /// answers from memory.
    fn logs(&self, host: &str) -> Arc<[RemoteLog]>;

    /// Grows each time when [`hosts`](Self::hosts) or [`logs`](Self::logs) answer something else.
    fn revision(&self) -> u64;

    /// The connection now. It answers from memory.
    fn connection(&self) -> Connection;

    /// Follows a log from `from` on: with the bytes there if somebody still has them in order, else
    /// from a later place, which the first turn says. Without `from` it begins at the present end.
    ///
    /// The channel is bounded, and a mirror that reads slowly delays no other one. A log that its
    /// machine has not got is waited for. The channel ends only when the remote itself does. Dropping
    /// the receiver ends the interest in the log.
    fn follow(&self, log: &RemoteName, from: Option<RemotePosition>)
    -> mpsc::Receiver<RemoteEvent>;

    /// Bytes of a generation, from the start of `range` on, which has at most [`FETCH_BYTES_MAX`].
    ///
    /// The generation need not be the present one: a file that was rotated away is found again where
    /// that is possible. An empty range asks for the size alone. What came next need not be in the
    /// answer. It answers within some seconds; dropping the future gives up.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    fn fetch(
        &self,
        log: &RemoteName,
        generation: &Generation,
        range: Range<u64>,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>>;

    /// How long a generation is now, and which one had the log's name after it, without bytes. That
    /// costs more than the size alone: files may have to be searched and unpacked for it.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    fn ending(
        &self,
        log: &RemoteName,
        generation: &Generation,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>>;

    /// The files that had a log's name before, the oldest first. Their bytes can be fetched by their
    /// generations. It answers within some seconds.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    fn past(&self, log: &RemoteName) -> BoxFuture<'static, Result<Vec<RemotePast>, FetchError>>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn symbol() -> impl Strategy<Value = Symbol> {
        let byte = prop_oneof![Just(b'*'), Just(b'?'), Just(b'\\'), Just(b'a'), 128u8..];
        prop_oneof![Just(Symbol::Any), Just(Symbol::One), byte.prop_map(Symbol::Byte)]
    }

    proptest! {
        #[test]
        fn a_machine_understands_the_name_of_a_pattern(
            directory in "/([a*?\\\\]{1,3}/){0,2}",
            name in proptest::collection::vec(symbol(), 1..8),
        ) {
            let bytes = directory.bytes().map(Symbol::Byte);
            let symbols: Vec<Symbol> = bytes.chain(name.iter().copied()).collect();
            let Ok(wanted) = RequestedPath::new(&symbols) else { return Ok(()) };
            let has_wildcards = name.iter().any(|it| matches!(it, Symbol::Any | Symbol::One));
            let pattern = wanted.pattern().cloned();
            prop_assert_eq!(pattern.is_some(), has_wildcards);
            let named = RemoteName::new("web", wanted.path(), pattern.as_ref());
            prop_assert_eq!(requested(&named.path), Some(wanted));
        }
    }

    #[test]
    fn a_path_is_its_own_name() {
        let path = b"/var/log/a*b?c\\.log";
        let named = RemoteName::new("web", path, None);
        assert_eq!(&*named.path, path);
        let asked = requested(path).unwrap();
        assert!(asked.pattern().is_none() && asked.path() == path);
        assert!(requested(b"*no-directory").is_none() && requested(b"*/x\\").is_none());
    }
}
