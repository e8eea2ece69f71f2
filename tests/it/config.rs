//! The configuration file of the real program, and its reload.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Streaming, Viewer, get};
use crate::servers::{Program, append, command, eventually, output_of, pace, put, target};
use crate::transport::Pem;

/// How long a change of the file may take to have its effect.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(5);

/// A configuration file, and directories with a log in each.
struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new(names: &[&str]) -> Self {
        let scene = Self { directory: tempfile::tempdir().unwrap() };
        for name in names {
            std::fs::create_dir(scene.path(name)).unwrap();
            append(scene.log(name), "first\n");
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path(name).join("a.log")
    }

    fn target(&self, name: &str) -> String {
        target(&self.log(name))
    }

    fn file(&self) -> PathBuf {
        self.path("tailcast.toml")
    }

    /// A configuration with these prefixes and more lines.
    fn text(&self, prefixes: &[&str], more: &str) -> String {
        let prefixes: Vec<PathBuf> = prefixes.iter().map(|name| self.path(name)).collect();
        format!("prefix = {prefixes:?}\n{more}")
    }

    fn put(&self, prefixes: &[&str], more: &str) {
        put(self.file(), self.text(prefixes, more));
    }

    fn serve(&self, arguments: &[&str]) -> Program {
        let mut all = vec!["--config", self.file().to_str().unwrap()]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Program::serve(&all)
    }
}

/// Waits until the program has said something for the `count`-th time.
async fn says(program: &Program, what: &str, count: usize) {
    eventually(what, async || {
        let said = program.said();
        if said.matches(what).count() >= count { Ok(()) } else { Err(said) }
    })
    .await;
}

const AGAIN: &str = "read the configuration again";

#[tokio::test]
async fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let scene = Scene::new(&["a", "b", "c"]);
    scene.put(&["a"], "allow-host = ['file.example']\nmax-viewers = 0\n");
    let is_known = async |program: &Program, host: &str| {
        get(program.address, "/_/logs", &[("Host", host)]).await.status == 200
    };
    let program = scene.serve(&["--max-viewers", "5"]);
    assert!(is_known(&program, "file.example").await);
    assert_eq!(get(program.address, &scene.target("a"), &[]).await.status, 200, "5 viewers");
    drop(program);

    let mut with_variable = command();
    with_variable.args(["serve", "--port", "0", "--config"]).arg(scene.file());
    with_variable.env("TAILCAST_ALLOW_HOST", "variable.example");
    with_variable.env("TAILCAST_PREFIX", scene.path("b"));
    with_variable.env("TAILCAST_MAX_VIEWERS", "5");
    let program = Program::start(&mut with_variable);
    assert!(is_known(&program, "variable.example").await);
    assert!(!is_known(&program, "file.example").await);
    assert_eq!(get(program.address, &scene.target("a"), &[]).await.status, 403);
    assert_eq!(get(program.address, &scene.target("b"), &[]).await.status, 200);
    drop(program);

    let program =
        Program::start(with_variable.arg("--allow-host").arg("flag.example").arg(scene.path("c")));
    assert!(is_known(&program, "flag.example").await);
    assert!(!is_known(&program, "variable.example").await);
    assert_eq!(get(program.address, &scene.target("b"), &[]).await.status, 403);
    assert_eq!(get(program.address, &scene.target("c"), &[]).await.status, 200);
}

#[tokio::test]
async fn a_prefix_that_is_removed_ends_the_streams_of_its_logs_and_no_others() {
    let scene = Scene::new(&["kept", "lost"]);
    // Its own path lies in the prefix that stays, and its file in the one that goes.
    std::os::unix::fs::symlink(scene.log("lost"), scene.path("kept/link.log")).unwrap();
    scene.put(&["kept", "lost"], "");
    let program = scene.serve(&[]);
    let address = program.address;
    let (kept, lost) = (scene.target("kept"), scene.target("lost"));
    let link = target(&scene.path("kept/link.log"));
    let mut staying = Viewer::original(address, &format!("{kept}?tail=1")).await;
    let mut staying_v1 = Viewer::v1(address, &format!("{kept}?tail=1")).await;
    let mut original = Viewer::original(address, &format!("{lost}?tail=1")).await;
    let mut v1 = Viewer::v1(address, &format!("{lost}?tail=1")).await;
    let mut v1_of_link = Viewer::v1(address, &format!("{link}?tail=1")).await;
    let mut waiting = Viewer::v1(address, &target(&scene.path("lost/none.log?tail=1"))).await;
    let events = [("accept", "text/event-stream")];
    let mut events = Streaming::get(address, &format!("{lost}?tail=1"), &events).await;
    let merged = format!("/_/events?tail=1&log={kept}&log={lost}");
    let mut merged = Streaming::get(address, &merged, &[]).await;
    let mut plain = Streaming::get(address, &format!("{lost}?tail=1"), &[]).await;
    for viewer in [&mut staying, &mut original] {
        assert!(viewer.text().await.contains("first"));
    }
    for viewer in [&mut staying_v1, &mut v1, &mut v1_of_link] {
        viewer.expect("open").await;
        viewer.expect("rows").await;
    }
    waiting.expect("waiting").await;
    plain.read_until("first\n").await;
    while !events.body().contains("first") {
        events.read_more().await;
    }
    while merged.body().matches("first").count() < 2 {
        merged.read_more().await;
    }

    // No signal: the change is noticed.
    let changed = Instant::now();
    scene.put(&["kept"], "");
    for viewer in [&mut v1, &mut v1_of_link, &mut waiting] {
        assert_eq!(viewer.expect("error").await["code"], 4403);
        let (_, close) = viewer.rest().await;
        assert_eq!(close.map(|(code, _)| code), Some(4403));
    }
    let (said, close) = original.rest().await;
    assert!(said.ends_with("<font color=\"red\"><strong>Forbidden</strong></font>"), "{said}");
    assert_eq!(close.map(|(code, _)| code), Some(1008));
    let said = events.rest().await;
    assert!(events.is_complete() && said.contains("\"type\":\"error\""), "{said}");
    plain.rest().await;
    assert!(!plain.is_complete(), "a log that is cut off must not look complete");
    while !merged.body().contains("\"type\":\"error\"") {
        merged.read_more().await;
    }
    assert!(changed.elapsed() < RELOAD_TIME_MAX, "it took {:?}", changed.elapsed());

    append(scene.log("lost"), "secret\n");
    append(scene.log("kept"), "second\n");
    assert!(staying.text().await.contains("second"));
    staying_v1.expect("rows").await;
    while !merged.body().contains("second") {
        merged.read_more().await;
    }
    assert!(!merged.body().contains("secret"));
    assert_eq!(get(address, &lost, &[]).await.status, 403);
    assert_eq!(get(address, &link, &[]).await.status, 403);
    let list = get(address, "/_/logs", &[]).await.text();
    assert!(list.contains("kept/a.log") && !list.contains("lost"), "{list}");
}

#[tokio::test]
async fn what_can_change_while_the_server_runs_changes() {
    let scene = Scene::new(&["a", "b"]);
    scene.put(&["a"], "");
    let program = scene.serve(&[]);
    let address = program.address;
    let status =
        async |target: &str, headers: &[(&str, &str)]| get(address, target, headers).await.status;
    let (host, origin) = ([("Host", "new.example")], [("Origin", "http://page.example")]);
    let a = scene.target("a");
    assert_eq!(status(&scene.target("b"), &[]).await, 403);
    assert_eq!((status(&a, &host).await, status(&a, &origin).await), (421, 403));
    scene
        .put(&["a", "b"], "allow-host = ['new.example']\nallow-origin = ['http://page.example']\n");
    program.signal(Signal::HUP);
    says(&program, AGAIN, 1).await;
    assert!(program.said().contains("changed=\"allow-host, allow-origin, prefix\""));
    assert_eq!(status(&scene.target("b"), &[]).await, 200);
    assert_eq!((status(&a, &host).await, status(&a, &origin).await), (200, 200));
    scene.put(&["a"], "max-viewers = 0\n");
    program.signal(Signal::HUP);
    says(&program, AGAIN, 2).await;
    assert_eq!(status(&a, &[]).await, 503);
    assert_eq!(status("/", &host).await, 421);
}

#[tokio::test]
async fn a_file_that_is_wrong_is_told_and_changes_nothing() {
    let scene = Scene::new(&["a"]);
    scene.put(&["a"], "allow-host = ['a.example']\n");
    let program = scene.serve(&[]);
    let is_as_before = async || {
        let host = [("Host", "a.example")];
        assert_eq!(get(program.address, &scene.target("a"), &host).await.status, 200);
    };
    let mut viewer =
        Viewer::original(program.address, &format!("{}?tail=1", scene.target("a"))).await;
    viewer.text().await;
    let none = scene.path("none").display().to_string();
    for (text, told) in [
        (
            scene.text(&["a"], "allow-hosts = ['b.example']\n"),
            "line 2: there is no key `allow-hosts`",
        ),
        (scene.text(&["none"], ""), none.as_str()),
        ("allow-host = ['b.example']\n".to_owned(), "names nothing to serve"),
        (String::new(), "names nothing to serve"),
    ] {
        put(scene.file(), text);
        let before = program.said().matches("nothing changes").count();
        program.signal(Signal::HUP);
        says(&program, "so nothing changes", before + 1).await;
        let said = program.said();
        let line = said.lines().rfind(|line| line.contains("nothing changes")).unwrap();
        assert!(line.contains(told) && line.contains("hint="), "{line}");
        is_as_before().await;
    }
    std::fs::remove_file(scene.file()).unwrap();
    says(&program, "cannot read the configuration again", 1).await;
    is_as_before().await;
    append(scene.log("a"), "second\n");
    assert!(viewer.text().await.contains("second"));
    scene.put(&["a"], "allow-host = ['a.example']\n");
    says(&program, AGAIN, 1).await;
    is_as_before().await;
}

#[tokio::test]
async fn what_cannot_change_is_told_to_need_a_restart() {
    let scene = Scene::new(&["a"]);
    scene.put(&["a"], "");
    let program = scene.serve(&[]);
    scene.put(&["a"], "heartbeat = 20\nrotate-wait = 1\nallow-host = ['a.example']\n");
    program.signal(Signal::HUP);
    says(&program, "a change of these needs a restart", 1).await;
    let said = program.said();
    let line = said.lines().rfind(|line| line.contains("needs a restart")).unwrap();
    assert!(line.contains("keys=\"heartbeat, rotate-wait\""), "{line}");
    let host = [("Host", "a.example")];
    assert_eq!(
        get(program.address, &scene.target("a"), &host).await.status,
        200,
        "the rest counts"
    );
}

#[tokio::test]
async fn a_reload_under_load_loses_no_byte() {
    const LINES: usize = 4000;
    let scene = Scene::new(&["a", "b"]);
    scene.put(&["a", "b"], "");
    let program = scene.serve(&[]);
    let log = scene.log("a");
    let tail = format!("{}?tail=1&lines=all&format=raw", scene.target("a"));
    let mut viewers = Vec::new();
    for _ in 0..8 {
        viewers.push(Viewer::original(program.address, &tail).await);
    }
    let mut plain = Streaming::get(program.address, &tail, &[]).await;
    let writer = {
        let log = log.clone();
        tokio::spawn(async move {
            for line in 0..LINES {
                append(&log, format!("line {line} of the load\n"));
                if line % 10 == 0 {
                    pace(Duration::from_millis(5)).await;
                }
            }
            append(&log, "the end\n");
        })
    };
    let mut reloads = 0;
    while !writer.is_finished() {
        let prefixes: &[&str] = if reloads % 2 == 0 { &["a"] } else { &["a", "b"] };
        scene.put(prefixes, &format!("allow-host = ['host-{reloads}.example']\n"));
        program.signal(Signal::HUP);
        reloads += 1;
        says(&program, AGAIN, reloads).await;
    }
    writer.await.unwrap();
    assert!(reloads > 5, "only {reloads} reloads");
    let whole = std::fs::read(&log).unwrap();
    for viewer in &mut viewers {
        let mut came = Vec::new();
        while came.len() < whole.len() {
            match viewer.next().await {
                Ok(Message::Binary(bytes)) => came.extend_from_slice(&bytes),
                other => panic!("{other:?} after {} of {} bytes", came.len(), whole.len()),
            }
        }
        assert!(came == whole, "the bytes differ");
    }
    assert!(plain.read_until("the end\n").await.as_bytes() == whole, "the bytes differ");
}

/// The flags that the help of `serve` names.
fn flags_of_help() -> BTreeSet<String> {
    let help = output_of(command().args(["serve", "--help"])).stdout;
    let help = String::from_utf8(help).unwrap();
    let named = help.lines().filter_map(|line| {
        line.trim_start().strip_prefix("--").or_else(|| {
            line.trim_start()
                .split_once(", --")
                .filter(|(short, _)| short.len() == 2)
                .map(|(_, long)| long)
        })
    });
    named.map(|flag| flag.split([' ', '=', '[']).next().unwrap().to_owned()).collect()
}

/// The example, with every key that it describes in effect.
fn uncommented_example() -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/tailcast.toml");
    let text = std::fs::read_to_string(example).unwrap();
    let is_key = |line: &str| {
        let name = line.split('=').next().unwrap().trim_end();
        line.contains('=') && !name.is_empty() && !name.contains(' ')
    };
    text.lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| is_key(rest) || rest.starts_with("[["))
                .unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_example_has_every_flag_of_the_help_as_a_key_and_no_other() {
    let text = uncommented_example();
    let mut keys: BTreeSet<String> = text
        .lines()
        .take_while(|line| !line.starts_with("[["))
        .filter(|line| !line.starts_with('#') && line.contains('='))
        .map(|line| line.split('=').next().unwrap().trim().to_owned())
        .collect();
    keys.extend(["config", "help"].map(str::to_owned));
    assert_eq!(keys, flags_of_help());
}

#[test]
fn the_example_is_right_as_it_is_and_with_every_key_in_effect() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/tailcast.toml");
    let directory = tempfile::tempdir().unwrap();
    // `listen` stands instead of `host` and `port`.
    let without = |names: &[&str]| {
        let is_left = |line: &&str| !names.iter().any(|name| line.starts_with(name));
        let text = uncommented_example();
        // The files that it names are there.
        std::fs::write(directory.path().join("accounts"), "# none yet\n").unwrap();
        Pem::new().write(directory.path());
        let [_, certificate, _, key] = Pem::arguments(directory.path());
        let accounts = directory.path().join("accounts");
        let named = |line: &str| match line.split_once(" = ") {
            Some((name @ ("users" | "tokens"), _)) => format!("{name} = {accounts:?}"),
            Some((name @ "tls-cert", _)) => format!("{name} = {certificate:?}"),
            Some((name @ "tls-key", _)) => format!("{name} = {key:?}"),
            Some(_) | None => line.to_owned(),
        };
        let lines: Vec<String> = text.lines().filter(is_left).map(named).collect();
        let file = directory.path().join(format!("without-{}.toml", names.concat()));
        std::fs::write(&file, lines.join("\n")).unwrap();
        file
    };
    for file in [example, without(&["listen"]), without(&["host", "port"])] {
        let output = output_of(command().arg("config").arg(&file));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{}: {said}", file.display());
    }
}

#[test]
fn the_config_command_says_what_a_file_means() {
    let scene = Scene::new(&["a"]);
    scene.put(&["a"], "port = 80\nallow-host = ['logs.example']\n");
    let mut config = command();
    config.arg("config").arg(scene.file()).env("TAILCAST_PORT", "1");
    let output = output_of(&mut config);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for sentence in [
        format!("- serves the logs under {}\n", scene.path("a").display()),
        "- listens on 127.0.0.1:80\n".to_owned(),
        "- answers to IP addresses, localhost, logs.example\n".to_owned(),
    ] {
        assert!(said.contains(&sentence), "{sentence} in {said}");
    }
}

#[test]
fn the_config_command_says_what_is_wrong_with_a_file() {
    let scene = Scene::new(&["a"]);
    scene.put(&["a"], "prot = 80\n");
    let output = output_of(command().arg("config").arg(scene.file()));
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    let file = scene.file();
    let expected = format!(
        "tailcast: `{}` is wrong in line 2: there is no key `prot`\nhint: the nearest key is `port`\n",
        file.display()
    );
    assert_eq!(said, expected);
    let output = output_of(command().args(["serve", "--port", "0", "--config"]).arg(&file));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_file_that_a_wrong_configuration_names_is_tried_again_until_it_is_right() {
    let scene = Scene::new(&["a"]);
    let tokens = scene.path("tokens");
    scene.put(&["a"], "");
    let program = scene.serve(&[]);
    scene.put(&["a"], &format!("tokens = {tokens:?}\n"));
    says(&program, "the configuration is wrong", 1).await;
    assert_eq!(get(program.address, &scene.target("a"), &[]).await.status, 200);
    put(&tokens, format!("ci:{}\n", "ab".repeat(32)));
    says(&program, AGAIN, 1).await;
    assert_eq!(get(program.address, &scene.target("a"), &[]).await.status, 401);
    assert_eq!(program.said().matches("is wrong").count(), 1, "it is told once");
}

#[tokio::test]
async fn a_file_that_was_cut_off_opens_nothing() {
    let scene = Scene::new(&["a", "b"]);
    let identity = "trusted-proxy = ['127.0.0.1']\nuser-header = 'x-user'\n";
    let rules = format!("[[allow]]\nwho = ['ann']\nread = [{:?}]\n", scene.path("a"));
    scene.put(&["a", "b"], &format!("{identity}{rules}"));
    let program = scene.serve(&[]);
    let status = async |log: &str, headers: &[(&str, &str)]| {
        get(program.address, &scene.target(log), headers).await.status
    };
    for (wrong, cut) in [identity, ""].into_iter().enumerate() {
        scene.put(&["a", "b"], cut);
        says(&program, "the configuration is wrong", wrong + 1).await;
        assert_eq!(status("a", &[("x-user", "ann")]).await, 200);
        assert_eq!(status("b", &[("x-user", "ann")]).await, 403);
        assert_eq!(status("a", &[]).await, 401);
    }
}
