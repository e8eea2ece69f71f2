//! An entry of the journal, and the lines that it is in a log.

use std::fmt::Write as _;

use jiff::Timestamp;

/// The names of the priorities, by number (syslog(3)), as levels are usually written.
const LEVELS: [&str; 8] = ["EMERG", "ALERT", "CRIT", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];
/// The lines of a message after its first.
const INDENT: &[u8] = b"    ";
/// The process that starts and stops units, and whose messages name them.
const MANAGER_PID: &[u8] = b"1";
const ROOT: &[u8] = b"0";

/// The fields that are used, for `journalctl --output-fields`. Cursor and time always come.
pub(super) const FIELDS: &str = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_PID,SYSLOG_PID,_UID,_SYSTEMD_UNIT,UNIT,OBJECT_SYSTEMD_UNIT,COREDUMP_UNIT";

/// The fields of one entry, as far as they are used.
#[derive(Debug, Default)]
pub(super) struct Entry {
    cursor: String,
    micros: Option<i64>,
    priority: Option<u8>,
    identifier: Vec<u8>,
    command: Vec<u8>,
    pid: Vec<u8>,
    syslog_pid: Vec<u8>,
    uid: Vec<u8>,
    unit: Option<Vec<u8>>,
    /// Units that somebody else's message is about: by the manager, or by the system.
    about: [Option<Vec<u8>>; 3],
    message: Option<Vec<u8>>,
    is_cut: bool,
}

impl Entry {
    /// Takes a field. The first of several with the same name counts.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8], is_cut: bool) {
        let text = || String::from_utf8_lossy(value);
        let keep = |own: &mut Vec<u8>| {
            if own.is_empty() {
                *own = value.to_vec();
            }
        };
        match name {
            b"__CURSOR" => self.cursor = text().into_owned(),
            b"__REALTIME_TIMESTAMP" => self.micros = text().parse().ok(),
            b"PRIORITY" => self.priority = self.priority.or_else(|| text().parse().ok()),
            b"SYSLOG_IDENTIFIER" => keep(&mut self.identifier),
            b"_COMM" => keep(&mut self.command),
            b"_PID" => keep(&mut self.pid),
            b"SYSLOG_PID" => keep(&mut self.syslog_pid),
            b"_UID" => keep(&mut self.uid),
            b"_SYSTEMD_UNIT" => self.unit = Some(value.to_vec()),
            b"UNIT" => self.about[0] = Some(value.to_vec()),
            b"OBJECT_SYSTEMD_UNIT" => self.about[1] = Some(value.to_vec()),
            b"COREDUMP_UNIT" => self.about[2] = Some(value.to_vec()),
            b"MESSAGE" if self.message.is_none() => {
                (self.message, self.is_cut) = (Some(value.to_vec()), is_cut);
            }
            _ => {}
        }
    }

    /// Where the journal goes on after this entry.
    pub(super) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The units that the entry belongs to, as `journalctl --unit` has it: that of the process, and
    /// those that the system says something about. Each is a name that a file can have.
    pub(super) fn units(&self) -> Vec<&str> {
        let [by_manager, by_system @ ..] = &self.about;
        let is_root = self.uid == ROOT;
        let by_manager = by_manager.as_ref().filter(|_| self.pid == MANAGER_PID && is_root);
        let by_system = by_system.iter().flatten().filter(|_| is_root);
        let mut units: Vec<&str> = self
            .unit
            .iter()
            .chain(by_manager)
            .chain(by_system)
            .filter_map(|unit| std::str::from_utf8(unit).ok())
            .filter(|unit| is_file_name(unit))
            .collect();
        units.sort_unstable();
        units.dedup();
        units
    }

    /// Appends the lines of the entry: `TIME LEVEL PROGRAM[PID]: MESSAGE`, with the time in UTC to the
    /// microsecond. The further lines of the message are indented.
    pub(super) fn append_lines(&self, to: &mut Vec<u8>) {
        let time = self.micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let level = LEVELS[self.priority.map_or(6, |priority| usize::from(priority.min(7)))];
        let mut head = String::new();
        let time = time.unwrap_or(Timestamp::UNIX_EPOCH);
        write!(head, "{time:.6} {level} ").expect("a string takes everything");
        to.extend_from_slice(head.as_bytes());
        let named = [&self.identifier, &self.command].into_iter().find(|name| !name.is_empty());
        append_shown(named.map_or(&b"unknown"[..], Vec::as_slice), to);
        let pids = [&self.pid, &self.syslog_pid];
        if let Some(pid) = pids.into_iter().find(|pid| !pid.is_empty())
            && pid.iter().all(u8::is_ascii_digit)
        {
            to.push(b'[');
            to.extend_from_slice(pid);
            to.push(b']');
        }
        to.extend_from_slice(b": ");
        let message = self.message.as_deref().unwrap_or(b"(no message)");
        let mut lines = message.trim_ascii_end().split(|byte| *byte == b'\n');
        append_shown(lines.next().unwrap_or_default(), to);
        for line in lines {
            to.push(b'\n');
            to.extend_from_slice(INDENT);
            append_shown(line, to);
        }
        if self.is_cut {
            to.extend_from_slice(b" [tailcast: the rest of this message is in the journal only]");
        }
        to.push(b'\n');
    }
}

/// Appends text of which colours and tabs are shown, and every other control character is written out
/// as `\x0d`. Anybody may write to the journal: a message must not overwrite another one.
fn append_shown(text: &[u8], to: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let length = match byte {
            b'\t' | b' '..=b'~' => 1,
            // The controls from U+0080 to U+009F.
            0xc2 if matches!(after.first(), Some(0x80..=0x9f)) => 0,
            0x80.. => 1,
            _ => colour_length(rest),
        };
        let (shown, after) = if length > 0 { rest.split_at(length) } else { (&[][..], after) };
        to.extend_from_slice(shown);
        if shown.is_empty() {
            to.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
        rest = after;
    }
}

/// The length of a sequence that sets colours at the start of a text; 0 if there is none.
fn colour_length(text: &[u8]) -> usize {
    let Some(parameters) = text.strip_prefix(b"\x1b[") else { return 0 };
    let end = parameters.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'));
    match end {
        Some(end) if parameters[end] == b'm' => 2 + end + 1,
        _ => 0,
    }
}

/// Whether a unit's name can be that of a file. systemd writes other characters as `\x2f`.
fn is_file_name(unit: &str) -> bool {
    !unit.is_empty()
        // With the end of an old file's name.
        && unit.len() <= 253
        && !unit.starts_with('.')
        && !unit.contains(['/', '\0', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[(&str, &str)]) -> Entry {
        let mut entry = Entry::default();
        for (name, value) in fields {
            entry.add(name.as_bytes(), value.as_bytes(), false);
        }
        entry
    }

    fn lines(fields: &[(&str, &str)]) -> String {
        let mut lines = Vec::new();
        entry(fields).append_lines(&mut lines);
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn an_entry_has_its_time_level_program_and_message() {
        let usual = [
            ("__REALTIME_TIMESTAMP", "1795940991123456"),
            ("PRIORITY", "3"),
            ("SYSLOG_IDENTIFIER", "nginx"),
            ("_COMM", "nginx-worker"),
            ("_PID", "385"),
            ("MESSAGE", "bind() failed\n  at once\n"),
        ];
        assert_eq!(
            lines(&usual),
            "2026-11-29T08:29:51.123456Z ERROR nginx[385]: bind() failed\n      at once\n"
        );
        assert_eq!(
            lines(&[
                ("__REALTIME_TIMESTAMP", "1795940991000000"),
                ("_COMM", "cron"),
                ("MESSAGE", "")
            ]),
            "2026-11-29T08:29:51.000000Z INFO cron: \n"
        );
        assert!(lines(&[]).ends_with(" INFO unknown: (no message)\n"));
        let mut cut = entry(&[]);
        cut.add(b"MESSAGE", b"long", true);
        let mut lines = Vec::new();
        cut.append_lines(&mut lines);
        assert!(
            lines
                .ends_with(b": long [tailcast: the rest of this message is in the journal only]\n")
        );
    }

    #[test]
    fn no_message_overwrites_another_one() {
        for (text, shown) in [
            ("plain\tand ä", "plain\tand ä"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("over\rwritten", "over\\x0dwritten"),
            ("\x1b[1A\x1b[2K", "\\x1b[1A\\x1b[2K"),
            ("\x1b[31", "\\x1b[31"),
            ("\x1b", "\\x1b"),
            ("\u{9b}2K", "\\xc2\u{fffd}2K"),
        ] {
            let mut bytes = Vec::new();
            append_shown(text.as_bytes(), &mut bytes);
            assert_eq!(String::from_utf8_lossy(&bytes), shown, "{text:?}");
        }
    }

    #[test]
    fn an_entry_belongs_to_the_unit_of_its_process_and_to_those_that_the_system_tells_of() {
        let own = ("_SYSTEMD_UNIT", "nginx.service");
        assert_eq!(entry(&[own]).units(), ["nginx.service"]);
        let manager = [("_PID", "1"), ("_UID", "0"), ("_SYSTEMD_UNIT", "init.scope")];
        let about = [&manager[..], &[("UNIT", "nginx.service")]].concat();
        assert_eq!(entry(&about).units(), ["init.scope", "nginx.service"]);
        // A process may write such a field, too.
        let claims = [own, ("UNIT", "cron.service"), ("_PID", "7"), ("_UID", "0")];
        assert_eq!(entry(&claims).units(), ["nginx.service"]);
        let claims = [own, ("COREDUMP_UNIT", "cron.service"), ("_UID", "33")];
        assert_eq!(entry(&claims).units(), ["nginx.service"]);
        let dump = [("COREDUMP_UNIT", "cron.service"), ("_UID", "0")];
        assert_eq!(entry(&dump).units(), ["cron.service"]);
        for odd in ["../x", "", ".", "a/b", "a\nb"] {
            assert!(entry(&[("_SYSTEMD_UNIT", odd)]).units().is_empty(), "{odd:?}");
        }
    }
}
