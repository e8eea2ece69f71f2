//! A command whose output goes to the terminal as it would without us, and into a file.
//!
//! Each of its three streams is what it would be: on a pty where ours is a terminal, else the input
//! itself or a pipe. Output and error output that would go to the same place share one pipe, so that
//! their order stays; two pipes have no order between them, and their pieces go into the file as
//! they come.
//!
//! The copying is done by threads that block, in large pieces. A terminal that takes nothing stops
//! the command, as it would without us; a viewer never does.

mod input;
mod leader;
mod output;
mod signals;
mod terminal;

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pty_process::Size;
use pty_process::blocking::{Command as PtyCommand, Pts, Pty};
use rustix::process::{Signal, getpgrp};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::source::marks;
use crate::source::recorder::Recorder;
use input::Input;
use leader::Leader;
use output::{From, Output};
use terminal::{Terminal, is_terminal};

pub use signals::Signals;

/// How long the output is read after the command has ended, if others hold it open.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked meanwhile whether what was written so far is copied.
const GRACE_STEP: Duration = Duration::from_millis(50);
/// The size of a screen that nobody has.
const USUAL_ROWS: u16 = 40;
const USUAL_COLUMNS: u16 = 120;

/// Whether the command gets a pty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsePty {
    /// Where ours is a terminal.
    Auto,
    /// For its output in any case.
    Always,
    /// Nowhere.
    Never,
}

/// A command, and the streams of this process.
#[derive(Debug)]
pub struct Plan {
    /// The name or path of the program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Whether it gets a pty.
    pub pty: UsePty,
    /// Standard input, output and error of this process.
    pub streams: [OwnedFd; 3],
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exited(u8),
    /// This signal ended it.
    Killed(u8),
}

impl Status {
    fn of(status: ExitStatus) -> Self {
        let small = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
        match status.signal() {
            Some(signal) => Self::Killed(small(signal)),
            None => Self::Exited(small(status.code().unwrap_or(0))),
        }
    }

    /// The status that a shell gives: 128 and the signal, or the code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => signal.saturating_add(128),
        }
    }
}

/// The end of a command.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: Status,
    /// How long it ran.
    pub took: Duration,
    /// Whether processes that it has started still held its output open, so that what they write from
    /// now on goes nowhere.
    pub left_others: bool,
    /// How many bytes of its output are missing at the end of the file.
    pub missing: u64,
    /// What else went wrong, once for each kind.
    pub problems: Vec<String>,
}

/// Why a command cannot be started.
#[derive(Debug)]
pub enum StartError {
    /// The program.
    Program(io::Error),
    /// Something that is needed around it: a pty, a pipe, a thread.
    Surroundings(io::Error),
}

impl Display for StartError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program(_) => "the program cannot be started",
            Self::Surroundings(_) => "what the command needs cannot be had",
        })
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Program(error) | Self::Surroundings(error) => Some(error),
        }
    }
}

impl std::convert::From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Surroundings(error)
    }
}

/// What went wrong with the streams, for the end.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn cannot_read(&self, error: &io::Error) {
        self.0.lock().push(format!("cannot read the command's output to its end: {error}"));
    }

    fn cannot_print(&self, error: &io::Error) {
        self.0
            .lock()
            .push(format!("some output is in the file only, it cannot be printed: {error}"));
    }
}

/// A command that runs.
pub struct Running {
    leader: Arc<Leader>,
    exited: oneshot::Receiver<io::Result<ExitStatus>>,
    outputs: Vec<Output>,
    recorder: Arc<Recorder>,
    pty: Option<Arc<Pty>>,
    terminal: Option<Arc<Terminal>>,
    /// No more keys are passed on once it is dropped.
    keys: Option<PipeWriter>,
    began: Instant,
    told: Arc<Told>,
}

/// The ends of the command's streams that stay here: where they come from, and where they go.
type Ends = Vec<(From, File)>;

impl Running {
    /// Starts a command, and begins to copy. The beginning is marked in the recorder.
    ///
    /// # Errors
    /// When it cannot be started. Nothing is left of it then.
    pub fn start(plan: &Plan, recorder: Arc<Recorder>) -> Result<Self, StartError> {
        let [stdin, stdout, stderr] = &plan.streams;
        let wants_pty = match plan.pty {
            UsePty::Auto => is_terminal(stdout) || is_terminal(stderr),
            UsePty::Always => true,
            UsePty::Never => false,
        };
        let terminal = plan.streams.iter().find(|stream| is_terminal(stream));
        let terminal = terminal.map(|stream| stream.try_clone().map(Terminal::new)).transpose()?;
        let terminal = terminal.map(Arc::new);
        let began = Instant::now();
        let (child, pty, ends) = if wants_pty {
            let (child, pty, ends) = spawn_on_pty(plan, terminal.as_deref())?;
            (child, Some(pty), ends)
        } else {
            let (child, ends) = spawn_on_pipes(plan)?;
            (child, None, ends)
        };
        let (leader, exited) = Leader::watch(child, pty.is_some())?;
        recorder.record(marks::BEGIN);
        // Keys go to the command only where its input is the pty.
        let terminal = terminal.filter(|_| pty.is_some());
        let typing = terminal.as_ref().filter(|_| is_terminal(stdin));
        if let Some(terminal) = typing {
            terminal.enter_raw();
        }
        let told = Arc::<Told>::default();
        let outputs = ends.into_iter().map(|(from, to)| {
            let (recorder, leader) = (Arc::clone(&recorder), Arc::clone(&leader));
            Output::copy(from, to, recorder, leader, Arc::clone(&told))
        });
        let outputs = outputs.collect::<io::Result<_>>()?;
        let mut keys = None;
        if let (Some(terminal), Some(pty)) = (typing, &pty) {
            let (over, writer) = io::pipe()?;
            let (terminal, pty) = (Arc::clone(terminal), Arc::clone(pty));
            let input = Input { terminal, pty, leader: Arc::clone(&leader), over };
            std::thread::Builder::new().name("input".to_owned()).spawn(move || input.run())?;
            keys = Some(writer);
        }
        let running = Self { leader, exited, outputs, recorder, pty, terminal, keys, began, told };
        // It may have changed since the command has the first one.
        running.resize();
        Ok(running)
    }

    /// Does with a signal what it is for.
    pub fn on_signal(&self, caught: Signal) {
        match caught {
            Signal::WINCH => self.resize(),
            Signal::CONT => {
                if let Some(terminal) = &self.terminal
                    && self.keys.is_some()
                {
                    terminal.has_come_back();
                }
                self.resize();
                self.leader.signal(Signal::CONT);
            }
            Signal::INT | Signal::QUIT if self.pty.is_none() && is_for_our_group() => {}
            caught if Signals::is_final(caught) => self.leader.signal(caught),
            _ => {}
        }
    }

    fn resize(&self) {
        if let (Some(pty), Some(size)) =
            (&self.pty, self.terminal.as_ref().and_then(|terminal| terminal.size()))
            && size.ws_row > 0
            && size.ws_col > 0
        {
            let (width, height) = (size.ws_xpixel, size.ws_ypixel);
            // The command keeps the old size if that fails.
            let _resized =
                pty.resize(Size::new_with_pixel(size.ws_row, size.ws_col, width, height));
        }
    }

    /// Waits for the end of the command and of its output, and marks it in the recorder. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// When it cannot be found out how the command ended.
    pub async fn ended(&mut self) -> io::Result<Ended> {
        let status = (&mut self.exited).await;
        let status = Status::of(status.map_err(|_| io::ErrorKind::Other)??);
        let took = self.began.elapsed();
        let left_others = !self.copy_the_rest().await;
        let missing = self.recorder.end(&marks::end(status, took));
        if let Some(terminal) = &self.terminal {
            terminal.end();
        }
        self.keys = None;
        let problems = std::mem::take(&mut *self.told.0.lock());
        Ok(Ended { status, took, left_others, missing, problems })
    }

    /// Waits until all output is copied. Returns false if others hold it open for too long.
    async fn copy_the_rest(&mut self) -> bool {
        let owed: Vec<u64> = self.outputs.iter().map(Output::owed).collect();
        let mut idle_since = Instant::now();
        loop {
            let all_done = async {
                for output in &mut self.outputs {
                    output.done().await;
                }
            };
            tokio::select! {
                () = all_done => return true,
                () = sleep(GRACE_STEP) => {}
            }
            let is_copying =
                self.outputs.iter().zip(&owed).any(|(output, owed)| !output.has_copied(*owed));
            if is_copying {
                // What the command itself has written is copied, however slow the terminal is.
                idle_since = Instant::now();
            } else if idle_since.elapsed() >= GRACE {
                return false;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(terminal) = &self.terminal {
            terminal.end();
        }
    }
}

/// Whether the terminal sends this process's group its signals: then the command, which is in the
/// same group, has this one already.
#[expect(clippy::disallowed_methods, reason = "a terminal is no log")]
fn is_for_our_group() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}

fn spawn_on_pty(
    plan: &Plan,
    terminal: Option<&Terminal>,
) -> Result<(Child, Arc<Pty>, Ends), StartError> {
    let [stdin, stdout, stderr] = &plan.streams;
    let (pty, pts) = pty_process::blocking::open().map_err(surroundings)?;
    let size = terminal.and_then(Terminal::size).filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let size = size.map_or(Size::new(USUAL_ROWS, USUAL_COLUMNS), |size| {
        Size::new_with_pixel(size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel)
    });
    pty.resize(size).map_err(surroundings)?;
    // Who sees the pty: our output, or our error output where that alone is a terminal.
    let is_seen_on_stdout = plan.pty == UsePty::Always || is_terminal(stdout);
    let seen = if is_seen_on_stdout { stdout } else { stderr };
    set_modes(&pts, terminal, is_terminal(seen) && is_terminal(stdin))?;
    let mut command = PtyCommand::new(&plan.program).args(&plan.arguments);
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty()) {
        command = command.env("TERM", "xterm-256color");
    }
    let pty = Arc::new(pty);
    let mut ends = vec![];
    if !is_terminal(stdin) {
        command = command.stdin(stdin.try_clone()?);
    }
    if !is_seen_on_stdout {
        let (reader, writer) = io::pipe()?;
        command = command.stdout(writer);
        ends.push((From::pipe(reader), stdout.try_clone()?.into()));
    }
    if !is_same(seen, stderr) {
        let (reader, writer) = io::pipe()?;
        command = command.stderr(writer);
        ends.push((From::pipe(reader), stderr.try_clone()?.into()));
    }
    ends.push((From::Pty(Arc::clone(&pty)), seen.try_clone()?.into()));
    let child = command.spawn(pts).map_err(program)?;
    Ok((child, pty, ends))
}

/// The pty begins with the modes of the terminal that shows it. Lines end on it as on a terminal only
/// if that terminal will be raw, and ends no lines itself; else they end as in a file.
fn set_modes(pts: &Pts, terminal: Option<&Terminal>, is_raw: bool) -> io::Result<()> {
    let modes = terminal.filter(|terminal| terminal.is_in_foreground()).and_then(Terminal::modes);
    let mut modes = match modes {
        Some(modes) => modes,
        None => tcgetattr(pts)?,
    };
    modes.output_modes.set(OutputModes::ONLCR, is_raw);
    Ok(tcsetattr(pts, OptionalActions::Now, &modes)?)
}

fn spawn_on_pipes(plan: &Plan) -> Result<(Child, Ends), StartError> {
    let [stdin, stdout, stderr] = &plan.streams;
    let mut command = std::process::Command::new(&plan.program);
    command.args(&plan.arguments).stdin(stdin.try_clone()?);
    let (reader, writer) = io::pipe()?;
    let mut ends = vec![(From::pipe(reader), stdout.try_clone()?.into())];
    if is_same(stdout, stderr) {
        command.stderr(writer.try_clone()?);
    } else {
        let (reader, writer) = io::pipe()?;
        command.stderr(writer);
        ends.push((From::pipe(reader), stderr.try_clone()?.into()));
    }
    command.stdout(writer);
    let child = command.spawn().map_err(StartError::Program)?;
    Ok((child, ends))
}

/// Whether two streams lead to the same file, pipe or terminal.
fn is_same(one: &OwnedFd, other: &OwnedFd) -> bool {
    let identity = |stream: &OwnedFd| {
        let metadata = File::from(stream.try_clone().ok()?).metadata().ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.rdev()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

fn surroundings(error: pty_process::Error) -> StartError {
    StartError::Surroundings(io_error(error))
}

fn program(error: pty_process::Error) -> StartError {
    StartError::Program(io_error(error))
}

fn io_error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
    }
}

/// The name of a command for people: the last part of its path.
#[must_use]
pub fn name_of(program: &OsStr) -> String {
    let path = std::path::Path::new(program);
    path.file_name().unwrap_or(program).to_string_lossy().into_owned()
}
