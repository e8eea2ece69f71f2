//! The command line; the only room that prints.
//!
//! stdout is for data: `serve` prints one line there, its address, `tail` the log, and `bench` its
//! report. Log output, messages and errors go to stderr.

mod bench;
mod failure;
mod serve;
mod tail;
#[cfg(feature = "tls")]
mod trust;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use failure::{Failure, OrFail};

/// Show log files live, to many viewers at once
#[derive(Debug, Parser)]
#[command(name = "tailcast", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Arguments>),
    Config(serve::ConfigArguments),
    Tail(tail::Arguments),
    Bench(bench::Arguments),
}

/// Runs the program with the process's arguments, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let mut matches = Arguments::command().get_matches();
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let done = match arguments.command {
        Command::Serve(arguments) => {
            let (_, matches) = matches.remove_subcommand().unwrap_or_default();
            serve::run(*arguments, &matches)
        }
        Command::Config(arguments) => serve::check(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

const HINT_LIMITS: &str = "check the limits of this user with `ulimit -a`";
const HINT_STDOUT: &str = "check where stdout is redirected to";

/// Starts the log output on stderr. `TAILCAST_LOG` overrides the filter.
fn init_logging(filter: &str) {
    let filter = EnvFilter::try_from_env("TAILCAST_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    // It fails only if the process has a subscriber already, which is then kept.
    let _initialised = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}

/// Prints the result of a command. It is no error if nobody reads stdout any more.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot write to stdout").or_unavailable(HINT_STDOUT),
    }
}

/// Raises the soft limit of open files to the hard limit, or to `wanted` where there is none, since
/// each connection takes a descriptor and the soft limit is often 1024. Returns the limit now.
fn raise_descriptor_limit(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = maximum.unwrap_or(wanted);
    if current.is_some_and(|current| current < raised)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum })
    {
        tracing::debug!(%error, "cannot raise the limit of open files");
        return current.unwrap_or(raised);
    }
    raised.max(current.unwrap_or(wanted))
}
