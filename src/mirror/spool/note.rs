//! The note beside a file of the spool: what it is, and which of its bytes are there.
//!
//! A note is text, and ends with a sum over all of it. It is written only after the bytes that it
//! names have reached the disk, and takes its name at once. So one that is there was true when it was
//! written; whether the file still is what it says is checked by [`Note::verify`].

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::SeekFrom;

use crate::log::Generation;
use crate::log::position::fnv1a;
use crate::mirror::ranges::Ranges;
use crate::mirror::remote::RemoteName;

/// The first line. Another version begins anew.
const FORM: &str = "tailcast spool 1";
/// So many bytes at the end of a range prove that it is what was written.
const PROOF_BYTES: u64 = 4096;

/// The ranges of a note, each with a hash of the bytes at its end.
pub(super) type Proofs = Vec<(Range<u64>, u64)>;

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) name: RemoteName,
    pub(super) generation: Generation,
    /// How many bytes the generation has, as last heard.
    pub(super) size: u64,
    /// When it was last written to, by the clock of its machine.
    pub(super) modified: SystemTime,
    /// The generation that came directly after it.
    pub(super) next: Option<Generation>,
    pub(super) present: Ranges,
}

impl Note {
    /// The note as text. Reads the proofs of its ranges from the file.
    pub(super) fn write(&self, file: &File) -> io::Result<String> {
        use std::fmt::Write as _;
        let modified = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut text = format!(
            "{FORM}\nhost {}\npath {}\ngeneration {}\nsize {}\nmodified {modified}\n",
            hex(self.name.host.as_bytes()),
            hex(&self.name.path),
            self.generation,
            self.size,
        );
        if let Some(next) = &self.next {
            // Writing to a string does not fail.
            let _written = writeln!(text, "next {next}");
        }
        for range in self.present.iter() {
            let proof = proof(file, &range)?;
            let _written = writeln!(text, "range {:x} {:x} {proof:x}", range.start, range.end);
        }
        let _written = writeln!(text, "sum {:x}", fnv1a(text.as_bytes()));
        Ok(text)
    }

    /// What a note says, with the proof of each of its ranges. None for one that is torn.
    pub(super) fn read(text: &str) -> Option<(Self, Proofs)> {
        let summed = text.strip_suffix('\n')?;
        let at = summed.rfind('\n')? + 1;
        let (body, sum) = (text.get(..at)?, summed.get(at..)?);
        let sum = u64::from_str_radix(sum.strip_prefix("sum ")?, 16).ok()?;
        if sum != fnv1a(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next() != Some(FORM) {
            return None;
        }
        let (mut host, mut path, mut generation, mut next) = (None, None, None, None);
        let (mut size, mut modified, mut proofs) = (None, None, Vec::new());
        for line in lines {
            let (key, value) = line.split_once(' ')?;
            match key {
                "host" => host = Some(String::from_utf8(unhex(value)?).ok()?),
                "path" => path = Some(unhex(value)?),
                "generation" => generation = Some(value.parse().ok()?),
                "next" => next = Some(value.parse().ok()?),
                "size" => size = Some(value.parse().ok()?),
                "modified" => modified = Some(value.parse().ok()?),
                "range" => {
                    let mut numbers = value.split(' ').map(|part| u64::from_str_radix(part, 16));
                    let mut number = || numbers.next()?.ok();
                    proofs.push((number()?..number()?, number()?));
                }
                _ => return None,
            }
        }
        let note = Self {
            name: RemoteName { host: host?.into(), path: path?.into() },
            generation: generation?,
            size: size?,
            modified: UNIX_EPOCH.checked_add(Duration::from_millis(modified?))?,
            next,
            present: proofs.iter().map(|(range, _)| range.clone()).collect(),
        };
        Some((note, proofs))
    }

    /// The note with those of its ranges alone that the file has as they were written. The bytes of
    /// the others are fetched again.
    pub(super) fn verify(mut self, proofs: &[(Range<u64>, u64)], file: &File) -> Self {
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        let is_whole = |range: &Range<u64>, expected: u64| {
            range.end <= len
                && hole_after(file, range.start) >= range.end
                && proof(file, range).is_ok_and(|found| found == expected)
        };
        let whole = proofs.iter().filter(|(range, proof)| is_whole(range, *proof));
        self.present = whole.map(|(range, _)| range.clone()).collect();
        let signed = self.generation.signature.bytes();
        let mut head = vec![0; signed];
        if self.present.covers(&(0..signed as u64))
            && !(file.read_exact_at(&mut head, 0).is_ok() && self.generation.is_of(&head))
        {
            // These are the bytes of something else.
            self.present = Ranges::default();
        }
        self
    }
}

/// A hash of the last bytes of a range.
fn proof(file: &File, range: &Range<u64>) -> io::Result<u64> {
    let start = range.start.max(range.end.saturating_sub(PROOF_BYTES));
    let mut bytes = vec![0; (range.end - start) as usize];
    file.read_exact_at(&mut bytes, start)?;
    Ok(fnv1a(&bytes))
}

/// Where the first hole after an offset begins. What a crash has left unwritten is one.
fn hole_after(file: &File, offset: u64) -> u64 {
    rustix::fs::seek(file, SeekFrom::Hole(offset)).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::access::Identity;
    use proptest::prelude::*;

    /// A file with some ranges of bytes, and the note of it.
    fn noted(ranges: &[Range<u64>]) -> (File, Note, String) {
        let file = tempfile::tempfile().unwrap();
        for range in ranges {
            let bytes: Vec<u8> = range.clone().map(|at| (at % 251) as u8 + 1).collect();
            file.write_all_at(&bytes, range.start).unwrap();
        }
        let head: Vec<u8> = (0..10u64).map(|at| (at % 251) as u8 + 1).collect();
        let note = Note {
            name: RemoteName { host: "web1".into(), path: b"/var/log/a\xff.log"[..].into() },
            generation: Generation::new(Identity { device: 1, inode: 2 }, 3, &head),
            size: 1 << 40,
            modified: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            next: Some(Generation::new(Identity { device: 1, inode: 9 }, 4, b"text")),
            present: ranges.iter().cloned().collect(),
        };
        let text = note.write(&file).unwrap();
        (file, note, text)
    }

    #[test]
    fn a_note_survives_its_text_and_a_torn_one_is_none() {
        let (file, note, text) = noted(&[0..100, 5000..20_000]);
        let (read, proofs) = Note::read(&text).unwrap();
        assert_eq!(read, note);
        assert_eq!(read.verify(&proofs, &file), note);
        for at in 0..text.len() {
            assert_eq!(Note::read(text.get(..at).unwrap()), None, "cut at {at}");
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            let damaged = String::from_utf8(damaged).unwrap();
            assert_eq!(Note::read(&damaged), None, "damaged at {at}");
        }
    }

    #[test]
    fn ranges_that_the_file_has_not_as_written_are_dropped() {
        const MIB: u64 = 1 << 20;
        let ranges = [0..10_000, MIB..2 * MIB, 3 * MIB..4 * MIB];
        let kept = |damage: &dyn Fn(&File)| {
            let (file, _, text) = noted(&ranges);
            damage(&file);
            let (note, proofs) = Note::read(&text).unwrap();
            note.verify(&proofs, &file).present.iter().collect::<Vec<_>>()
        };
        let first_two = vec![0..10_000, MIB..2 * MIB];
        assert_eq!(kept(&|_| ()), ranges);
        assert_eq!(kept(&|file| file.set_len(4 * MIB - 1).unwrap()), first_two, "cut");
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        let hole =
            |file: &File| rustix::fs::fallocate(file, flags, 3 * MIB + 65_536, 65_536).unwrap();
        assert_eq!(kept(&hole), first_two, "a part was never written");
        assert_eq!(
            kept(&|file| file.write_all_at(b"?", 4 * MIB - 9).unwrap()),
            first_two,
            "other bytes"
        );
        assert_eq!(kept(&|file| file.write_all_at(b"?", 1).unwrap()).len(), 0, "another file");
    }

    proptest! {
        #[test]
        fn any_text_is_a_note_or_is_refused(text in "\\PC*") {
            prop_assert_eq!(Note::read(&text), None);
        }
    }
}
