//! What a viewer got, compared with what was written.

use super::watcher::{NOT_RECOVERED, Piece};
use crate::model::received::signed_bytes;

/// A generation is signed with so many first bytes of its file, and proves with so many that it is the same.
const HEAD_BYTES: u64 = 256;
const PROVING_BYTES: u64 = 64;

/// What one file had until it was rotated away or truncated.
#[derive(Default)]
pub(super) struct Epoch {
    pub(super) content: Vec<u8>,
    pub(super) is_truncated: bool,
}

/// What is wrong with what a viewer got, and how many gaps were said where nothing is missing.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) faults: Vec<String>,
    pub(super) needless_gaps: usize,
    /// Bytes that are there and did not come, but a gap said so.
    pub(super) announced_bytes: usize,
    pub(super) notes: Vec<String>,
}

/// Whether the end of a piece is a position that a server must recognise. `epoch` is where it lies, if the
/// piece has bytes.
fn is_known_position(piece: &Piece, epoch: &Epoch) -> bool {
    let signed = signed_bytes(&piece.generation);
    let end = piece.from + piece.bytes.len() as u64;
    let is_proved = signed == HEAD_BYTES || (signed >= PROVING_BYTES && end <= signed);
    is_proved && !piece.bytes.is_empty() && !epoch.is_truncated
}

/// Compares all that a viewer got with all that was written.
pub(super) fn judge(pieces: &[Piece], epochs: &[Epoch]) -> Verdict {
    let mut verdict = Verdict::default();
    // What comes next if nothing is left out.
    let (mut epoch, mut next) = (0, 0);
    let mut gaps = Vec::new();
    for (nth, piece) in pieces.iter().enumerate() {
        gaps.extend(piece.gaps.iter().copied());
        if piece.why == NOT_RECOVERED && is_known_position(&pieces[nth - 1], &epochs[epoch]) {
            verdict.faults.push(format!("a position was not recovered: {:?}", pieces[nth - 1]));
        }
        if piece.bytes.is_empty() {
            continue;
        }
        let (from, len) = (piece.from as usize, piece.bytes.len());
        let has = |at: &usize| epochs[*at].content.get(from..from + len) == Some(&piece.bytes[..]);
        let found = (epoch..epochs.len()).filter(has).find(|at| *at > epoch || from >= next);
        let Some(found) = found else {
            let is_known = (0..epochs.len()).find(has);
            let bytes = String::from_utf8_lossy(&piece.bytes[..len.min(60)]).into_owned();
            verdict.faults.push(format!(
                "at {from} of {} after `{}` came {len} bytes, {bytes:?}…, where epoch {epoch} was to go on at {next}: \
                 they are {}",
                piece.generation,
                piece.why,
                is_known.map_or("in no epoch".to_owned(), |at| format!("in epoch {at}"))
            ));
            return verdict;
        };
        let mut missing = Vec::new();
        for (at, passed) in epochs.iter().enumerate().take(found + 1).skip(epoch) {
            let begin = if at == epoch { next } else { 0 };
            let end = if at == found { from } else { passed.content.len() };
            if begin < end {
                missing.push((at, begin, end));
            }
        }
        for (at, begin, end) in &missing {
            if epochs[*at].is_truncated {
                continue;
            }
            let says = |gap: &Option<(u64, u64)>| {
                gap.is_none_or(|(from, to)| from as usize <= *begin && *end <= to as usize)
            };
            if gaps.iter().any(says) {
                verdict.announced_bytes += end - begin;
                verdict.notes.push(format!(
                    "{begin}..{end} of epoch {at} did not come between epoch {epoch}{} and piece {nth}, `{}` to epoch {found}: a gap says so",
                    if epochs[epoch].is_truncated { ", which was truncated," } else { "" },
                    piece.why
                ));
            } else {
                verdict.faults.push(format!(
                    "{begin}..{end} of epoch {at} ({} bytes long) did not come before `{}` to epoch {found} at {from}; \
                     gaps {gaps:?}",
                    epochs[*at].content.len(),
                    piece.why
                ));
            }
        }
        if missing.is_empty() && gaps.iter().any(Option::is_none) {
            verdict.notes.push(format!("a needless gap before `{}` to epoch {found}", piece.why));
            verdict.needless_gaps += gaps.iter().filter(|gap| gap.is_none()).count();
        }
        for (begin, end) in gaps.drain(..).flatten() {
            let (begin, end) = (begin as usize, end as usize);
            let is_lost = missing
                .iter()
                .any(|(at, from, to)| epochs[*at].is_truncated && *from <= begin && end <= *to);
            if !is_lost {
                verdict.faults.push(format!("a gap says {begin}..{end}, which is there"));
            }
        }
        (epoch, next) = (found, from + len);
    }
    let last = epochs.len() - 1;
    if epoch != last || next != epochs[last].content.len() {
        verdict.faults.push(format!("it ends at {next} of epoch {epoch} of {last}"));
    }
    verdict
}
