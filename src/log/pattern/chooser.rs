//! Decides which file a log's name leads to now.
//!
//! A plain name leads to whatever has it. A pattern leads to its newest match at first, and then
//! to the next newer one, so that no file between is left out. It never turns back while the file
//! that is followed exists. If that file is gone, and no newer one has come by the time that the
//! follower gives it up, the pattern leads to the newest of those that are left.

use std::sync::Arc;

use crate::log::access::{Access, Admitted, Identity, LogPath, Refusal};
use crate::log::descriptors::Reserve;
use crate::log::pattern::{Match, Pattern, Rank, first_admitted, matches};

/// The chooser of one follower.
#[derive(Debug)]
pub(in crate::log) struct Chooser {
    access: Arc<Access>,
    log: LogPath,
    /// Descriptors for opens while the process has no others left.
    reserve: Arc<Reserve>,
    last: Last,
}

/// The match that was opened last.
#[derive(Debug)]
enum Last {
    /// None yet.
    Nothing,
    /// It is followed, or will be.
    Followed(Rank),
    /// It was followed, and is gone.
    Gone(Rank),
}

/// The file that the name leads to.
#[derive(Debug)]
pub(in crate::log) struct Chosen {
    pub(in crate::log) admitted: Admitted,
    /// It is older than one that was followed before, so its lines are not new.
    pub(in crate::log) is_older: bool,
}

impl Chooser {
    pub(in crate::log) fn new(access: Arc<Access>, log: LogPath) -> Self {
        Self { access, log, reserve: Arc::default(), last: Last::Nothing }
    }

    pub(in crate::log) fn with_reserve(self, reserve: Arc<Reserve>) -> Self {
        Self { reserve, ..self }
    }

    /// Called with the file with which the follower begins.
    pub(in crate::log) fn begin(&mut self, opened: &Admitted) {
        if let Some(rank) = opened.rank() {
            self.last = Last::Followed(rank.clone());
        }
    }

    /// Whether the name has wildcards.
    pub(in crate::log) fn is_pattern(&self) -> bool {
        self.log.pattern().is_some()
    }

    /// The identity of the file to which the name leads now.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub(in crate::log) fn identify(&self) -> Result<Identity, Refusal> {
        self.choose(|log| self.access.identify(log)).map(|(_, identity)| identity)
    }

    /// Opens the file to which the name leads now. From then on a pattern leads to newer ones.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub(in crate::log) fn open(&mut self) -> Result<Chosen, Refusal> {
        let (rank, admitted) = self.choose(|log| self.access.open(log))?;
        let is_older = matches!((&self.last, &rank), (Last::Gone(last), Some(rank)) if rank < last);
        if let Some(rank) = rank {
            self.last = Last::Followed(rank);
        }
        Ok(Chosen { admitted, is_older })
    }

    /// Called when the follower has given up the file that is gone.
    pub(in crate::log) fn give_up(&mut self) {
        self.last = match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Nothing => Last::Nothing,
            Last::Followed(rank) | Last::Gone(rank) => Last::Gone(rank),
        };
    }

    fn choose<T>(
        &self,
        open: impl Fn(&LogPath) -> Result<T, Refusal>,
    ) -> Result<(Option<Rank>, T), Refusal> {
        self.reserve.open(|| match self.log.pattern() {
            None => open(&self.log).map(|opened| (None, opened)),
            Some(pattern) => {
                let candidates = self.candidates(pattern)?;
                let (chosen, opened) = first_admitted(&candidates, &open)?;
                Ok((Some(chosen.rank.clone()), opened))
            }
        })
    }

    /// The matches to which the pattern may lead now, the first choice first.
    fn candidates(&self, pattern: &Pattern) -> Result<Vec<Match>, Refusal> {
        let mut all = matches(&self.access, &self.log, pattern)?;
        match &self.last {
            Last::Nothing | Last::Gone(_) => all.reverse(),
            Last::Followed(last) => {
                all.retain(|found| found.rank >= *last);
                // What is followed already comes after everything newer.
                if all.first().is_some_and(|first| first.rank == *last) {
                    all.rotate_left(1);
                }
            }
        }
        Ok(all)
    }
}
