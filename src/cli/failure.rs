//! How a command fails: with a chain of causes, a hint and an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

/// The exit code when the request is refused or cannot be met.
const EXIT_UNAVAILABLE: u8 = 1;
/// The exit code for wrong arguments or something that they name, as in clap's own errors.
const EXIT_USAGE: u8 = 2;

/// Why a command fails, and what its user can do next.
#[derive(Debug)]
pub(super) struct Failure {
    error: anyhow::Error,
    hint: String,
    code: u8,
}

impl Failure {
    /// The arguments, or something that they name, are wrong.
    pub(super) fn usage(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: hint.into(), code: EXIT_USAGE }
    }

    /// The arguments are right, and what they ask for cannot be had.
    pub(super) fn unavailable(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: hint.into(), code: EXIT_UNAVAILABLE }
    }

    /// The same with another exit code.
    pub(super) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The whole chain of causes, on one line.
    pub(super) fn causes(&self) -> String {
        format!("{:#}", self.error)
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> &str {
        &self.hint
    }

    /// Prints the whole chain of causes on one line, and the hint below it.
    pub(super) fn report(&self) -> ExitCode {
        let Self { error, hint, code } = self;
        // If stderr is closed there is no place left to report to.
        let _printed = writeln!(io::stderr(), "tailcast: {error:#}\nhint: {hint}");
        ExitCode::from(*code)
    }
}

/// Adds a hint and an exit code to a result.
pub(super) trait OrFail<T> {
    /// See [`Failure::usage`].
    fn or_usage(self, hint: impl Into<String>) -> Result<T, Failure>;

    /// See [`Failure::unavailable`].
    fn or_unavailable(self, hint: impl Into<String>) -> Result<T, Failure>;
}

impl<T> OrFail<T> for anyhow::Result<T> {
    fn or_usage(self, hint: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::usage(error, hint))
    }

    fn or_unavailable(self, hint: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::unavailable(error, hint))
    }
}
