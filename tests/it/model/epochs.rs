//! Finds the epoch of each received stream. A stream that is not the content of one epoch is a
//! fault.

use super::log::{Inode, Model, Presence};
use super::oracle::Witness;
use super::received::{Began, ReceivedStreams, Stream, inode_of, signed_bytes};

/// The number of bytes of a file's head that prove a position after a restart of the server.
const HEAD_BYTES: u64 = 256;
/// Fewer bytes prove nothing, because other files may begin with them.
const FEW_BYTES: u64 = 64;

impl ReceivedStreams {
    /// Finds the epoch of each stream.
    pub fn find(&mut self, model: &Model) {
        for (before, after) in std::mem::take(&mut self.moved) {
            // Only a compressed file is the same under another inode.
            let is_archived = |file: &Inode| {
                file.is_of(inode_of(&before)) && file.archive == Some(inode_of(&after))
            };
            if !model.files.iter().any(is_archived) {
                self.fault(format!("{before} was recovered as {after}"));
            }
        }
        for at in 0..self.streams.len() {
            let stream = &self.streams[at];
            if stream.pieces.is_empty() {
                continue;
            }
            let found = epoch_of(model, &[stream]);
            self.streams[at].found = found;
            let stream = &self.streams[at];
            if let Began::Continued(before) = stream.began {
                self.check_continued(model, before, at);
            }
            let stream = &self.streams[at];
            if found.is_none() {
                let bytes: usize = stream.pieces.iter().map(|(_, piece)| piece.len()).sum();
                let fault = format!("{}: {}", stream.generation, difference(model, stream));
                self.totals.malformed += bytes as u64;
                self.fault(fault);
            }
        }
    }

    /// Checks that a position of an earlier life was continued in the same epoch, or in one that
    /// begins with the same bytes.
    fn check_continued(&mut self, model: &Model, before: usize, after: usize) {
        let (old, new) = (&self.streams[before], &self.streams[after]);
        let Some(is) = new.found else { return };
        if model.files[is.0].created > old.first {
            let fault = format!(
                "{} was continued as {}, which is of a file that was created later",
                old.generation, new.generation
            );
            return self.fault(fault);
        }
        // The previous stream may have no bytes. Then an earlier one shows to which epoch the
        // position belongs.
        let Some(old) = self.lineage(old).find(|stream| stream.found.is_some()) else { return };
        let Some(was) = old.found.filter(|_| epoch_of(model, &[old, new]).is_none()) else {
            return;
        };
        let content = |(file, epoch): (usize, usize)| &model.files[file].epochs[epoch];
        let from = new.from;
        let alike = content(was).iter().zip(content(is)).take_while(|(a, b)| a == b).count();
        if was.0 == is.0 && alike as u64 >= from.min(HEAD_BYTES) {
            self.totals.unproved += from.saturating_sub(alike as u64);
            self.unproved.push((is.0, alike as u64, from));
        } else {
            let fault = format!(
                "{} was continued at {from} as {}, which is another: {alike} bytes are alike",
                old.generation, new.generation
            );
            self.fault(fault);
        }
    }

    /// Checks that each position was recovered for which the server must have recognised the file.
    pub fn check_losses(&mut self, witness: &Witness<'_>) {
        let mut faults = Vec::new();
        for loss in &self.losses {
            let stream = &self.streams[loss.stream];
            let Some((file, _)) = stream.found else { continue };
            let file = &witness.model.files[file];
            let ([presence], 0) = (file.presences.as_slice(), file.cuts) else { continue };
            // A server that was started again knows a file by its inode.
            if !file.earlier_numbers.is_empty() {
                continue;
            }
            let signed = signed_bytes(&loss.generation);
            let is_signed = signed == HEAD_BYTES || (signed >= FEW_BYTES && loss.offset <= signed);
            let has = |presence: &Presence| {
                presence.from < loss.asked && presence.to.is_none_or(|to| to > loss.refused)
            };
            // Or it lies beside the log.
            let lies_beside = file.is_findable()
                && presence.to.is_some_and(|to| to < loss.asked)
                && witness.model.files.iter().flat_map(|file| &file.presences).any(has);
            if is_signed
                && (has(presence) || lies_beside)
                && witness.history.sees(loss.asked, loss.refused)
            {
                faults.push(format!(
                    "{} {} was not honoured, but the file is there",
                    loss.generation, loss.offset
                ));
            }
        }
        self.faults.extend(faults);
    }
}

/// The epoch that contains all bytes of these streams, in a file with the inode of the last one.
fn epoch_of(model: &Model, streams: &[&Stream]) -> Option<(usize, usize)> {
    let inode = inode_of(&streams.last()?.generation);
    let is_of = |content: &[u8]| {
        streams.iter().flat_map(|stream| &stream.pieces).all(|(start, piece)| {
            content.get(*start as usize..).is_some_and(|rest| rest.starts_with(piece))
        })
    };
    let mut files = model.files.iter().enumerate().filter(|(_, file)| file.is_of(inode));
    files.find_map(|(at, file)| {
        file.epochs.iter().position(|content| is_of(content)).map(|epoch| (at, epoch))
    })
}

/// A description of how the stream differs from the most similar epoch.
fn difference(model: &Model, stream: &Stream) -> String {
    let inode = inode_of(&stream.generation);
    let mut best: Option<(usize, String)> = None;
    for (at, file) in model.files.iter().enumerate().filter(|(_, file)| file.is_of(inode)) {
        for (epoch, content) in file.epochs.iter().enumerate() {
            let (alike, said) = unlike(content, &stream.pieces);
            if best.as_ref().is_none_or(|(most, _)| alike > *most) {
                best = Some((alike, format!("like file {at} epoch {epoch} {said}")));
            }
        }
    }
    let best = best.map_or_else(|| "of no file's inode".to_owned(), |(_, said)| said);
    let told = stream.pieces.iter().map(|(start, piece)| *start..*start + piece.len() as u64);
    format!("{:?} is the content of no epoch: {best}", told.collect::<Vec<_>>())
}

/// The number of equal bytes, and a description of the first difference.
fn unlike(content: &[u8], pieces: &[(u64, Vec<u8>)]) -> (usize, String) {
    let mut alike = 0;
    for (start, piece) in pieces {
        let rest = content.get(*start as usize..).unwrap_or_default();
        let same = piece.iter().zip(rest).take_while(|(a, b)| a == b).count();
        alike += same;
        if same < piece.len() {
            let few = |bytes: &[u8]| {
                let rest = bytes.get(same..).unwrap_or_default();
                String::from_utf8_lossy(&rest[..rest.len().min(8)]).into_owned()
            };
            let at = start + same as u64;
            return (alike, format!("up to {at}: {:?}, not {:?}", few(piece), few(rest)));
        }
    }
    (alike, "in all it has".to_owned())
}
