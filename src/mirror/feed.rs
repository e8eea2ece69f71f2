//! Turns what a machine tells of a log into what its follower publishes here.
//!
//! Bytes are kept before they are published, so that whoever reads the file finds them. A span here
//! begins where and why one began on the machine. Where the machine has been out of reach, the follower
//! is told how long the file is now, and viewers read what they have missed.

mod together;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::log::file::{CHUNK_BYTES_MAX, LogFile};
use crate::log::fingerprint::{FINGERPRINT_BYTES, Fingerprint};
use crate::log::follower::events::FileEvent;
use crate::log::position::SIGNATURE_BYTES_MAX;
use crate::log::timeline::{Head, Reason, WaitReason};
use crate::log::{Generation, Offset, blocking};
use crate::mirror::feed::together::{Together, together};
use crate::mirror::logs::{Logs, bring_head, mirrored, patiently};
use crate::mirror::remote::{FetchError, Fetched, RemoteEvent, RemoteName, RemotePosition};
use crate::mirror::spool::SpoolFile;

/// So many events that wait are heard at once. Their bytes are written to the disk in one call.
const TOGETHER_MAX: usize = 4;
/// So many generations are sought that a log had while its machine was away.
const BETWEEN_MAX: usize = 64;

/// What is known of one log while somebody follows it.
pub(super) struct Pump {
    logs: Arc<Logs>,
    name: RemoteName,
    present: Option<Present>,
    waiting: Option<WaitReason>,
    /// What the machine said last, if it has nothing to follow.
    said: Option<WaitReason>,
}

/// The generation that is told now.
struct Present {
    generation: Generation,
    /// What its machine calls it since it was started again, where that is another name.
    alias: Option<Generation>,
    kept: Arc<SpoolFile>,
    file: Arc<LogFile>,
    /// The offset after the last byte that was published.
    end: u64,
}

/// A generation that a log had while it could not be heard.
struct Between {
    generation: Generation,
    size: u64,
    /// By the one after it.
    is_followed_directly: bool,
}

impl Present {
    fn is(&self, generation: &Generation) -> bool {
        self.generation.is(generation) || self.alias.is_some_and(|alias| alias.is(generation))
    }

    fn began(&self, reason: Reason) -> FileEvent {
        FileEvent::Began {
            generation: self.kept.generation(),
            head: self.kept.head(),
            before: Fingerprint::at(Offset(self.end)),
            reason,
            file: Arc::clone(&self.file),
        }
    }

    /// Publishes bytes, as far as that has not happened.
    fn publish(
        &mut self,
        start: u64,
        bytes: &Bytes,
        written: SystemTime,
        head: Head,
        events: &mut Vec<FileEvent>,
    ) {
        let seen = usize::try_from(self.end.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut rest = bytes.slice(seen.min(bytes.len())..);
        let mut start = Offset(start + (bytes.len() - rest.len()) as u64);
        while !rest.is_empty() {
            let bytes = rest.split_to(rest.len().min(CHUNK_BYTES_MAX));
            let end = start.plus(bytes.len());
            events.push(FileEvent::Bytes { start, bytes, written, head });
            start = end;
            self.end = end.0;
        }
    }

    /// Publishes that there are bytes up to here, if that is not known.
    fn extend_to(&mut self, end: u64, events: &mut Vec<FileEvent>) {
        if end > self.end {
            self.end = end;
            events.push(FileEvent::Extended { to: Offset(end), head: self.kept.head() });
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.logs.followed.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pump {
    pub(super) fn new(logs: Arc<Logs>, name: RemoteName) -> Self {
        logs.followed.fetch_add(1, Ordering::Relaxed);
        Self { logs, name, present: None, waiting: None, said: None }
    }

    /// Passes on what is heard, until nobody wants it any more or the remote ends.
    pub(super) async fn run(
        mut self,
        mut heard: mpsc::Receiver<RemoteEvent>,
        follower: mpsc::Sender<Vec<FileEvent>>,
    ) {
        let mut waiting = Vec::with_capacity(TOGETHER_MAX);
        loop {
            let count = tokio::select! {
                count = heard.recv_many(&mut waiting, TOGETHER_MAX) => count,
                () = follower.closed() => return,
            };
            if count == 0 {
                return;
            }
            for event in together(waiting.drain(..)) {
                let events = self.hear_together(event).await;
                if !events.is_empty() && follower.send(events).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Begins with what is kept of a generation, while its machine does not answer.
    pub(super) async fn begin_with(&mut self, generation: Generation) -> Vec<FileEvent> {
        match self.enter(generation, 0).await {
            Ok(mut present) => {
                present.end = present.kept.size();
                let events = vec![present.began(Reason::Joined)];
                self.present = Some(present);
                events
            }
            Err(error) => self.cannot_keep(&error),
        }
    }

    /// What is published for an event.
    pub(super) async fn hear(&mut self, event: RemoteEvent) -> Vec<FileEvent> {
        self.hear_together(Together { event, more: Vec::new() }).await
    }

    async fn hear_together(&mut self, Together { event, more }: Together) -> Vec<FileEvent> {
        tracing::trace!(log = ?self.name, ?event, "heard");
        let mut events = Vec::new();
        match event {
            RemoteEvent::Turn { .. } | RemoteEvent::Bytes { .. } | RemoteEvent::Gap { .. } => {
                self.said = None;
            }
            RemoteEvent::Waiting(reason) => self.said = Some(reason),
            RemoteEvent::Unreachable => {}
            RemoteEvent::Reachable => {
                if let Some(present) = &self.present {
                    present.kept.ask_again();
                }
            }
        }
        let heard = match event {
            RemoteEvent::Turn { at, reason, size, before } => {
                self.turn(at, reason, size, before, &mut events).await
            }
            RemoteEvent::Bytes { at, bytes, written } => {
                let all = std::iter::once((bytes, written)).chain(more).collect();
                self.bytes(at, all, &mut events).await
            }
            RemoteEvent::Gap { from, to } => {
                if let Some(present) = self.present.as_mut().filter(|it| it.is(&from.generation)) {
                    present.kept.lose(from.offset.0..to.0);
                    self.go_on(&mut events);
                    if let Some(present) = &mut self.present {
                        present.extend_to(to.0, &mut events);
                    }
                }
                Ok(())
            }
            RemoteEvent::Waiting(reason) => {
                self.wait(reason, &mut events);
                Ok(())
            }
            RemoteEvent::Unreachable => {
                self.wait(WaitReason::Unreachable, &mut events);
                Ok(())
            }
            RemoteEvent::Reachable => {
                if self.waiting == Some(WaitReason::Unreachable) {
                    match self.said {
                        // It has not got the log back only because it can be heard.
                        Some(reason) => self.wait(reason, &mut events),
                        None => self.go_on(&mut events),
                    }
                }
                Ok(())
            }
        };
        if let Err(error) = heard {
            events.extend(self.cannot_keep(&error));
        }
        events
    }

    fn wait(&mut self, reason: WaitReason, events: &mut Vec<FileEvent>) {
        if self.waiting.replace(reason) != Some(reason) {
            events.push(FileEvent::Waiting(reason));
        }
    }

    /// Goes on with the present generation after a wait.
    fn go_on(&mut self, events: &mut Vec<FileEvent>) {
        if let Some(present) = &self.present
            && self.waiting.take().is_some()
        {
            events.push(present.began(Reason::Back));
        }
    }

    fn cannot_keep(&mut self, error: &io::Error) -> Vec<FileEvent> {
        tracing::warn!(log = ?self.name, %error, "cannot keep what its machine tells");
        let mut events = Vec::new();
        self.wait(WaitReason::Unreadable, &mut events);
        events
    }

    /// The file of a generation, with its first bytes.
    async fn enter(&self, generation: Generation, size: u64) -> io::Result<Present> {
        let kept = self.logs.file(&self.name, generation).await?;
        kept.hear(&generation, size, Some(self.logs.written(&self.name)));
        let bring = Arc::clone(&kept);
        let file = blocking::run(Logs::device(&self.name), move || {
            bring_head(&bring);
            mirrored(&bring)
        });
        let file = file.await.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))?;
        Ok(Present { generation, alias: None, kept, file: Arc::new(file), end: 0 })
    }

    async fn turn(
        &mut self,
        at: RemotePosition,
        reason: Reason,
        size: u64,
        before: Option<RemotePosition>,
        events: &mut Vec<FileEvent>,
    ) -> io::Result<()> {
        let size = size.max(at.offset.0);
        if reason == Reason::Joined
            && self.is_renamed(&at.generation).await
            && let Some(present) = &mut self.present
        {
            present.alias = Some(at.generation);
            present.kept.hear_alias(at.generation);
        }
        if let Some(present) = self.present.as_mut().filter(|it| it.is(&at.generation)) {
            present.kept.hear(&at.generation, size, Some(SystemTime::now()));
            if reason == Reason::Joined {
                present.kept.ask_again();
            }
            self.go_on(events);
            if let Some(present) = &mut self.present {
                present.extend_to(size, events);
            }
            return Ok(());
        }
        let is_direct = self.reach(at.generation, reason, before, events).await?;
        let is_first = self.present.is_none();
        // What is told next may be long behind what the machine has.
        let size = match is_first {
            true => self.size(&at.generation).await.unwrap_or(0).max(size),
            false => size,
        };
        let mut next = self.enter(at.generation, size).await?;
        let is_succession = !matches!(reason, Reason::Late | Reason::Back);
        if let Some(present) = self.present.as_ref().filter(|_| is_direct && is_succession) {
            present.kept.hear_next(at.generation);
        } else if let Some(before) = before.filter(|_| is_succession) {
            self.logs.precedes(&self.name, before, at.generation);
        }
        if !is_direct {
            tracing::debug!(log = ?self.name, before = %at.generation, "files may be missing");
            events.push(FileEvent::FilesMissing);
        }
        self.waiting = None;
        let (from, to, reason) = match reason {
            Reason::Joined if is_first => (size, size, Reason::Joined),
            // The mirror has found out that the log has turned while it could not be heard.
            Reason::Joined => {
                let was = self.present.as_ref().map(|present| present.generation.identity);
                let is_same = was == Some(at.generation.identity);
                (0, size, if is_same { Reason::Truncated } else { Reason::Rotated })
            }
            // Its bytes follow.
            reason => (at.offset.0, at.offset.0, reason),
        };
        next.end = from;
        events.push(next.began(reason));
        next.extend_to(to, events);
        self.present = Some(next);
        Ok(())
    }

    /// Whether a generation is the present one under another name: its machine was started again, found
    /// the file, and did not know any more what it had called it. The bytes prove it, as they do when a
    /// server looks for the file of a position.
    async fn is_renamed(&self, generation: &Generation) -> bool {
        let Some(present) = &self.present else { return false };
        if present.is(generation) || present.generation.identity != generation.identity {
            return false;
        }
        let end = present.end;
        let (head, tail) = (SIGNATURE_BYTES_MAX as u64, FINGERPRINT_BYTES as u64);
        for range in [0..end.min(head), end.saturating_sub(tail)..end] {
            let (start, len) = (Offset(range.start), (range.end - range.start) as usize);
            let file = Arc::clone(&present.file);
            let own =
                blocking::run(Logs::device(&self.name), move || file.read_at(start, len).ok());
            let its = self.logs.remote.fetch(&self.name, generation, range).await;
            match (own.await.flatten(), its) {
                (Some(own), Ok(its)) if own == its.bytes => {}
                // Nobody can say it now. The machine itself has gone on there with the same proof.
                (_, Err(FetchError::Unreachable | FetchError::Busy)) => {
                    return generation.has_signature_of(&present.kept.head().signed);
                }
                _ => return false,
            }
        }
        true
    }

    /// Publishes what came before a generation that begins, as far as it was not told: the end of the
    /// present one, and those between. Returns whether that is all.
    async fn reach(
        &mut self,
        next: Generation,
        reason: Reason,
        before: Option<RemotePosition>,
        events: &mut Vec<FileEvent>,
    ) -> io::Result<bool> {
        let Some(present) = &self.present else { return Ok(true) };
        let own = present.generation;
        let ends = before.filter(|before| present.is(&before.generation));
        if let Some(ends) = ends {
            self.extend(own, ends.offset.0, events);
            return Ok(true);
        }
        match reason {
            // Where it goes on is known, and what came before that only if the machine says it.
            Reason::Late | Reason::Back => return Ok(before.is_some()),
            // In the order of the stream nothing is left out.
            _ if before.is_none() && reason != Reason::Joined => return Ok(true),
            _ => {}
        }
        let from = present.alias.unwrap_or(own);
        let mut is_direct = true;
        for Between { generation, size, is_followed_directly } in self.between(from, next).await {
            if !self.present.as_ref().is_some_and(|present| present.is(&generation)) {
                if !is_direct {
                    events.push(FileEvent::FilesMissing);
                }
                let entered = self.enter(generation, size).await?;
                if let Some(present) = self.present.replace(entered).filter(|_| is_direct) {
                    present.kept.hear_next(generation);
                }
                self.waiting = None;
                events.extend(self.present.as_ref().map(|present| present.began(Reason::Rotated)));
            }
            self.extend(generation, size, events);
            is_direct = is_followed_directly;
        }
        Ok(is_direct)
    }

    /// Publishes that the present generation reaches up to here.
    fn extend(&mut self, generation: Generation, end: u64, events: &mut Vec<FileEvent>) {
        if self.present.as_ref().is_some_and(|present| present.end < end) {
            self.go_on(events);
            if let Some(present) = &mut self.present {
                present.kept.hear(&generation, end, Some(SystemTime::now()));
                present.extend_to(end, events);
            }
        }
    }

    /// How many bytes its machine has of a generation now.
    async fn size(&self, generation: &Generation) -> Option<u64> {
        Some(self.logs.remote.fetch(&self.name, generation, 0..0).await.ok()?.size)
    }

    /// The generations from one to another, without that, as far as its machine knows them. With the
    /// first one in any case.
    async fn between(&self, from: Generation, to: Generation) -> Vec<Between> {
        let (mut all, mut generation) = (Vec::<Between>::new(), from);
        let remote = &self.logs.remote;
        while all.len() < BETWEEN_MAX {
            let asked = patiently(|| remote.ending(&self.name, &generation)).await;
            let next = asked.as_ref().ok().and_then(|asked| asked.next);
            tracing::debug!(log = ?self.name, %generation, ?next, "what came next");
            // The machine may have another name for the file that it has turned to.
            let is_last = next.is_some_and(|next| {
                next.generation.is(&to) || next.generation.has_signature_of(&to)
            });
            if let Ok(Fetched { size, .. }) = asked {
                let is_followed_directly = next.is_some_and(|next| next.is_direct);
                all.push(Between { generation, size, is_followed_directly });
            }
            let is_known = |next: &Generation| all.iter().any(|it| it.generation.is(next));
            match next.filter(|next| !is_last && !is_known(&next.generation)) {
                Some(next) => generation = next.generation,
                None if is_last => return all,
                None => break,
            }
        }
        // Something between is not known.
        match all.last_mut() {
            Some(last) => last.is_followed_directly = false,
            None => {
                let (generation, size) = (from, 0);
                all.push(Between { generation, size, is_followed_directly: false });
            }
        }
        all
    }

    /// Keeps and publishes bytes, of which each part follows the one before it.
    async fn bytes(
        &mut self,
        at: RemotePosition,
        all: Vec<(Bytes, SystemTime)>,
        events: &mut Vec<FileEvent>,
    ) -> io::Result<()> {
        if !self.present.as_ref().is_some_and(|it| it.is(&at.generation)) {
            self.turn(at, Reason::Joined, at.offset.0, None, events).await?;
        }
        self.go_on(events);
        let Some(present) = &mut self.present else { return Ok(()) };
        self.logs.fed.add(all.iter().map(|(bytes, _)| bytes.len()).sum());
        let (kept, keep, generation) = (Arc::clone(&present.kept), all.clone(), at.generation);
        let keeping = blocking::run(0, move || {
            let (mut start, mut kept_all) = (at.offset.0, Ok(()));
            for (bytes, written) in keep {
                let end = start + bytes.len() as u64;
                kept.hear(&generation, end, Some(written));
                kept_all = kept_all.and(kept.keep(start, &bytes, Some(written)));
                start = end;
            }
            (kept_all, kept.head())
        });
        let Some((keeping, head)) = keeping.await else {
            return Err(io::ErrorKind::Interrupted.into());
        };
        if let Err(error) = keeping {
            // A later read of the file fetches them again.
            tracing::warn!(log = ?self.name, %error, "cannot keep what its machine tells");
        }
        let mut start = at.offset.0;
        for (bytes, written) in all {
            let end = start + bytes.len() as u64;
            present.publish(start, &bytes, written, head, events);
            start = end;
        }
        Ok(())
    }
}
