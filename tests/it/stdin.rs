//! `tailcast serve -`: standard input as a log.

use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use tailcast::log::Access;
use tailcast::serve::{Rule, Settings};

use crate::clients::{Rows, Streaming, Viewer, get};
use crate::servers::{Program, TestServer, command, eventually, output_of, target};

/// The program with a pipe as its standard input, whose other end is here, and with a directory for
/// its temporary files.
fn serve(place: &Path, arguments: &[&str]) -> (Program, ChildStdin) {
    let mut command = command();
    command.args(["serve", "--port", "0", "-"]).args(arguments).env("TMPDIR", place);
    let mut program = Program::start(command.stdin(Stdio::piped()));
    let stdin = program.child.stdin.take().unwrap();
    (program, stdin)
}

fn is_empty(place: &Path) -> bool {
    std::fs::read_dir(place).unwrap().next().is_none()
}

#[tokio::test]
async fn standard_input_is_a_log_and_its_end_is_told() {
    let place = tempfile::tempdir().unwrap();
    let (mut program, mut stdin) = serve(place.path(), &[]);
    let address = program.address;
    let mut viewer = Viewer::v1(address, "/stdin?tail=1").await;
    assert_eq!(viewer.expect("open").await["path"], "/stdin");
    let mut curl = Streaming::get(address, "/stdin?tail=1", &[]).await;
    stdin.write_all(b"one\n\xff\0two\n").unwrap();
    let mut rows = Rows::default();
    while rows.texts().len() < 2 {
        rows.apply(&viewer.expect("rows").await);
    }
    curl.read_until("two\n").await;
    assert!(get(address, "/", &[]).await.text().contains("/stdin"), "it is in the list");
    assert!(!is_empty(place.path()));
    stdin.write_all(b"three").unwrap();
    drop(stdin);
    while rows.texts().len() < 3 {
        rows.apply(&viewer.expect("rows").await);
    }
    viewer.expect("end").await;
    assert_eq!(viewer.next().await.unwrap_err().unwrap().0, 1000);
    curl.rest().await;
    assert!(curl.is_complete());
    // Whoever comes later gets all of it, and the same end.
    assert_eq!(get(address, "/stdin", &[]).await.body, b"one\n\xff\0two\nthree");
    let mut late = Viewer::v1(address, "/stdin?tail=1").await;
    let open = late.expect("open").await;
    assert_eq!(late.expect("rows").await["next"], 15);
    late.expect("end").await;
    let generation = open["generation"].as_str().unwrap();
    let again = format!("/stdin?tail=1&generation={generation}&from=4");
    let mut again = Viewer::v1(address, &again).await;
    assert_eq!(again.expect("open").await["recovered"], true, "its positions stay");
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().await.success());
    assert!(is_empty(place.path()), "nothing is left");
}

#[tokio::test]
async fn a_signal_ends_the_server_though_the_input_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let (mut program, mut stdin) = serve(place.path(), &[]);
    stdin.write_all(b"one\n").unwrap();
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().await.success());
    assert!(is_empty(place.path()), "nothing is left");
}

#[tokio::test]
async fn a_viewer_that_keeps_up_gets_every_byte_of_an_input_that_is_larger_than_its_files() {
    let place = tempfile::tempdir().unwrap();
    let (program, mut stdin) = serve(place.path(), &["--spool-max", "64KiB"]);
    let mut curl = Streaming::get(program.address, "/stdin?tail=1", &[]).await;
    let mut all = String::new();
    for n in 0..40 {
        let part: String = (0..1000).map(|line| format!("line {n} {line}\n")).collect();
        stdin.write_all(part.as_bytes()).unwrap();
        all += &part;
        curl.read_until(&format!("line {n} 999\n")).await;
    }
    drop(stdin);
    curl.rest().await;
    assert!(curl.body() == all, "{} of {} bytes", curl.body().len(), all.len());
    let kept: u64 = std::fs::read_dir(place.path())
        .unwrap()
        .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(kept <= 64 * 1024 + 100, "{kept} bytes are kept of {}", all.len());
}

#[tokio::test]
async fn a_full_disk_says_how_much_of_the_input_is_missing_and_goes_on_when_there_is_room() {
    let limits = "mount -t tmpfs -o size=1m none /mnt && head -c 900k /dev/zero > /mnt/ballast";
    let line = format!("{limits} && TMPDIR=/mnt exec \"$0\" serve --port 0 -");
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", &line]);
    let mut program = Program::start(shell.arg(command().get_program()).stdin(Stdio::piped()));
    let mut stdin = program.child.stdin.take().unwrap();
    let mut curl = Streaming::get(program.address, "/stdin?tail=1&lines=all", &[]).await;
    let lines: String = (0..40_000).map(|line| format!("line {line}\n")).collect();
    stdin.write_all(lines.as_bytes()).unwrap();
    eventually("it is told", async || match program.said() {
        said if said.contains("standard input cannot be kept") => Ok(()),
        said => Err(said),
    })
    .await;
    program.inside("rm /mnt/ballast");
    let mut input = lines.clone();
    eventually("it goes on", async || {
        stdin.write_all(b"again\n").unwrap();
        input += "again\n";
        let got = get(program.address, "/stdin", &[]).await.text();
        if got.ends_with("]\nagain\n") { Ok(()) } else { Err(got.len()) }
    })
    .await;
    drop(stdin);
    curl.rest().await;
    assert!(curl.is_complete(), "the end is told");
    let got = get(program.address, "/stdin", &[]).await.text();
    let (before, after) = got.split_once("\n[tailcast: ").expect("it says what is missing");
    let (missing, after) = after.split_once(" bytes are missing here: ").unwrap();
    let (_, after) = after.split_once("]\n").unwrap();
    let (missing, all) = (missing.parse::<usize>().unwrap(), input.len());
    // A line feed stands before the notice, unless a line had just ended.
    let is_all = |kept: usize| input.starts_with(before) && kept + missing + after.len() == all;
    assert!(is_all(before.len()) || is_all(before.len() + 1), "{missing} of {all}");
    assert!(input.ends_with(after) && !after.is_empty(), "{after}");
}

#[tokio::test]
async fn other_logs_are_served_beside_it_and_nothing_by_chance() {
    let place = tempfile::tempdir().unwrap();
    let logs = tempfile::tempdir().unwrap();
    std::fs::write(logs.path().join("a.log"), "a\n").unwrap();
    let log = logs.path().join("a.log");
    let log = log.to_str().unwrap();
    let (program, _stdin) = serve(place.path(), &[logs.path().to_str().unwrap()]);
    assert_eq!(get(program.address, log, &[]).await.text(), "a\n");
    assert_eq!(get(program.address, "/stdin", &[]).await.status, 200);
    let (program, _stdin) = serve(place.path(), &[]);
    assert_eq!(get(program.address, log, &[]).await.status, 403);
    let here = std::env::current_dir().unwrap().join("Cargo.toml");
    assert_eq!(get(program.address, here.to_str().unwrap(), &[]).await.status, 403);
}

#[tokio::test]
async fn what_a_killed_server_has_left_goes_with_the_next_one() {
    let place = tempfile::tempdir().unwrap();
    let directories = || std::fs::read_dir(place.path()).unwrap().count();
    let (mut killed, mut stdin) = serve(place.path(), &[]);
    stdin.write_all(b"one\n").unwrap();
    killed.signal(rustix::process::Signal::KILL);
    killed.wait().await;
    assert_eq!(directories(), 1, "nobody could remove it");
    let (mut first, _stdin) = serve(place.path(), &[]);
    assert_eq!(directories(), 1, "only its own is left");
    let (mut second, _stdin) = serve(place.path(), &[]);
    assert_eq!(directories(), 2, "that of another server stays");
    for program in [&mut first, &mut second] {
        program.signal(rustix::process::Signal::TERM);
        assert!(program.wait().await.success());
    }
    assert!(is_empty(place.path()), "nothing is left");
}

#[tokio::test]
async fn its_files_are_in_no_list_where_their_directory_is_served() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("a.log"), "a\n").unwrap();
    let (program, mut stdin) = serve(place.path(), &[place.path().to_str().unwrap()]);
    stdin.write_all(b"one\n").unwrap();
    let list = get(program.address, "/_/logs", &[]).await.text();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let paths = list["logs"].as_array().unwrap().iter().map(|log| log["path"].as_str().unwrap());
    let mut paths: Vec<_> = paths.collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/stdin", place.path().join("a.log").to_str().unwrap()]);
}

#[tokio::test]
async fn a_right_to_read_it_is_one_to_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stdin");
    std::fs::write(&file, "secret\n").unwrap();
    let named = Some(("/stdin".into(), file.clone()));
    let access = Access::with_named(Vec::<&Path>::new(), named).unwrap();
    let rule = |who: &str, read: &str| Rule::new(&[who.to_owned()], &[read.to_owned()]).unwrap();
    let settings = Settings {
        user_header: Some("x-user".parse().unwrap()),
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        rules: vec![rule("ann", "/stdin"), rule("bob", &target(directory.path()))],
        ..Settings::default()
    };
    let server = TestServer::over(directory, access, settings).await;
    let file = target(&file);
    for (who, path, status) in
        [("ann", "/stdin", 200), ("bob", "/stdin", 403), ("ann", &file, 403), ("bob", &file, 403)]
    {
        let answer = get(server.address, path, &[("x-user", who)]).await;
        assert_eq!(answer.status, status, "{who} {path}");
    }
}

#[test]
fn a_terminal_is_refused_with_a_hint() {
    let mut script = Command::new("script");
    let line = format!("{} serve --port 0 -", env!("CARGO_BIN_EXE_tailcast"));
    let output = output_of(script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()));
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("is a terminal") && said.contains("tailcast run --serve"), "{said}");
}
