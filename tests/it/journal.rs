//! The journal of systemd as logs. A stand-in for `journalctl` reads a file in the export format, in
//! which the cursor of an entry is its end.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::clients::{Viewer, get};
use crate::servers::{Program, append, command, eventually, output_of};

/// It follows, as the real one does. An unknown flag makes it fail, and `refuse` in its directory.
const STAND_IN: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
from=0 follow=
for flag; do
    case $flag in
    --after-cursor=*) from=$(expr "${flag#*=}" + 0) ;;
    --follow) follow=-f ;;
    --quiet | --no-pager | --output=export | --lines=* | --all | --output-fields | --no-tail) ;;
    MESSAGE,*) ;;
    *) echo "unknown flag $flag" >&2; exit 1 ;;
    esac
done
[ ! -e refuse ] || { cat refuse >&2; exit 1; }
[ -n "$follow" ] || exit 0
echo "$from" >>starts
exec tail -c +$((from + 1)) -f journal
"#;

struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(scene.path("journalctl"), STAND_IN).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(scene.path("journalctl"), executable).unwrap();
        append(scene.path("journal"), "");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds an entry of a unit.
    fn add(&self, unit: &str, priority: u8, message: &str) {
        let identifier = unit.split('.').next().unwrap();
        let length = (message.len() as u64).to_le_bytes();
        let rest = [
            format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER={identifier}\n_PID=7\n").as_bytes(),
            format!("_SYSTEMD_UNIT={unit}\n__REALTIME_TIMESTAMP=1795940991123456\n").as_bytes(),
            b"MESSAGE\n",
            &length,
            message.as_bytes(),
            b"\n\n",
        ]
        .concat();
        let begin = std::fs::metadata(self.path("journal")).unwrap().len() as usize;
        let end = begin + "__CURSOR=000000000000\n".len() + rest.len();
        append(self.path("journal"), [format!("__CURSOR={end:012}\n").as_bytes(), &rest].concat());
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = command();
        command.env("PATH", format!("{}:{path}", self.directory.path().display()));
        command.args(["serve", "--listen", "127.0.0.1:0", "--state-dir"]).arg(self.path("state"));
        command.args(arguments);
        command
    }

    fn serve(&self, arguments: &[&str]) -> Program {
        Program::start(&mut self.command(arguments))
    }
}

fn line(level: &str, program: &str, message: &str) -> String {
    format!("2026-11-29T08:29:51.123456Z {level} {program}[7]: {message}\n")
}

#[tokio::test]
async fn the_journal_and_each_of_its_units_are_logs_with_the_levels_of_the_entries() {
    let scene = Scene::new();
    scene.add("nginx.service", 3, "all is well");
    scene.add("cron.service", 6, "retry after Error: none");
    let program = scene.serve(&["--journal"]);
    let mut all = Viewer::original(program.address, "/journal?tail=1&lines=all").await;
    let first =
        line("ERROR", "nginx", "all is well") + &line("INFO", "cron", "retry after Error: none");
    assert_eq!(all.text_until(&first).await, first);
    let mut unit =
        Viewer::original(program.address, "/journal/nginx.service?tail=1&lines=all").await;
    let first = line("ERROR", "nginx", "all is well");
    assert_eq!(unit.text_until(&first).await, first);
    // A unit that is new, and a message of several lines.
    scene.add("nginx.service", 4, "two\nlines");
    scene.add("new@1.service", 7, "begins");
    let next = line("WARNING", "nginx", "two\n    lines");
    assert_eq!(unit.text_until(&next).await, next);
    let both = next.clone() + &line("DEBUG", "new@1", "begins");
    assert_eq!(all.text_until(&both).await, both);
    eventually("the list has the units", async || {
        let list = get(program.address, "/", &[]).await.text();
        let mut names: Vec<&str> = list.lines().collect();
        names.sort_unstable();
        let expected = [
            "/journal",
            "/journal/cron.service",
            "/journal/new@1.service",
            "/journal/nginx.service",
        ];
        if names == expected { Ok(()) } else { Err(list) }
    })
    .await;
    let rows = async |level: &str| {
        let found = get(program.address, &format!("/_/find/journal?level={level}"), &[]).await;
        found.text().lines().last().unwrap().to_owned()
    };
    for (level, count) in [("error", 1), ("warning", 1)] {
        let done = rows(level).await;
        assert!(done.contains(&format!("\"rows\":{count},")), "{level}: {done}");
    }
}

#[tokio::test]
async fn after_a_death_each_entry_is_there_once_and_viewers_go_on() {
    let scene = Scene::new();
    for n in 0..50 {
        scene.add("a.service", 6, &format!("entry {n}"));
    }
    let mut program = scene.serve(&["--journal"]);
    let address = program.address.to_string();
    let tail =
        crate::tail::Tail::start(&["-n", "all", &format!("http://{address}/journal/a.service")]);
    let expected = |to: usize| -> String {
        (0..to).map(|n| line("INFO", "a", &format!("entry {n}"))).collect()
    };
    tail.prints(expected(50)).await;
    for round in 1..4 {
        program.signal(if round == 2 { Signal::TERM } else { Signal::KILL });
        program.wait().await;
        for n in 50 * round..50 * (round + 1) {
            scene.add("a.service", 6, &format!("entry {n}"));
        }
        let listen = ["--listen", &address, "--journal"];
        program = scene.serve(&listen);
        tail.prints(expected(50 * (round + 1))).await;
    }
    let copy = get(program.address, "/journal/a.service", &[]).await.text();
    assert_eq!(copy, expected(200));
    let starts = std::fs::read_to_string(scene.path("starts")).unwrap();
    let last: usize = starts.lines().last().unwrap().parse().unwrap();
    assert!(last > 0, "it begins anew: {starts}");
}

#[tokio::test]
async fn a_rule_can_name_a_unit() {
    let scene = Scene::new();
    scene.add("nginx.service", 3, "one");
    scene.add("cron.service", 6, "two");
    let hash = "$2y$04$abcdefghijklmnopqrstuuSBMZDLZFk8BvHuY5fmwH1LUWYkPgxGy";
    std::fs::write(scene.path("users"), format!("ann:{hash}\nbob:{hash}\n")).unwrap();
    let rules = "[[allow]]\nwho = [\"ann\"]\nread = [\"/journal/nginx.service\"]\n\
                 [[allow]]\nwho = [\"bob\"]\nread = [\"/journal\"]\n";
    std::fs::write(scene.path("config"), rules).unwrap();
    let config = scene.path("config").display().to_string();
    let flags = [
        "--journal",
        "--config",
        &config,
        "--user-header",
        "X-Who",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let program = scene.serve(&flags);
    let status = async |who: &str, target: &str| {
        get(program.address, target, &[("X-Who", who)]).await.status
    };
    eventually("the units are there", async || {
        match status("bob", "/journal/cron.service").await {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(status("bob", "/journal").await, 200);
    assert_eq!(status("ann", "/journal/nginx.service").await, 200);
    assert_eq!(status("ann", "/journal/cron.service").await, 403);
    assert_eq!(status("ann", "/journal").await, 403);
}

#[tokio::test]
async fn where_there_is_no_journal_it_is_told_with_what_to_do() {
    let scene = Scene::new();
    std::fs::write(
        scene.path("refuse"),
        "No journal files were opened due to insufficient permissions.\n",
    )
    .unwrap();
    let output = output_of(&mut scene.command(&["--journal"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains(
            "cannot read the journal: No journal files were opened due to insufficient permissions."
        ) && said.contains("systemd-journal"),
        "{said}"
    );
    let mut command = scene.command(&["--journal"]);
    let output = output_of(command.env("PATH", scene.path("nothing")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no journal here: cannot run `journalctl`"), "{said}");
}
