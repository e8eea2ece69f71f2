//! The command line; the only place that prints.
//!
//! stdout is for data: `serve` prints one line there, the address, and `tail` the log. Everything else is talk and goes
//! to stderr.

mod bench;
mod serve;
mod tail;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
    Tail(tail::Arguments),
    Bench(bench::Arguments),
}

/// The next thing to do, for an error that reaches the person who started the command, and the exit code.
#[derive(Debug)]
struct Hint {
    words: String,
    exit: u8,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Hint {}

/// An error of these words, with a hint under them: something is wrong with the arguments.
fn failure(message: impl fmt::Display, hint: impl Into<String>) -> anyhow::Error {
    let hint = Hint { words: hint.into(), exit: EXIT_USAGE };
    anyhow::Error::new(hint).context(message.to_string())
}

/// The same where the arguments make sense, and what they ask for is not to be had.
fn unmet(message: impl fmt::Display, hint: impl Into<String>) -> anyhow::Error {
    let hint = Hint { words: hint.into(), exit: EXIT_UNMET };
    anyhow::Error::new(hint).context(message.to_string())
}

/// What was asked for is refused, or not there.
const EXIT_UNMET: u8 = 1;

/// Wrong arguments, or something that they name: as clap's own errors.
const EXIT_USAGE: u8 = 2;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = error.downcast_ref::<Hint>();
            let words = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            // With stderr closed there is nobody to tell.
            let _told = writeln!(io::stderr(), "error: {error}{words}");
            ExitCode::from(hint.map_or(EXIT_USAGE, |hint| hint.exit))
        }
    }
}

/// Each connection is a descriptor, and the soft limit is often 1024. Gives the limit that there is now.
fn raise_descriptor_limit(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = maximum.map_or(wanted, |maximum| wanted.min(maximum));
    if current.is_some_and(|current| current < raised)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum })
    {
        tracing::debug!(%error, "can't raise the limit of open files");
        return current.unwrap_or(raised);
    }
    raised.max(current.unwrap_or(wanted))
}
