//! Lines that continue the message of the line before them, such as the frames of a stack trace.
//!
//! The caller knows whether the message before it is an error. Each line is judged without the name
//! or time that a container runtime or a CI system has put before it.

use std::sync::LazyLock;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use serde_json::json;

use crate::render::Level;
use crate::search::levels::level_of;

/// The beginnings of lines that belong to the error before them.
const TRACES: [&str; 9] = [
    // Java, JavaScript and .NET.
    r"\s+at \S",
    r"\s*(?:Caused by|Suppressed): |\s+\.\.\. \d+ (?:more|common frames)|\s+--- End of |\s*---> ",
    // Python: frames, and the code and marks below them.
    r#"\s+File "[^"]*", line \d+|\s+[~^]+\s*$"#,
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
const CAUSES: [&str; 3] = ["Caused by: ", "Suppressed: ", "---> "];
/// Status lines of cargo, which are indented, too.
const OTHERS: &str = r"\s+[A-Z][a-z]+ing |\s+(?:Finished|Downloaded|Updated|Fresh|Dirty|Locked) ";

/// What stands before each line of a program's output: the name of a container (docker compose), or
/// the time of a record, with the stream and the tag of the CRI.
const PREFIXES: &str =
    r"(?:[\w.\-]+ +\| |\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+\-]\d\d:?\d\d) (?:std(?:out|err) [FP] )?)";

/// The rules as JSON, for pages. A line without its `prefix` continues the message before it if it
/// does not match `other`, and matches `cause` or has no level, and matches `trace` or is indented
/// more than that message.
pub static RULES: LazyLock<String> = LazyLock::new(|| {
    json!({
        "prefix": beginning_with(&[PREFIXES]),
        "trace": beginning_with(&TRACES),
        "other": beginning_with(&[OTHERS]),
        "cause": format!(r"^\s*(?:{})", CAUSES.join("|")),
    })
    .to_string()
});

/// Whether a line names what caused the error before it.
#[must_use]
pub fn is_cause(line: &[u8]) -> bool {
    CAUSES.iter().any(|cause| line.trim_ascii_start().starts_with(cause.as_bytes()))
}

/// How a line goes on with the message before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// It begins a message of its own.
    None,
    /// It is a line of a stack trace.
    Trace,
    /// It is indented by this many blanks. It goes on with a message that is indented less.
    Indented(usize),
}

impl Continuation {
    /// Of a line. A line with a level of its own continues nothing. A blank line neither: it ends a
    /// message.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        static TRACE: LazyLock<Regex> = LazyLock::new(|| starts_with_any(&TRACES));
        static OTHER: LazyLock<Regex> = LazyLock::new(|| starts_with_any(&[OTHERS]));
        let line = without_prefix(line);
        let indent = indent_of(line);
        let is_trace = TRACE.is_match(line);
        let is_cause = is_cause(line);
        let has_level = || matches!(level_of(line), Some(Level::Error | Level::Warning));
        let may_continue = is_trace || indent > 0;
        if indent == line.len()
            || !may_continue
            || OTHER.is_match(line)
            || (!is_cause && has_level())
        {
            Self::None
        } else if is_trace {
            Self::Trace
        } else {
            Self::Indented(indent)
        }
    }

    /// Whether the line goes on with the message that begins with this line.
    #[must_use]
    pub fn continues(self, head: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Trace => true,
            Self::Indented(indent) => indent > indent_of(without_prefix(head)),
        }
    }
}

fn without_prefix(line: &[u8]) -> &[u8] {
    static PREFIX: LazyLock<Regex> = LazyLock::new(|| starts_with_any(&[PREFIXES]));
    let prefix = PREFIX.find(line).map_or(0, |prefix| prefix.end());
    line.get(prefix..).unwrap_or_default()
}

/// How many blanks a line begins with.
fn indent_of(line: &[u8]) -> usize {
    line.len() - line.trim_ascii_start().len()
}

fn beginning_with(patterns: &[&str]) -> String {
    format!("^(?:{})", patterns.join("|"))
}

fn starts_with_any(patterns: &[&str]) -> Regex {
    let config = syntax::Config::new().unicode(false).utf8(false);
    Regex::builder()
        .syntax(config)
        .build(&beginning_with(patterns))
        .expect("the forms are patterns")
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
            assert!(continues("error", line), "{line:?}");
        }
        for line in [
            "",
            "   ",
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
            "web-1  | INFO next",
            "2026-01-01T00:00:00.000Z INFO next",
        ] {
            assert!(!continues("error", line), "{line:?}");
        }
    }

    fn continues(head: &str, line: &str) -> bool {
        Continuation::of(line.as_bytes()).continues(head.as_bytes())
    }

    #[test]
    fn a_trace_is_recognised_behind_the_prefix_of_a_container() {
        for prefix in
            ["web-1  | ", "2026-01-01T00:00:00.000Z ", "2026-01-01T00:00:00.123456789Z stderr F "]
        {
            for line in ["  File \"/a.py\", line 3, in <module>", "\tat a.B.c(B.java:3)", "    f()"]
            {
                assert!(continues("error", &format!("{prefix}{line}")), "{prefix}{line}");
            }
        }
    }

    #[test]
    fn an_indented_line_continues_a_message_that_is_indented_less() {
        for (head, line, expected) in [
            ("2026-09-18 ERROR query failed:", "  SELECT a", true),
            ("2026-09-18 ERROR query failed:", "\tSELECT a", true),
            ("  ✕ adds numbers", "  ✓ subtracts", false),
            ("  ✕ adds numbers", "    expected 1", true),
            ("    ✕ adds numbers", "  next suite", false),
            ("web-1  |   ✕ adds numbers", "web-1  |   ✓ subtracts", false),
            ("web-1  |   ✕ adds numbers", "web-1  |     expected 1", true),
        ] {
            assert_eq!(continues(head, line), expected, "{head:?} {line:?}");
        }
    }
}
