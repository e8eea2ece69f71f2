//! The journal of systemd as logs.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::failure::{Failure, OrFail};
use crate::cli::serve::accounts::usual_directory;
use crate::source::journal::{Journal, JournalError};
use crate::source::temporary::TemporaryDirectory;

/// The log with all entries. Below it are those of the units.
const JOURNAL_PATH: &str = "/journal";
/// The copies below the state directory.
const DIRECTORY: &str = "journal";

/// The copies of the journal, if it is served. They grow until this is dropped.
pub(super) struct Copies {
    journal: Option<Journal>,
    /// Removed at the end: where there is no state directory.
    _temporary: Option<TemporaryDirectory>,
}

impl Copies {
    /// Begins to copy, if the journal is wanted, into files of at most `bytes_max` bytes.
    pub(super) fn start(
        is_wanted: bool,
        state_dir: Option<&Path>,
        bytes_max: u64,
    ) -> Result<Self, Failure> {
        if !is_wanted {
            return Ok(Self { journal: None, _temporary: None });
        }
        let known = state_dir.map(Path::to_owned).or_else(usual_directory);
        let (directory, temporary) = match known {
            Some(directory) => (directory, None),
            None => {
                let temporary = TemporaryDirectory::create_in(&std::env::temp_dir())
                    .context("cannot make a directory for the journal")
                    .or_usage("give `--state-dir DIR`")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let journal = Journal::start(&directory.join(DIRECTORY), bytes_max / 2);
        let journal = journal.map_err(|error| {
            let hint = hint(&error);
            Failure::usage(error, hint)
        })?;
        Ok(Self { journal: Some(journal), _temporary: temporary })
    }

    /// The files and directories, by their paths as logs.
    pub(super) fn sources(&self) -> Vec<(PathBuf, PathBuf)> {
        let path = || PathBuf::from(JOURNAL_PATH);
        self.journal
            .iter()
            .flat_map(|journal| [(path(), journal.all()), (path(), journal.units())])
            .collect()
    }
}

fn hint(error: &JournalError) -> &'static str {
    match error {
        JournalError::NoProgram(_) => "run the server on a machine with systemd",
        JournalError::Refused(_) => {
            "let the server's user be in the group `systemd-journal`, or run it as root"
        }
        JournalError::Directory(..) => "give `--state-dir` a directory that this user may write",
    }
}
