//! Finding where lines start, backwards from an offset, in bounded reads.

use std::io;

use crate::encoding::envelope::Joined;
use crate::encoding::{Detection, Layout, Newline};
use crate::log::file::LogFile;
use crate::log::position::Offset;

/// The first read backwards, in bytes. Most lines are short. Each further read is eight times as
/// long, up to [`BLOCK_BYTES_MAX`].
const BLOCK_BYTES_MIN: u64 = 256;
/// The longest read backwards, in bytes.
const BLOCK_BYTES_MAX: u64 = 64 * 1024;
/// How far back [`LogFile::last_lines`] looks, in bytes.
const LAST_LINES_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How far back [`LogFile::row_start`] looks, in bytes.
const ROW_BYTES_MAX: u64 = 64 * 1024;
/// The same for the line of a container runtime, with room to spare.
const ENVELOPE_BYTES_MAX: u64 = 512 * 1024;
/// The first read backwards for the lines that a line continues, in bytes. Each further read is
/// twice as long.
const JOINED_BYTES_MIN: u64 = 8 * 1024;
/// How far back [`LogFile::joined_start`] looks, in bytes.
const JOINED_BYTES_MAX: u64 = 1024 * 1024;

/// The result of a search for the starts of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinesBefore {
    /// The start of the first wanted line, or of the file if it has fewer lines.
    All(Offset),
    /// The search reached its limit before that: the start of the earliest line found, if any.
    Fewer(Option<Offset>),
}

impl LogFile {
    /// The offset at which the last `lines` lines before `end` start. The search goes at most
    /// `reach` bytes back.
    ///
    /// The newline that ends the last line starts none, and a last line without one counts.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn lines_before(
        &self,
        newline: Newline,
        end: Offset,
        lines: u64,
        reach: u64,
    ) -> io::Result<LinesBefore> {
        self.count_back(newline, end, lines, reach).map(|(start, _)| start)
    }

    /// The same, and how many lines were found: fewer than `lines` where the file has no more.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn count_back(
        &self,
        newline: Newline,
        end: Offset,
        lines: u64,
        reach: u64,
    ) -> io::Result<(LinesBefore, u64)> {
        if lines == 0 {
            return Ok((LinesBefore::All(end), 0));
        }
        let mut below = newline.align(end.0.saturating_sub(1));
        let floor = newline.align(end.0.saturating_sub(reach));
        let mut found = 0;
        let mut earliest = None;
        let mut block_bytes = BLOCK_BYTES_MIN;
        while below > floor {
            let from = below.saturating_sub(block_bytes).max(floor);
            let block = self.read_at(Offset(from), (below - from) as usize)?;
            for end in newline.ends(&block).rev() {
                let start = Offset(from).plus(end);
                earliest = Some(start);
                found += 1;
                if found == lines {
                    return Ok((LinesBefore::All(start), found));
                }
            }
            below = from;
            block_bytes = BLOCK_BYTES_MAX.min(block_bytes * 8);
        }
        if floor > 0 {
            return Ok((LinesBefore::Fewer(earliest), found));
        }
        // The first line begins with the file.
        Ok((LinesBefore::All(Offset(0)), found + u64::from(end > Offset(0))))
    }

    /// The offset at which the last `lines` lines before `end` start. If that is more than 64 MiB
    /// back, the offset 64 MiB back, in the middle of a line. While the machine of a mirrored file does
    /// not answer, the start of those lines that are here.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn last_lines(&self, newline: Newline, lines: u64, end: Offset) -> io::Result<Offset> {
        match self.lines_before(newline, end, lines, LAST_LINES_BYTES_MAX) {
            Ok(LinesBefore::All(start)) => Ok(start),
            Ok(LinesBefore::Fewer(_)) => Ok(Offset(newline.align(end.0 - LAST_LINES_BYTES_MAX))),
            Err(_) if self.is_mirrored() => Ok(self.last_lines_here(newline, lines, end)),
            Err(error) => Err(error),
        }
    }

    /// The start of as many of the last lines as are here. Where none is, an offset shortly before the
    /// end, so that some are shown once they can be read.
    fn last_lines_here(&self, newline: Newline, lines: u64, end: Offset) -> Offset {
        let here = newline.align(self.here_before(end).plus(newline.width() - 1).0);
        match self.lines_before(newline, end, lines, end.0.saturating_sub(here)) {
            Ok(LinesBefore::All(start) | LinesBefore::Fewer(Some(start))) => start,
            Ok(LinesBefore::Fewer(None)) | Err(_) => {
                Offset(newline.align(end.0.saturating_sub(BLOCK_BYTES_MAX)))
            }
        }
    }

    /// The offset at which the row that holds `offset` starts, or a row before it that its line
    /// continues. The search goes at most 64 KiB back, and further where a container runtime wrote
    /// the log.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn row_start(&self, detection: Detection, offset: Offset) -> io::Result<Offset> {
        let newline = detection.encoding().newline();
        let reach = match detection.layout() {
            Layout::Plain => ROW_BYTES_MAX,
            Layout::Enveloped => ENVELOPE_BYTES_MAX,
        };
        match self.lines_before(newline, offset.plus(1), 1, reach + 1)? {
            LinesBefore::All(start) => self.joined_start(detection, start),
            LinesBefore::Fewer(_) => Ok(Offset(newline.align(offset.0 - reach))),
        }
    }

    /// The last line up to the one that starts at `line` which neither continues an earlier line of
    /// the log nor stands before the rest of one, as partial lines of a container runtime are
    /// continued. The search goes at most 1 MiB back.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn joined_start(&self, detection: Detection, line: Offset) -> io::Result<Offset> {
        if detection.layout() == Layout::Plain {
            return Ok(line);
        }
        let mut reach = JOINED_BYTES_MIN;
        loop {
            let from = Offset(line.0.saturating_sub(reach));
            let block = self.read_at(from, (line.0 - from.0) as usize)?;
            let mut joined = Joined::default();
            let (mut start, mut end) = (line, block.len());
            while end > 0 && !joined.is_done() {
                let newline = memchr::memrchr(b'\n', &block[..end - 1]);
                let begin = newline.map_or(0, |newline| newline + 1);
                if newline.is_none() && from > Offset(0) {
                    break;
                }
                if joined.take(&block[begin..end - 1]) {
                    start = from.plus(begin);
                }
                end = begin;
            }
            if joined.is_done() || from == Offset(0) || reach >= JOINED_BYTES_MAX {
                return Ok(start);
            }
            reach *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::Encoding;

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        for (bytes, lines, expected) in [
            (&b""[..], 10, 0),
            (b"a\nb\nc\n", 0, 6),
            (b"a\nb\nc\n", 1, 4),
            (b"a\nb\nc\n", 2, 2),
            (b"a\nb\nc\n", 3, 0),
            (b"a\nb\nc\n", 99, 0),
            (b"a\nb\nc", 1, 4),
            (b"\n\n\n", 2, 1),
            (b"a\r\nb\r\n", 1, 3),
            (b"no newline at all", 5, 0),
        ] {
            let end = Offset(bytes.len() as u64);
            let found = LogFile::with_bytes(bytes).last_lines(Newline::Byte, lines, end).unwrap();
            assert_eq!(found, Offset(expected), "{lines} of {bytes:?}");
        }
    }

    #[test]
    fn a_search_for_line_starts_is_bounded() {
        let log = LogFile::with_bytes(b"");
        log.set_len(1 << 40);
        let start = log.last_lines(Newline::Byte, 1, Offset(1 << 40)).unwrap();
        assert_eq!(start, Offset((1 << 40) - LAST_LINES_BYTES_MAX));
        let row = log.row_start(Detection::default(), Offset(1 << 40)).unwrap();
        assert_eq!(row, Offset((1 << 40) - ROW_BYTES_MAX));
    }

    #[test]
    fn a_search_that_ends_early_gives_the_earliest_line_that_it_found() {
        let log = LogFile::with_bytes(b"first\nsecond\nthird\n");
        for (lines, reach, expected) in [
            (1, 5, LinesBefore::Fewer(None)),
            (1, 7, LinesBefore::All(Offset(13))),
            (2, 7, LinesBefore::Fewer(Some(Offset(13)))),
            (3, 18, LinesBefore::Fewer(Some(Offset(6)))),
            (3, 19, LinesBefore::All(Offset(0))),
        ] {
            let found = log.lines_before(Newline::Byte, Offset(19), lines, reach).unwrap();
            assert_eq!(found, expected, "{lines} lines, {reach} bytes back");
        }
    }

    #[test]
    fn a_row_starts_behind_the_newline_before_it() {
        let log = LogFile::with_bytes(b"ab\ncd\n");
        for (offset, expected) in [(0, 0), (1, 0), (2, 0), (3, 3), (5, 3), (6, 6)] {
            let found = log.row_start(Detection::default(), Offset(offset)).unwrap();
            assert_eq!(found, Offset(expected), "{offset}");
        }
    }

    proptest! {
        #[test]
        fn the_last_lines_are_those_of_a_simple_count(
            text in "[ab\n]{0,300}|[a\n]{0,20}(x{9000}\n[a\n]{0,9}){0,3}",
            lines in 0u64..20,
        ) {
            let bytes = text.as_bytes();
            let all: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
            let kept = all.len().saturating_sub(lines as usize);
            let expected: usize = all[..kept].iter().map(|line| line.len()).sum();
            let end = Offset(bytes.len() as u64);
            let found = LogFile::with_bytes(bytes).last_lines(Newline::Byte, lines, end);
            prop_assert_eq!(found.unwrap(), Offset(expected as u64));
        }

        #[test]
        fn lines_of_utf_16_start_behind_whole_newlines(
            text in "[上a\u{a41}\u{100}\n]{0,300}|(上{5000}\n[a\n]{0,9}){0,3}",
            lines in 0u64..20,
            half in 0usize..2,
        ) {
            let all: Vec<&str> = text.split_inclusive('\n').collect();
            // Half a unit behind the last newline is a line that has begun.
            let is_begun = half > 0 && (text.is_empty() || text.ends_with('\n'));
            let kept = (all.len() + usize::from(is_begun)).saturating_sub(lines as usize);
            let units = |text: &str| text.encode_utf16().count();
            let expected: usize = all.iter().take(kept).map(|line| 2 * units(line)).sum();
            for (encoding, to_bytes) in [
                (Encoding::UTF_16LE, u16::to_le_bytes as fn(u16) -> [u8; 2]),
                (Encoding::UTF_16BE, u16::to_be_bytes),
            ] {
                let newline = encoding.newline();
                let mut bytes: Vec<u8> = text.encode_utf16().flat_map(to_bytes).collect();
                bytes.extend([b'\n'].iter().take(half));
                let end = Offset(bytes.len() as u64);
                let log = LogFile::with_bytes(&bytes);
                let expected = if lines == 0 { end } else { Offset(expected as u64) };
                prop_assert_eq!(log.last_lines(newline, lines, end).unwrap(), expected);
                let line = log.row_start(Detection::of_encoding(encoding), expected).unwrap();
                prop_assert!(lines == 0 || line == expected);
            }
        }
    }
}
