//! The same work by other programs: rows by a field, values of a field, rows of a level, the first row
//! from a time on, and several logs in the order of their times. Each is asked in the way its users ask
//! it. Programs that are not installed are named.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::stage::contest::cpu_of_children;
use super::stage::logs::write_lines;
use super::stage::{Server, Stage, median, row, setting};
use super::{answer, body};

/// How much of JSON there is, in MiB.
const MIB: u64 = 128;
/// When the first line was written, in seconds since 1970.
const BEGIN: u64 = 1_795_824_000;
/// How many lines there are in a second.
const RATE: u64 = 100;

/// The lines as a format of `lnav`.
const LNAV: &str = r#"{"bench_log":{"title":"bench","json":true,"hide-extra":true,"file-pattern":"others","timestamp-field":"time",
    "level-field":"level","body-field":"msg","line-format":[{"field":"time"}," ",{"field":"level"}," ",{"field":"msg"}],
    "value":{"status":{"kind":"integer","hidden":true},"path":{"kind":"string","hidden":true},"latency":{"kind":"string","hidden":true}}}}"#;

/// A time as the lines have it.
fn stamp(number: u64) -> String {
    let millis = number * 1000 / RATE;
    let seconds = BEGIN + millis / 1000;
    // All lines are of one day.
    let of_day = seconds % 86_400;
    format!(
        "2026-11-28T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        millis % 1000
    )
}

/// Writes every `step`th line, from the line `first` on. Returns how many lines there are.
fn fill(path: &Path, bytes: u64, first: u64, step: u64) -> u64 {
    write_lines(path, bytes, |nth| {
        let number = first + nth * step;
        let mixed = number * 2_654_435_761;
        let is_failed = mixed.is_multiple_of(50);
        format!(
            "{{\"time\":\"{}\",\"level\":\"{}\",\"msg\":\"{}\",\"status\":{},\"path\":\"/api/items/{number}\",\"latency\":\"{}ms\",\"user\":{{\"id\":{}}}}}\n",
            stamp(number),
            if is_failed { "error" } else { "info" },
            if is_failed { "request failed" } else { "request done" },
            if is_failed { 503 } else { [200, 201, 304][(mixed % 3) as usize] },
            mixed % 900,
            mixed % 100_000,
        )
    })
    .lines
}

/// What one way of doing the work took: seconds of CPU and of the clock, and what it found.
struct Way<'a> {
    name: &'static str,
    how: String,
    run: Box<dyn Fn() -> Option<String> + 'a>,
    cpu: Box<dyn Fn() -> f64 + 'a>,
}

impl<'a> Way<'a> {
    /// A shell command; `None` comes of one whose program is not installed.
    fn shell(name: &'static str, home: &'a Path, command: String) -> Self {
        let how = command.clone();
        let run = move || {
            let mut shell = Command::new("sh");
            shell.env("HOME", home).env("TERM", "dumb").env("LC_ALL", "C").arg("-c").arg(&command);
            let output = shell.stdin(Stdio::null()).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Some(text).filter(|text| !text.is_empty())
        };
        Self { name, how, run: Box::new(run), cpu: Box::new(cpu_of_children) }
    }

    fn tailcast(server: &'a Server, how: &str, run: impl Fn() -> String + 'a) -> Self {
        let run = move || Some(run());
        let cpu = || server.cpu_of_threads();
        Self { name: "tailcast", how: how.to_owned(), run: Box::new(run), cpu: Box::new(cpu) }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Lets all do the same in turns, and prints what each took. What they found has to be the same.
fn compare(what: &str, ways: &[Way<'_>]) {
    let mut found = None;
    let mut taken: Vec<(Vec<f64>, Vec<f64>)> = ways.iter().map(|_| Default::default()).collect();
    for _ in 0..setting("ROUNDS", 3) {
        for (way, (cpu, clock)) in ways.iter().zip(&mut taken) {
            if !is_installed(way.name) && way.name != "tailcast" {
                continue;
            }
            let (began, before) = (Instant::now(), (way.cpu)());
            let result = (way.run)().unwrap_or_else(|| panic!("{} said nothing", way.how));
            clock.push(began.elapsed().as_secs_f64());
            cpu.push((way.cpu)() - before);
            let first = found.get_or_insert_with(|| result.clone());
            assert_eq!(*first, result, "{what}: {}", way.how);
        }
    }
    let ours = median(taken[0].0.clone());
    for (way, (cpu, clock)) in ways.iter().zip(taken) {
        let how = format!("`{}`", way.how.replace('|', "\\|"));
        if cpu.is_empty() {
            row(&[&what, &way.name, &"not installed", &"", &"", &how]);
            continue;
        }
        let (cpu, clock) = (median(cpu), median(clock));
        let ratio = format!("{:.1}", cpu / ours);
        row(&[&what, &way.name, &format!("{cpu:.3}"), &ratio, &format!("{clock:.3}"), &how]);
    }
}

/// The number of rows in the last line of an answer.
fn rows_of(text: &str) -> String {
    let done: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(done["complete"], true);
    done["rows"].to_string()
}

/// The values and their counts, by value.
fn values_of(text: &str) -> String {
    let done: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let values = done["values"].as_array().unwrap();
    let mut all: Vec<String> =
        values.iter().map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1])).collect();
    all.sort();
    all.join("\n")
}

/// How many rows a merge of logs has, page after page.
fn merged(server: &Server, logs: &[PathBuf]) -> String {
    let mut places: Vec<String> = logs.iter().map(|_| String::new()).collect();
    let mut rows = 0;
    loop {
        let asked: Vec<String> = logs
            .iter()
            .zip(&places)
            .map(|(log, place)| format!("log={}{place}", log.display()))
            .collect();
        let page =
            answer(server, &format!("/_/merged-rows?count=5000&format=text&{}", asked.join("&")));
        rows += page["rows"].as_array().unwrap().len();
        if page["at_end"] == true {
            return rows.to_string();
        }
        places = page["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|log| {
                let next = &log["next"];
                format!(
                    "&generation={}&from={}",
                    next["generation"].as_str().unwrap(),
                    next["offset"]
                )
            })
            .collect();
    }
}

pub fn others(stage: &Stage) {
    let folder = stage.path().join("others");
    let home = stage.path().join("home");
    std::fs::create_dir_all(home.join(".lnav/formats/bench")).unwrap();
    std::fs::write(home.join(".lnav/formats/bench/format.json"), LNAV).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let log = folder.join("all.log");
    let lines = fill(&log, MIB << 20, 0, 1);
    let parts: Vec<PathBuf> = (0..3).map(|nth| folder.join(format!("part{nth}.log"))).collect();
    for (nth, part) in parts.iter().enumerate() {
        fill(part, (MIB << 20) / 6, nth as u64, 3);
    }
    let server = Server::tailcast(&folder);
    let (server, path, home) = (&server, log.display().to_string(), home.as_path());
    println!("\n## the same by others, in {MIB} MiB of JSON, {lines} lines\n");
    row(&[&"what", &"program", &"CPU s", &"/ tailcast", &"s by the clock", &"how"]);
    println!("|---|---|---:|---:|---:|---|");
    let shell = |name, command: String| Way::shell(name, home, command);
    let asked = |how: &'static str, target: String, read: fn(&str) -> String| {
        Way::tailcast(server, how, move || read(&body(server, &target)))
    };
    let sql = |query: &str| format!("lnav -n -c ';{query}' -c ':write-csv-to -' {path} | sed 1d");
    compare(
        "rows with `status>=500`",
        &[
            asked(
                "/_/find?where=status>=500",
                format!("/_/find{path}?where=status%3e%3d500&max=1"),
                rows_of,
            ),
            shell("jq", format!("jq -c 'select(.status >= 500)' {path} | wc -l")),
            shell("lnav", sql("SELECT count(*) FROM bench_log WHERE status >= 500")),
            shell("rg", format!(r#"rg -c '"status":5\d\d\b' {path}"#)),
            shell("grep", format!(r#"grep -c '"status":5[0-9][0-9]\b' {path}"#)),
        ],
    );
    compare(
        "the values of `status`",
        &[
            asked("/_/fields?field=status", format!("/_/fields{path}?field=status"), values_of),
            shell("jq", format!("jq .status {path} | sort | uniq -c | awk '{{print $2, $1}}'")),
            shell(
                "lnav",
                sql("SELECT status, count(*) FROM bench_log GROUP BY status") + " | tr , ' '",
            ),
            shell(
                "rg",
                format!(
                    r#"rg -o '"status":(\d+)' -r '$1' {path} | sort | uniq -c | awk '{{print $2, $1}}'"#
                ),
            ),
            shell(
                "grep",
                format!(
                    r#"grep -o '"status":[0-9]*' {path} | cut -d: -f2 | sort | uniq -c | awk '{{print $2, $1}}'"#
                ),
            ),
        ],
    );
    compare(
        "rows of the level error",
        &[
            asked("/_/find?level=error", format!("/_/find{path}?level=error&max=1"), rows_of),
            shell("jq", format!("jq -c 'select(.level == \"error\")' {path} | wc -l")),
            shell("lnav", sql("SELECT count(*) FROM bench_log WHERE log_level = \"error\"")),
            shell("rg", format!(r#"rg -c '"level":"error"' {path}"#)),
            shell("grep", format!(r#"grep -c '"level":"error"' {path}"#)),
        ],
    );
    let wanted = stamp(lines * 9 / 10);
    let first = |text: &str| {
        let page: Value = serde_json::from_str(text).unwrap();
        let line: Value = serde_json::from_str(page["rows"][0][1].as_str().unwrap()).unwrap();
        line["path"].as_str().unwrap().to_owned()
    };
    compare(
        "the first row from a time on",
        &[
            asked(
                "/_/rows?time=T",
                format!("/_/rows{path}?time={wanted}&count=1&format=text"),
                first,
            ),
            shell(
                "jq",
                format!("jq -r 'select(.time >= \"{wanted}\") | .path' {path} | head -n 1"),
            ),
            shell(
                "lnav",
                sql(&format!(
                    "SELECT path FROM bench_log WHERE log_time >= \"{}\" LIMIT 1",
                    wanted.trim_end_matches('Z').replace('T', " ")
                )),
            ),
            shell(
                "rg",
                format!(r#"rg -m 1 -o '"time":"{wanted}".*"path":"([^"]*)"' -r '$1' {path}"#),
            ),
            shell(
                "grep",
                format!(
                    r#"grep -m 1 -F '"time":"{wanted}"' {path} | grep -o '"path":"[^"]*"' | cut -d'"' -f4"#
                ),
            ),
        ],
    );
    let names: Vec<String> = parts.iter().map(|part| part.display().to_string()).collect();
    let names = names.join(" ");
    compare(
        "three logs of a sixth each in the order of their times",
        &[
            Way::tailcast(server, "/_/merged-rows, page by page", || merged(server, &parts)),
            shell("lnav", format!("lnav -n {names} | wc -l")),
            shell("sort", format!("sort -m {names} | wc -l")),
        ],
    );
}
