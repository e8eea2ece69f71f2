//! The bytes of one generation of a log of another machine, as far as they are here.
//!
//! They lie at their own offsets, and the file is sparse where they are missing. What is asked for and
//! missing is fetched, a piece at a time.

mod fetch;
mod state;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Weak;
use std::time::{Instant, SystemTime};

use parking_lot::{Condvar, Mutex, RwLock};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::encoding::Detection;
use crate::log::Generation;
use crate::log::file::Status;
use crate::log::mirrored::MirroredBytes;
use crate::log::position::SIGNATURE_BYTES_MAX;
use crate::log::timeline::Head;
use crate::mirror::ranges::Ranges;
use crate::mirror::remote::RemoteName;
use crate::mirror::spool::file::fetch::Fetching;
pub(super) use crate::mirror::spool::file::fetch::Origin;
use crate::mirror::spool::file::state::State;
use crate::mirror::spool::note::Note;
use crate::mirror::spool::{Shared, Stored};

/// These bytes at the beginning and at the end are not given back while the file is read: each reader
/// wants them.
const HEAD_BYTES_KEPT: u64 = 4096;
const TAIL_BYTES_KEPT: u64 = 1024 * 1024;
/// Ranges that were written one after the other are given back together, up to this size.
const BATCH_BYTES: u64 = 1024 * 1024;

/// The bytes of one generation.
#[derive(Debug)]
pub(in crate::mirror) struct SpoolFile {
    name: RemoteName,
    /// Stands for the machine.
    device: u64,
    file: File,
    path: PathBuf,
    origin: Origin,
    spool: Weak<Shared>,
    /// A reader holds it while it reads, so that nothing that it has found there is given back.
    state: RwLock<State>,
    fetching: Mutex<Fetching>,
    fetched: Condvar,
    /// What is wanted now. It is not given back before it was read.
    wanted: Mutex<Vec<Range<u64>>>,
    used: Mutex<Instant>,
}

impl SpoolFile {
    /// A file with what its note says, and when that was written, if there is one.
    pub(super) fn new(
        note: Note,
        noted: Option<SystemTime>,
        file: File,
        path: PathBuf,
        device: u64,
        origin: Origin,
        spool: Weak<Shared>,
    ) -> Self {
        let Note { name, generation, size, modified, next, followed, present } = note;
        let state = State {
            generation,
            is_told: false,
            alias: None,
            size: size.max(present.end()),
            modified,
            next,
            followed,
            order: present.iter().collect(),
            present,
            gone: Ranges::default(),
            lost: Ranges::default(),
            denied: None,
            is_noted: true,
            noted,
        };
        Self {
            name,
            device,
            file,
            path,
            origin,
            spool,
            state: RwLock::new(state),
            fetching: Mutex::default(),
            fetched: Condvar::new(),
            wanted: Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }

    /// The handle of what is here, and its path.
    pub(in crate::mirror) fn handle(&self) -> io::Result<(File, PathBuf)> {
        Ok((self.file.try_clone()?, self.path.clone()))
    }

    /// The generation with its latest signature, and what is known of its first bytes.
    pub(in crate::mirror) fn head(&self) -> Head {
        let state = self.state.read();
        let len = state.size.min(SIGNATURE_BYTES_MAX as u64);
        let mut head = vec![0; len as usize];
        let is_there = state.present.covers(&(0..len));
        if !is_there || self.file.read_exact_at(&mut head, 0).is_err() {
            head.clear();
        }
        let is_its = state.generation.is_of(&head);
        let signed = if is_its { state.generation.signed_by(&head) } else { state.generation };
        Head { signed, detection: Detection::of_head(&head) }
    }

    /// Whether what is here begins otherwise than the generation.
    pub(in crate::mirror) fn is_of_another(&self, generation: &Generation) -> bool {
        let signed = generation.signature.bytes();
        let state = self.state.read();
        let mut head = vec![0; signed];
        state.present.covers(&(0..signed as u64))
            && self.file.read_exact_at(&mut head, 0).is_ok()
            && !generation.is_of(&head)
    }

    pub(in crate::mirror) fn generation(&self) -> Generation {
        self.state.read().generation
    }

    pub(super) fn name(&self) -> &RemoteName {
        &self.name
    }

    /// What is known of it, as of a file that is not open.
    pub(super) fn stored(&self) -> Stored {
        let state = self.state.read();
        Stored {
            name: self.name.clone(),
            generation: state.generation,
            next: state.next,
            end: state.present.end(),
            noted: state.followed.unwrap_or(SystemTime::UNIX_EPOCH),
            followed: state.followed,
            bytes: state.present.bytes(),
        }
    }

    /// The same when it is closed. None if it has no note.
    pub(super) fn closed(&self) -> Option<Stored> {
        let noted = self.state.read().noted?;
        Some(Stored { noted, ..self.stored() })
    }

    /// How many bytes the generation has, as last heard.
    pub(in crate::mirror) fn size(&self) -> u64 {
        self.state.read().size
    }

    /// Takes what its machine said of the generation: its latest signature and its size; if it grew,
    /// when it was written to, where that is known.
    pub(in crate::mirror) fn hear(
        &self,
        generation: &Generation,
        size: u64,
        written: Option<SystemTime>,
    ) {
        {
            let mut state = self.state.write();
            state.followed = Some(SystemTime::now());
            state.is_noted = false;
            let is_longer = generation.signature.bytes() > state.generation.signature.bytes();
            if (is_longer || !state.is_told) && generation.is(&state.generation) {
                state.generation = *generation;
                state.is_told = true;
                self.sign(&mut state);
            }
        }
        self.hear_size(size, written);
    }

    /// Takes its size, and when it was written to, if it grew.
    pub(in crate::mirror) fn hear_size(&self, size: u64, written: Option<SystemTime>) {
        let mut state = self.state.write();
        if size > state.size {
            state.size = size;
            state.modified = written.unwrap_or(state.modified);
            state.is_noted = false;
        }
    }

    /// Lets the first bytes decide about the signature, as far as they are here: they came from the
    /// machine.
    fn sign(&self, state: &mut State) {
        let here = state.present.at(0).map_or(0, |here| here.end);
        let mut head = vec![0; here.min(SIGNATURE_BYTES_MAX as u64) as usize];
        let generation = state.generation;
        let is_longer = head.len() > generation.signature.bytes();
        if head.len() < generation.signature.bytes()
            || self.file.read_exact_at(&mut head, 0).is_err()
        {
            return;
        }
        if is_longer || !generation.is_of(&head) {
            state.generation = Generation::new(generation.identity, generation.nonce, &head);
            state.is_noted = false;
        }
    }

    /// Takes the name by which its machine knows it now.
    pub(in crate::mirror) fn hear_alias(&self, alias: Generation) {
        self.state.write().alias = Some(alias);
    }

    /// Takes what came directly after this generation.
    pub(in crate::mirror) fn hear_next(&self, next: Generation) {
        let mut state = self.state.write();
        if !state.next.is_some_and(|known| known.is(&next)) {
            (state.next, state.is_noted) = (Some(next), false);
        }
    }

    /// Nobody has these bytes any more, and nobody will have them again.
    pub(in crate::mirror) fn lose(&self, range: Range<u64>) {
        let mut state = self.state.write();
        state.size = state.size.max(range.end);
        let mut at = range.start;
        while let Some(missing) = state.present.first_missing(&(at..range.end)) {
            at = missing.end;
            state.gone.insert(missing.clone());
            state.lost.insert(missing);
        }
    }

    /// The machine may have what it did not have before.
    pub(in crate::mirror) fn ask_again(&self) {
        self.state.write().forget_denials();
        self.fetching.lock().failed = None;
    }

    /// Keeps bytes at their offset. It blocks for as long as the write takes.
    pub(in crate::mirror) fn keep(
        &self,
        offset: u64,
        bytes: &[u8],
        written: Option<SystemTime>,
    ) -> io::Result<()> {
        let range = offset..offset + bytes.len() as u64;
        let more = {
            // Locked, so that nothing of it is given back in between.
            let mut state = self.state.write();
            state.size = state.size.max(range.end);
            state.modified = written.unwrap_or(state.modified);
            self.file.write_all_at(bytes, offset)?;
            let before = state.present.bytes();
            state.present.insert(range.clone());
            if range.start < SIGNATURE_BYTES_MAX as u64 {
                self.sign(&mut state);
            }
            state.gone.remove(&range);
            state.lost.remove(&range);
            state.is_noted = false;
            match state.order.back_mut() {
                Some(last) if last.end == range.start && range.end - last.start <= BATCH_BYTES => {
                    last.end = range.end;
                }
                _ => state.order.push_back(range),
            }
            state.present.bytes() - before
        };
        if let Some(spool) = self.spool.upgrade() {
            spool.grew(more);
        }
        Ok(())
    }

    /// Gives back at least so many bytes, those that came first before all others. Returns how many it
    /// could. Of what each reader wants it keeps at most `kept_max` on each side. Where the file system
    /// makes no holes, it gives back all that is here, unless somebody is about to read some of it.
    pub(super) fn give_back(
        &self,
        wanted: u64,
        kept_max: u64,
        punch: impl Fn(&File, &Range<u64>) -> io::Result<()>,
    ) -> u64 {
        let mut state = self.state.write();
        let before = state.present.bytes();
        let first = HEAD_BYTES_KEPT.min(kept_max);
        let last = state.size.saturating_sub(TAIL_BYTES_KEPT.min(kept_max));
        let awaited = self.wanted.lock().clone();
        let is_awaited = |range: &Range<u64>| {
            awaited.iter().any(|it| it.start < range.end && range.start < it.end)
        };
        let mut kept = VecDeque::new();
        while before - state.present.bytes() < wanted {
            let Some(range) = state.order.pop_front() else { break };
            let gone = range.start.max(first)..range.end.min(last);
            if gone.is_empty() || is_awaited(&gone) {
                kept.push_back(range);
                continue;
            }
            if let Err(error) = punch(&self.file, &gone) {
                kept.push_back(range);
                if error.kind() == io::ErrorKind::Unsupported && awaited.is_empty() {
                    return before - self.empty(&mut state);
                }
                tracing::debug!(path = %self.path.display(), %error, "cannot give bytes back");
                break;
            }
            state.present.remove(&gone);
            state.is_noted = false;
            let rest = [range.start..gone.start, gone.end..range.end];
            kept.extend(rest.into_iter().filter(|range| !range.is_empty()));
        }
        kept.append(&mut state.order);
        state.order = kept;
        before - state.present.bytes()
    }

    /// Gives back all. Returns how many bytes are left.
    fn empty(&self, state: &mut State) -> u64 {
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(path = %self.path.display(), %error, "cannot give bytes back");
            return state.present.bytes();
        }
        state.present = Ranges::default();
        state.order.clear();
        state.is_noted = false;
        0
    }

    /// How many bytes are here.
    pub(super) fn bytes(&self) -> u64 {
        self.state.read().present.bytes()
    }

    /// When it was last read or written.
    pub(super) fn used(&self) -> Instant {
        *self.used.lock()
    }

    /// Writes the note, if it would say something new. `put` gives it its name.
    pub(super) fn note(&self, put: impl FnOnce(&str) -> io::Result<()>) -> io::Result<()> {
        if self.state.read().is_noted {
            return Ok(());
        }
        let note = {
            let mut state = self.state.write();
            state.is_noted = true;
            Note {
                name: self.name.clone(),
                generation: state.generation,
                size: state.size,
                modified: state.modified,
                next: state.next,
                followed: state.followed,
                present: state.present.clone(),
            }
        };
        // The bytes first: the note must not name any that a crash takes away.
        let noted = self.file.sync_data().and_then(|()| put(&note.write(&self.file)?));
        match noted {
            Ok(()) => self.state.write().noted = Some(SystemTime::now()),
            Err(_) => self.state.write().is_noted = false,
        }
        noted
    }
}

/// Gives the bytes of a range back to the file system.
///
/// # Errors
/// [`Unsupported`](io::ErrorKind::Unsupported) where that makes no holes.
pub(super) fn punch_hole(file: &File, range: &Range<u64>) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, flags, range.start, range.end - range.start) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
        punched => Ok(punched?),
    }
}

impl MirroredBytes for SpoolFile {
    fn provide(&self, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
        let now = Instant::now();
        *self.used.lock() = now;
        if self.state.read().is_denial_over(now) {
            self.state.write().forget_denials();
        }
        // Others may want more than may be kept: what came must not go before the rest has come.
        let _wanted = self.want(&range);
        loop {
            let (piece, gone) = {
                let state = self.state.read();
                let within = range.start..range.end.min(state.size);
                let (missing, gone) = state.look(&within);
                (missing.map(|missing| state.piece(&missing)), gone)
            };
            match piece {
                Some(piece) => self.fetch(&piece)?,
                None => return Ok(gone),
            }
        }
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let wanted = offset..offset.saturating_add(len as u64);
        let _wanted = self.want(&wanted);
        loop {
            self.provide(wanted.clone())?;
            let state = self.state.read();
            let range = wanted.start..wanted.end.min(state.size);
            // Some of it may have been given back since.
            if state.look(&range).0.is_some() {
                continue;
            }
            let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
            let mut read = 0;
            while read < bytes.len() {
                match self.file.read_at(&mut bytes[read..], offset + read as u64) {
                    // What nobody has may lie behind the end of the file.
                    Ok(0) => break,
                    Ok(more) => read += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(bytes);
        }
    }

    fn here_before(&self, offset: u64) -> u64 {
        let last = offset.checked_sub(1);
        let here = last.and_then(|last| self.state.read().present.at(last));
        here.map_or(offset, |here| here.start)
    }

    fn status(&self) -> Status {
        let state = self.state.read();
        Status { size: state.size, modified: state.modified }
    }

    fn device(&self) -> u64 {
        self.device
    }
}

#[cfg(test)]
mod tests;
