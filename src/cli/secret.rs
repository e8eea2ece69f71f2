//! Secrets that a person types or a script sends. They are never arguments, which others can see.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A longer line is no secret.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// A longer file has no credentials. Certificates of all authorities that there are take less.
#[cfg(feature = "nats")]
const CONTENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What Ctrl-C sends while it does not end the program.
const INTERRUPT: char = '\u{3}';

/// Asks for a line on the terminal without showing it; from a pipe it is the next line.
pub(super) fn read(prompt: &str) -> io::Result<String> {
    let hidden = io::stdin().is_terminal().then(|| Hidden::begin(prompt)).transpose()?;
    let line = next_line();
    if hidden.is_some() {
        drop(hidden);
        writeln!(io::stderr())?;
    }
    line
}

/// The first line of a file.
pub(super) fn first_line(file: &Path) -> io::Result<String> {
    let mut line = String::new();
    #[expect(clippy::disallowed_methods, reason = "it is no log")]
    let file = std::fs::File::open(file)?;
    io::BufReader::new(file.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    Ok(without_end(&line).to_owned())
}

/// What is in a file of credentials or certificates.
#[cfg(feature = "nats")]
pub(super) fn content(file: &Path) -> io::Result<String> {
    let mut content = String::new();
    #[expect(clippy::disallowed_methods, reason = "it is no log")]
    let file = std::fs::File::open(file)?;
    file.take(CONTENT_BYTES_MAX).read_to_string(&mut content)?;
    Ok(content)
}

/// Asks for a line on the terminal; from a pipe it is the next line.
pub(super) fn read_open(prompt: &str) -> io::Result<String> {
    if io::stdin().is_terminal() {
        write!(io::stderr(), "{prompt}")?;
        io::stderr().flush()?;
    }
    next_line()
}

fn next_line() -> io::Result<String> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.contains(INTERRUPT) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(without_end(&line).to_owned())
}

fn without_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// A terminal that does not show what is typed. Dropping it restores the terminal.
struct Hidden(Termios);

impl Hidden {
    fn begin(prompt: &str) -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        // A signal would leave the terminal as it is.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        let hidden = Self(before);
        write!(io::stderr(), "{prompt}")?;
        io::stderr().flush()?;
        Ok(hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0) {
            tracing::debug!(%error, "cannot restore the terminal");
        }
    }
}
