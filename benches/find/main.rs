//! Random access to a big log: finding, rows in its middle, line numbers.
//!
//! `cargo bench --bench find`; words after `--` select from `find`, `rows`,
//! `fields` and `others`, which is the same work by other programs. `GIB=1` is the size of the logs that are searched, `ROWS_GIB=4` that of the log whose rows
//! are requested. `BEFORE=target/before/tailcast` is another build of the program, which takes turns with
//! this one.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench panics at the first error, and prints its results"
)]

mod others;
#[path = "../stage/mod.rs"]
mod stage;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use serde_json::Value;
use stage::contest::{
    Contender, Turn, alone, cpu_of_children, note_contest, note_each, print_contest, print_heads,
};
use stage::figures::Goal;
use stage::logs::{size, write_lines};
use stage::{Server, Stage, get, heading, is_wanted, range, row, setting};

/// The number of requests for rows.
const TIMES: u64 = 40;
/// One line in this many contains the rare text.
const RARE: u64 = 1_000_003;

/// Writes a log of this size with lines that differ; optionally with a coloured word in each.
fn fill(path: &Path, bytes: u64, is_coloured: bool) {
    write_lines(path, bytes, |number| {
        let level = ["INFO", "INFO", "WARN", "ERROR"][(number * 7 % 4) as usize];
        let level = if is_coloured {
            format!("\x1b[3{}m{level}\x1b[0m", number % 8)
        } else {
            level.to_owned()
        };
        let what = if number % RARE == 7 { "needle" } else { "request" };
        format!(
            "2026-01-02T03:04:05.{:06}Z {level} worker-{}: {what} {number:012} took {} us, queue {}\n",
            number % 1_000_000,
            number % 16,
            number * 2_654_435_761 % 90_000,
            number % 977
        )
    });
}

fn body(server: &Server, target: &str) -> String {
    let mut text = String::new();
    get(&server.address, target).read_to_string(&mut text).unwrap();
    text
}

fn answer(server: &Server, target: &str) -> Value {
    serde_json::from_str(&body(server, target)).unwrap()
}

/// A pattern to search for.
struct Search {
    name: &'static str,
    pattern: &'static str,
    is_regex: bool,
    has_case: bool,
}

const SEARCHES: [Search; 5] = [
    Search { name: "rare text", pattern: "needle", is_regex: false, has_case: true },
    Search { name: "rare text, any case", pattern: "NEEDLE", is_regex: false, has_case: false },
    Search {
        name: "common text (a quarter of the lines)",
        pattern: "ERROR",
        is_regex: false,
        has_case: true,
    },
    Search {
        name: "`ERROR.*took 4242 us`",
        pattern: "ERROR.*took 4242 us",
        is_regex: true,
        has_case: true,
    },
    Search { name: "`\\bqueue 9\\d6$`", pattern: r"\bqueue 9\d6$", is_regex: true, has_case: true },
];

struct Counted(u64);

impl Sink for Counted {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, _: &SinkMatch<'_>) -> io::Result<bool> {
        self.0 += 1;
        Ok(true)
    }
}

fn matcher(search: &Search) -> RegexMatcher {
    RegexMatcherBuilder::new()
        .line_terminator(Some(b'\n'))
        .multi_line(true)
        .fixed_strings(!search.is_regex)
        .case_insensitive(!search.has_case)
        .build(search.pattern)
        .unwrap()
}

fn searcher() -> Searcher {
    SearcherBuilder::new().line_number(false).binary_detection(BinaryDetection::none()).build()
}

/// The search engine alone, which reads the file by itself.
fn engine(log: &Path, search: &Search) -> Option<Turn> {
    let matcher = matcher(search);
    let mut searcher = searcher();
    alone(size(log), || {
        let mut counted = Counted(0);
        searcher.search_reader(matcher, File::open(log).unwrap(), &mut counted).unwrap();
        counted.0
    })
}

/// Calls `look` with the whole lines of each block of a file, read into one buffer.
fn blocks(log: &Path, mut look: impl FnMut(&[u8]) -> u64) -> u64 {
    let file = File::open(log).unwrap();
    let mut buffer = vec![0; 256 * 1024];
    let (mut at, mut sum) = (0, 0);
    loop {
        let read = file.read_at(&mut buffer, at).unwrap();
        let end = memchr::memrchr(b'\n', &buffer[..read]).map_or(read, |newline| newline + 1);
        if end == 0 {
            return sum;
        }
        sum += look(&buffer[..end]);
        at += end as u64;
    }
}

/// What every reader of lines does at least: it reads the file and counts the newlines.
fn bare_loop(log: &Path) -> Option<Turn> {
    alone(size(log), || blocks(log, |block| memchr::memchr_iter(b'\n', block).count() as u64))
}

/// What every search does at least: it reads the file in blocks, as the server does, and looks for the
/// pattern in each of them with the same engine.
fn search_loop(log: &Path, search: &Search) -> Option<Turn> {
    if !search.is_regex && search.has_case {
        let finder = memchr::memmem::Finder::new(search.pattern);
        return alone(size(log), || blocks(log, |block| finder.find_iter(block).count() as u64));
    }
    let matcher = matcher(search);
    let mut searcher = searcher();
    alone(size(log), || {
        blocks(log, |block| {
            let mut counted = Counted(0);
            searcher.search_slice(&matcher, block, &mut counted).unwrap();
            counted.0
        })
    })
}

/// A parser of JSON, which skips one value for each line.
fn parser(log: &Path) -> Option<Turn> {
    alone(size(log), || {
        blocks(log, |block| {
            let lines = block.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
            let skip = |line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
            lines.filter(|line| skip(line)).count() as u64
        })
    })
}

/// A program that prints how many lines match. `None` if it is not installed.
fn program(name: &str, flags: &[&str], pattern: &str, log: &Path) -> Option<Turn> {
    let mut command = Command::new(name);
    command.args(flags).arg("--").arg(pattern).arg(log).stdin(Stdio::null());
    let (began, before) = (Instant::now(), cpu_of_children());
    let output = command.output().ok()?;
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_of_children() - before);
    let rows = String::from_utf8(output.stdout).unwrap().trim().parse().ok();
    Some(Turn { rows, bytes: size(log), cpu, took })
}

fn peer<'a>(name: &'static str, search: &'a Search, log: &'a Path) -> Contender<'a> {
    let mut flags = vec!["-c"];
    flags.extend(match (name, search.is_regex) {
        (_, false) => Some("-F"),
        ("grep", true) => Some("-P"),
        _ => None,
    });
    flags.extend((!search.has_case).then_some("-i"));
    Contender::new(name, move || program(name, &flags, search.pattern, log))
}

/// Asks a server for a search to its end, which lists at most one row.
fn tailcast(server: &Server, log: &Path, question: &str, query: &str) -> Option<Turn> {
    let (began, before) = (Instant::now(), server.cpu_of_threads());
    let text = body(server, &format!("/_/{question}{}?{query}&max=1", log.display()));
    let (took, cpu) = (began.elapsed().as_secs_f64(), server.cpu_of_threads() - before);
    let done: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    // An earlier build may not get through in the time that a search has.
    let rows = done["rows"].as_u64().filter(|_| done["complete"] == true);
    Some(Turn { rows, bytes: done["scanned"].as_u64().unwrap(), cpu, took })
}

impl Search {
    fn query(&self) -> String {
        let pattern: String = self.pattern.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (regex, case) = (u8::from(self.is_regex), u8::from(self.has_case));
        format!("q={pattern}&regex={regex}&case={case}")
    }
}

/// The present build, and the one that `BEFORE` names, which take turns.
struct Builds {
    present: Server,
    before: Option<Server>,
}

impl Builds {
    fn new(directory: &Path) -> Self {
        let before = std::env::var_os("BEFORE");
        Self {
            present: Server::tailcast(directory),
            before: before.map(|program| Server::build(&program, directory)),
        }
    }

    fn contenders<'a>(
        &'a self,
        log: &'a Path,
        question: &'a str,
        query: &'a str,
    ) -> Vec<Contender<'a>> {
        let asked = |server: &'a Server| move || tailcast(server, log, question, query);
        let before = self.before.iter().map(|server| Contender::new("before", asked(server)));
        [Contender::new("tailcast", asked(&self.present))].into_iter().chain(before).collect()
    }
}

fn find(stage: &Stage) {
    for is_coloured in [false, true] {
        let log = stage.path().join("searched.log");
        fill(&log, setting("GIB", 1) << 30, is_coloured);
        let gigabytes = size(&log) as f64 / 1e9;
        let kind = if is_coloured { "with a coloured word in each line" } else { "plain" };
        println!("\n## finding in {gigabytes:.2} GB, {kind}; GB per second of CPU\n");
        let builds = Builds::new(stage.path());
        for (nth, search) in SEARCHES.iter().enumerate() {
            let query = search.query();
            let mut contenders = builds.contenders(&log, "find", &query);
            contenders.push(Contender::new("engine alone", || engine(&log, search)));
            contenders.push(Contender::new("bare loop", || search_loop(&log, search)));
            contenders.extend(["rg", "grep"].map(|name| peer(name, search, &log)));
            if nth == 0 {
                print_heads("what", &contenders);
            }
            // The programs see the colours.
            let agree = !(is_coloured && search.is_regex);
            print_contest(search.name, &mut contenders, agree);
            let what = format!("finding {} in a log {kind}", search.name);
            note_contest(&what, &contenders, Some("engine alone"), Goal::RatioAtLeast(0.8));
            let what = format!("{what}, as a bare loop");
            note_contest(&what, &contenders, Some("bare loop"), Goal::RatioAtLeast(0.8));
            if nth == 0 && !is_coloured {
                note_each("a rare text in 1 GiB, by", &contenders);
            }
        }
        levels(&builds, &log, kind);
        println!("peak memory of the server: {:.1} MiB", builds.present.peak() / 1048576.0);
    }
    let log = stage.path().join("access.log");
    fill_access(&log, setting("GIB", 1) << 30);
    println!("\n## an access log of {:.2} GB, whose lines state no level", size(&log) as f64 / 1e9);
    levels(&Builds::new(stage.path()), &log, "of requests");
}

/// Writes a log of requests.
fn fill_access(path: &Path, bytes: u64) {
    write_lines(path, bytes, |number| {
        format!(
            "10.0.{}.{} - - [29/Nov/2026:18:{:02}:{:02} +0000] \"GET /api/v1/items/{}?page={} HTTP/1.1\" {} {} \"https://example.com/list\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\"\n",
            number % 256,
            number * 7 % 256,
            number / 6000 % 60,
            number / 100 % 60,
            number * 2_654_435_761 % 1_000_000,
            number % 17,
            [200, 200, 304, 404][(number * 7 % 4) as usize],
            number * 7919 % 90_000
        )
    });
}

/// Finds the rows of a level, beside a bare loop.
fn levels(builds: &Builds, log: &Path, kind: &str) {
    println!("\n### rows of a level; GB per second of CPU\n");
    for (nth, (level, query)) in LEVELS.iter().enumerate() {
        let mut contenders = builds.contenders(log, "find", query);
        contenders.push(Contender::new("bare loop", || bare_loop(log)));
        if nth == 0 {
            print_heads("level", &contenders);
        }
        print_contest(level, &mut contenders, false);
        let what = format!("rows of the level {level} in a log {kind}");
        note_contest(&what, &contenders, None, Goal::AtLeast(2.5));
    }
}

const LEVELS: [(&str, &str); 2] =
    [("error", "level=error"), ("warning or worse", "level=error,warning")];

fn milliseconds(look: impl FnOnce()) -> f64 {
    let began = Instant::now();
    look();
    began.elapsed().as_secs_f64() * 1e3
}

fn rows(stage: &Stage) {
    let log = stage.path().join("big.log");
    fill(&log, setting("ROWS_GIB", 4) << 30, true);
    let size = size(&log);
    println!("\n## random access to {:.1} GB\n", size as f64 / 1e9);
    let server = Server::tailcast(stage.path());
    let target = |question: &str, query: &str| format!("/_/{question}{}?{query}", log.display());
    let began = Instant::now();
    let mut first = answer(&server, &target("lines", "at=0"));
    let first_answer = began.elapsed().as_secs_f64() * 1e3;
    while first["total"].is_null() {
        std::thread::sleep(std::time::Duration::from_millis(5));
        first = answer(&server, &target("lines", "at=0"));
    }
    println!(
        "{} lines are counted {:.0} ms after the first request, which is answered after {first_answer:.1} ms\n",
        first["total"],
        began.elapsed().as_secs_f64() * 1e3
    );
    row(&[&"what", &"ms"]);
    println!("|---|---:|");
    let far = |n: u64| size / TIMES * n + n * 977;
    let times = |look: &dyn Fn(u64)| {
        range(&(0..TIMES).map(|n| milliseconds(|| look(n))).collect::<Vec<f64>>())
    };
    let rows_of = |page: &Value| page["rows"].as_array().unwrap().len();
    row(&[
        &"500 rows from an offset",
        &times(&|n| {
            let page = answer(&server, &target("rows", &format!("from={}", far(n))));
            assert_eq!(rows_of(&page), 500);
        }),
    ]);
    row(&[
        &"500 rows before an offset",
        &times(&|n| {
            let page =
                answer(&server, &target("rows", &format!("before={}", far(n + 1).min(size))));
            assert_eq!(rows_of(&page), 500);
        }),
    ]);
    let total = first["total"].as_u64().unwrap();
    row(&[
        &"500 rows from a line",
        &times(&|n| {
            let page = answer(&server, &target("rows", &format!("line={}", total / TIMES * n + 1)));
            assert_eq!(page["lines"][0], total / TIMES * n + 1);
        }),
    ]);
    row(&[
        &"the first rows",
        &times(&|_| assert_eq!(rows_of(&answer(&server, &target("rows", ""))), 500)),
    ]);
    row(&[
        &"500 matching rows, a quarter of all rows",
        &times(&|n| {
            let page =
                answer(&server, &target("rows", &format!("from={}&filter=1&q=ERROR", far(n))));
            assert_eq!(rows_of(&page), 500);
        }),
    ]);
    println!("\npeak memory of the server: {:.1} MiB", server.peak() / 1048576.0);
}

/// Conditions on fields, and the same for `jq`.
const CONDITIONS: [(&str, &str); 4] = [
    ("status>=500", "select(.status >= 500)"),
    ("user.id=77777", "select(.user.id == 77777)"),
    ("path:/api latency>880ms", ""),
    ("level=error msg:failed", "select(.level == \"error\" and (.msg | contains(\"failed\")))"),
];

/// Writes a log of JSON objects.
fn fill_json(path: &Path, bytes: u64) {
    write_lines(path, bytes, |number| {
        let mixed = number * 2_654_435_761;
        let is_failed = mixed % 50 == 0;
        format!(
            "{{\"time\":\"2026-11-28T14:02:07.{:03}Z\",\"level\":\"{}\",\"msg\":\"{}\",\"status\":{},\"path\":\"/{}/items/{number}\",\"latency\":\"{}ms\",\"user\":{{\"id\":{},\"name\":\"user {}\"}}}}\n",
            number % 1000,
            if is_failed { "error" } else { "info" },
            if is_failed { "request failed" } else { "request" },
            if is_failed { 503 } else { 200 },
            if mixed % 3 == 0 { "web" } else { "api" },
            mixed % 900,
            mixed % 100_000,
            mixed % 977,
        )
    });
}

/// Conditions on fields, beside a parser of JSON alone and, on fewer bytes, `jq`.
fn fields(stage: &Stage) {
    let log = stage.path().join("fields.log");
    fill_json(&log, setting("GIB", 1) << 30);
    let few = stage.path().join("few.log");
    fill_json(&few, 64 << 20);
    let builds = Builds::new(stage.path());
    let gigabytes = size(&log) as f64 / 1e9;
    println!("\n## conditions on the fields of {gigabytes:.2} GB of JSON; GB per second of CPU\n");
    let encoded =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    for (nth, (conditions, _)) in CONDITIONS.iter().enumerate() {
        let query = format!("where={}", encoded(conditions));
        let mut contenders = builds.contenders(&log, "find", &query);
        contenders.push(Contender::new("`serde_json` alone", || parser(&log)));
        if nth == 0 {
            print_heads("what", &contenders);
        }
        print_contest(&format!("`{conditions}`"), &mut contenders, false);
        let what = format!("`{conditions}`");
        note_contest(&what, &contenders, None, Goal::AtLeast(0.5));
    }
    println!("\n### `jq` on 64 MiB of them; GB per second of CPU\n");
    for (conditions, program) in CONDITIONS {
        if let Some(speed) = jq(program, &few) {
            row(&[&format!("`{conditions}`"), &format!("{speed:.3}")]);
        }
    }
    levels(&builds, &log, "of JSON");
    println!("\n### the values of `status`; GB per second of CPU\n");
    let mut contenders = builds.contenders(&log, "fields", "field=status");
    contenders.push(Contender::new("`serde_json` alone", || parser(&log)));
    print_heads("what", &contenders);
    print_contest("all of them", &mut contenders, false);
    note_contest("values of a field", &contenders, None, Goal::AtLeast(0.5));
    let logfmt = stage.path().join("logfmt.log");
    fill_logfmt(&logfmt, setting("GIB", 1) << 30);
    let mut contenders = builds.contenders(&logfmt, "fields", "field=status");
    print_contest("all of them, in logfmt", &mut contenders, false);
    note_contest("values of a field of logfmt", &contenders, None, Goal::AtLeast(0.5));
}

/// Writes a log of logfmt.
fn fill_logfmt(path: &Path, bytes: u64) {
    write_lines(path, bytes, |number| {
        let mixed = number * 2_654_435_761;
        let is_failed = mixed % 50 == 0;
        format!(
            "time=2026-11-28T14:02:07.{:03}Z level={} msg=\"{}\" path=/api/items/{number} status={} latency={}ms user.id={} user.name=\"user {}\"\n",
            number % 1000,
            if is_failed { "error" } else { "info" },
            if is_failed { "request failed" } else { "request done" },
            if is_failed { 503 } else { 200 },
            mixed % 900,
            mixed % 100_000,
            mixed % 977,
        )
    });
}

/// The speed of `jq`, in GB per second of CPU. `None` if it is not installed, or has no such program.
fn jq(program: &str, log: &Path) -> Option<f64> {
    let before = cpu_of_children();
    let jq = Command::new("jq").args(["-c", program]).arg(log).stdout(Stdio::null()).status();
    let is_done = jq.is_ok_and(|status| status.success()) && !program.is_empty();
    is_done.then(|| size(log) as f64 / 1e9 / (cpu_of_children() - before))
}

fn main() {
    heading("find");
    let stage = Stage::new();
    for (name, part) in [
        ("find", find as fn(&Stage)),
        ("rows", rows),
        ("fields", fields),
        ("others", others::others),
    ] {
        if is_wanted(name) {
            part(&stage);
        }
    }
}
