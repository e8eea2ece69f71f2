//! Lines that continue the message of the line before them, such as the frames of a stack trace.
//!
//! Each line is judged by itself. The caller knows whether the message before it is an error.

use std::sync::LazyLock;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::render::Level;
use crate::search::levels::level_of;

/// The beginnings of lines that belong to the error before them.
const CONTINUATIONS: [&str; 9] = [
    // Java, JavaScript and .NET.
    r"\s+at \S",
    r"\s*(?:Caused by|Suppressed): |\s+\.\.\. \d+ (?:more|common frames)|\s+--- End of |\s*---> ",
    // Python: frames, and the code and marks below them.
    r#"\s+File "[^"]*", line \d+| {4,}\S|\t+\S|\s+[~^]+\s*$"#,
    r"The above exception was the direct cause|During handling of the above exception",
    // Go.
    r"goroutine \d+ \[|created by \S|[\w.\-/]+(?:\(\S*\))?\.?[\w.\-/]*\([^()\s]*(?:, [^()\s]*)*\)$",
    // Rust.
    r"stack backtrace:$|\s+\d+: +\S|note: (?:run with|Some details are omitted)",
    // Ruby, PHP, gdb.
    r"\s+from \S+:\d+|#\d+ +\S",
    // The code that a compiler shows.
    r"\s*\d*\s+\||\s+(?:-->|:::|= (?:note|help|warning): )",
    // Elixir and Erlang.
    r"\s+\([^()]+\) \S+:\d+: ",
];
/// The beginnings of an error that caused the error before it.
const CAUSES: [&[u8]; 3] = [b"Caused by: ", b"Suppressed: ", b"---> "];
/// Status lines of cargo, which are indented, too.
const OTHERS: &str = r"\s+[A-Z][a-z]+ing |\s+(?:Finished|Downloaded|Updated|Fresh|Dirty|Locked) ";

/// Whether a line continues the message of the line before it, as the frames of a stack trace do,
/// and has no level of its own. It is false for a blank line, which ends a message only if the line
/// after it does not continue the message either.
#[must_use]
pub fn continues_previous(line: &[u8]) -> bool {
    static CONTINUES: LazyLock<Regex> = LazyLock::new(|| starts_with_any(&CONTINUATIONS));
    static OTHER: LazyLock<Regex> = LazyLock::new(|| starts_with_any(&[OTHERS]));
    let text = line.trim_ascii_start();
    let is_cause = CAUSES.iter().any(|cause| text.starts_with(cause));
    CONTINUES.is_match(line)
        && !OTHER.is_match(line)
        && (is_cause || !matches!(level_of(line), Some(Level::Error | Level::Warning)))
}

fn starts_with_any(patterns: &[&str]) -> Regex {
    let pattern = format!("^(?:{})", patterns.join("|"));
    let config = syntax::Config::new().unicode(false).utf8(false);
    Regex::builder().syntax(config).build(&pattern).expect("the forms are patterns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_stack_trace_continue_its_error() {
        for line in [
            "\tat com.example.A.f(A.java:3)",
            "Caused by: java.lang.IllegalStateException: it broke",
            "\t... 12 more",
            "\tSuppressed: java.io.IOException: closed",
            "  File \"a.py\", line 3, in <module>",
            "    raise ValueError(\"bad\")",
            "    ~^~",
            "The above exception was the direct cause of the following exception:",
            "goroutine 1 [running]:",
            "main.f(0x1, {0xc000012345, 0x3})",
            "net/http.(*conn).serve(0xc0001)",
            "main.main()",
            "\t/src/a.go:3 +0x1d",
            "created by main.g in goroutine 1",
            "stack backtrace:",
            "   0: core::panicking::panic_fmt",
            "             at ./src/lib.rs:4:19",
            "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            "    at f (/src/a.js:1:79)",
            "    at async Promise.all (index 0)",
            "   at App.Program.Main(String[] args) in /src/P.cs:line 3",
            "   --- End of inner exception stack trace ---",
            "\tfrom a.rb:3:in 'f'",
            "#0 /src/a.php(3): f()",
            "    (app 0.1.0) lib/a.ex:3: App.f/1",
            "  --> src/a.rs:3:5",
            "   |",
            "3  |     let x = 1;",
        ] {
            assert!(continues_previous(line.as_bytes()), "{line:?}");
        }
        for line in [
            "",
            "2026-07-01 12:00:00 INFO next",
            "INFO next",
            "ValueError: bad",
            "at last it is done",
            "done (see the report)",
            "   Compiling a v1.0.0",
            "    Finished `dev` profile in 0.1s",
            "  1:7  error  'x' is assigned a value but never used  no-unused-vars",
            "    --- FAIL: TestX/sub (0.00s)",
            "error: it broke",
            "web-1  | started",
        ] {
            assert!(!continues_previous(line.as_bytes()), "{line:?}");
        }
    }
}
