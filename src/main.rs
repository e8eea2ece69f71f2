//! The `tailcast` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tailcast::cli::main()
}
