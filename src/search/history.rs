//! A log with the files that had its name before, as one sequence of files.

use std::sync::Arc;

use crate::log::archive::Notice;
use crate::log::{Follower, Generation, HistoryFile, LogPath, Offset, Refusal, Subscription};
use crate::render::Interpretation;
use crate::search::{Limiter, RowPosition, SearchError, Snapshot};
use crate::session::{Hub, WantedGeneration};
use crate::time::Zone;

/// The files of a log as they were at one moment, the oldest first.
pub struct History {
    /// Keeps the log's follower, which keeps the generations.
    subscription: Subscription,
    files: Vec<HistoryFile>,
    chosen: Interpretation,
}

/// Rows of one file of the history.
pub struct HistoryRows {
    /// The file.
    pub snapshot: Snapshot,
    /// Its place among the files.
    pub at: usize,
    /// Which rows of it.
    pub place: RowPosition,
}

impl History {
    /// The history of a log, which may have no present file. Its files are understood as it was
    /// `chosen`.
    ///
    /// # Errors
    /// [`SearchError::Refused`].
    pub async fn open(
        hub: &Hub,
        log: &LogPath,
        chosen: Interpretation,
    ) -> Result<Self, SearchError> {
        let subscription = hub.registry().visit(log).await?;
        if subscription.is_barred {
            return Err(Refusal::Unreadable.into());
        }
        let files = subscription.follower.history().await;
        if files.is_empty() {
            return Err(Refusal::NotFound.into());
        }
        Ok(Self { subscription, files, chosen })
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &LogPath {
        self.follower().log()
    }

    /// Its files, the oldest first.
    #[must_use]
    pub fn files(&self) -> &[HistoryFile] {
        &self.files
    }

    /// The path of a file.
    #[must_use]
    pub fn path_of(&self, file: &HistoryFile) -> LogPath {
        file.past_path().unwrap_or(self.follower().log()).clone()
    }

    /// What is known of a file's content without opening it: its size and what has to be said.
    #[must_use]
    pub fn content_of(&self, file: &HistoryFile) -> Option<(u64, Option<Notice>)> {
        if file.compression.is_none() {
            return Some((file.disk_size, None));
        }
        let known = self.follower().timeline().last_of(file.generation)?;
        let open = known.file()?;
        Some((known.end().0, open.notice()))
    }

    fn follower(&self) -> &Arc<Follower> {
        &self.subscription.follower
    }

    /// One of the files, by its place among them. A compressed one is unpacked first.
    ///
    /// # Errors
    /// [`SearchError::Gone`] when it is gone, or can't be read.
    pub async fn snapshot(&self, hub: &Hub, at: usize) -> Result<Snapshot, SearchError> {
        let gone = || SearchError::Gone(self.files.last().map(|file| file.generation));
        let file = self.files.get(at).ok_or_else(gone)?;
        let follower = self.follower();
        let found = follower.open_history(file).await.ok_or_else(gone)?;
        let last = follower.timeline().last_of(file.generation);
        let last = last.filter(|last| last.file().is_some());
        let span = last.unwrap_or_else(|| Arc::clone(found.span()));
        let generation = span.signed();
        Snapshot::of_span(hub, follower, span, generation, self.chosen).ok_or_else(gone)
    }

    /// The place of a generation, or of the file that has it now under another name.
    ///
    /// # Errors
    /// [`SearchError::Gone`].
    pub async fn place_of(
        &self,
        hub: &Hub,
        wanted: WantedGeneration,
    ) -> Result<usize, SearchError> {
        let present = self.files.last().map(|file| file.generation);
        let gone = || SearchError::Gone(present);
        let WantedGeneration::Generation(generation) = wanted else {
            let last = self.files.len().checked_sub(1).ok_or_else(gone)?;
            return if wanted == WantedGeneration::Present { Ok(last) } else { Err(gone()) };
        };
        let position = |generation: Generation| {
            self.files.iter().position(|file| file.generation.is(&generation))
        };
        if let Some(at) = position(generation) {
            return Ok(at);
        }
        let log = self.follower().log();
        let snapshot = Snapshot::open(hub, log, wanted, self.chosen).await?;
        position(snapshot.own_generation()).ok_or_else(gone)
    }

    /// The first line that is not before a time, in milliseconds since 1970: its file's place among
    /// the files, and its offset. The end of the last file if there is none. Files that are older
    /// than the one with the line are not opened.
    ///
    /// # Errors
    /// [`SearchError::Gone`], and those of reads.
    pub async fn seek_time(
        &self,
        hub: &Hub,
        limiter: &Limiter,
        time: i64,
        zone: &Zone,
    ) -> Result<(usize, Offset), SearchError> {
        let mut found = None;
        for at in (0..self.files.len()).rev() {
            let snapshot = match self.snapshot(hub, at).await {
                Err(SearchError::Gone(_)) if found.is_some() => break,
                snapshot => snapshot?,
            };
            let (end, zone) = (snapshot.end, zone.clone());
            let line = limiter.quick(move || Ok(snapshot.seek_time(time, &zone)?)).await?;
            if line >= end && end.0 > 0 && found.is_some() {
                break;
            }
            found = Some((at, line));
            if line.0 > 0 {
                break;
            }
        }
        found.ok_or_else(|| SearchError::Gone(self.files.last().map(|file| file.generation)))
    }

    /// The file and the place in it at which rows are. Behind the end of a file come the rows of the
    /// next one, and before its beginning those of the one before. Without a place, the first rows of
    /// the wanted generation, or of all.
    ///
    /// # Errors
    /// [`SearchError::Gone`].
    pub async fn rows_at(
        &self,
        hub: &Hub,
        wanted: WantedGeneration,
        place: Option<RowPosition>,
    ) -> Result<HistoryRows, SearchError> {
        let mut at = match (wanted, place) {
            (WantedGeneration::Present, None) => 0,
            (wanted, _) => self.place_of(hub, wanted).await?,
        };
        let mut place = place.unwrap_or(RowPosition::From(Offset(0)));
        loop {
            let snapshot = self.snapshot(hub, at).await?;
            match place {
                RowPosition::From(offset)
                    if offset >= snapshot.end && at + 1 < self.files.len() =>
                {
                    (at, place) = (at + 1, RowPosition::From(Offset(0)));
                }
                RowPosition::Before(offset) if at > 0 && (offset.0 == 0 || snapshot.end.0 == 0) => {
                    (at, place) = (at - 1, RowPosition::Before(Offset(u64::MAX)));
                }
                place => return Ok(HistoryRows { snapshot, at, place }),
            }
        }
    }
}
