//! The command line of the real program: help, errors and settings.

use std::time::{Duration, Instant};

use crate::clients::{Viewer, get};
use crate::servers::{Program, command, eventually, first_line, output_of};

fn fails(arguments: &[&str]) -> String {
    let started = Instant::now();
    let output = output_of(command().args(arguments));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{arguments:?} took {:?}",
        started.elapsed()
    );
    assert!(
        output.stdout.is_empty(),
        "{arguments:?}: {:?}",
        String::from_utf8_lossy(&output.stdout)
    );
    said
}

#[test]
fn startup_errors_are_one_line_and_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, message) in [
        (&["serve", "/no/such/directory"][..], "/no/such/directory"),
        (&["serve", "--prefix", "/no/such"], "/no/such"),
        (&["serve", "/dev/null", "--port", "0"], "/dev/null"),
        (&["serve", "/tmp", "--port", &port], &port),
        (&["serve", "/tmp", "--port", "0", "--host", "192.0.2.1"], "192.0.2.1"),
    ] {
        let said = fails(arguments);
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains(" INFO ")).collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(lines[0].starts_with("tailcast: cannot ") && lines[0].contains(message), "{said}");
        assert!(lines[1].starts_with("hint: "), "{said}");
    }
}

#[test]
fn startup_errors_name_their_cause() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.log");
    std::fs::write(&file, "x\n").unwrap();
    let below_a_file = file.join("b").display().to_string();
    let missing = directory.path().join("none").display().to_string();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let address = format!("`127.0.0.1:{port}`");
    for (arguments, message) in [
        (
            &["serve", &missing, "--port", "0"][..],
            format!("cannot serve prefix `{missing}`: No such file or directory (os error 2)"),
        ),
        (
            &["serve", &below_a_file, "--port", "0"],
            format!("cannot serve prefix `{below_a_file}`: Not a directory (os error 20)"),
        ),
        (
            &["serve", "/dev/null", "--port", "0"],
            "cannot serve prefix `/dev/null`: not a directory or a regular file".to_owned(),
        ),
        (
            &["serve", "/tmp", "--port", &port],
            format!("cannot listen on {address}: Address already in use (os error 98)"),
        ),
        (
            &["bench", "http://127.0.0.1:1/a", "--write", &below_a_file],
            format!("cannot write `{below_a_file}`: Not a directory (os error 20)"),
        ),
        (
            &["bench", "http://127.0.0.1:1/a", "--pid", "4194304"],
            "cannot read the process of `--pid`: No such file or directory (os error 2)".to_owned(),
        ),
        (
            &["tail", "--ca", &missing, "https://127.0.0.1/a.log"],
            format!(
                "cannot use the certificates in `{missing}`: No such file or directory (os error 2)"
            ),
        ),
    ] {
        let said = fails(arguments);
        let line = said.lines().find(|line| line.starts_with("tailcast: ")).unwrap_or_default();
        assert_eq!(line, format!("tailcast: {message}"), "{said}");
    }
}

/// Root can open every directory, so as root this starts the program as the user `nobody`.
#[test]
fn a_prefix_without_permission_is_refused_with_the_cause() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const NOBODY: u32 = 65534;
    let directory = tempfile::tempdir().unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(directory.path(), 0o755);
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    mode(&closed, 0);
    // A copy, because that user may have no access to the build directory.
    let program = directory.path().join("tailcast");
    std::fs::copy(command().get_program(), &program).unwrap();
    let mut serve = std::process::Command::new(&program);
    serve.args(["serve", "--port", "0"]).arg(&closed).current_dir("/");
    if rustix::process::geteuid().is_root() {
        serve.uid(NOBODY).gid(NOBODY);
    }
    let output = serve.output().unwrap();
    mode(&closed, 0o700);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let message = format!(
        "tailcast: cannot serve prefix `{}`: Permission denied (os error 13)\nhint: ",
        closed.display()
    );
    assert!(said.starts_with(&message), "{said}");
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, named) in [
        (&["serve", "--port", "70000"][..], "--port"),
        (&["serve", "--heartbeat", "sometimes"], "--heartbeat"),
        (&["serve", "--rotate-wait", "4000"], "--rotate-wait"),
        (&["sreve"], "sreve"),
    ] {
        let said = fails(arguments);
        assert!(said.contains(named), "{arguments:?}: {said}");
    }
}

#[test]
fn the_help_names_every_flag_and_its_environment() {
    let output = output_of(command().args(["serve", "--help"]));
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in [
        "prefix",
        "host",
        "port",
        "allow-origin",
        "allow-host",
        "heartbeat",
        "max-viewers",
        "rotate-wait",
        "cache-dir",
        "cache-max",
        "stall-timeout",
    ] {
        assert!(help.contains(&format!("--{flag}")), "{flag}: {help}");
        let name = format!("TAILCAST_{}", flag.replace('-', "_").to_uppercase());
        assert!(help.contains(&name), "{name}: {help}");
    }
}

#[tokio::test]
async fn without_a_prefix_the_current_directory_is_served() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.log"), "x\n").unwrap();
    let mut child = command()
        .args(["serve", "--port", "0"])
        .current_dir(directory.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let line = first_line(&mut child);
    let address = line.trim().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let list = get(address, "/", &[]).await.text();
    child.kill().unwrap();
    child.wait().unwrap();
    let canonical = directory.path().canonicalize().unwrap();
    assert_eq!(list, format!("{}/a.log\n", canonical.display()));
}

#[tokio::test]
async fn prefixes_are_taken_from_arguments_flags_and_environment() {
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for directory in &directories {
        std::fs::write(directory.path().join("a.log"), "x\n").unwrap();
    }
    let [first, second, third] = [0, 1, 2].map(|at| directories[at].path().to_str().unwrap());
    let program = Program::serve(&[first, "--prefix", second, "--prefix", third]);
    for directory in [first, second, third] {
        assert_eq!(
            get(program.address, &format!("{directory}/a.log"), &[]).await.status,
            200,
            "{directory}"
        );
    }
}

#[tokio::test]
async fn each_viewer_causes_two_access_log_lines_and_cannot_forge_a_third() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "x\n").unwrap();
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    let mut viewer = Viewer::original(program.address, log.to_str().unwrap()).await;
    viewer.rest().await;
    let forged = format!("{}/%0aa%20forged%20line%1b%5b31m", directory.path().display());
    get(program.address, &forged, &[]).await;
    Viewer::original(program.address, &forged).await.rest().await;
    eventually("two viewers came and went", async || {
        let said = program.said();
        let count = |what| said.lines().filter(|line| line.contains(what)).count();
        if (count("viewer came"), count("viewer gone")) == (2, 2) { Ok(()) } else { Err(said) }
    })
    .await;
    let said = program.said();
    assert!(!said.contains('\x1b'), "{said}");
    assert!(!said.lines().any(|line| line.starts_with("a forged line")), "{said}");
    let gone = said.lines().find(|line| line.contains("viewer gone")).unwrap();
    for field in ["remote=127.0.0.1:", "log=", "bytes=", "seconds=", "reason=\"complete\""] {
        assert!(gone.contains(field), "{field} in {gone}");
    }
}

/// The TCP port on which a process listens, from /proc/net/tcp.
fn listening_port(pid: u32) -> Option<u16> {
    const LISTEN: &str = "0A";
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let sockets: Vec<String> = links
        .filter_map(|link| {
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned)
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_its = fields[3] == LISTEN && sockets.iter().any(|inode| inode == fields[9]);
        let (_, port) = fields[1].split_once(':')?;
        is_its.then(|| u16::from_str_radix(port, 16).unwrap())
    })
}

#[tokio::test]
async fn a_server_keeps_running_when_its_outputs_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "x\n").unwrap();
    let shell = format!(
        "exec {} serve {} --port 0 >&- 2>&-",
        env!("CARGO_BIN_EXE_tailcast"),
        directory.path().display()
    );
    let mut child = std::process::Command::new("sh").args(["-c", &shell]).spawn().unwrap();
    let pid = child.id();
    eventually("it listens", async || listening_port(pid).map(drop).ok_or("no port")).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], listening_port(pid).unwrap()));
    let answer = get(address, log.to_str().unwrap(), &[]).await;
    let alive = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((answer.status, answer.text().as_str(), alive), (200, "x\n", None));
}
