//! What `tailcast bench` is asked to do.

use std::path::PathBuf;

use crate::bench::load::Protocol;

/// Load a server with viewers of a log, and measure it
///
/// Opens many viewers of one log (or of several), and tells how late each line is, whether one is missing or comes
/// twice, and what that costs the server. With `--write` it writes the lines itself, each with its number and the time
/// at which it was due; without, it listens to those of another `tailcast bench`, or to whatever comes.
///
/// It measures any server that sends a log's lines over a WebSocket, not only tailcast.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tailcast serve /tmp/logs &
  tailcast bench http://127.0.0.1:8765/tmp/logs/a.log --write /tmp/logs/a.log
        100 viewers, 100 lines a second for 10 seconds
  tailcast bench URL --write FILE --viewers 1000 --rate 1000 --pid $!
        more of both, and what it costs the server that the shell started last
  tailcast bench URL --write FILE --slow 10@8K
        what 10 viewers that read 8 KiB a second do to the others
  tailcast bench URL --viewers 5000 --ramp 0 --lines 1000 --duration 0
        5,000 viewers at once, each with 1,000 lines of history: when are all up to date?

The latency of a line counts from the time at which it was due, not from that at which the writer came to it: \
what a stall holds up counts as late, too. `last viewer` is when a line had reached everybody.

Exit codes: 0 everything came once, 1 something was lost, came twice or could not connect, 2 wrong arguments")]
pub(in crate::cli) struct Arguments {
    /// A log's URL on a server (http:// or ws://); of several, viewers take one each in turn
    #[arg(value_name = "URL", required = true)]
    pub(super) urls: Vec<String>,

    /// Viewers at full speed
    #[arg(short, long, value_name = "N", default_value_t = 100, env = "TAILCAST_BENCH_VIEWERS")]
    pub(super) viewers: u32,

    /// Viewers that connect in a second; 0 for all at once
    #[arg(long, value_name = "N", default_value_t = 1000.0, value_parser = not_negative)]
    pub(super) ramp: f64,

    /// More viewers, that read only so many bytes in a second (8K, 1M); repeatable
    #[arg(long, value_name = "N@BYTES", value_parser = slow)]
    pub(super) slow: Vec<(u32, u64)>,

    /// Write stamped lines to this file, which has to be the log that the URL names
    #[arg(short, long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,

    /// Lines written in a second
    #[arg(short, long, value_name = "N", default_value_t = 100.0, value_parser = positive, requires = "write")]
    pub(super) rate: f64,

    /// Bytes of a written line, with its newline
    #[arg(long, value_name = "N", default_value_t = 120, requires = "write")]
    pub(super) line_bytes: usize,

    /// Lines written at once, in one call
    #[arg(long, value_name = "N", default_value_t = 1, requires = "write",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) burst: u32,

    /// Seconds for which is written, or listened
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10.0, value_parser = not_negative)]
    pub(super) duration: f64,

    /// Lines of history that each viewer asks for [default: none in tailcast.v1, else what the server gives]
    #[arg(long, value_name = "N")]
    pub(super) lines: Option<u64>,

    /// What is spoken: tailcast.v1 with the bytes as they are, or messages of text as the original server sent them
    #[arg(long, value_name = "PROTOCOL", default_value = "auto")]
    pub(super) protocol: Spoken,

    /// Offer to take messages compressed (permessage-deflate)
    #[arg(long)]
    pub(super) compress: bool,

    /// Process of the server on this machine, of which CPU and memory are told, with its children; repeatable
    #[arg(short, long = "pid", value_name = "PID")]
    pub(super) pids: Vec<u32>,

    /// Threads that read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(super) threads: u64,

    /// Print one JSON object rather than a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Spoken {
    /// tailcast.v1 where the server speaks it
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
    number.ok_or_else(|| "expected a number, 0 or more".to_owned())
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
    read().ok_or_else(|| "expected viewers and bytes a second, as in 10@8K".to_owned())
}
