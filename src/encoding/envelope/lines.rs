//! Opens whole lines at once, where each is one line of text.

use std::borrow::Cow;

use super::{Stream, cri, docker};

/// Lines of a log, and the lines of text in them, one for each.
#[derive(Debug, Default)]
pub struct OpenedLines {
    /// How many bytes of the log they are.
    pub len: usize,
    /// Their text, with a newline for each.
    pub text: Vec<u8>,
}

/// What is in one line of a container runtime.
#[derive(Debug)]
pub struct OpenedLine<'l> {
    /// The text in it.
    pub text: Cow<'l, [u8]>,
    /// To which stream it was written.
    pub stream: Stream,
    /// The program's line goes on in the next envelope of its stream.
    pub is_partial: bool,
}

/// Opens a line without its newline. None if it is no envelope.
#[must_use]
pub fn open_line(line: &[u8]) -> Option<OpenedLine<'_>> {
    let nuls = line.iter().take_while(|byte| **byte == 0).count();
    let line = line.get(nuls..).unwrap_or_default();
    if line.first() == Some(&b'{') {
        let mut unescaped = docker::Unescaped::default();
        let read = docker::read(line, 0, &mut unescaped).ok()?;
        let (stream, is_partial) = (read.envelope.stream, read.is_partial);
        return Some(OpenedLine { text: read.text.bytes().to_vec().into(), stream, is_partial });
    }
    let with_newline = [line, b"\n"].concat();
    let head = cri::read(&with_newline).ok()?;
    let text = Cow::Borrowed(line.get(head.len..).unwrap_or_default());
    Some(OpenedLine { text, stream: head.envelope.stream, is_partial: head.is_partial })
}

/// Opens the first of these lines of a log, up to the first whose text is none or more than one
/// line, or that is too long for an envelope. The bytes begin with a line; what comes after the last
/// newline is left.
#[must_use]
pub fn open_lines(bytes: &[u8]) -> OpenedLines {
    let whole = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
    if are_bare(&bytes[..whole]) {
        return OpenedLines { len: whole, text: bytes[..whole].to_vec() };
    }
    let mut opened = OpenedLines { len: 0, text: Vec::with_capacity(bytes.len()) };
    let mut unescaped = docker::Unescaped::default();
    for newline in memchr::memchr_iter(b'\n', bytes) {
        let line = bytes.get(opened.len..newline).unwrap_or_default();
        let text = match line.first() {
            Some(b'{') if line.len() > docker::LINE_BYTES_MAX => break,
            Some(b'{') => match docker::read(line, 0, &mut unescaped) {
                Ok(read) if read.is_partial => break,
                Ok(read) => read.text.bytes(),
                Err(_) => line,
            },
            Some(byte) if byte.is_ascii_digit() => {
                match cri::read(bytes.get(opened.len..=newline).unwrap_or_default()) {
                    Ok(head) if head.is_partial => break,
                    Ok(head) => line.get(head.len..).unwrap_or_default(),
                    Err(_) => line,
                }
            }
            // It may go on as an envelope.
            Some(0) => break,
            _ => line,
        };
        if memchr::memchr(b'\n', text).is_some() {
            break;
        }
        opened.text.extend_from_slice(text);
        opened.text.push(b'\n');
        opened.len = newline + 1;
    }
    opened
}

/// Whether no line can be an envelope, as in a program's own JSON that begins like one. This is many
/// times as fast as an attempt to read each line.
#[must_use]
pub fn are_bare(lines: &[u8]) -> bool {
    let may_begin =
        |byte: Option<&u8>| byte.is_some_and(|byte| *byte == 0 || byte.is_ascii_digit());
    let mut newlines = memchr::memchr_iter(b'\n', lines);
    lines.len() <= docker::LINE_BYTES_MAX
        && !may_begin(lines.first())
        && memchr::memmem::find(lines, docker::NEEDED_NAME).is_none()
        && !newlines.any(|newline| may_begin(lines.get(newline + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_opened_up_to_the_first_that_is_not_one_line() {
        let cri = |tag: &str, text: &str| format!("2026-11-28T14:02:07Z stdout {tag} {text}\n");
        let docker = |text: &str| {
            format!(
                "{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-11-28T14:02:07Z\"}}\n"
            )
        };
        for (lines, opened, text) in [
            (vec![cri("F", "a"), docker("\\u001bb\\n"), "bare\n".into()], 3, "a\n\x1bb\nbare\n"),
            (vec![cri("F", ""), "2026-11-28T14:02:07Z stdout F\n".into()], 2, "\n\n"),
            (vec!["{\"log\":\"a\"}\n".into(), cri("P", "a")], 1, "{\"log\":\"a\"}\n"),
            (vec![docker("a\\n"), docker("a")], 1, "a\n"),
            (vec![docker("a\\nb\\n"), docker("a\\n")], 0, ""),
            (vec![cri("F", "a"), "\0\n".into()], 1, "a\n"),
            (
                vec!["{\"time\":\"a\"}\n".into(), "\n".into(), "b\n".into()],
                3,
                "{\"time\":\"a\"}\n\nb\n",
            ),
            (vec!["{\"time\":\"a\"}\n".into(), cri("F", "b")], 2, "{\"time\":\"a\"}\nb\n"),
            (vec!["{\"time\":\"a\"}\n".into(), "\0\n".into()], 1, "{\"time\":\"a\"}\n"),
            (vec!["bare\n".into(), "bare".into()], 1, "bare\n"),
            (vec![cri("F", "a"), "bare".into()], 1, "a\n"),
        ] {
            let log = lines.concat();
            let len: usize = lines.iter().take(opened).map(String::len).sum();
            let found = open_lines(log.as_bytes());
            assert_eq!((found.len, found.text.as_slice()), (len, text.as_bytes()), "{log}");
        }
    }
}
