//! What a viewer requests.

use crate::log::timeline::OLD_FILES_MAX;
use crate::log::{Generation, Offset};
use crate::render::Interpretation;
use crate::time::TimeRange;

/// Where a stream is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// This many lines before the end.
    Lines(u64),
    /// At the first byte.
    All,
    /// At a position. If it can't be recovered, `otherwise` lines before the end, or at the first
    /// byte.
    From {
        /// The offset of the first byte.
        offset: Offset,
        /// The generation that the offset is in.
        of: WantedGeneration,
        /// The lines before the end if the position can't be recovered. None for the first byte.
        otherwise: Option<u64>,
    },
}

impl StartAt {
    /// Whether it is a position in this generation.
    pub(crate) fn is_of(&self, generation: Generation) -> bool {
        matches!(self, Self::From { of: WantedGeneration::Generation(wanted), .. } if wanted.is(&generation))
    }
}

/// The generation that a requested offset is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantedGeneration {
    /// The generation of the present file.
    #[default]
    Present,
    /// This one.
    Generation(Generation),
    /// A generation whose text this program has not issued: there is no such file.
    Nothing,
}

/// How much a resuming viewer has received of an earlier file of the log, to which a writer may
/// have written after the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The generation of the file. None if this program has not issued its text.
    pub generation: Option<Generation>,
    /// The offset of the first byte that the viewer has not received.
    pub offset: Offset,
}

/// The most earlier files of a request: a follower reads late bytes of as many.
pub const LATE_MAX: usize = OLD_FILES_MAX;

/// The request for a stream.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// Where to start.
    pub begin: StartAt,
    /// How much the viewer has received of the files before that of its position, at most
    /// [`LATE_MAX`], in the order in which it left them.
    pub late: Vec<Late>,
    /// The files that had the log's name before stand before it: the start may be in one of them.
    pub history: bool,
    /// The part of the log by the times of its lines. A position comes before its beginning.
    pub range: TimeRange,
    /// Follow the log, rather than end where it ends now.
    pub tail: bool,
    /// Wait for a log that does not exist.
    pub wait: bool,
    /// Send a message when the generation gets a longer signature.
    pub signed: bool,
    /// Send a message when the log's viewers change.
    pub audience: bool,
    /// After a lag, leave out what was missed instead of sending it later.
    pub skip: bool,
    /// How the log is to be understood.
    pub interpretation: Interpretation,
}

impl StreamRequest {
    /// A request for what the log has from there on now, without anything else.
    #[must_use]
    pub fn new(begin: StartAt) -> Self {
        Self {
            begin,
            late: Vec::new(),
            history: false,
            range: TimeRange::default(),
            tail: false,
            wait: false,
            signed: false,
            audience: false,
            skip: false,
            interpretation: Interpretation::default(),
        }
    }
}
