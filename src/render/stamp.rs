//! The stamps that CI systems put in front of each line.
//!
//! A stamp is no part of what the program wrote: it becomes the time of the row, and the row begins
//! behind it. So markers, colours and redraws work as in the same log without stamps. Only these
//! forms are stamps, since a date in any other form may be part of a program's own line:
//!
//! - GitLab: `2026-11-28T14:02:07.123456Z 00O `, with the number of the stream, `O` or `E`, and a
//!   `+` in place of the blank where the line continues the one before it.
//! - GitHub and Azure: `2026-11-28T14:02:07.1234567Z `, with seven digits.
//! - Jenkins: `[2026-11-28T14:02:07.123Z] `, with three digits.
//! - Airflow: `[2026-11-28T14:02:07.123+0000] {file.py:12} INFO - `, with its level; also with the
//!   date as `2026-11-28, 14:02:07 UTC`.

use super::annotation::Level;
use crate::encoding::envelope::days;

/// The longest name of a file in a stamp, in bytes.
const FILE_BYTES_MAX: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// In bytes, with the blank behind it.
    pub(super) len: usize,
    /// In milliseconds since 1970.
    pub(super) time: u64,
    pub(super) level: Option<Level>,
    /// Whether it is one with its neighbours.
    pub(super) joins: Joins,
}

/// Whether a line is one with its neighbours. GitLab's runner continues whichever line was the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Joins {
    /// It continues the line before it, if that one may be continued.
    pub(super) before: bool,
    /// The next line may continue it.
    pub(super) after: bool,
}

/// Why a line has no stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoStamp {
    /// It begins otherwise.
    Other,
    /// It may have one if it goes on.
    Unfinished,
}

/// The fewest digits behind the second in a stamp without brackets. Dates with milliseconds, or
/// without a fraction, are very common in programs' own lines.
const BARE_DIGITS_MIN: u32 = 6;

/// The first byte of a stamp, or of the mark at the start of a file. This rules out most lines.
pub(super) fn may_begin(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'[' || byte == MARK[0]
}

/// The mark of byte order with which some programs begin a file.
const MARK: &[u8] = "\u{feff}".as_bytes();
const MARK_0: u8 = MARK[0];

/// Whether a line begins with a date in another form, as most lines of many logs do. This is quick.
pub(super) fn is_other(line: &[u8]) -> bool {
    let has_year = |text: &[u8]| text[..4].iter().all(u8::is_ascii_digit) && text[4] == b'-';
    if let Some(head) = line.get(..SECOND_BYTES + BARE_DIGITS_MIN as usize) {
        let (second, fraction) = head.split_at(SECOND_BYTES);
        let is_bare = second[10] == b'T' && second[19] == b'.';
        let may_be = match head[0] {
            b'[' => has_year(&second[1..]),
            MARK_0 => true,
            _ => is_bare && has_year(second) && fraction.iter().all(u8::is_ascii_digit),
        };
        if !may_be {
            return true;
        }
    }
    match line.get(..HEAD_BYTES_MAX) {
        Some(head) => head[0].is_ascii_digit() && head[26] != b'Z' && head[27] != b'Z',
        // The text before a colour, often with milliseconds.
        None => line.get(..SECOND_BYTES + 4).is_some_and(|head| {
            head[0].is_ascii_digit() && !head[SECOND_BYTES..].iter().all(u8::is_ascii_digit)
        }),
    }
}

/// The length of a date and a time to the second, with the point behind it.
const SECOND_BYTES: usize = 20;

/// Where the texts end that tell stamps apart, but for the names of files.
const HEAD_BYTES_MAX: usize = 48;

/// The stamp at the start of a line, of which these are all bytes if it `is_whole`.
pub(super) fn read(line: &[u8], is_whole: bool) -> Result<Stamp, NoStamp> {
    let mut reader = Reader { line, at: 0, is_whole };
    if reader.peek()? == MARK[0] {
        reader.text(MARK)?;
    }
    if reader.peek()? == b'[' { reader.in_brackets() } else { reader.bare() }
}

/// Where the first line with a stamp begins, in bytes that begin with a line.
pub fn stamped_line(bytes: &[u8]) -> Option<usize> {
    if bytes.first().is_some_and(|&byte| may_begin(byte)) && read(bytes, true).is_ok() {
        return Some(0);
    }
    // What is in each of the forms, and rare elsewhere.
    let needles: [&[u8]; 3] = [b"Z ", b"Z] ", b"] {"];
    needles.iter().filter_map(|needle| first_with(bytes, needle)).min()
}

fn first_with(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(bytes, needle).find_map(|at| {
        let head = bytes.get(at.saturating_sub(HEAD_BYTES_MAX)..at)?;
        let newline = memchr::memrchr(b'\n', head).map(|newline| newline + 1);
        let start = newline.or_else(|| (head.len() == at).then_some(0))?;
        let start = at - head.len() + start;
        let line = bytes.get(start..)?;
        // The dates of other logs end there, too, and these are many.
        let is_other = needle == b"Z " && !matches!(at - start, 26 | 27 | 29 | 30);
        (!is_other && line.first().is_some_and(|&byte| may_begin(byte)) && read(line, true).is_ok())
            .then_some(start)
    })
}

/// The places in a line of the bytes that [`may_be_stamped`] asks for.
pub const STAMP_HINTS: [usize; 3] = [0, 27, 30];

/// Whether a line may have a stamp, by its bytes at [`STAMP_HINTS`]. It has none if it is too short to
/// have these, unless its first byte says that it may. Without a branch, so that many lines can be
/// asked for at once.
#[inline(always)]
pub fn may_be_stamped([first, after_digits, stream]: [u8; 3]) -> bool {
    // Of all bytes only `E`, `G`, `M` and `O` are an `O` with these bits.
    (first == b'[') | (first == MARK[0]) | (after_digits == b'Z') | ((stream | 0x0a) == b'O')
}

/// Why text that begins with a date to the second is no stamp without brackets, as far as that shows
/// in what is behind the date. None if the date has to be read, too.
fn without_bare_shape(text: &[u8]) -> Option<NoStamp> {
    let (end, rest) = text.get(SECOND_BYTES + BARE_DIGITS_MIN as usize..)?.split_at_checked(2)?;
    match end {
        b"Z " => {}
        [digit, b'Z'] if digit.is_ascii_digit() => return None,
        _ => return Some(NoStamp::Other),
    }
    let fits: [fn(u8) -> bool; 4] = [
        |byte| byte.is_ascii_hexdigit(),
        |byte| byte.is_ascii_hexdigit(),
        |byte| matches!(byte, b'O' | b'E'),
        |byte| matches!(byte, b' ' | b'+'),
    ];
    if !rest.iter().zip(fits).all(|(byte, fits)| fits(*byte)) {
        return Some(NoStamp::Other);
    }
    (rest.len() < fits.len()).then_some(NoStamp::Unfinished)
}

struct Reader<'l> {
    line: &'l [u8],
    at: usize,
    is_whole: bool,
}

impl Reader<'_> {
    fn bare(&mut self) -> Result<Stamp, NoStamp> {
        if let Some(no_stamp) = without_bare_shape(self.line.get(self.at..).unwrap_or_default()) {
            return Err(no_stamp);
        }
        let time = self.time(b"T", b".")?;
        if time.digits < BARE_DIGITS_MIN {
            return Err(NoStamp::Other);
        }
        self.text(b" ")?;
        let stamp = |len, joins| Stamp { len, time: time.at, level: None, joins };
        match time.digits {
            6 if time.is_utc => {
                let joins = self.gitlab()?;
                Ok(stamp(self.at, joins))
            }
            7 if time.is_utc => Ok(stamp(self.at, Joins::default())),
            _ => Err(NoStamp::Other),
        }
    }

    fn gitlab(&mut self) -> Result<Joins, NoStamp> {
        for _ in 0..2 {
            if !self.next()?.is_ascii_hexdigit() {
                return Err(NoStamp::Other);
            }
        }
        if !matches!(self.next()?, b'O' | b'E') {
            return Err(NoStamp::Other);
        }
        match self.next()? {
            b' ' => Ok(Joins { before: false, after: true }),
            b'+' => Ok(Joins { before: true, after: true }),
            _ => Err(NoStamp::Other),
        }
    }

    fn in_brackets(&mut self) -> Result<Stamp, NoStamp> {
        self.text(b"[")?;
        let time = self.time(b"T ,", b".,")?;
        if self.peek()? == b' ' {
            self.text(b" UTC")?;
        }
        self.text(b"] ")?;
        let len = self.at;
        let jenkins = || {
            let is_jenkins = time.is_utc && time.digits == 3;
            let stamp = Stamp { len, time: time.at, level: None, joins: Joins::default() };
            if is_jenkins { Ok(stamp) } else { Err(NoStamp::Other) }
        };
        match self.airflow() {
            Ok(level) => Ok(Stamp { len: self.at, time: time.at, level, joins: Joins::default() }),
            Err(NoStamp::Other) => jenkins(),
            Err(NoStamp::Unfinished) if self.is_whole => jenkins(),
            Err(NoStamp::Unfinished) => Err(NoStamp::Unfinished),
        }
    }

    /// `{file.py:12} LEVEL - `
    fn airflow(&mut self) -> Result<Option<Level>, NoStamp> {
        self.text(b"{")?;
        let start = self.at;
        loop {
            match self.next()? {
                b'}' => break,
                byte if byte.is_ascii_alphanumeric() || b"._-/:<>".contains(&byte) => {}
                _ => return Err(NoStamp::Other),
            }
            if self.at - start > FILE_BYTES_MAX {
                return Err(NoStamp::Other);
            }
        }
        self.text(b" ")?;
        let start = self.at;
        while self.next()? != b' ' {
            if self.at - start > b"CRITICAL ".len() {
                return Err(NoStamp::Other);
            }
        }
        let level = match self.line.get(start..self.at - 1).unwrap_or_default() {
            b"INFO" => None,
            b"DEBUG" => Some(Level::Debug),
            b"WARNING" => Some(Level::Warning),
            b"ERROR" | b"CRITICAL" => Some(Level::Error),
            _ => return Err(NoStamp::Other),
        };
        self.text(b"- ")?;
        Ok(level)
    }

    /// A date, one of the `separators`, and a time with a fraction behind one of the `points`.
    fn time(&mut self, separators: &[u8], points: &[u8]) -> Result<Time, NoStamp> {
        let year = self.number(4)?;
        self.text(b"-")?;
        let month = self.number(2)?;
        self.text(b"-")?;
        let day = self.number(2)?;
        self.one_of(separators)?;
        if self.line.get(self.at - 1) == Some(&b',') {
            self.text(b" ")?;
        }
        let hour = self.number(2)?;
        self.text(b":")?;
        let minute = self.number(2)?;
        self.text(b":")?;
        let second = self.number(2)?;
        let (mut digits, mut fraction) = (0, 0);
        if points.contains(&self.peek()?) {
            self.at += 1;
            while self.peek()?.is_ascii_digit() && digits < 9 {
                let digit = u64::from(self.next()? - b'0');
                digits += 1;
                fraction += if digits <= 3 { digit * 10_u64.pow(3 - digits) } else { 0 };
            }
        }
        let (is_utc, zone) = self.zone()?;
        let is_date = (1..=12).contains(&month) && (1..=31).contains(&day) && year >= 1970;
        if !is_date || hour > 23 || minute > 59 || second > 60 {
            return Err(NoStamp::Other);
        }
        let minutes = (days(year, month, day) * 24 + hour) * 60 + minute;
        let minutes = minutes.checked_add_signed(-zone).ok_or(NoStamp::Other)?;
        Ok(Time { at: (minutes * 60 + second) * 1000 + fraction, digits, is_utc })
    }

    /// Whether the zone is written `Z`, and its distance from that in minutes. Without one, as old
    /// Airflow has it, the time counts as UTC.
    fn zone(&mut self) -> Result<(bool, i64), NoStamp> {
        let sign = match self.peek()? {
            b'Z' => {
                self.at += 1;
                return Ok((true, 0));
            }
            b'+' => 1,
            b'-' => -1,
            _ => return Ok((false, 0)),
        };
        self.at += 1;
        let hours = self.number(2)?;
        if self.peek()? == b':' {
            self.at += 1;
        }
        let minutes = hours * 60 + self.number(2)?;
        Ok((false, sign * i64::try_from(minutes).unwrap_or_default()))
    }

    fn number(&mut self, digits: usize) -> Result<u64, NoStamp> {
        (0..digits).try_fold(0, |number, _| match self.next()? {
            digit @ b'0'..=b'9' => Ok(number * 10 + u64::from(digit - b'0')),
            _ => Err(NoStamp::Other),
        })
    }

    fn text(&mut self, text: &[u8]) -> Result<(), NoStamp> {
        text.iter().try_for_each(|&byte| self.one_of(&[byte]))
    }

    fn one_of(&mut self, bytes: &[u8]) -> Result<(), NoStamp> {
        if bytes.contains(&self.next()?) { Ok(()) } else { Err(NoStamp::Other) }
    }

    fn next(&mut self) -> Result<u8, NoStamp> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&self) -> Result<u8, NoStamp> {
        self.line.get(self.at).copied().ok_or(NoStamp::Unfinished)
    }
}

#[derive(Clone, Copy)]
struct Time {
    /// In milliseconds since 1970.
    at: u64,
    /// How many the fraction has.
    digits: u32,
    /// The zone is written `Z`.
    is_utc: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u64 = 1_795_874_527_123;

    #[test]
    fn stamps_are_read_with_their_time() {
        let none = Joins::default();
        for (stamp, level, joins) in [
            ("2026-11-28T14:02:07.123456Z 00O ", None, Joins { after: true, ..none }),
            ("2026-11-28T14:02:07.123456Z a1E+", None, Joins { before: true, after: true }),
            ("2026-11-28T14:02:07.1234567Z ", None, none),
            ("\u{feff}2026-11-28T14:02:07.1234567Z ", None, none),
            ("[2026-11-28T14:02:07.123Z] ", None, none),
            ("[2026-11-28T12:02:07.123-0200] {a/b_c.py:12} INFO - ", None, none),
            (
                "[2026-11-28 14:02:07,123] {logging_mixin.py:188} WARNING - ",
                Some(Level::Warning),
                none,
            ),
            ("[2026-11-28T14:02:07.123+0000] {x.py:1} CRITICAL - ", Some(Level::Error), none),
        ] {
            let expected = Stamp { len: stamp.len(), time: TIME, level, joins };
            for text in ["text", "{\"a\":1}", "std"] {
                let line = format!("{stamp}{text}");
                assert_eq!(read(line.as_bytes(), true), Ok(expected), "{line:?}");
                assert_eq!(stamped_line(format!("a\n{line}").as_bytes()), Some(2), "{line:?}");
                let hints = STAMP_HINTS.map(|place| *line.as_bytes().get(place).unwrap_or(&0));
                assert!(may_be_stamped(hints), "{line:?}");
            }
            assert_eq!(read(stamp.as_bytes(), true), Ok(expected), "{stamp:?} alone");
            for len in 0..stamp.len() - 1 {
                let part = read(&stamp.as_bytes()[..len], false);
                assert_eq!(part, Err(NoStamp::Unfinished), "{len} bytes of {stamp:?}");
            }
        }
    }

    #[test]
    fn other_dates_are_text() {
        for line in [
            "2026-11-28T14:02:07.123Z INFO text",
            "2026-11-28T14:02:07.123Z stdout F text",
            "2026-11-28T14:02:07Z text",
            "2026-11-28 14:02:07.1234567Z text",
            "2026-13-28T14:02:07.1234567Z text",
            "2026-11-28T14:02:07.1234567+00:00 text",
            "2026-11-28T14:02:07.123456Z 00X text",
            "2026-11-28T14:02:07.123456Z text",
            "2026-11-28T14:02:07.123456789Z stdout F text",
            "2026-11-28T14:02:07.1234567Ztext",
            "[2026-11-28T14:02:07.123456Z] text",
            "[2026-11-28 14:02:07,123] text",
            "[2026-11-28T14:02:07.123+0000] {x.py:1} TEXT - text",
            " 2026-11-28T14:02:07.1234567Z text",
            "[1/5] text",
            "12 text",
        ] {
            assert_eq!(read(line.as_bytes(), true), Err(NoStamp::Other), "{line:?}");
            assert_eq!(stamped_line(line.as_bytes()), None, "{line:?}");
        }
    }
}
