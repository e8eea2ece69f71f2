//! The command line; the only place that prints.
//!
//! stdout is for data: `serve` prints one line there, the address. Everything else is talk and goes to stderr.

mod serve;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Shared live log viewer: one watcher per log file, fanned out to every browser that looks.
#[derive(Debug, Parser)]
#[command(name = "tailcast", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
}

/// The next thing to do, for an error that reaches the person who started the command.
#[derive(Debug)]
struct Hint(String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Hint {}

/// An error of these words, with a hint under them.
fn failure(message: impl fmt::Display, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hint(hint.into())).context(message.to_string())
}

/// Wrong arguments, or something that they name: as clap's own errors.
const EXIT_USAGE: u8 = 2;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let Command::Serve(arguments) = Arguments::parse().command;
    match serve::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = error
                .downcast_ref::<Hint>()
                .map(|hint| format!("\nhint: {hint}"))
                .unwrap_or_default();
            // With stderr closed there is nobody to tell.
            let _told = writeln!(io::stderr(), "error: {error}{hint}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
