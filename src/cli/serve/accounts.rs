//! The files of users and tokens, and the directory of the sessions' key.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::cli::failure::Failure;
use crate::cli::serve::arguments::Arguments;
use crate::cli::serve::config_file;
use crate::cli::state_directory;
use crate::serve::{Sessions, Tokens, Users, WrongAccount};

/// Who may identify themselves to the server. `None` where there is no file.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    pub(super) users: Option<Arc<Users>>,
    pub(super) tokens: Option<Arc<Tokens>>,
    /// The files as they were read.
    pub(super) contents: Vec<(PathBuf, Vec<u8>)>,
}

impl Accounts {
    /// Reads the files that the flags name.
    pub(super) fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let Arguments { users, tokens, .. } = arguments;
        let mut contents = Vec::new();
        let users = users.as_deref().map(|path| read(path, &mut contents)).transpose()?;
        let tokens = tokens.as_deref().map(|path| read(path, &mut contents)).transpose()?;
        Ok(Self { users, tokens, contents })
    }
}

/// Reads a file, and adds it to `contents`.
fn read<T: FromStr<Err = WrongAccount>>(
    path: &Path,
    contents: &mut Vec<(PathBuf, Vec<u8>)>,
) -> Result<Arc<T>, Failure> {
    let shown = path.display();
    let content = config_file::read(path).map_err(|error| {
        let context = format!("cannot read `{shown}`");
        let hint = "name a file that this user may read";
        Failure::usage(anyhow::Error::new(error).context(context), hint)
    })?;
    let text = std::str::from_utf8(&content).map_err(|_| {
        Failure::usage(anyhow::anyhow!("`{shown}` is not UTF-8"), "save the file as UTF-8")
    })?;
    let parsed: Result<T, Failure> = text.parse().map_err(|wrong: WrongAccount| {
        Failure::usage(anyhow::anyhow!("`{shown}` is wrong in {wrong}"), wrong.hint)
    });
    let parsed = Arc::new(parsed?);
    contents.push((path.to_owned(), content));
    Ok(parsed)
}

/// The sessions whose key is in this directory, or in the usual one.
pub(super) fn sessions(named: Option<&Path>) -> Result<Sessions, Failure> {
    if let Some(directory) = named {
        return Sessions::open(directory).map_err(|error| {
            Failure::usage(error, "give `--state-dir` a directory that this user may write")
        });
    }
    let opened = usual_directory().map(|directory| Sessions::open(&directory));
    Ok(match opened {
        Some(Ok(sessions)) => sessions,
        Some(Err(error)) => {
            let (error, hint) =
                (format!("{:#}", anyhow::Error::new(error)), "give `--state-dir DIR`");
            tracing::warn!(error, hint, "sessions end with this process");
            Sessions::in_memory()
        }
        None => {
            tracing::warn!(hint = "give `--state-dir DIR`", "sessions end with this process");
            Sessions::in_memory()
        }
    })
}

/// Where a service keeps its state: systemd says so, or else as for every program.
pub(in crate::cli) fn usual_directory() -> Option<PathBuf> {
    match std::env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty()) {
        Some(directories) => std::env::split_paths(&directories).next(),
        None => state_directory(),
    }
}
