//! `tailcast health`: whether a server answers.

use anyhow::Context;

use crate::cli::failure::{Failure, OrFail};
use crate::cli::{HINT_LIMITS, print};
use crate::client::{ServerUrl, health};

/// Ask a server whether it is well, for a container's health check
#[derive(Debug, clap::Args)]
#[command(after_help = "It does not check the certificate of the server.\n\n\
                        Exit codes: 0 the server is well, 1 it is not, 2 wrong arguments")]
pub(super) struct Arguments {
    /// The server: `http://HOST:PORT/BASE`, `https://…`, or `unix:/path` [default: http://127.0.0.1:8765,
    /// with another port or base path where `TAILCAST_PORT` or `TAILCAST_BASE_PATH` say so]
    #[arg(value_name = "URL")]
    url: Option<String>,
}

/// Where a server of this machine is that was started with the same variables, as in a container.
fn usual_url() -> String {
    let said =
        |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let (port, base) = (said("TAILCAST_PORT", "8765"), said("TAILCAST_BASE_PATH", ""));
    format!("http://127.0.0.1:{port}/{}", base.trim_matches('/'))
}

/// Asks, and prints the answer.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let url = &arguments.url.clone().unwrap_or_else(usual_url);
    let server: ServerUrl = url
        .parse()
        .with_context(|| format!("cannot ask `{url}`"))
        .or_usage("give the address that `tailcast serve` printed")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .or_usage(HINT_LIMITS)?;
    let answer = runtime
        .block_on(health(&server))
        .with_context(|| format!("`{url}` is not well"))
        .or_unavailable("see the log output of `tailcast serve` there")?;
    print(&format!("{}\n", answer.trim_end()))
}
