//! What a viewer requests.

use crate::encoding::Encoding;
use crate::log::timeline::OLD_FILES_MAX;
use crate::log::{Generation, Offset};

/// Where a stream is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// So many lines before the end.
    Lines(u64),
    /// At the first byte.
    All,
    /// At a position. If it can't be honoured, `otherwise` lines before the end, or at the first
    /// byte.
    From {
        /// The offset of the first byte.
        offset: Offset,
        /// The generation that the offset is in.
        of: WantedGeneration,
        /// The lines before the end where the position can't be honoured; none for the first byte.
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
    /// That of the file that is there now.
    #[default]
    Present,
    /// This one.
    Generation(Generation),
    /// One whose text is not of this program's making: there is no such file.
    Nothing,
}

/// How far a resuming viewer had an earlier file of the log, to which a writer may have written
/// after the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The generation of the file; none if its text is not of this program's making.
    pub generation: Option<Generation>,
    /// The offset of the first byte that the viewer has not been given.
    pub offset: Offset,
}

/// The most earlier files of a request: a follower reads late bytes of as many.
pub const LATE_MAX: usize = OLD_FILES_MAX;

/// The request for a stream.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// Where to start.
    pub begin: StartAt,
    /// What the viewer had of the files before that of its position, at most [`LATE_MAX`], in the
    /// order in which it left them.
    pub late: Vec<Late>,
    /// Follow the log, rather than end where it ends now.
    pub tail: bool,
    /// Wait for a log that does not exist.
    pub wait: bool,
    /// Send a message when the generation gets a longer signature.
    pub signed: bool,
    /// On lag leave out what was missed, rather than send it later.
    pub skip: bool,
    /// The encoding of the log. Without one, the first bytes of the log say it.
    pub encoding: Option<Encoding>,
}
