//! Random access to a big log: finding, rows in its middle, line numbers.
//!
//! `cargo bench --bench find`; words after `--` select from `find`, `rows` and
//! `fields`. `GIB=1` is the size
//! of the logs that are searched, `ROWS_GIB=4` that of the log whose rows are requested.

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

mod stage;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use serde_json::Value;
use stage::{Server, Stage, get, heading, median, range, row, setting};

/// Rounds of each search. The programs take turns.
const ROUNDS: usize = 3;
/// The number of requests for rows.
const TIMES: u64 = 40;
/// One line in this many contains the rare text.
const RARE: u64 = 1_000_003;

/// Writes a log of this size with lines that differ; optionally with a coloured word in each.
fn fill(path: &Path, bytes: u64, is_coloured: bool) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let (mut written, mut number) = (0, 0u64);
    while written < bytes {
        let level = ["INFO", "INFO", "WARN", "ERROR"][(number * 7 % 4) as usize];
        let level = if is_coloured {
            format!("\x1b[3{}m{level}\x1b[0m", number % 8)
        } else {
            level.to_owned()
        };
        let what = if number % RARE == 7 { "needle" } else { "request" };
        let line = format!(
            "2026-01-02T03:04:05.{:06}Z {level} worker-{}: {what} {number:012} took {} us, queue {}\n",
            number % 1_000_000,
            number % 16,
            number * 2_654_435_761 % 90_000,
            number % 977
        );
        file.write_all(line.as_bytes()).unwrap();
        written += line.len() as u64;
        number += 1;
    }
    file.flush().unwrap();
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
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

/// The search engine alone, on the bytes of the file: the best possible speed.
fn engine(log: &Path, search: &Search) -> u64 {
    let matcher: RegexMatcher = RegexMatcherBuilder::new()
        .line_terminator(Some(b'\n'))
        .multi_line(true)
        .fixed_strings(!search.is_regex)
        .case_insensitive(!search.has_case)
        .build(search.pattern)
        .unwrap();
    let mut searcher =
        SearcherBuilder::new().line_number(false).binary_detection(BinaryDetection::none()).build();
    let mut counted = Counted(0);
    searcher.search_reader(matcher, File::open(log).unwrap(), &mut counted).unwrap();
    counted.0
}

fn grep(log: &Path, search: &Search) -> u64 {
    let mut command = Command::new("grep");
    command.args(["-c", if search.is_regex { "-P" } else { "-F" }]);
    if !search.has_case {
        command.arg("-i");
    }
    let output =
        command.arg("--").arg(search.pattern).arg(log).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn tailcast(server: &Server, log: &Path, search: &Search) -> u64 {
    let pattern: String = search.pattern.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (regex, case) = (u8::from(search.is_regex), u8::from(search.has_case));
    let target = format!("/_/find{}?q={pattern}&regex={regex}&case={case}&max=1", log.display());
    let text = body(server, &target);
    let done: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(done["complete"], true, "{done}");
    done["rows"].as_u64().unwrap()
}

fn find(stage: &Stage) {
    for is_coloured in [false, true] {
        let log = stage.path().join("searched.log");
        fill(&log, setting("GIB", 1) << 30, is_coloured);
        let gigabytes = size(&log) as f64 / 1e9;
        let kind = if is_coloured { "with a coloured word in each line" } else { "plain" };
        println!("\n## finding in {gigabytes:.2} GB, {kind}; GB/s\n");
        row(&[
            &"what",
            &"rows",
            &"tailcast",
            &"engine alone",
            &"tailcast / engine",
            &"`grep -c`",
            &"tailcast / grep",
        ]);
        println!("|---|---:|---:|---:|---:|---:|---:|");
        let server = Server::tailcast(stage.path());
        for search in &SEARCHES {
            let mut speeds = [const { Vec::new() }; 3];
            let mut rows = 0;
            for round in 0..ROUNDS {
                for turn in 0..speeds.len() {
                    let at = (round + turn) % speeds.len();
                    let began = Instant::now();
                    let count = match at {
                        0 => tailcast(&server, &log, search),
                        1 => engine(&log, search),
                        _ => grep(&log, search),
                    };
                    speeds[at].push(gigabytes / began.elapsed().as_secs_f64());
                    if at == 0 {
                        rows = count;
                    } else if !(is_coloured && search.is_regex) {
                        assert!(rows == 0 || count == rows, "{}: {count}, not {rows}", search.name);
                    }
                }
            }
            let ratio = |of: usize| {
                median(speeds[0].iter().zip(&speeds[of]).map(|(one, other)| one / other).collect())
            };
            row(&[
                &search.name,
                &rows,
                &range(&speeds[0]),
                &range(&speeds[1]),
                &format!("{:.2}", ratio(1)),
                &range(&speeds[2]),
                &format!("{:.2}", ratio(2)),
            ]);
        }
        levels(&server, &log, gigabytes);
        println!("peak memory of the server: {:.1} MiB", server.peak() / 1048576.0);
    }
}

/// Finds the rows of a level, in turns with the text that most of them contain.
fn levels(server: &Server, log: &Path, gigabytes: f64) {
    println!("\n### rows of a level, beside `ERROR` as a text; GB/s\n");
    row(&[&"level", &"rows", &"the level", &"the text", &"level / text"]);
    println!("|---|---:|---:|---:|---:|");
    for (level, query) in [("error", "level=error"), ("warning or worse", "level=error,warning")] {
        let (mut speeds, mut rows) = ([const { Vec::new() }; 2], Value::Null);
        for round in 0..2 * ROUNDS {
            let query = [query, "q=ERROR&case=1"][round % 2];
            let target = format!("/_/find{}?{query}&max=1", log.display());
            let began = Instant::now();
            let text = body(server, &target);
            speeds[round % 2].push(gigabytes / began.elapsed().as_secs_f64());
            let done: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert_eq!(done["complete"], true, "{done}");
            if round % 2 == 0 {
                rows = done["rows"].clone();
            }
        }
        let pairs = speeds[0].iter().zip(&speeds[1]);
        let ratio = median(pairs.map(|(level, text)| level / text).collect());
        row(&[&level, &rows, &range(&speeds[0]), &range(&speeds[1]), &format!("{ratio:.2}")]);
    }
}

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
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let (mut written, mut number) = (0, 0u64);
    while written < bytes {
        let mixed = number * 2_654_435_761;
        let is_failed = mixed % 50 == 0;
        let line = format!(
            "{{\"time\":\"2026-11-28T14:02:07.{:03}Z\",\"level\":\"{}\",\"msg\":\"{}\",\"status\":{},\"path\":\"/{}/items/{number}\",\"latency\":\"{}ms\",\"user\":{{\"id\":{},\"name\":\"user {}\"}}}}\n",
            number % 1000,
            if is_failed { "error" } else { "info" },
            if is_failed { "request failed" } else { "request" },
            if is_failed { 503 } else { 200 },
            if mixed % 3 == 0 { "web" } else { "api" },
            mixed % 900,
            mixed % 100_000,
            mixed % 977,
        );
        file.write_all(line.as_bytes()).unwrap();
        written += line.len() as u64;
        number += 1;
    }
    file.flush().unwrap();
}

/// Conditions on fields, beside a search for newlines in the same way and, on fewer bytes, `jq`.
fn fields(stage: &Stage) {
    let log = stage.path().join("fields.log");
    fill_json(&log, setting("GIB", 1) << 30);
    let few = stage.path().join("few.log");
    fill_json(&few, 64 << 20);
    let server = Server::tailcast(stage.path());
    println!("\n## conditions on the fields of {:.2} GB of JSON; GB/s\n", size(&log) as f64 / 1e9);
    row(&[&"what", &"rows", &"tailcast", &"`jq` on 64 MiB"]);
    println!("|---|---:|---:|---:|");
    let encoded =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    for (conditions, program) in CONDITIONS {
        let target = format!("/_/find{}?where={}&max=1", log.display(), encoded(conditions));
        let (mut speeds, mut rows) = (Vec::new(), Value::Null);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let text = body(&server, &target);
            let done: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert_eq!(done["complete"], true, "{done}");
            speeds.push(size(&log) as f64 / 1e9 / began.elapsed().as_secs_f64());
            rows = done["rows"].clone();
        }
        let began = Instant::now();
        let jq = Command::new("jq").args(["-c", program]).arg(&few).stdout(Stdio::null()).status();
        let beside = match jq {
            Ok(status) if status.success() && !program.is_empty() => {
                format!("{:.3}", size(&few) as f64 / 1e9 / began.elapsed().as_secs_f64())
            }
            _ => String::new(),
        };
        row(&[&format!("`{conditions}`"), &rows, &range(&speeds), &beside]);
    }
    let target = format!("/_/fields{}?field=status", log.display());
    let began = Instant::now();
    let text = body(&server, &target);
    let done: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(done["complete"], true, "{done}");
    let speed = size(&log) as f64 / 1e9 / began.elapsed().as_secs_f64();
    row(&[&"the values of `status`", &done["with_field"], &format!("{speed:.2}"), &""]);
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    heading("find");
    let stage = Stage::new();
    for (name, part) in [("find", find as fn(&Stage)), ("rows", rows), ("fields", fields)] {
        if arguments.is_empty() || arguments.iter().any(|word| word == name) {
            part(&stage);
        }
    }
}
