//! The command line; the only room that prints.
//!
//! stdout is for data: `serve` prints one line there, its address, `tail` the log, and `bench` its
//! report. Log output, messages and errors go to stderr.

mod accounts;
#[cfg(feature = "nats")]
mod agent;
mod bench;
#[cfg(feature = "nats")]
mod broker;
mod decode;
mod failure;
mod health;
mod listen;
mod run;
mod secret;
mod serve;
mod shell;
mod size;
mod span;
mod tail;
#[cfg(feature = "tls")]
mod trust;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::Metadata;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::serve::ACCESS_LOG;

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
    #[cfg(feature = "nats")]
    Agent(Box<agent::Arguments>),
    Config(serve::ConfigArguments),
    Password(accounts::PasswordArguments),
    Token(accounts::TokenArguments),
    Run(Box<run::Arguments>),
    Tail(tail::Arguments),
    Bench(bench::Arguments),
    Health(health::Arguments),
    Completions(shell::CompletionsArguments),
    Man(shell::ManArguments),
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
        #[cfg(feature = "nats")]
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Config(arguments) => serve::check(&arguments),
        Command::Password(arguments) => accounts::password(&arguments),
        Command::Token(arguments) => accounts::token(&arguments),
        Command::Run(arguments) => {
            return run::run(&arguments).unwrap_or_else(|failure| failure.report());
        }
        Command::Tail(arguments) => {
            return tail::run(&arguments).unwrap_or_else(|failure| failure.report());
        }
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments, Arguments::command()),
        Command::Man(arguments) => shell::man(&arguments, Arguments::command()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

const HINT_LIMITS: &str = "check the limits of this user with `ulimit -a`";
const HINT_STDOUT: &str = "check where stdout is redirected to";

/// How the access log is written: the lines about viewers and refused requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum AccessLogFormat {
    Text,
    Json,
    Off,
}

/// Starts the log output on stderr. `TAILCAST_LOG` overrides the filter, but not for an access log
/// in JSON, which programs read.
fn init_logging(filter: &str, access_log: AccessLogFormat) {
    let filter = EnvFilter::try_from_env("TAILCAST_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    let is_access = |metadata: &Metadata<'_>| metadata.target() == ACCESS_LOG;
    let text = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter)
        .with_filter(filter_fn(move |metadata| {
            access_log == AccessLogFormat::Text || !is_access(metadata)
        }));
    let json = (access_log == AccessLogFormat::Json).then(|| {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false);
        json.with_span_list(false).with_writer(io::stderr).with_filter(filter_fn(is_access))
    });
    // It fails only if the process has a subscriber already, which is then kept.
    let _initialised = tracing_subscriber::registry().with(text).with(json).try_init();
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

/// Each viewer takes a descriptor; 1024 more are for logs and short connections.
fn reserve_descriptors(viewers: usize) {
    let wanted = viewers as u64 + 1024;
    let limit = raise_descriptor_limit(wanted);
    if limit < wanted {
        tracing::warn!(
            limit,
            "the limit of open files allows fewer than {viewers} viewers; hint: raise `ulimit -n`"
        );
    }
}

/// Where this user's programs keep their state (XDG Base Directory Specification). None without a
/// home.
fn state_directory() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    // A relative path is to be ignored.
    let own = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| Path::new(&home).join(".local/state"));
    own.or_else(home).map(|directory| directory.join("tailcast"))
}
