//! `tailcast run`.

mod sharing;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::cli::failure::{Failure, OrFail};
use crate::cli::listen::ListenAddress;
use crate::cli::span::span;
use crate::cli::{HINT_LIMITS, state_directory};
use crate::source::recorder::Recorder;
use crate::source::run::{Ended, Plan, Running, Signals, StartError, UsePty, name_of};
use crate::source::run_file::RunFile;
use crate::source::span::Span;
use sharing::Sharing;

/// The exit codes of a shell for a program that cannot be run, and for one that is not there.
const EXIT_NOT_EXECUTABLE: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;

/// Run a command, and keep its output in a file or show it in browsers
///
/// Its output goes to the terminal as always, to a file, and with --serve to browsers. Where the output is a terminal the command gets one, too, with colours and progress bars; keys,
/// Ctrl-C, Ctrl-Z and the size of the window reach it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tailcast run --serve -- make -j8                 show a build to somebody on this machine
  tailcast run --serve=0.0.0.0:8765 --qr -- make   show it to a phone in the same network
  tailcast run --to build.log -- cargo build       what `cargo build 2>&1 | tee build.log` does,
                                                   with colours, and with the exit code of cargo

The file begins with the mark OSC 133 C and ends with OSC 133 D;STATUS, which no terminal shows.

Exit codes: that of the command; 128 and the number of the signal that ended it; 127 the command was
not found, 126 it cannot be run; 2 wrong arguments")]
pub(super) struct Arguments {
    /// Serve the output while the command runs, and until its viewers have it all: at
    /// 127.0.0.1:8765, or at a free port if that is taken. With ADDRESS only there: `HOST:PORT`, or
    /// `unix:/path`
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "", value_parser = address, env = "TAILCAST_RUN_SERVE")]
    serve: Option<Wanted>,

    /// Write the output into this file [default: NAME-TIME.log in $XDG_STATE_HOME/tailcast/runs or
    /// ~/.local/state/tailcast/runs]. What was in the file goes
    #[arg(long, value_name = "FILE", env = "TAILCAST_RUN_TO")]
    to: Option<PathBuf>,

    /// Append to the file of --to
    #[arg(long, requires = "to")]
    append: bool,

    /// Give the command a terminal: `auto` (where this command has one), `always` or `never`
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        env = "TAILCAST_RUN_PTY"
    )]
    pty: Pty,

    /// Keep serving for this long after the end, such as `30s`, `10m` or `2h`, or until Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = span, requires = "serve", env = "TAILCAST_RUN_LINGER")]
    linger: Option<Duration>,

    /// The name in the file's name [default: the name of the command]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Print the address as a QR code, too
    #[arg(long, requires = "serve")]
    qr: bool,

    /// The command and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Pty {
    Auto,
    Always,
    Never,
}

/// Where to serve.
#[derive(Clone, Debug)]
enum Wanted {
    Anywhere,
    At(ListenAddress),
}

fn address(text: &str) -> Result<Wanted, String> {
    match text {
        "" => Ok(Wanted::Anywhere),
        text => text.parse().map(Wanted::At),
    }
}

/// Runs the command to its end. Returns its exit code.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let file = create(arguments)?;
    let mut runtime = match arguments.serve {
        Some(_) => tokio::runtime::Builder::new_multi_thread(),
        None => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .or_unavailable(HINT_LIMITS)?;
    let code = runtime.block_on(run_into(arguments, &file));
    if code.is_err() {
        file.withdraw();
    }
    // Threads may wait for a terminal or a disk that never answers.
    runtime.shutdown_background();
    code.map(ExitCode::from)
}

/// Makes the file.
fn create(arguments: &Arguments) -> Result<RunFile, Failure> {
    if let Some(path) = &arguments.to {
        return RunFile::named(path, arguments.append)
            .with_context(|| format!("cannot write `{}`", path.display()))
            .or_usage("name a file in a directory that exists and that this user may write to");
    }
    let Some(directory) = state_directory().map(|directory| directory.join("runs")) else {
        let error = anyhow::anyhow!("there is no place for the output: HOME is not set");
        return Err(Failure::usage(error, "give `--to FILE`"));
    };
    let command = arguments.command.first().map(|program| name_of(program)).unwrap_or_default();
    RunFile::create_in(&directory, arguments.name.as_deref().unwrap_or(&command))
        .with_context(|| format!("cannot make a file in `{}`", directory.display()))
        .or_usage("give `--to FILE`, with a file that this user may write")
}

async fn run_into(arguments: &Arguments, file: &RunFile) -> Result<u8, Failure> {
    // A signal that comes before the command is there is for it, too.
    let mut signals =
        Signals::catch().context("cannot handle signals").or_unavailable(HINT_LIMITS)?;
    let sharing = match &arguments.serve {
        Some(wanted) => Some(Sharing::start(wanted, &file.path, arguments.qr).await?),
        None => None,
    };
    let recorded = file.file.try_clone().context("cannot write the file").or_usage(HINT_LIMITS)?;
    let path = file.path.display().to_string();
    let recorder = Recorder::new(recorded, move |error| {
        say(&format!("`{path}` takes no more bytes, and the command goes on: {error}"));
    });
    let plan = plan(arguments).context("cannot use the streams").or_unavailable(HINT_LIMITS)?;
    let mut running =
        Running::start(&plan, Arc::new(recorder)).map_err(|error| cannot_start(&plan, error))?;
    let ended = loop {
        tokio::select! {
            ended = running.ended() => break ended,
            caught = signals.next() => running.on_signal(caught),
        }
    };
    let ended =
        ended.context("cannot find out how the command ended").or_unavailable(HINT_LIMITS)?;
    tell(arguments, file, &ended);
    if let Some(sharing) = sharing {
        sharing.end(arguments.linger.unwrap_or_default(), &mut signals).await;
    }
    Ok(ended.status.code())
}

fn plan(arguments: &Arguments) -> io::Result<Plan> {
    let (program, rest) = arguments.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let streams: [OwnedFd; 3] = [
        io::stdin().as_fd().try_clone_to_owned()?,
        io::stdout().as_fd().try_clone_to_owned()?,
        io::stderr().as_fd().try_clone_to_owned()?,
    ];
    let pty = match arguments.pty {
        Pty::Auto => UsePty::Auto,
        Pty::Always => UsePty::Always,
        Pty::Never => UsePty::Never,
    };
    Ok(Plan { program: program.clone(), arguments: rest.to_vec(), pty, streams })
}

fn cannot_start(plan: &Plan, error: StartError) -> Failure {
    let kind = match &error {
        StartError::Program(error) => Some(error.kind()),
        StartError::Surroundings(_) => None,
    };
    let program = plan.program.display();
    let has_path = plan.program.as_encoded_bytes().contains(&b'/');
    let (code, hint) = match kind {
        Some(io::ErrorKind::NotFound) if has_path => {
            (EXIT_NOT_FOUND, "check the path, and the interpreter in the first line of a script")
        }
        Some(io::ErrorKind::NotFound) => {
            (EXIT_NOT_FOUND, "check its name; a program outside of `PATH` needs its path")
        }
        Some(io::ErrorKind::PermissionDenied) => {
            (EXIT_NOT_EXECUTABLE, "name a program, and check its permissions with `ls -l`")
        }
        Some(_) => (EXIT_NOT_EXECUTABLE, "check that it is a program for this machine"),
        None => (EXIT_NOT_EXECUTABLE, HINT_LIMITS),
    };
    let error = anyhow::Error::new(error).context(format!("cannot run `{program}`"));
    Failure::usage(error, hint).with_code(code)
}

/// Says what its user could not know otherwise. A run without a surprise says nothing but where its
/// output is, and that only to people.
fn tell(arguments: &Arguments, file: &RunFile, ended: &Ended) {
    for problem in &ended.problems {
        say(problem);
    }
    if ended.left_others {
        say(
            "the command has ended; processes that it started still hold its output open, and what \
             they write from now on is lost",
        );
    }
    if ended.missing > 0 {
        say(&format!(
            "{} bytes are missing at the end of `{}`",
            ended.missing,
            file.path.display()
        ));
    }
    if io::stderr().is_terminal() && (arguments.to.is_none() || arguments.serve.is_some()) {
        let (code, took) = (ended.status.code(), Span(ended.took));
        say(&format!(
            "finished with {code} after {took}; the output is in {}",
            file.path.display()
        ));
    }
}

/// Prints a line about the run. The terminal may be raw, where a newline alone goes only down.
fn say(message: &str) {
    let end = if io::stderr().is_terminal() { "\r\n" } else { "\n" };
    // If stderr is closed there is no place left to say it.
    let _said = write!(io::stderr(), "tailcast: {message}{end}");
}
