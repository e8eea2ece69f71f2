//! The history of a log: the files that had its name, their generations, and what comes next in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::log::access::{Identity, LogPath};
use crate::log::archive::Compression;
use crate::log::blocking;
use crate::log::file::LogFile;
use crate::log::follower::old_files::{NextRotated, Sought};
use crate::log::follower::{Event, Follower};
use crate::log::position::{Generation, Offset};
use crate::log::rotated::{self, Identified, PastFile};
use crate::log::timeline::{Span, SpanReader};

/// A file of a log's history: one that had the log's name, or the present one.
#[derive(Clone, Debug)]
pub struct HistoryFile {
    /// The generation of its content.
    pub generation: Generation,
    /// How it is compressed; None where it is read as it is.
    pub compression: Option<Compression>,
    /// When it was last written, if known.
    pub modified: Option<SystemTime>,
    /// How many bytes it has on the disk.
    pub disk_size: u64,
    /// None for the present file.
    pub(super) past: Option<Past>,
}

/// Where a file of the past lies.
#[derive(Clone, Debug)]
pub(super) enum Past {
    Here(PastFile),
    /// On another machine, which gives it by its generation.
    Elsewhere {
        path: LogPath,
        is_gap_after: bool,
    },
}

impl HistoryFile {
    /// The path of a file that has lost the log's name; None for the present file.
    #[must_use]
    pub fn past_path(&self) -> Option<&LogPath> {
        self.past.as_ref().map(|past| match past {
            Past::Here(past) => &past.path,
            Past::Elsewhere { path, .. } => path,
        })
    }

    /// Whether, by the names, a file is missing between this one and the next.
    #[must_use]
    pub fn is_gap_after(&self) -> bool {
        self.past.as_ref().is_some_and(|past| match past {
            Past::Here(past) => past.is_gap_after,
            Past::Elsewhere { is_gap_after, .. } => *is_gap_after,
        })
    }
}

impl Follower {
    /// The past of the log and its present file, the oldest file first.
    pub async fn history(self: &Arc<Self>) -> Vec<HistoryFile> {
        if let Some(mirror) = self.access.mirror_of(&self.log) {
            return self.history_elsewhere(&mirror).await;
        }
        let follower = Arc::clone(self);
        blocking::run(self.device, move || follower.read_history()).await.unwrap_or_default()
    }

    /// The same. It may block.
    fn read_history(&self) -> Vec<HistoryFile> {
        let past = self.old_files.past(&self.access, &self.log);
        let there: HashMap<Identity, Arc<Identified>> =
            past.iter().map(|(_, it)| (it.generation.identity, Arc::clone(it))).collect();
        let mut files: Vec<HistoryFile> = Vec::with_capacity(past.len() + 1);
        // The newest first: what was compressed a moment ago was followed a moment before.
        for (file, identified) in past.into_iter().rev() {
            let (named, head) = (identified.generation, &identified.head);
            let timeline = self.timeline();
            let known = timeline.known_file(named.identity, head).or_else(|| {
                let present = timeline.latest().map(|span| span.generation);
                let is_gone = |generation: &Generation, identity: Identity| {
                    let is_taken = files.iter().any(|other| other.generation.is(generation));
                    let is_present = present.is_some_and(|present| present.is(generation));
                    // Another file may have got the number of one that is gone.
                    let other = there.get(&identity);
                    let is_there = other.is_some_and(|other| generation.is_of(&other.head));
                    !is_present && !is_there && !is_taken
                };
                identified.compression.and_then(|_| timeline.known_content(head, is_gone))
            });
            drop(timeline);
            files.push(HistoryFile {
                generation: known.unwrap_or(named),
                compression: identified.compression,
                modified: Some(file.modified),
                disk_size: file.size,
                past: Some(Past::Here(file)),
            });
        }
        files.reverse();
        self.with_present(files)
    }

    /// The files of the past, and the present one.
    pub(super) fn with_present(&self, mut files: Vec<HistoryFile>) -> Vec<HistoryFile> {
        let present = {
            let timeline = self.timeline();
            timeline.present().cloned()
        };
        let Some((present, file)) = present.and_then(|span| Some((span.signed(), span.file()?)))
        else {
            return files;
        };
        // It may have been renamed a moment ago.
        if !files.iter().any(|past| past.generation.is(&present)) {
            let status = match file.is_mirrored() {
                true => file.status().ok(),
                false => self.access.status(&self.log).ok(),
            };
            files.push(HistoryFile {
                generation: present,
                compression: file.compression(),
                modified: status.map(|status| status.modified),
                disk_size: status.map_or(0, |status| status.size),
                past: None,
            });
        }
        files
    }

    /// The span of a file of the log's history, whose file stays open as long as it is read.
    pub async fn open_history(self: &Arc<Self>, file: &HistoryFile) -> Option<SpanReader> {
        let generation = file.generation;
        let past = match file.past.clone() {
            Some(Past::Here(past)) => past,
            Some(Past::Elsewhere { .. }) => {
                let mirror = self.access.mirror_of(&self.log)?;
                return self.open_elsewhere(&mirror, generation).await;
            }
            None => {
                let timeline = self.timeline();
                return timeline.last_of(generation).map(|span| SpanReader::enter(&span));
            }
        };
        let _finding = self.finding.lock().await;
        let known = {
            let timeline = self.timeline();
            timeline.find(generation, Offset(0)).map(|span| SpanReader::enter(&span))
        };
        if known.is_some() {
            return known;
        }
        self.find(move |follower| follower.seek_past(&past, generation)).await
    }

    /// The span of a file of the past, from its first byte on. It may block.
    fn seek_past(&self, past: &PastFile, generation: Generation) -> Sought<SpanReader> {
        let file = past.open(&self.access);
        match file.filter(|file| file.identity() == generation.identity) {
            Some(file) => self.sought(Some(generation), Offset(0), file),
            // It was renamed or compressed since it was followed, or since the list was made.
            None => self.seek_rotated(generation, Offset(0)),
        }
    }

    /// The first of the files that had the log's name before that of a span and were missed, if it
    /// lies where old files do: by the names, it comes right behind a file that was followed.
    pub async fn find_missed(self: &Arc<Self>, next: &Span) -> Option<SpanReader> {
        if self.access.mirror_of(&self.log).is_some() {
            return None;
        }
        let _finding = self.finding.lock().await;
        let next = next.generation;
        self.find(move |follower| follower.seek_missed(next)).await
    }

    /// The same. It may block.
    fn seek_missed(&self, next: Generation) -> Sought<SpanReader> {
        let history = self.read_history();
        let next = history.iter().position(|file| file.generation.is(&next));
        let earlier = next.and_then(|next| history.get(..next)).unwrap_or_default();
        let is_followed = |file: &HistoryFile| self.timeline().turned_to(file.generation);
        let followed = earlier.iter().rposition(is_followed);
        let missed = followed.and_then(|followed| earlier.get(followed + 1));
        match missed.and_then(|file| Some((file.generation, file.past.as_ref()?))) {
            Some((generation, Past::Here(past))) => self.seek_past(past, generation),
            _ => Sought::Nothing,
        }
    }

    /// What comes next in the history. After it come the files that have been followed. It may
    /// block.
    pub(super) fn find_next_by_name(
        &self,
        before_span: &Span,
        before: &LogFile,
    ) -> Sought<NextRotated> {
        let mut follows_directly = true;
        let until = Instant::now() + rotated::MOVING_TIME_MAX;
        loop {
            let history = self.read_history();
            let is_before = |file: &HistoryFile| file.generation.is(&before_span.generation);
            let from = match history.iter().position(is_before) {
                Some(at) => {
                    follows_directly &= !history[at].is_gap_after();
                    at + 1
                }
                // It was removed since. The times say what comes next.
                None => {
                    follows_directly = false;
                    let written = before.status().ok().map(|status| status.modified);
                    let later = history.iter().position(|file| file.modified > written);
                    later.unwrap_or(history.len())
                }
            };
            let next = history.get(from);
            let followed = next.and_then(|next| self.timeline().before_first_of(next.generation));
            let past = next.and_then(|next| Some((next, next.past.as_ref()?)));
            let Some((next, Past::Here(past))) = past.filter(|_| followed.is_none()) else {
                let next = NextRotated::new(None, follows_directly);
                return Sought::Found(NextRotated { after: followed, ..next });
            };
            let Some(file) = past.open(&self.access) else {
                // It was renamed or compressed since it was listed.
                if !past.is_in_place(&self.access) && Instant::now() < until {
                    continue;
                }
                return Sought::Found(NextRotated::unknown());
            };
            if let Some(copy) = file.still_unpacking() {
                return Sought::Unpacking(copy);
            }
            let span = self.take_in(Some(next.generation), Offset(0), file);
            let follows_directly = follows_directly && span.is_some();
            return Sought::Found(NextRotated::new(span, follows_directly));
        }
    }

    /// Where a viewer goes on that has read a file which it got to elsewhere: in the span of the same
    /// file, if the follower has come to that file meanwhile, too. None for a log of this machine: what
    /// is followed here came after all files that were rotated away before.
    #[must_use]
    pub fn come_to(&self, span: &Span, offset: Offset) -> Option<SpanReader> {
        self.access.mirror_of(&self.log)?;
        let mut timeline = self.timeline();
        let span = timeline.followed_at(span.generation, offset)?;
        let reader = SpanReader::enter(&span);
        // Its machine has given the bytes before this offset. What is told of them later is not new.
        let is_ahead = span.end() < offset;
        if is_ahead && timeline.latest().is_some_and(|latest| latest.number == span.number) {
            timeline.extend_to(offset);
            drop(timeline);
            self.send(Event::TimelineChanged);
        }
        Some(reader)
    }
}
