//! The state of a log's name: what is followed, and which files have taken the name since.

use std::collections::VecDeque;
use std::time::Instant;

use crate::log::access::Identity;
use crate::log::follower::tailed_file::TailedFile;
use crate::log::timeline::WaitReason;

/// What is followed, and whether it has the log's name.
#[derive(Debug)]
pub(super) enum Present {
    /// Nothing is followed, for this reason. None before the reason has been published.
    Absent(Option<WaitReason>),
    /// The file that is followed had the name at the last check. The time of that check is None
    /// when the next poll has to check the name.
    Named { file: TailedFile, checked_at: Option<Instant> },
    /// A file is followed, but since this time the path has led to nothing that can be followed.
    Gone { file: TailedFile, since: Instant },
    /// Other files have taken the name since, and begin when the present one has been read to its
    /// end.
    Draining { file: Option<TailedFile>, successors: Successors },
}

/// Files that have taken the name, in that order. Never empty between two polls.
#[derive(Debug)]
pub(super) struct Successors {
    pub(super) files: VecDeque<TailedFile>,
    /// When the first of them was seen.
    pub(super) since: Instant,
}

impl Default for Present {
    fn default() -> Self {
        Self::Absent(None)
    }
}

impl Present {
    pub(super) fn file(&self) -> Option<&TailedFile> {
        match self {
            Self::Absent(_) => None,
            Self::Named { file, .. } | Self::Gone { file, .. } => Some(file),
            Self::Draining { file, .. } => file.as_ref(),
        }
    }

    pub(super) fn file_mut(&mut self) -> Option<&mut TailedFile> {
        match self {
            Self::Absent(_) => None,
            Self::Named { file, .. } | Self::Gone { file, .. } => Some(file),
            Self::Draining { file, .. } => file.as_mut(),
        }
    }

    /// The file that is followed, and the successors, if there are any.
    pub(super) fn into_parts(self) -> (Option<TailedFile>, Option<Successors>) {
        match self {
            Self::Absent(_) => (None, None),
            Self::Named { file, .. } | Self::Gone { file, .. } => (Some(file), None),
            Self::Draining { file, successors } => (file, Some(successors)),
        }
    }

    pub(super) fn successors(&self) -> Option<&Successors> {
        match self {
            Self::Draining { successors, .. } => Some(successors),
            Self::Absent(_) | Self::Named { .. } | Self::Gone { .. } => None,
        }
    }

    pub(super) fn has_successors(&self) -> bool {
        self.successors().is_some()
    }

    pub(super) fn is(&self, identity: Identity) -> bool {
        self.file().is_some_and(|tailed| tailed.file.identity() == identity)
    }

    /// The path leads to the file that is followed. Returns whether it had led to nothing before.
    pub(super) fn name_confirmed(&mut self, now: Instant) -> bool {
        let is_back = matches!(self, Self::Gone { .. });
        *self = match std::mem::take(self) {
            Self::Named { file, .. } | Self::Gone { file, .. } => {
                Self::Named { file, checked_at: Some(now) }
            }
            other @ (Self::Absent(_) | Self::Draining { .. }) => other,
        };
        is_back
    }

    /// Makes the next poll check the name.
    pub(super) fn doubt_name(&mut self) {
        if let Self::Named { checked_at, .. } = self {
            *checked_at = None;
        }
    }

    /// Adds a file that took the name before all other successors.
    pub(super) fn push_first_successor(&mut self, next: TailedFile, now: Instant) {
        if let Self::Draining { successors, .. } = self {
            return successors.files.push_front(next);
        }
        self.push_successor(next, now);
    }

    /// Adds a file that took the name after all others.
    pub(super) fn push_successor(&mut self, next: TailedFile, now: Instant) {
        if let Self::Draining { successors, .. } = self {
            return successors.files.push_back(next);
        }
        let (file, _) = std::mem::take(self).into_parts();
        let successors = Successors { files: VecDeque::from([next]), since: now };
        *self = Self::Draining { file, successors };
    }
}
