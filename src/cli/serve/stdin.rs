//! Standard input as a log.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tokio::task::spawn_blocking;

use crate::cli::failure::{Failure, OrFail};
use crate::serve::Handle;
use crate::source::spool::Spool;

/// The path of the log.
pub(super) const STDIN_PATH: &str = "/stdin";

/// What standard input brings, in files that are removed with this value.
pub(super) struct Stdin {
    spool: Option<Spool>,
    bytes_max: u64,
}

impl Stdin {
    /// Makes the files, if standard input is wanted.
    pub(super) fn new(is_wanted: bool, bytes_max: u64) -> Result<Self, Failure> {
        if !is_wanted {
            return Ok(Self { spool: None, bytes_max });
        }
        if io::stdin().is_terminal() {
            let error = anyhow!("standard input is a terminal, so there is nothing to serve");
            let hint = "pipe something into it: `make 2>&1 | tailcast serve -`; or let tailcast run \
                        the command: `tailcast run --serve -- make`";
            return Err(Failure::usage(error, hint));
        }
        let place = std::env::temp_dir();
        let spool = Spool::create_in(&place)
            .with_context(|| format!("cannot make a directory in `{}`", place.display()))
            .or_usage("set TMPDIR to a directory that this user may write to")?;
        Ok(Self { spool: Some(spool), bytes_max })
    }

    /// The file with the latest bytes.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.spool.as_ref().map(Spool::file)
    }

    /// Reads until the end, on a thread that may stay behind at the end of the program, and tells the
    /// server of it.
    pub(super) fn read(self, handle: Handle) -> Reading {
        let Self { spool: Some(spool), bytes_max } = self else { return Reading(None) };
        let spool = std::sync::Arc::new(spool);
        let filled = std::sync::Arc::clone(&spool);
        // Its result is of no use: it says everything itself.
        let _reading = spawn_blocking(move || {
            let on_loss = |error: &io::Error| {
                tracing::error!(
                    %error,
                    hint = "set TMPDIR to a larger disk, or give a lower `--spool-max`",
                    "standard input cannot be kept: bytes are missing from now on"
                );
            };
            match filled.fill(io::stdin().lock(), bytes_max, on_loss) {
                Ok(()) => tracing::info!(log = STDIN_PATH, "standard input has ended"),
                Err(error) => tracing::error!(%error, "standard input cannot be read any more"),
            }
            handle.complete_log(Path::new(STDIN_PATH));
        });
        Reading(Some(spool))
    }
}

/// Standard input while it is read. Its files are removed with this value, even if its end has not
/// come.
pub(super) struct Reading(Option<std::sync::Arc<Spool>>);

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(spool) = &self.0 {
            spool.remove();
        }
    }
}
