//! Reads the configuration file again, on SIGHUP and when it has changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::failure::Failure;
use crate::cli::serve::config_file::{self, ConfigFile};
use crate::cli::serve::layers::{Configuration, Given};
use crate::cli::serve::{reserve_descriptors, systemd};
use crate::log::Access;
use crate::serve::Handle;

/// How often the file is compared with what was read. Its content decides, not its times: a volume
/// of Kubernetes swaps a link, and some file systems send no events.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The file as it was found at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Content(Vec<u8>),
    Unreadable(String),
}

impl Found {
    async fn at(path: &Path) -> Self {
        let named = path.to_owned();
        let read = spawn_blocking(move || config_file::read(&named)).await;
        match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(content) => Self::Content(content),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// Keeps a running server in step with its configuration file.
pub(super) struct Reloader {
    given: Arc<Given>,
    path: PathBuf,
    /// What the server was started with.
    first: Arc<Configuration>,
    /// What it was given last.
    present: Arc<Configuration>,
    handle: Handle,
    /// The file as it was read last.
    known: Found,
}

impl Reloader {
    /// Starts the task, after the server was given `first` with this content of the file. Without a
    /// file there is nothing to read again, and SIGHUP ends the process
    /// as usual.
    pub(super) fn start(
        given: Given,
        first: Configuration,
        content: Vec<u8>,
        handle: Handle,
    ) -> io::Result<JoinHandle<()>> {
        let Some(path) = given.file.clone() else { return Ok(tokio::spawn(async {})) };
        let hangup = signal(SignalKind::hangup())?;
        let first = Arc::new(first);
        let present = Arc::clone(&first);
        let reloader = Self {
            given: Arc::new(given),
            path,
            first,
            present,
            handle,
            known: Found::Content(content),
        };
        Ok(tokio::spawn(reloader.run(hangup)))
    }

    async fn run(mut self, mut hangup: Signal) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A file that changes may be half written. It counts when it is found the same twice.
        let mut newer = None;
        loop {
            let is_asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                _ = looks.tick() => false,
            };
            let found = Found::at(&self.path).await;
            if is_asked || (found != self.known && newer.as_ref() == Some(&found)) {
                systemd::reloading();
                self.read_again(&found).await;
                systemd::ready();
                (self.known, newer) = (found, None);
            } else {
                newer = Some(found);
            }
        }
    }

    /// Gives the server what the file says, or says what is wrong with it.
    async fn read_again(&mut self, found: &Found) {
        let file = self.path.display();
        let content = match found {
            Found::Content(content) => content.clone(),
            Found::Unreadable(error) => {
                let hint = "nothing changes until the file can be read";
                tracing::error!(%file, %error, hint, "cannot read the configuration again");
                self.handle.reload_failed();
                return;
            }
        };
        let (access, configuration) = match self.configuration(content).await {
            Ok(read) => read,
            Err(failure) => {
                let (error, hint) = (failure.causes(), failure.hint());
                tracing::error!(%file, error, hint, "the configuration is wrong, so nothing changes");
                self.handle.reload_failed();
                return;
            }
        };
        let (_, fixed) = configuration.changes(&self.first);
        let (changed, _) = configuration.changes(&self.present);
        let (fixed, changed) = (fixed.join(", "), changed.join(", "));
        let mut configuration = configuration;
        configuration.keep_fixed(&self.first);
        let settings = configuration.settings();
        if settings.max_viewers > self.present.arguments.max_viewers {
            reserve_descriptors(settings.max_viewers);
        }
        self.handle.reload(access, settings).await;
        self.present = Arc::new(configuration);
        tracing::info!(%file, changed, "read the configuration again");
        if !fixed.is_empty() {
            tracing::warn!(%file, keys = fixed, "a change of these needs a restart");
        }
    }

    /// Reads everything, or fails before anything has changed.
    async fn configuration(&self, content: Vec<u8>) -> Result<(Access, Configuration), Failure> {
        let (given, path) = (Arc::clone(&self.given), self.path.clone());
        // To open the prefixes may block.
        let reading = spawn_blocking(move || {
            let configuration = given.over(ConfigFile::parse(&path, &content)?)?;
            Ok((configuration.access()?, configuration))
        });
        reading.await.unwrap_or_else(|error| Err(Failure::usage(error, "try SIGHUP again")))
    }
}
