//! Lines of Docker's driver json-file: `{"log":"text\n","stream":"stdout","time":"…"}`, in any order,
//! and with `attrs` where labels were asked for.
//!
//! A JSON object with any other key, without one of the three, or with a value of another kind is a
//! line of a program.

use std::ops::Range;

use super::{Envelope, NoEnvelope, Stream, time};
use crate::encoding::{OffsetMap, Text};

/// The longest line that can be one, in bytes: Docker puts at most 16 KiB of text into one. A longer
/// line stays as it is.
pub(super) const LINE_BYTES_MAX: usize = 256 * 1024;

/// The keys, with all that comes before the value.
const KEYS: [&[u8]; 4] = [b"\"log\":\"", b"\"stream\":\"", b"\"time\":\"", b"\"attrs\":{"];

/// What each envelope has in it.
pub(super) const NEEDED_NAME: &[u8] = b"\"stream\"";

/// Whether a log that begins with these bytes may be Docker's. None where more of them must tell.
pub(super) fn may_begin(head: &[u8]) -> Option<bool> {
    let rest = head.strip_prefix(b"{")?;
    if KEYS.iter().any(|key| rest.starts_with(key)) {
        return Some(true);
    }
    KEYS.iter().all(|key| !key.starts_with(rest)).then_some(false)
}

/// Text that needs more than a part of the line, kept to be used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Unescaped {
    text: Vec<u8>,
    map: OffsetMap,
}

impl Unescaped {
    pub(super) fn weight(&self) -> usize {
        self.text.capacity() + self.map.weight()
    }
}

/// What is in a line.
#[derive(Debug)]
pub(super) struct Line<'l> {
    pub(super) envelope: Envelope,
    pub(super) text: Text<'l>,
    /// The program's line goes on in the next envelope of its stream.
    pub(super) is_partial: bool,
}

/// Reads a line that begins at this offset, without its newline.
pub(super) fn read<'l>(
    line: &'l [u8],
    at: u64,
    unescaped: &'l mut Unescaped,
) -> Result<Line<'l>, NoEnvelope> {
    let mut reader = Reader { line, at: 0 };
    let mut log: Option<Log> = None;
    let mut stream = None;
    let mut time = None;
    let mut has_attrs = false;
    reader.expect(b'{')?;
    loop {
        reader.blanks();
        reader.expect(b'"')?;
        let key = reader.name()?;
        reader.blanks();
        reader.expect(b':')?;
        reader.blanks();
        match key {
            b"log" if log.is_none() => log = Some(reader.log(at, unescaped)?),
            b"stream" if stream.is_none() => {
                reader.expect(b'"')?;
                let name = reader.name()?;
                stream = Some(Stream::of(name).ok_or(NoEnvelope::Other)?);
            }
            b"time" if time.is_none() => {
                reader.expect(b'"')?;
                let (read, len) = time::read(line.get(reader.at..).unwrap_or_default())?;
                reader.at += len;
                reader.expect(b'"')?;
                time = Some(read);
            }
            b"attrs" if !has_attrs => {
                reader.attributes()?;
                has_attrs = true;
            }
            _ => return Err(NoEnvelope::Other),
        }
        reader.blanks();
        match reader.next()? {
            b',' => {}
            b'}' => break,
            _ => return Err(NoEnvelope::Other),
        }
    }
    if reader.at < line.len() {
        return Err(NoEnvelope::Other);
    }
    let (Some(log), Some(stream), Some(time)) = (log, stream, time) else {
        return Err(NoEnvelope::Other);
    };
    let (text, is_partial) = match log {
        Log::AsItIs { range, has_newline } => {
            let start = at + range.start as u64;
            (Text::at(start, line.get(range).unwrap_or_default()), !has_newline)
        }
        Log::Unescaped => {
            let Unescaped { text, map } = unescaped;
            let text = Text::mapped(0, text, Some(map));
            match text.bytes().strip_suffix(b"\n") {
                Some(line) => (text.slice(0..line.len()), false),
                None => (text, true),
            }
        }
    };
    Ok(Line { envelope: Envelope { stream, time }, text, is_partial })
}

/// The text of a line.
enum Log {
    /// A part of the line has no escapes but perhaps that of the newline at its end.
    AsItIs { range: Range<usize>, has_newline: bool },
    /// It was written elsewhere.
    Unescaped,
}

struct Reader<'l> {
    line: &'l [u8],
    at: usize,
}

impl<'l> Reader<'l> {
    fn next(&mut self) -> Result<u8, NoEnvelope> {
        let byte = *self.line.get(self.at).ok_or(NoEnvelope::Unfinished)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, expected: u8) -> Result<(), NoEnvelope> {
        if self.next()? == expected { Ok(()) } else { Err(NoEnvelope::Other) }
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.line.get(self.at) {
            self.at += 1;
        }
    }

    fn rest(&self) -> &'l [u8] {
        self.line.get(self.at..).unwrap_or_default()
    }

    /// A string of letters, up to its closing quote.
    fn name(&mut self) -> Result<&'l [u8], NoEnvelope> {
        let rest = self.rest();
        let len = rest.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        self.at += len;
        self.expect(b'"')?;
        Ok(rest.get(..len).unwrap_or_default())
    }

    /// An object of strings.
    fn attributes(&mut self) -> Result<(), NoEnvelope> {
        self.expect(b'{')?;
        self.blanks();
        if self.rest().first() == Some(&b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blanks();
            self.skip_string()?;
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            self.skip_string()?;
            self.blanks();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(()),
                _ => return Err(NoEnvelope::Other),
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), NoEnvelope> {
        self.expect(b'"')?;
        loop {
            let rest = self.rest();
            let len = special(rest).ok_or(NoEnvelope::Unfinished)?;
            self.at += len + 1;
            match rest.get(len) {
                Some(b'"') => return Ok(()),
                Some(b'\\') => drop(self.escape()?),
                _ => return Err(NoEnvelope::Other),
            }
        }
    }

    /// The text of the program, from its opening quote on.
    fn log(&mut self, at: u64, unescaped: &mut Unescaped) -> Result<Log, NoEnvelope> {
        self.expect(b'"')?;
        let start = self.at;
        let len = special(self.rest()).ok_or(NoEnvelope::Unfinished)?;
        match self.line.get(start + len..) {
            Some([b'"', ..]) => {
                self.at += len + 1;
                return Ok(Log::AsItIs { range: start..start + len, has_newline: false });
            }
            Some([b'\\', b'n', b'"', ..]) => {
                self.at += len + 3;
                return Ok(Log::AsItIs { range: start..start + len, has_newline: true });
            }
            _ => {}
        }
        let Unescaped { text, map } = unescaped;
        text.clear();
        map.restart(at + start as u64);
        loop {
            let rest = self.rest();
            let len = special(rest).ok_or(NoEnvelope::Unfinished)?;
            text.extend_from_slice(rest.get(..len).unwrap_or_default());
            if len > 0 {
                map.push(1, 1, len);
            }
            self.at += len + 1;
            match rest.get(len) {
                Some(b'"') => return Ok(Log::Unescaped),
                Some(b'\\') => {
                    let before = self.at - 1;
                    let ch = self.escape()?;
                    let mut utf8 = [0; 4];
                    let ch = ch.encode_utf8(&mut utf8);
                    text.extend_from_slice(ch.as_bytes());
                    map.push(ch.len(), self.at - before, 1);
                }
                _ => return Err(NoEnvelope::Other),
            }
        }
    }

    /// The character of an escape, behind its backslash. Half of a surrogate pair is U+FFFD.
    #[inline]
    fn escape(&mut self) -> Result<char, NoEnvelope> {
        Ok(match self.next()? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    let ch = char::from_u32(first.into());
                    return Ok(ch.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                let behind = self.at;
                match self.rest() {
                    [b'\\', b'u', ..] => {
                        self.at += 2;
                        let second = self.unit()?;
                        if let Some(Ok(ch)) = char::decode_utf16([first, second]).next() {
                            return Ok(ch);
                        }
                        self.at = behind;
                    }
                    [] | [b'\\'] => return Err(NoEnvelope::Unfinished),
                    _ => {}
                }
                char::REPLACEMENT_CHARACTER
            }
            _ => return Err(NoEnvelope::Other),
        })
    }

    fn unit(&mut self) -> Result<u16, NoEnvelope> {
        (0..4).try_fold(0, |unit, _| {
            let digit = char::from(self.next()?).to_digit(16).ok_or(NoEnvelope::Other)?;
            Ok(unit << 4 | digit as u16)
        })
    }
}

/// The first byte of a string that does not stand for itself: a quote, a backslash, or a control
/// character, which no string has.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let (words, rest) = bytes.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
        // The lowest of these bits is right, whatever comes above it.
        let found = zeros(word ^ (ONES * u64::from(b'"')))
            | zeros(word ^ (ONES * u64::from(b'\\')))
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let found = found & HIGH;
        if found != 0 {
            return Some(nth * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(is_special).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: &str = r#""time":"2026-11-28T14:02:07.123456789Z""#;

    /// The text, the offset of each of its characters, and whether the line is partial.
    fn read_line(line: &str) -> Option<(Stream, String, Vec<u64>, bool)> {
        let mut unescaped = Unescaped::default();
        let read = read(line.as_bytes(), 100, &mut unescaped).ok()?;
        assert_eq!(read.envelope.time, 1_795_874_527_123);
        let text = String::from_utf8(read.text.bytes().to_vec()).unwrap();
        let offsets =
            text.char_indices().map(|(i, _)| read.text.place().plus(i).offset() - 100).collect();
        Some((read.envelope.stream, text, offsets, read.is_partial))
    }

    #[test]
    fn a_line_is_unescaped_and_its_characters_keep_their_offsets() {
        for (log, text, offsets, is_partial) in [
            (r"ab\n", "ab", vec![8, 9], false),
            ("ab", "ab", vec![8, 9], true),
            (r"\n", "", vec![], false),
            ("", "", vec![], true),
            (r"a\n\n", "a\n", vec![8, 9], false),
            (r"a\nb", "a\nb", vec![8, 9, 11], true),
            (r#"\"a\"\n"#, "\"a\"", vec![8, 10, 11], false),
            (r"\u001b[1mé\u003c\n", "\x1b[1mé<", vec![8, 14, 15, 16, 17, 19], false),
            (r"\ud83d\ude00a\ud83dx\n", "😀a\u{fffd}x", vec![8, 20, 21, 27], false),
            (r"\\\/\t\r\b\f\r\n", "\\/\t\r\u{8}\u{c}\r", vec![8, 10, 12, 14, 16, 18, 20], false),
        ] {
            let expected = Some((Stream::Stdout, text.to_owned(), offsets, is_partial));
            let line = format!(r#"{{"log":"{log}","stream":"stdout",{TIME}}}"#);
            assert_eq!(read_line(&line), expected, "{line}");
        }
    }

    #[test]
    fn keys_come_in_any_order_and_attributes_are_left_out() {
        for line in [
            format!(r#"{{"log":"a\n","stream":"stderr",{TIME}}}"#),
            format!(r#"{{"stream":"stderr",{TIME},"log":"a\n"}}"#),
            format!(r#"{{{TIME},"log":"a\n","attrs":{{}},"stream":"stderr"}}"#),
            format!(
                r#"{{"log":"a\n","stream":"stderr","attrs":{{"tag":"a\"}}","b":"c"}},{TIME}}}"#
            ),
            format!(r#"{{ "log" : "a\n" , "stream": "stderr", {TIME} }}"#),
        ] {
            let (stream, text, _, is_partial) = read_line(&line).expect(&line);
            assert_eq!((stream, text.as_str(), is_partial), (Stream::Stderr, "a", false), "{line}");
            for len in 0..line.len() {
                let mut unescaped = Unescaped::default();
                let part = read(&line.as_bytes()[..len], 0, &mut unescaped);
                assert_eq!(part.err(), Some(NoEnvelope::Unfinished), "{len} bytes of {line}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_it_is_a_line_of_a_program() {
        for line in [
            r#"{"log":"a\n","stream":"stdout"}"#.to_owned(),
            format!(r#"{{"log":"a\n",{TIME}}}"#),
            format!(r#"{{"stream":"stdout",{TIME}}}"#),
            format!(r#"{{"log":"a\n","stream":"stdin",{TIME}}}"#),
            format!(r#"{{"log":"a\n","stream":"stdout",{TIME},"level":"info"}}"#),
            format!(r#"{{"log":"a\n","log":"a\n","stream":"stdout",{TIME}}}"#),
            format!(r#"{{"log":"a\n","stream":"stdout",{TIME}}} "#),
            format!(r#"{{"log":"a\n","stream":"stdout",{TIME}}}}}"#),
            format!(r#"{{"log":["a\n"],"stream":"stdout",{TIME}}}"#),
            format!("{{\"log\":\"a\tb\",\"stream\":\"stdout\",{TIME}}}"),
            format!(r#"{{"log":"a\x","stream":"stdout",{TIME}}}"#),
            format!(r#"{{"log":"a\u12g4","stream":"stdout",{TIME}}}"#),
            format!(r#"{{"log":"a","stream":"stdout","attrs":{{"a":1}},{TIME}}}"#),
            r#"{"log":"a\n","stream":"stdout","time":"yesterday"}"#.to_owned(),
            r#"{"log":"a\n","stream":"stdout","time":1795874527}"#.to_owned(),
            "{}".to_owned(),
            r#"{"level":"info"}"#.to_owned(),
        ] {
            assert_eq!(
                read(line.as_bytes(), 0, &mut Unescaped::default()).err(),
                Some(NoEnvelope::Other),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_out_as_it_went_in(text in "\\PC{0,9}|[a-z\"\\\\\n\r\t\u{1b}\u{0}😀é<&]{0,30}", newline: bool) {
            let text = if newline { format!("{text}\n") } else { text };
            let log = serde_json::to_string(&text).unwrap();
            let line = format!(r#"{{"log":{log},"stream":"stdout",{TIME}}}"#);
            let (_, found, _, is_partial) = read_line(&line).expect(&line);
            prop_assert_eq!(is_partial, !text.ends_with('\n'));
            prop_assert_eq!(found.as_str(), text.strip_suffix('\n').unwrap_or(&text));
        }

        #[test]
        fn the_first_special_byte_is_found(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
            prop_assert_eq!(special(&bytes), expected);
        }
    }
}
