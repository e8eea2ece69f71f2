//! The speed from bytes to rows and from rows to HTML, on one core.
//!
//! The lines of container runtimes are opened on the way; how fast that is alone is the column
//! `open`.
//!
//! Each log is fed in the pieces that a session feeds, and every changed row is written as HTML to
//! one buffer. Two floors stand beside it for the same bytes: a `vte` parser whose events are
//! dropped, and a search for the newlines. The table shows the best of several passes, since
//! disturbances only make a pass slower.
//!
//! `cargo bench --bench render` runs all of them; words after `--` select logs by name, and
//! `--passes N` sets the number of passes.

#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

#[allow(dead_code, unreachable_pub, reason = "shared with the other benches")]
#[path = "stage/figures.rs"]
mod figures;

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use figures::{Figure, Goal};
use tailcast::encoding::envelope::Unwrapper;
use tailcast::encoding::{Detection, Encoding};
use tailcast::render::{Appender, Patch, Terminal};

const LOG_BYTES: usize = 32 * 1024 * 1024;
const PIECE_BYTES: usize = 8 * 1024;
const PASSES: u32 = 7;

type Make = fn() -> Vec<u8>;

struct Nothing;

impl vte::Perform for Nothing {
    fn print(&mut self, ch: char) {
        black_box(ch);
    }
}

/// Repeats what `line` writes until the log is long enough.
fn log(mut line: impl FnMut(&mut String, usize)) -> Vec<u8> {
    let mut log = String::with_capacity(LOG_BYTES + 4096);
    let mut i = 0;
    while log.len() < LOG_BYTES {
        line(&mut log, i);
        i += 1;
    }
    log.into_bytes()
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

/// The log of a service, 110 bytes per line.
fn plain() -> Vec<u8> {
    log(|out, i| {
        let (s, ms, took) = (i / 1000 % 60, i % 1000, i * 7919 % 997);
        put(
            out,
            format_args!(
                "2026-03-14T15:09:{s:02}.{ms:03}Z INFO  http::server request id={i:08} method=GET path=/api/v1/items status=200 took={took:03}ms\n"
            ),
        );
    })
}

/// The same with a coloured level: one word in each line.
fn coloured() -> Vec<u8> {
    const LEVELS: [(u8, &str); 4] = [(32, "INFO "), (33, "WARN "), (31, "ERROR"), (34, "DEBUG")];
    log(|out, i| {
        let (s, ms, took) = (i / 1000 % 60, i % 1000, i * 7919 % 997);
        let (colour, level) = LEVELS[i * 31 % 4];
        put(
            out,
            format_args!(
                "2026-03-14T15:09:{s:02}.{ms:03}Z \x1b[{colour}m{level}\x1b[0m http::server request id={i:08} method=GET path=/api/v1/items took={took:03}ms\n"
            ),
        );
    })
}

/// Structured logging in full colour: 18 escape sequences in each line of about 210 bytes.
fn colourful() -> Vec<u8> {
    log(|out, i| {
        let (s, took) = (i / 1000 % 60, i * 7919 % 997);
        put(
            out,
            format_args!(
                "\x1b[2m15:09:{s:02}\x1b[0m \x1b[32m INFO\x1b[0m \x1b[1mhttp\x1b[0m\x1b[2m:\x1b[0m \x1b[3mid\x1b[0m\x1b[2m=\x1b[0m{i:08} \x1b[3mpath\x1b[0m\x1b[2m=\x1b[0m/api/v1/items \x1b[38;5;208mtook\x1b[0m={took:03}ms and that is all there is to say\n"
            ),
        );
    })
}

/// A container build that redraws its last rows.
fn docker() -> Vec<u8> {
    log(|out, i| {
        let done = i % 64;
        put(out, format_args!("\x1b[1A\x1b[1A\x1b[1A\x1b[1A\x1b[1A\x1b[0G\x1b[?25l"));
        put(out, format_args!("[+] Building {}.{}s (5/12)\n", i / 10, i % 10));
        put(
            out,
            format_args!(
                "\x1b[34m => [internal] load build definition from Dockerfile                 0.0s\x1b[0m\n"
            ),
        );
        put(
            out,
            format_args!(
                "\x1b[34m => => transferring dockerfile: 1.2kB                                0.0s\x1b[0m\n"
            ),
        );
        put(
            out,
            format_args!(
                " => [builder 2/6] RUN apt-get install -y build-essential             {}.{}s\n",
                i / 10,
                i % 10
            ),
        );
        put(
            out,
            format_args!(
                " => => # Get:{done} http://db.example.org/debian stable/main libfoo-{done}  \x1b[K\n\x1b[?25h"
            ),
        );
        if done == 63 {
            put(out, format_args!("\n\n\n\n\n"));
        }
    })
}

/// A progress bar that is drawn a hundred times on one line.
fn progress() -> Vec<u8> {
    log(|out, i| {
        let done = i % 101;
        put(
            out,
            format_args!(
                "\r{done:3}% [{:#<50.*}{:50.*}] {i} kB/s",
                done / 2,
                "",
                50 - done / 2,
                ""
            ),
        );
        if done == 100 {
            out.push('\n');
        }
    })
}

/// The service's log in the lines of CRI.
fn cri() -> Vec<u8> {
    enveloped(&plain(), |line, out| {
        out.extend_from_slice(b"2026-03-14T15:09:26.123456789Z stdout F ");
        out.extend_from_slice(line);
        out.push(b'\n');
    })
}

/// The service's log in the lines of Docker's driver json-file.
fn json_file() -> Vec<u8> {
    enveloped(&plain(), json_line)
}

/// A service that writes JSON, in the same lines: ten escapes in each.
fn json_in_json() -> Vec<u8> {
    let log = log(|out, i| {
        let (ms, took) = (1_773_500_966_000 + i, i * 7919 % 997);
        put(
            out,
            format_args!(
                "{{\"level\":30,\"time\":{ms},\"pid\":1,\"req\":{i},\"took\":{took:03},\"msg\":\"request completed with status 200 after a while\"}}\n"
            ),
        );
    });
    enveloped(&log, json_line)
}

fn json_line(line: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"log\":\"");
    for &byte in line {
        if byte == b'"' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.extend_from_slice(
        b"\\n\",\"stream\":\"stdout\",\"time\":\"2026-03-14T15:09:26.123456789Z\"}\n",
    );
}

fn enveloped(log: &[u8], line: impl Fn(&[u8], &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(LOG_BYTES + 4096);
    for text in log.split(|&byte| byte == b'\n') {
        line(text, &mut out);
        if out.len() >= LOG_BYTES {
            break;
        }
    }
    out
}

/// The same in colours.
fn coloured_bar() -> Vec<u8> {
    log(|out, i| {
        let done = i % 101;
        put(
            out,
            format_args!(
                "\r\x1b[32m{done:3}%\x1b[0m [\x1b[36m{:#<50.*}\x1b[90m{:-<50.*}\x1b[0m] {i:8} kB/s",
                done / 2,
                "",
                50 - done / 2,
                ""
            ),
        );
        if done == 100 {
            out.push('\n');
        }
    })
}

/// A bar of characters that are not ASCII, in colours.
fn pip() -> Vec<u8> {
    log(|out, i| {
        let done = i % 41;
        put(
            out,
            format_args!(
                "\r   \x1b[38;2;249;38;114m{:━<40.*}\x1b[0m\x1b[38;5;237m╺{:━<40.*}\x1b[0m \x1b[32m{done}.{}/40.1 MB\x1b[0m \x1b[31m{}.{} MB/s\x1b[0m eta \x1b[36m0:00:{:02}\x1b[0m",
                done,
                "",
                40 - done,
                "",
                i % 10,
                i * 7919 % 13,
                i % 7,
                40 - done
            ),
        );
        if done == 40 {
            out.push('\n');
        }
    })
}

/// A counter whose texts have different lengths.
fn counter() -> Vec<u8> {
    log(|out, i| {
        let bytes = i * 7919 % 99_991;
        put(
            out,
            format_args!(
                "\rReceiving objects: {}% ({i}/10000), {bytes} KiB | {}.{} MiB/s",
                i % 101,
                bytes % 1009 / 10,
                i % 10
            ),
        );
        if i % 101 == 100 {
            out.push('\n');
        }
    })
}

/// The same in colours.
fn coloured_counter() -> Vec<u8> {
    log(|out, i| {
        let bytes = i * 7919 % 99_991;
        put(
            out,
            format_args!(
                "\rReceiving objects: \x1b[1m{}%\x1b[0m ({i}/10000), \x1b[32m{bytes} KiB\x1b[0m | {}.{} MiB/s",
                i % 101,
                bytes % 1009 / 10,
                i % 10
            ),
        );
        if i % 101 == 100 {
            out.push('\n');
        }
    })
}

/// A spinner that turns in one row for ever.
fn spinner() -> Vec<u8> {
    const TURNS: [char; 4] = ['|', '/', '-', '\\'];
    log(|out, i| put(out, format_args!("\r{} waiting", TURNS[i % 4])))
}

/// Lines in a script of three bytes per character.
fn chinese() -> Vec<u8> {
    log(|out, i| {
        put(
            out,
            format_args!("2026-03-14 第{i:08}行：正在编译模块，请稍候，已经完成了一部分的工作\n"),
        )
    })
}

/// The log of a service, as programs on Windows write it.
fn utf16() -> Vec<u8> {
    let text = String::from_utf8(plain()).unwrap_or_default();
    text.encode_utf16().take(LOG_BYTES / 2).flat_map(u16::to_le_bytes).collect()
}

fn gbk() -> Vec<u8> {
    encoding_rs::GBK.encode(&String::from_utf8_lossy(&chinese())).0.into_owned()
}

/// The CPU time of this thread, which other programs affect less than the wall time.
fn on_processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn best(passes: u32, bytes: usize, mut pass: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..passes {
        let before = on_processor();
        pass();
        best = best.min(on_processor() - before);
    }
    bytes as f64 / best.as_secs_f64() / 1e6
}

fn main() {
    let mut wanted = Vec::new();
    let mut passes = PASSES;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--passes" => passes = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(passes),
            option if option.starts_with("--") => {}
            _ => wanted.push(argument),
        }
    }
    let logs: [(&str, Make, &str); 16] = [
        ("plain", plain, "utf-8"),
        ("coloured", coloured, "utf-8"),
        ("colourful", colourful, "utf-8"),
        ("docker", docker, "utf-8"),
        ("progress", progress, "utf-8"),
        ("bar", coloured_bar, "utf-8"),
        ("pip", pip, "utf-8"),
        ("counter", counter, "utf-8"),
        ("colcounter", coloured_counter, "utf-8"),
        ("spinner", spinner, "utf-8"),
        ("chinese", chinese, "utf-8"),
        ("utf-16", utf16, "utf-16le"),
        ("gbk", gbk, "gbk"),
        ("cri", cri, ""),
        ("json-file", json_file, ""),
        ("json-json", json_in_json, ""),
    ];
    println!("MB/s, best of {passes} passes over {} MiB", LOG_BYTES >> 20);
    println!(
        "{:10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "log", "html", "feed", "text", "append", "open", "vte", "memchr"
    );
    for (name, make, label) in logs {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let log = make();
        let detection =
            Encoding::for_label(label).map_or_else(Detection::default, Detection::of_encoding);
        let mut out = String::new();
        let mut each = |write: fn(&Patch<'_>, &mut String)| {
            best(passes, log.len(), || {
                let mut terminal = Terminal::with_encoding(0, detection);
                for piece in log.chunks(PIECE_BYTES) {
                    let patch = terminal.feed(piece);
                    out.clear();
                    write(&patch, &mut out);
                    black_box(&out);
                }
            })
        };
        let html = each(|patch, out| patch.rows().for_each(|row| row.write_html(out)));
        let feed = each(|_, _| {});
        let text = each(|patch, out| patch.rows().for_each(|row| out.push_str(row.text())));
        let append = best(passes, log.len(), || {
            let mut terminal = Terminal::with_encoding(0, detection);
            let mut appender = Appender::new();
            for piece in log.chunks(PIECE_BYTES) {
                black_box(appender.html(&terminal.feed(piece)));
            }
        });
        let open = best(passes, log.len(), || {
            let mut unwrapper = Unwrapper::new(0);
            for piece in log.chunks(PIECE_BYTES) {
                unwrapper.take(piece, &mut |piece| {
                    black_box(piece);
                });
            }
        });
        let vte = best(passes, log.len(), || {
            let mut parser = vte::Parser::new();
            log.chunks(PIECE_BYTES).for_each(|piece| parser.advance(&mut Nothing, piece));
        });
        let memchr = best(passes, log.len(), || {
            memchr::memchr_iter(b'\n', &log).for_each(|at| {
                black_box(at);
            });
        });
        let goal = match name {
            "plain" => 1200.0,
            "coloured" => 250.0,
            _ => 100.0,
        };
        Figure::new(format!("rendering as HTML, {name}"), html, "MB/CPU s")
            .goal(Goal::AtLeast(goal))
            .note();
        println!(
            "{name:10} {html:8.0} {feed:8.0} {text:8.0} {append:8.0} {open:8.0} {vte:8.0} {memchr:8.0}"
        );
    }
}
