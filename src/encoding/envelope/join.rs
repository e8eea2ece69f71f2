//! Where in a log reading may begin so that no program's line is cut: not behind a partial envelope
//! whose line goes on.

use super::{Stream, cri, docker};

/// A partial envelope is continued by the next one of its stream if that is among so many lines
/// behind it.
pub const JOIN_LINES_MAX: u64 = 32;

/// Looks at the lines before one, from the last to the first, for those that may go on in it or
/// behind it.
#[derive(Debug, Default)]
pub struct Joined {
    /// For each stream, whether its last envelope was seen.
    closed: [bool; 2],
    /// How many lines were seen since the last that goes on.
    lines: u64,
}

impl Joined {
    /// Takes the line before the one that was taken last, without its newline. Returns whether its
    /// own line goes on behind it, so that reading must begin at it or before it.
    pub fn take(&mut self, line: &[u8]) -> bool {
        self.lines += 1;
        let Some((stream, is_partial)) = kind(line) else { return false };
        let closed = &mut self.closed[stream as usize];
        if std::mem::replace(closed, true) || !is_partial {
            return false;
        }
        // What goes on in this line or behind it is before it.
        *self = Self::default();
        true
    }

    /// Whether no earlier line goes on behind those that were taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.closed == [true; 2] || self.lines >= JOIN_LINES_MAX
    }
}

/// The stream of an envelope, and whether it is partial.
fn kind(line: &[u8]) -> Option<(Stream, bool)> {
    let nuls = line.iter().take_while(|byte| **byte == 0).count();
    let line = line.get(nuls..).unwrap_or_default();
    match line.first()? {
        b'{' => {
            let mut unescaped = docker::Unescaped::default();
            let read = docker::read(line, 0, &mut unescaped).ok()?;
            Some((read.envelope.stream, read.is_partial))
        }
        _ => {
            // The blank may be missing where the line ends.
            let head = cri::read(line).or_else(|_| cri::read(&[line, b"\n"].concat())).ok()?;
            Some((head.envelope.stream, head.is_partial))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the lines before the end must be read as well.
    fn needed(lines: &[&str]) -> usize {
        let mut joined = Joined::default();
        let mut needed = 0;
        for (nth, line) in lines.iter().rev().enumerate() {
            if joined.is_done() {
                break;
            }
            if joined.take(line.as_bytes()) {
                needed = nth + 1;
            }
        }
        needed
    }

    #[test]
    fn reading_begins_before_every_line_that_goes_on() {
        let [out, out_on] = ["F", "P"].map(|tag| format!("2026-11-28T14:02:07Z stdout {tag} a"));
        let [err, err_on] = ["F", "P"].map(|tag| format!("2026-11-28T14:02:07Z stderr {tag} a"));
        let docker_on = r#"{"log":"a","stream":"stdout","time":"2026-11-28T14:02:07Z"}"#;
        let (out, out_on, err, err_on) = (&*out, &*out_on, &*err, &*err_on);
        for (lines, expected) in [
            (&[][..], 0),
            (&[out], 0),
            (&[out_on], 1),
            (&[docker_on], 1),
            (&[out, out_on, out_on], 2),
            (&[out_on, out], 0),
            (&[out_on, err, err], 3),
            (&[out_on, err, out, err], 0),
            // Before the continued line of one stream goes on one of the other.
            (&[out_on, err_on, out, err_on], 4),
            (&[out, err_on, out, err_on], 3),
            (&[out_on, "bare", err], 3),
        ] {
            assert_eq!(needed(lines), expected, "{lines:?}");
        }
        let far: Vec<&str> = std::iter::once(out_on)
            .chain(std::iter::repeat_n(err, JOIN_LINES_MAX as usize))
            .collect();
        assert_eq!(needed(&far), 0, "so many lines lie between");
        assert_eq!(needed(&far[..far.len() - 1]), JOIN_LINES_MAX as usize);
    }
}
