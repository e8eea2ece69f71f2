//! What a viewer asks for.

use crate::log::timeline::OLD_FILES_MAX;
use crate::log::{Generation, Offset};

/// Where a viewer wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// So many lines before the end.
    Lines(u64),
    /// At the first byte.
    All,
    /// At a position. Where it can't be honoured, at `otherwise` lines before the end, or at the first byte.
    From {
        /// The wanted byte.
        offset: Offset,
        /// Whose byte it is.
        of: WantedGeneration,
        /// Where to begin if that can't be had.
        otherwise: Option<u64>,
    },
}

impl StartAt {
    /// Whether it is a position of this generation.
    pub(crate) fn is_of(&self, generation: Generation) -> bool {
        matches!(self, Self::From { of: WantedGeneration::Generation(wanted), .. } if wanted.is(&generation))
    }
}

/// Whose byte an offset names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantedGeneration {
    /// Of the file that is there now.
    #[default]
    Present,
    /// Of this generation.
    Generation(Generation),
    /// Of a generation that is not of our making: there is no such byte.
    Nothing,
}

/// How far a viewer that comes back had the file from which its stream turned a moment ago: a writer may have stayed with
/// that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The file's; none if the text is not of our making.
    pub generation: Option<Generation>,
    /// The first byte that the viewer has not been given.
    pub offset: Offset,
}

/// So many files before are asked for at most, which is as many as a follower hears.
pub const LATE_MAX: usize = OLD_FILES_MAX;

/// What a viewer asks for.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// Where to begin.
    pub begin: StartAt,
    /// What it had of the files before that of its position, at most [`LATE_MAX`], the one that it left last at the end.
    pub late: Vec<Late>,
    /// Follow on, rather than end where the log ends now.
    pub tail: bool,
    /// Wait for a log that is not there.
    pub wait: bool,
    /// Be told when the generation is signed better than it was.
    pub signed: bool,
    /// On lag leave out what was missed, rather than send it later.
    pub skip: bool,
}
