//! The arguments of `tailcast bench`.

use std::path::PathBuf;

use crate::bench::load::Protocol;
#[cfg(feature = "tls")]
use crate::cli::trust::TrustArguments;

/// Load a server with many viewers of a log, and measure it
///
/// Connects many viewers to one log (or to several), and reports the latency of each line, missing
/// and repeated lines, and the cost to the server. With `--write` it writes the lines itself, each
/// with its number and the time at which it was due. Without `--write` it measures the lines of
/// another `tailcast bench`, or just reads whatever arrives.
///
/// It can measure any server that sends the lines of a log over a WebSocket, not only tailcast.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tailcast serve /tmp/logs &
  tailcast bench http://127.0.0.1:8765/tmp/logs/a.log --write /tmp/logs/a.log
        100 viewers, 100 lines per second for 10 seconds
  tailcast bench URL --write FILE --viewers 1000 --rate 1000 --pid $!
        more of both, with the CPU and memory of the server that the shell started last
  tailcast bench URL --write FILE --slow 10@8K
        how 10 viewers that read 8 KiB per second affect the others
  tailcast bench URL --viewers 5000 --ramp 0 --lines 1000 --duration 0
        5,000 viewers at once, each with 1,000 lines of history: how long until all have them?

The latency of a line counts from the time at which it was due, not from the time of the write. So lines that a \
stall delays count as late. `last viewer` is the latency until a line has reached all viewers.

Exit codes: 0 every line arrived once, 1 lines were lost or repeated, or a viewer could not connect, \
2 wrong arguments")]
pub(in crate::cli) struct Arguments {
    /// The URL of a log on a server (http:// or https://); viewers use several URLs in turn
    #[arg(value_name = "URL", required = true)]
    pub(super) urls: Vec<String>,

    /// Number of viewers at full speed
    #[arg(short, long, value_name = "N", default_value_t = 100, env = "TAILCAST_BENCH_VIEWERS")]
    pub(super) viewers: u32,

    /// Viewers that connect per second; 0 connects all at once
    #[arg(long, value_name = "N", default_value_t = 1000.0, value_parser = not_negative)]
    pub(super) ramp: f64,

    /// Add N viewers that read at most BYTES per second (8K, 1M); can be given more than once
    #[arg(long, value_name = "N@BYTES", value_parser = slow)]
    pub(super) slow: Vec<(u32, u64)>,

    /// Write stamped lines to this file, which must be the log of the URL
    #[arg(short, long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,

    /// Lines to write per second
    #[arg(short, long, value_name = "N", default_value_t = 100.0, value_parser = positive, requires = "write")]
    pub(super) rate: f64,

    /// Bytes of each written line, with its newline
    #[arg(long, value_name = "N", default_value_t = 120, requires = "write")]
    pub(super) line_bytes: usize,

    /// Lines per write
    #[arg(long, value_name = "N", default_value_t = 1, requires = "write",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) burst: u32,

    /// Seconds to write, or to listen
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10.0, value_parser = not_negative)]
    pub(super) duration: f64,

    /// Lines of history for each viewer [default: none with tailcast.v1, otherwise what the server
    /// sends]
    #[arg(long, value_name = "N")]
    pub(super) lines: Option<u64>,

    /// Protocol: `v1` (tailcast.v1 with raw bytes), `original` (text messages, as the original
    /// server sends them) or `auto`
    #[arg(long, value_name = "PROTOCOL", default_value = "auto")]
    pub(super) protocol: Spoken,

    /// Offer compression (permessage-deflate)
    #[arg(long)]
    pub(super) compress: bool,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub(super) trust: TrustArguments,

    /// Report CPU and memory of this server process and its children; can be given more than once
    #[arg(short, long = "pid", value_name = "PID")]
    pub(super) pids: Vec<u32>,

    /// Number of threads that read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(super) threads: u64,

    /// Print a JSON object instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Spoken {
    /// tailcast.v1 if the server supports it
    Auto,
    V1,
    Original,
}

impl From<Spoken> for Protocol {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Auto => Self::Any,
            Spoken::V1 => Self::V1,
            Spoken::Original => Self::Original,
        }
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1e9).contains(number));
    number.ok_or_else(|| "expected a number of at least 0".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= 1e9);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

fn slow(text: &str) -> Result<(u32, u64), String> {
    let read = || {
        let (viewers, bytes) = text.split_once('@')?;
        let unit = bytes.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(bytes.len());
        let (bytes, unit) = bytes.split_at(unit);
        let unit: u64 = match unit {
            "" => 1,
            "k" | "K" => 1 << 10,
            "M" => 1 << 20,
            _ => return None,
        };
        let bytes = bytes.parse::<u64>().ok()?.checked_mul(unit)?;
        (bytes > 0).then_some((viewers.parse().ok()?, bytes))
    };
    read().ok_or_else(|| "expected viewers and bytes per second, such as 10@8K".to_owned())
}
