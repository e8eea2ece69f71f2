//! `tailcast run`: the real program, on pipes and on a terminal.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::Pty;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::{Viewer, get};
use crate::servers::{TestServer, command, eventually, output_of, pace};
use crate::tail::collect;

const BEGIN: &str = "\x1b]133;C\x1b\\";

/// Divides a recorded file into what was printed, and the status at its end.
#[track_caller]
fn parts(recorded: &[u8]) -> (&[u8], String) {
    let printed = recorded.strip_prefix(BEGIN.as_bytes()).expect("it begins with a mark");
    let at = printed.windows(6).rposition(|part| part == b"\x1b]633;").expect("it has an end");
    let (printed, end) = printed.split_at(at);
    let end = std::str::from_utf8(end).unwrap();
    let (took, status) = end.split_once("\x1b]133;D;").expect("it ends with a mark");
    let took = took.strip_prefix("\x1b]633;P;Duration=").unwrap().strip_suffix("\x1b\\").unwrap();
    assert!((0.0..60.0).contains(&took.parse::<f64>().unwrap()), "{took}");
    (printed, status.strip_suffix("\x1b\\").unwrap().to_owned())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory for the state of the program, with the file of a run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("to.log")
    }

    /// `tailcast run` with these arguments.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command();
        command.env("XDG_STATE_HOME", self.0.path()).arg("run").args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// A shell's line under `tailcast run --to`.
    fn shell(&self, line: &str) -> Command {
        let file = self.file();
        self.command(&["--to", file.to_str().unwrap(), "--", "sh", "-c", line])
    }

    fn run(&self, line: &str) -> Output {
        output_of(&mut self.shell(line))
    }

    fn recorded(&self) -> Vec<u8> {
        std::fs::read(self.file()).unwrap()
    }
}

#[test]
fn output_goes_where_it_would_and_into_a_file_that_nobody_else_may_read() {
    let place = Place::new();
    let line = "printf 'one\\ntw'; printf 'o\\377\\000' ; echo bad >&2; exit 3";
    let mut run = place.command(&["--name", "a b", "--", "sh", "-c", line]);
    let output = output_of(&mut run);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"one\ntwo\xff\0");
    assert_eq!(text(&output.stderr), "bad\n", "nothing else is said");
    let directory = place.0.path().join("tailcast/runs");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = std::fs::read_dir(directory).unwrap().collect();
    let file = files.into_iter().next().unwrap().unwrap().path();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("a_b-20") && name.ends_with("Z.log"), "{name}");
    assert_eq!(mode(&file), 0o600);
    let recorded = std::fs::read(file).unwrap();
    let (printed, status) = parts(&recorded);
    assert_eq!(status, "3");
    // Two pipes have no order between them.
    let mut pieces = text(printed);
    assert!(pieces.contains("bad\n"), "{pieces:?}");
    pieces = pieces.replacen("bad\n", "", 1);
    assert_eq!(pieces, text(b"one\ntwo\xff\0"));
}

#[test]
fn no_byte_is_lost_or_out_of_order() {
    let place = Place::new();
    let source = place.0.path().join("source");
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&source, &bytes).unwrap();
    let output = place.run(&format!("cat {}", source.display()));
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
    assert!(parts(&place.recorded()).0 == bytes);
}

#[test]
fn output_and_errors_for_the_same_place_keep_their_order() {
    let place = Place::new();
    let line = "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done";
    let together = place.0.path().join("together");
    let file = std::fs::File::create(&together).unwrap();
    let mut run = place.shell(line);
    let mut child = run.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let wanted: String = (0..300).map(|i| format!("o{i}\ne{i}\n")).collect();
    assert_eq!(std::fs::read_to_string(together).unwrap(), wanted);
    assert_eq!(text(parts(&place.recorded()).0), wanted);
}

#[test]
fn the_exit_code_is_that_of_a_shell() {
    let place = Place::new();
    for (line, code) in [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill $$", 143)] {
        assert_eq!(place.run(line).status.code(), Some(code), "{line}");
        assert_eq!(parts(&place.recorded()).1, code.to_string(), "{line}");
    }
    let not_executable = place.0.path().join("text");
    std::fs::write(&not_executable, "text").unwrap();
    let not_executable = not_executable.to_str().unwrap();
    for (program, code, hint) in [
        ("no-such-program", 127, "outside of `PATH`"),
        ("/no/such/program", 127, "check the path"),
        (not_executable, 126, "permissions"),
        ("/", 126, "permissions"),
    ] {
        let output = output_of(&mut place.command(&["--", program]));
        assert_eq!(output.status.code(), Some(code), "{program}");
        let said = text(&output.stderr);
        assert!(said.contains(hint) && said.contains(program), "{said}");
    }
    let runs = std::fs::read_dir(place.0.path().join("tailcast/runs")).unwrap();
    assert_eq!(runs.count(), 0, "a command that never ran leaves no file");
}

#[test]
fn a_named_file_begins_anew_or_is_appended_to() {
    let place = Place::new();
    place.run("echo one");
    place.run("echo two");
    assert_eq!(text(parts(&place.recorded()).0), "two\n");
    let file = place.file();
    let file = file.to_str().unwrap();
    output_of(&mut place.command(&["--to", file, "--append", "--", "echo", "three"]));
    let recorded = text(&place.recorded());
    let (first, second) = recorded.split_once("\x1b]133;D;0\x1b\\\n").unwrap();
    assert!(first.contains("two\n"), "what was there stays: {first:?}");
    assert_eq!(text(parts(second.as_bytes()).0), "three\n");
}

#[tokio::test]
async fn signals_reach_the_command() {
    for (signal, name) in
        [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP"), (Signal::QUIT, "QUIT")]
    {
        let place = Place::new();
        let line =
            format!("trap 'echo got; exit 7' {name}; echo ready; while :; do sleep 0.05; done");
        let mut run = place.shell(&line);
        let mut running = Running::start(run.stdout(Stdio::piped()));
        running.prints("ready").await;
        kill_process(Pid::from_child(&running.child), signal).unwrap();
        running.prints("got").await;
        assert_eq!(running.wait().await.code(), Some(7), "{name}");
        assert_eq!(parts(&place.recorded()).1, "7");
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let place = Place::new();
    let run = place.shell("kill -HUP $$; echo alive");
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(run.get_program());
    shell.args(run.get_args()).env("XDG_STATE_HOME", place.0.path());
    let output = output_of(&mut shell);
    assert_eq!(text(&output.stdout), "alive\n");
}

#[test]
fn processes_that_the_command_leaves_do_not_keep_it_for_long() {
    let place = Place::new();
    let output = place.run("(sleep 60; echo late) & echo $!; exit 4");
    let left = text(&output.stdout);
    kill_process(Pid::from_raw(left.trim().parse().unwrap()).unwrap(), Signal::KILL).ok();
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output.stderr).contains("still hold its output open"),
        "{}",
        text(&output.stderr)
    );
    let recorded = place.recorded();
    assert_eq!(parts(&recorded), (left.as_bytes(), "4".to_owned()));
}

#[tokio::test]
async fn a_reader_that_pauses_gets_everything() {
    let place = Place::new();
    // More than a pipe holds, and less than what is read at once.
    let mut run = place.shell("seq 30000");
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // For longer than it waits for processes that the command has left.
    pace(Duration::from_millis(3500)).await;
    if let Some(status) = child.try_wait().unwrap() {
        panic!("it has not waited for its reader: {status}, {:?}", output_of_child(child));
    }
    let output = output_of_child(child);
    let expected: String = (1..=30_000).map(|number| format!("{number}\n")).collect();
    assert!(text(&output.stdout) == expected, "{} bytes came", output.stdout.len());
    assert_eq!(text(&output.stderr), "");
    assert!(text(parts(&place.recorded()).0) == expected);
}

#[test]
fn a_reader_that_has_enough_ends_the_command_as_it_would() {
    let place = Place::new();
    // It has an end of its own, so that a fault does not fill the disk.
    let mut run = place.shell("exec head -c 100000000 /dev/zero");
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 100];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut some).unwrap();
    drop(stdout);
    let output = output_of_child(child);
    assert_eq!(output.status.code(), Some(141), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    assert_eq!(parts(&place.recorded()).1, "141");
}

/// Waits for a program with the usual deadline.
fn output_of_child(child: Child) -> Output {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()).ok());
    result.recv_timeout(crate::servers::DEADLINE).expect("it ends").unwrap()
}

#[test]
fn a_full_disk_is_told_once_and_the_command_goes_on() {
    let place = Place::new();
    let run = place.shell("head -c 3000000 /dev/zero; echo end; exit 5");
    // 512 KiB at most.
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -f 512; exec \"$0\" \"$@\""]).arg(run.get_program());
    let output = output_of(shell.args(run.get_args()));
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(output.stdout.len(), 3_000_004, "all of it is printed");
    let said = text(&output.stderr);
    assert_eq!(said.matches("takes no more bytes").count(), 1, "{said}");
    assert!(said.contains("bytes are missing at the end"), "{said}");
    assert_eq!(place.recorded().len(), 512 * 1024);
}

#[test]
fn a_disk_with_room_again_says_what_is_missing() {
    let place = Place::new();
    let program = place.command(&[]);
    let program = program.get_program().to_str().unwrap();
    // The command waits until its output is printed, and the file takes no more.
    let line = format!(
        "mount -t tmpfs -o size=256k none /mnt && head -c 200000 /dev/zero > /mnt/ballast && \
         {program} run --to /mnt/a.log -- sh -c 'head -c 300000 /dev/zero; \
             while ! grep -q \"takes no more\" {1}; do sleep 0.02; done; \
             rm /mnt/ballast; sleep 0.5; echo after' 2>{1}; cp /mnt/a.log {0}",
        place.file().display(),
        place.0.path().join("said").display(),
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &line]);
    let output = output_of(&mut unshare);
    assert_eq!(output.stdout.len(), 300_006, "{}", text(&output.stderr));
    let recorded = place.recorded();
    let (printed, status) = parts(&recorded);
    assert_eq!(status, "0");
    let zeros = printed.iter().filter(|byte| **byte == 0).count();
    let said = text(printed).replace('\0', "");
    let missing = 300_000 - zeros;
    assert!(missing > 100_000, "{missing}");
    let notice = format!("[tailcast: {missing} bytes are missing here: No space left on device");
    assert!(said.starts_with(&format!("\n{notice}")), "{said}");
    assert!(said.ends_with("]\nafter\n"), "{said}");
}

/// A program that runs, and what it printed so far. Killed when dropped.
struct Running {
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = collect(child.stdout.take().unwrap());
        let said = collect(child.stderr.take().unwrap());
        Self { child, printed, said }
    }

    async fn prints(&self, wanted: &str) {
        contains(&self.printed, wanted).await;
    }

    async fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.child).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn wait_for(child: &mut Child) -> ExitStatus {
    eventually("it ends", async || match child.try_wait().unwrap() {
        Some(_) => Ok(()),
        None => Err("it runs"),
    })
    .await;
    child.wait().unwrap()
}

async fn contains(collected: &Mutex<Vec<u8>>, wanted: &str) {
    eventually("it prints", async || {
        let printed = text(&collected.lock().unwrap());
        if printed.contains(wanted) { Ok(()) } else { Err(printed) }
    })
    .await;
}

/// A program on a terminal.
struct OnTerminal {
    child: Child,
    terminal: Arc<Pty>,
    printed: Arc<Mutex<Vec<u8>>>,
}

struct Reading(Arc<Pty>);

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl OnTerminal {
    fn start(place: &Place, program: &Path, arguments: &[&str]) -> Self {
        let (terminal, other) = pty_process::blocking::open().unwrap();
        terminal.resize(Size::new(33, 77)).unwrap();
        let command = pty_process::blocking::Command::new(program).args(arguments);
        let child = command.env("XDG_STATE_HOME", place.0.path()).env("TERM", "xterm");
        let child = child.env("PS1", "$ ").env_remove("PROMPT_COMMAND").spawn(other).unwrap();
        let terminal = Arc::new(terminal);
        let printed = collect(Reading(Arc::clone(&terminal)));
        Self { child, terminal, printed }
    }

    fn run(place: &Place, line: &str) -> Self {
        let file = place.file();
        let arguments = ["run", "--to", file.to_str().unwrap(), "--", "sh", "-c", line];
        Self::start(place, Path::new(env!("CARGO_BIN_EXE_tailcast")), &arguments)
    }

    fn type_in(&self, keys: &str) {
        (&*self.terminal).write_all(keys.as_bytes()).unwrap();
    }

    async fn prints(&self, wanted: &str) {
        contains(&self.printed, wanted).await;
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(self.terminal.as_fd()).unwrap().local_modes;
        !modes.contains(LocalModes::ICANON) && !modes.contains(LocalModes::ECHO)
    }

    async fn becomes_raw(&self, wanted: bool) {
        eventually("the terminal changes", async || {
            if self.is_raw() == wanted { Ok(()) } else { Err(text(&self.printed.lock().unwrap())) }
        })
        .await;
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn the_command_has_a_terminal_of_the_same_size_where_ours_is_one() {
    let place = Place::new();
    let line = "trap 'stty size; exit 6' WINCH; test -t 0 && test -t 1 && test -t 2 && stty size; \
                while :; do sleep 0.05; done";
    let mut run = OnTerminal::run(&place, line);
    run.prints("33 77\r\n").await;
    run.terminal.resize(Size::new(20, 50)).unwrap();
    run.prints("20 50\r\n").await;
    assert_eq!(wait_for(&mut run.child).await.code(), Some(6));
    assert_eq!(text(parts(&place.recorded()).0), "33 77\r\n20 50\r\n");
    assert_eq!(text(&run.printed.lock().unwrap()), "33 77\r\n20 50\r\n", "no mark is printed");
}

#[tokio::test]
async fn keys_reach_the_command_and_the_terminal_is_as_it_was_afterwards() {
    let place = Place::new();
    let mut run = OnTerminal::run(&place, "echo ready; read a; echo \"<$a>\"; sleep 60");
    run.prints("ready").await;
    run.becomes_raw(true).await;
    run.type_in("abc\r");
    run.prints("<abc>").await;
    run.type_in("\x03");
    assert_eq!(wait_for(&mut run.child).await.code(), Some(130));
    assert!(!run.is_raw());
    assert_eq!(parts(&place.recorded()).1, "130");
}

#[tokio::test]
async fn a_signal_that_ends_the_command_leaves_a_usual_terminal() {
    let place = Place::new();
    let mut run = OnTerminal::run(&place, "echo ready; sleep 60");
    run.prints("ready").await;
    run.becomes_raw(true).await;
    kill_process(Pid::from_child(&run.child), Signal::TERM).unwrap();
    assert_eq!(wait_for(&mut run.child).await.code(), Some(143));
    assert!(!run.is_raw());
}

#[tokio::test]
async fn a_run_can_be_suspended_and_continued_as_a_job() {
    let place = Place::new();
    let run = OnTerminal::start(&place, Path::new("bash"), &["--norc", "--noprofile", "-i"]);
    run.prints("$ ").await;
    let line = "echo ready; read a; echo \"<$a>\"";
    let program = env!("CARGO_BIN_EXE_tailcast");
    run.type_in(&format!("{program} run --to {} -- sh -c '{line}'\r", place.file().display()));
    run.prints("\rready").await;
    run.becomes_raw(true).await;
    run.type_in("\x1a");
    run.prints("Stopped").await;
    run.type_in("echo in between | tr a-z A-Z\r");
    run.prints("IN BETWEEN").await;
    run.type_in("fg\r");
    run.becomes_raw(true).await;
    run.type_in("abc\r");
    run.prints("<abc>").await;
}

#[tokio::test]
async fn what_is_no_terminal_is_none_for_the_command() {
    let place = Place::new();
    let file = place.0.path().join("errors");
    let line = "test -t 1 && ! test -t 2 && echo right; echo wrong >&2";
    let inner = format!(
        "{} run --to {} -- sh -c '{line}' 2>{}",
        env!("CARGO_BIN_EXE_tailcast"),
        place.file().display(),
        file.display()
    );
    let mut run = OnTerminal::start(&place, Path::new("sh"), &["-c", &inner]);
    run.prints("right\r\n").await;
    wait_for(&mut run.child).await;
    assert_eq!(std::fs::read_to_string(file).unwrap(), "wrong\n");
    // With a terminal in any case, lines end as they do in a file.
    let always = ["--pty", "always", "--", "sh", "-c", "test -t 1 && stty size <&1 && echo yes"];
    let output = output_of(&mut place.command(&always));
    assert_eq!(text(&output.stdout), "40 120\nyes\n", "{}", text(&output.stderr));
    let mut never = OnTerminal::start(
        &place,
        Path::new(env!("CARGO_BIN_EXE_tailcast")),
        &["run", "--pty", "never", "--", "sh", "-c", "test -t 1 || echo no"],
    );
    never.prints("no\r\n").await;
    wait_for(&mut never.child).await;
}

#[tokio::test]
async fn the_output_is_served_while_the_command_runs_and_until_the_viewers_have_it() {
    let place = Place::new();
    let go = place.0.path().join("go");
    let line = format!(
        "echo one; while ! test -e {0}; do sleep 0.02; done; head -c 3000000 /dev/zero | tr '\\0' x; exit 9",
        go.display()
    );
    let file = place.file();
    let arguments =
        ["--serve=127.0.0.1:0", "--qr", "--to", file.to_str().unwrap(), "--", "sh", "-c", &line];
    let mut run = Running::start(&mut place.command(&arguments));
    let path = file.to_str().unwrap();
    contains(&run.said, path).await;
    let said = text(&run.said.lock().unwrap());
    let link = said.lines().next().unwrap().strip_prefix("tailcast: http://").unwrap();
    let address = link.strip_suffix(path).unwrap().parse().unwrap();
    contains(&run.said, "█").await;
    let mut viewer = Viewer::v1(address, &format!("{path}?tail=1&lines=all")).await;
    viewer.expect("open").await;
    let mut rows = crate::clients::Rows::default();
    loop {
        rows.apply(&viewer.expect("rows").await);
        if rows.texts() == ["one"] {
            break;
        }
    }
    let other = get(address, "/etc/passwd", &[]).await;
    assert_eq!(other.status, 403, "only the output is served");
    std::fs::write(go, "").unwrap();
    let (mut last, mut next) = (Value::Null, 0);
    while last.get(2).is_none() {
        let message = viewer.json().await;
        if message["type"] == "rows" {
            next = message["next"].as_u64().unwrap();
            last = message["rows"].as_array().unwrap().last().cloned().unwrap_or_default();
        }
    }
    assert_eq!(last[2]["exit"], json!({"status": 9}));
    assert!(last[2]["duration"].is_u64(), "{last}");
    viewer.expect("end").await;
    assert_eq!(next, std::fs::metadata(&file).unwrap().len(), "the viewer has everything");
    assert_eq!(run.wait().await.code(), Some(9));
}

#[tokio::test]
async fn the_list_says_how_runs_ended() {
    let place = Place::new();
    assert_eq!(place.run("echo hello; exit 3").status.code(), Some(3));
    assert!(output_of(&mut place.command(&["--", "true"])).status.success());
    std::fs::write(place.0.path().join("other.log"), "hello\n").unwrap();
    let access = tailcast::log::Access::new([place.0.path()]).unwrap();
    let server = TestServer::over(TempDir::new().unwrap(), access, Default::default()).await;
    let list = get(server.address, "/_/logs", &[]).await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    let logs = list["logs"].as_array().unwrap();
    let of =
        |part: &str| logs.iter().find(|log| log["path"].as_str().unwrap().contains(part)).unwrap();
    assert_eq!(of("/to.log")["exit"], json!({"status": 3}));
    assert_eq!(of("/runs/true-")["exit"], json!({"status": 0}));
    assert!(of("/to.log")["duration"].as_u64().is_some_and(|took| took < 60_000), "{list}");
    assert!(of("/other.log").get("exit").is_none(), "{list}");
    let page = get(server.address, "/", &[("accept", "text/html")]).await.text();
    let mark = |text: &str| page.contains(&format!(">{text} "));
    assert!(page.contains("exit-mark failed") && mark("exit 3 ·") && mark("✓"), "{page}");
}

#[tokio::test]
async fn a_server_may_linger_after_the_end() {
    let place = Place::new();
    let file = place.file();
    let arguments = ["--serve=127.0.0.1:0", "--linger", "1h", "--to", file.to_str().unwrap()];
    let mut run = Running::start(place.command(&arguments).args(["--", "echo", "hello"]));
    contains(&run.said, "serving for 1 h more").await;
    let said = text(&run.said.lock().unwrap());
    let link = said.lines().next().unwrap().strip_prefix("tailcast: http://").unwrap();
    let address = link.strip_suffix(file.to_str().unwrap()).unwrap().parse().unwrap();
    let target = format!("/_/rows{}?from=0&count=10", file.display());
    let rows: Value = serde_json::from_str(&get(address, &target, &[]).await.text()).unwrap();
    let last = rows["rows"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last[2]["exit"], json!({"status": 0}), "{rows}");
    kill_process(Pid::from_child(&run.child), Signal::INT).unwrap();
    assert_eq!(run.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_taken_port_matters_only_if_it_was_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new();
    let named = format!("--serve={address}");
    let output = output_of(&mut place.command(&[&named, "--", "echo", "hello"]));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "", "the command does not run");
    let _usual = std::net::TcpListener::bind("127.0.0.1:8765");
    let output = output_of(&mut place.command(&["--serve", "--", "echo", "hello"]));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "hello\n".to_owned()));
}
