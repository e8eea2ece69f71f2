//! The report of a measurement: a table for people, JSON for programs, and the verdict.

use std::fmt::Write;

use hdrhistogram::Histogram;
use humansize::{BINARY, format_size_i};
use serde_json::{Value, json};

use crate::bench::load::Statistics;
use crate::bench::process::Usage;
use crate::bench::writer::Written;

/// The percentiles of a report.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
/// If the client uses more of its cores than this share, it may be the bottleneck.
const CLIENT_CPU_MAX: f64 = 0.8;
/// For a shorter time no rates are given.
const SECONDS_MIN: f64 = 0.01;

/// The numbers of viewers.
#[derive(Debug)]
pub(crate) struct Viewers {
    pub(crate) asked: u64,
    pub(crate) slow: u64,
    pub(crate) connected: u64,
    pub(crate) live: u64,
    pub(crate) failed: u64,
    pub(crate) closed: u64,
    /// Viewers of a log that the server polls, because it gets no events for it.
    pub(crate) polled: u64,
    /// Seconds from the start until the last viewer was up to date.
    pub(crate) live_after: f64,
}

/// What arrived during the measurement.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// Stamped lines, summed over the viewers.
    pub(crate) lines: u64,
    pub(crate) messages: u64,
    /// Of these, the compressed ones.
    pub(crate) compressed: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// The server before the viewers connected, at the begin of the measurement and at its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub(crate) before: Usage,
    pub(crate) begun: Usage,
    pub(crate) ended: Usage,
}

/// The result of a measurement.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) urls: Vec<String>,
    pub(crate) viewers: Viewers,
    pub(crate) written: Option<Written>,
    pub(crate) delivered: Delivered,
    pub(crate) statistics: Statistics,
    /// The latency of each line for the last viewer, in nanoseconds.
    pub(crate) last: Histogram<u64>,
    pub(crate) server: Option<Server>,
    /// Why the server's processes could not be read at the end.
    pub(crate) gone: Option<String>,
    /// Seconds of CPU that the client used during the measurement, and its threads.
    pub(crate) client: (f64, u64),
    pub(crate) interrupted: bool,
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    let mut value = json!({"max": milliseconds(histogram.max()), "count": histogram.len()});
    for (name, quantile) in PERCENTILES {
        value[name] = milliseconds(histogram.value_at_quantile(quantile)).into();
    }
    value
}

/// A quotient; 0 without parts.
fn average(whole: f64, parts: u64) -> f64 {
    if parts == 0 { 0.0 } else { whole / parts as f64 }
}

/// A rate; 0 if the time is too short.
fn per_second(amount: f64, seconds: f64) -> f64 {
    if seconds < SECONDS_MIN { 0.0 } else { amount / seconds }
}

impl Server {
    fn cpu(&self) -> f64 {
        self.ended.cpu_since(&self.begun)
    }

    /// The growth of resident memory per viewer, in bytes.
    fn rss_per_viewer(&self, viewers: u64) -> f64 {
        average(self.begun.rss as f64 - self.before.rss as f64, viewers)
    }
}

impl Report {
    /// The faults in words, without those of slow viewers; empty if every line arrived once.
    pub(crate) fn verdict(&self) -> Vec<String> {
        let Statistics { lost, twice, lost_bytes, twice_bytes, .. } = self.statistics;
        let mut wrong = Vec::new();
        let mut count = |count: u64, one: &str, many: &str| match count {
            0 => {}
            1 => wrong.push(format!("1 {one}")),
            count => wrong.push(format!("{} {many}", thousands(count))),
        };
        count(lost, "line was lost", "lines were lost");
        count(twice, "line came twice", "lines came twice");
        count(lost_bytes, "byte was left out", "bytes were left out");
        count(twice_bytes, "byte came twice", "bytes came twice");
        count(self.viewers.failed, "viewer could not connect", "viewers could not connect");
        count(self.viewers.closed, "viewer was closed early", "viewers were closed early");
        let silent = (self.viewers.connected + self.viewers.failed..self.viewers.asked).count();
        count(silent as u64, "viewer got no answer", "viewers got no answer");
        wrong.extend(self.gone.clone());
        if let Some((reason, _)) = self.statistics.reasons.iter().max_by_key(|(_, count)| **count) {
            wrong.push(reason.clone());
        }
        wrong
    }

    fn lines_per_second(&self) -> f64 {
        per_second(self.delivered.lines as f64, self.delivered.seconds)
    }

    fn bytes_per_second(&self) -> f64 {
        per_second(self.delivered.bytes as f64, self.delivered.seconds)
    }

    pub(crate) fn to_json(&self) -> Value {
        let Self { viewers, delivered, statistics, .. } = self;
        let mut value = json!({
            "urls": self.urls,
            "viewers": {
                "asked": viewers.asked, "slow": viewers.slow, "connected": viewers.connected,
                "live": viewers.live, "failed": viewers.failed, "closed": viewers.closed,
                "polled": viewers.polled,
                "seconds_until_live": viewers.live_after, "join_ms": percentiles(&statistics.joins),
                "reasons": statistics.reasons,
            },
            "delivered": {
                "lines": delivered.lines, "messages": delivered.messages,
                "compressed": delivered.compressed,
                "bytes": delivered.bytes, "seconds": delivered.seconds,
                "lines_per_second": self.lines_per_second(),
                "bytes_per_second": self.bytes_per_second(),
            },
            "lost": statistics.lost, "twice": statistics.twice, "gaps": statistics.gaps,
            "lost_bytes": statistics.lost_bytes, "twice_bytes": statistics.twice_bytes,
            "faults": statistics.faults, "wrong": self.verdict(), "interrupted": self.interrupted,
            "latency_ms": percentiles(&statistics.each), "last_viewer_ms": percentiles(&self.last),
            "client": {"cpu_seconds": self.client.0, "threads": self.client.1},
        });
        value["slow"] = statistics
            .slow
            .iter()
            .map(|slow| {
                json!({"bytes_per_second": slow.pace, "bytes": slow.bytes, "lines": slow.lines,
                       "stood": slow.stood})
            })
            .collect();
        if let Some(written) = &self.written {
            value["written"] = json!({
                "lines": written.lines, "bytes": written.bytes, "seconds": written.seconds,
                "late_ms": percentiles(&written.late),
            });
        }
        if let Some(server) = &self.server {
            value["server"] = json!({
                "cpu_seconds": server.cpu(),
                "cpu_us_per_line": average(server.cpu() * 1e6, delivered.lines),
                "cpu_us_per_message": average(server.cpu() * 1e6, delivered.messages),
                "cpu_of_a_core": per_second(server.cpu(), delivered.seconds),
                "rss_before": server.before.rss, "rss_with_viewers": server.begun.rss,
                "rss_after": server.ended.rss,
                "rss_per_viewer": server.rss_per_viewer(viewers.connected),
            });
        }
        value
    }

    pub(crate) fn to_table(&self) -> String {
        let mut table = String::new();
        for (name, words) in self.rows() {
            // Writing to memory does not fail.
            let _written = writeln!(table, "{name:<11} {words}");
        }
        table
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { viewers, delivered, statistics, .. } = self;
        let mut rows = vec![("log", self.urls.join(" "))];
        rows.push((
            "viewers",
            format!(
                "{} of {} connected, {} up to date, the last after {:.2} s",
                thousands(viewers.connected),
                thousands(viewers.asked),
                thousands(viewers.live),
                viewers.live_after
            ),
        ));
        for (reason, count) in &statistics.reasons {
            rows.push(("", format!("{}: {reason}", thousands(*count))));
        }
        if viewers.polled > 0 {
            let what = "the server gets no events for this log, and polls it";
            rows.push(("", format!("{}: {what}", thousands(viewers.polled))));
        }
        if let Some(written) = &self.written {
            rows.push((
                "written",
                format!(
                    "{} lines, {} in {:.1} s; late by {:.3} ms (p50), {:.3} ms (max)",
                    thousands(written.lines.into()),
                    bytes(written.bytes as f64),
                    written.seconds,
                    milliseconds(written.late.value_at_quantile(0.5)),
                    milliseconds(written.late.max()),
                ),
            ));
        }
        let compressed = match delivered.compressed {
            0 => String::new(),
            compressed => format!(" ({} compressed)", thousands(compressed)),
        };
        rows.push((
            "delivered",
            format!(
                "{} lines in {} messages{compressed}, {}; {} lines/s, {}/s",
                thousands(delivered.lines),
                thousands(delivered.messages),
                bytes(delivered.bytes as f64),
                thousands(self.lines_per_second() as u64),
                bytes(self.bytes_per_second()),
            ),
        ));
        let gaps = match statistics.gaps {
            0 => String::new(),
            1 => ", in 1 gap".to_owned(),
            gaps => format!(", in {} gaps", thousands(gaps)),
        };
        rows.push((
            "lost",
            format!(
                "{} lines, {} bytes{gaps}",
                thousands(statistics.lost),
                thousands(statistics.lost_bytes)
            ),
        ));
        rows.push((
            "twice",
            format!(
                "{} lines, {} bytes",
                thousands(statistics.twice),
                thousands(statistics.twice_bytes)
            ),
        ));
        for (number, fault) in statistics.faults.iter().enumerate() {
            rows.push((if number == 0 { "faults" } else { "" }, fault.clone()));
        }
        self.latencies(&mut rows);
        for (number, slow) in statistics.slow.iter().enumerate() {
            let end = if slow.stood { "" } else { "; its connection was lost" };
            let came = format!(
                "{} at {}/s, up to line {}{end}",
                bytes(slow.bytes as f64),
                bytes(slow.pace as f64),
                thousands(slow.lines)
            );
            rows.push((if number == 0 { "slow" } else { "" }, came));
        }
        self.costs(&mut rows);
        rows
    }

    fn latencies(&self, rows: &mut Vec<(&'static str, String)>) {
        if self.statistics.each.is_empty() {
            rows.push(("latency", "no stamped line arrived".to_owned()));
            return;
        }
        let mut head = String::new();
        for (name, _) in PERCENTILES {
            let _written = write!(head, "{name:>10}");
        }
        rows.push(("latency ms", format!("{head}       max")));
        for (name, histogram) in [("each", &self.statistics.each), ("last viewer", &self.last)] {
            let mut words = String::new();
            for (_, quantile) in PERCENTILES {
                let late = milliseconds(histogram.value_at_quantile(quantile));
                let _written = write!(words, "{late:>10.3}");
            }
            if !histogram.is_empty() {
                rows.push((name, format!("{words}{:>10.3}", milliseconds(histogram.max()))));
            }
        }
    }

    fn costs(&self, rows: &mut Vec<(&'static str, String)>) {
        let Self { viewers, delivered, .. } = self;
        let seconds = delivered.seconds;
        if let Some(server) = &self.server {
            let cpu = server.cpu();
            let mut words = format!("{:.1} % of a core", 100.0 * per_second(cpu, seconds));
            for (what, count) in [("line", delivered.lines), ("message", delivered.messages)] {
                if count > 0 {
                    let _written = write!(words, ", {:.2} µs a {what}", average(cpu * 1e6, count));
                }
            }
            rows.push(("server CPU", words));
            rows.push((
                "server RSS",
                format!(
                    "{} before, {} with the viewers ({} each), {} at the end",
                    bytes(server.before.rss as f64),
                    bytes(server.begun.rss as f64),
                    bytes(server.rss_per_viewer(viewers.connected)),
                    bytes(server.ended.rss as f64)
                ),
            ));
        }
        let (cpu, threads) = self.client;
        let share = per_second(cpu, seconds);
        let busy = if share > CLIENT_CPU_MAX * threads as f64 {
            ": the client may be the bottleneck; give it more `--threads`, or fewer viewers"
        } else {
            ""
        };
        rows.push(("client CPU", format!("{:.1} % of a core{busy}", 100.0 * share)));
    }
}

/// A number with a separator after each three digits.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes with a binary unit; it may be negative.
fn bytes(amount: f64) -> String {
    let decimals = usize::from(amount.abs() >= 1024.0);
    format_size_i(amount as i64, BINARY.decimal_places(decimals).decimal_zeroes(decimals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_units() {
        for (number, words) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(thousands(number), words);
        }
        for (amount, words) in [(0.0, "0 B"), (1536.0, "1.5 KiB"), (-2048.0, "-2.0 KiB")] {
            assert_eq!(bytes(amount), words);
        }
    }
}
