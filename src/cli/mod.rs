//! The command line; the only place that prints.
//!
//! stdout is for data: `serve` prints one line there, the address. Everything else is talk and goes to stderr.

mod serve;

use std::io::Write;
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

/// What stops a command, in words for the one who started it.
#[derive(Debug)]
struct Failure {
    message: String,
    hint: String,
}

/// Wrong arguments, or something that they name: as clap's own errors.
const EXIT_USAGE: u8 = 2;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let Command::Serve(arguments) = Arguments::parse().command;
    match serve::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, hint }) => {
            // With stderr closed there is nobody to tell.
            let _told = writeln!(std::io::stderr(), "error: {message}\nhint: {hint}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
