//! Reads the configuration file, the users and the tokens again, on SIGHUP and when one of them has
//! changed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::failure::Failure;
use crate::cli::serve::arguments::Arguments;
use crate::cli::serve::config_file::{self, ConfigFile};
use crate::cli::serve::layers::{Configuration, Given};
use crate::cli::serve::{reserve_descriptors, systemd};
use crate::log::Access;
use crate::serve::{Handle, Sessions, Settings};

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
    async fn at(path: Option<&Path>) -> Option<Self> {
        let named = path?.to_owned();
        let read = spawn_blocking(move || config_file::read(&named)).await;
        Some(match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(content) => Self::Content(content),
            Err(error) => Self::Unreadable(error.to_string()),
        })
    }
}

/// All files as they were found at one time. A file that is not named is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AllFound {
    configuration: Option<Found>,
    users: Option<Found>,
    tokens: Option<Found>,
}

impl AllFound {
    /// The files that a configuration was read from, the first of them with this content.
    fn read(given: &Given, content: Vec<u8>, read: &Configuration) -> Self {
        let [users, tokens] = read.accounts.contents.clone();
        Self {
            configuration: given.file.as_ref().map(|_| Found::Content(content)),
            users: users.map(Found::Content),
            tokens: tokens.map(Found::Content),
        }
    }

    /// The files as they are now.
    async fn now(given: &Given, present: &Configuration) -> Self {
        let Arguments { users, tokens, .. } = &present.arguments;
        Self {
            configuration: Found::at(given.file.as_deref()).await,
            users: Found::at(users.as_deref()).await,
            tokens: Found::at(tokens.as_deref()).await,
        }
    }
}

/// Keeps a running server in step with its files.
pub(super) struct Reloader {
    given: Arc<Given>,
    /// What the server was started with.
    first: Arc<Configuration>,
    /// What it was given last.
    present: Arc<Configuration>,
    handle: Handle,
    /// The files as they were read last.
    known: AllFound,
}

impl Reloader {
    /// Starts the task, after the server was given `first`. Without a file there is nothing to read
    /// again, and SIGHUP ends the process as usual.
    pub(super) fn start(
        given: Given,
        first: Configuration,
        content: Vec<u8>,
        handle: Handle,
    ) -> io::Result<JoinHandle<()>> {
        let Arguments { users, tokens, .. } = &first.arguments;
        if given.file.is_none() && users.is_none() && tokens.is_none() {
            return Ok(tokio::spawn(async {}));
        }
        let hangup = signal(SignalKind::hangup())?;
        let first = Arc::new(first);
        let present = Arc::clone(&first);
        let known = AllFound::read(&given, content, &first);
        let reloader = Self { given: Arc::new(given), first, present, handle, known };
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
            let found = AllFound::now(&self.given, &self.present).await;
            if is_asked || (found != self.known && newer.as_ref() == Some(&found)) {
                systemd::reloading();
                self.known = self.read_again(found).await;
                systemd::ready();
                newer = None;
            } else {
                newer = Some(found);
            }
        }
    }

    /// Gives the server what the files say, or says what is wrong with them. Returns what was read.
    async fn read_again(&mut self, found: AllFound) -> AllFound {
        let files = [
            self.given.file.as_ref(),
            self.present.arguments.users.as_ref(),
            self.present.arguments.tokens.as_ref(),
        ];
        let file = files.into_iter().flatten().next().cloned().unwrap_or_default();
        let file = file.display();
        let content = match &found.configuration {
            Some(Found::Content(content)) => content.clone(),
            Some(Found::Unreadable(error)) => {
                let hint = "nothing changes until the file can be read";
                tracing::error!(%file, %error, hint, "cannot read the configuration again");
                self.handle.reload_failed();
                return found;
            }
            None => Vec::new(),
        };
        let (access, sessions, configuration) = match self.configuration(content.clone()).await {
            Ok(read) => read,
            Err(failure) => {
                let (error, hint) = (failure.causes(), failure.hint());
                tracing::error!(%file, error, hint, "the configuration is wrong, so nothing changes");
                self.handle.reload_failed();
                return found;
            }
        };
        let (_, fixed) = configuration.changes(&self.first);
        let (changed, _) = configuration.changes(&self.present);
        let (fixed, changed) = (fixed.join(", "), changed.join(", "));
        let mut configuration = configuration;
        configuration.keep_fixed(&self.first);
        let settings = Settings { sessions, ..configuration.settings() };
        if settings.max_viewers > self.present.arguments.max_viewers {
            reserve_descriptors(settings.max_viewers);
        }
        self.handle.reload(access, settings).await;
        let known = AllFound::read(&self.given, content, &configuration);
        self.present = Arc::new(configuration);
        tracing::info!(%file, changed, "read the configuration again");
        if !fixed.is_empty() {
            tracing::warn!(%file, keys = fixed, "a change of these needs a restart");
        }
        known
    }

    /// Reads everything, or fails before anything has changed.
    async fn configuration(
        &self,
        content: Vec<u8>,
    ) -> Result<(Access, Option<Sessions>, Configuration), Failure> {
        let given = Arc::clone(&self.given);
        // To open the prefixes may block.
        let reading = spawn_blocking(move || {
            let file = match &given.file {
                Some(path) => ConfigFile::parse(path, &content)?,
                None => ConfigFile::default(),
            };
            let configuration = given.over(file)?;
            Ok((configuration.access()?, configuration.sessions()?, configuration))
        });
        reading.await.unwrap_or_else(|error| Err(Failure::usage(error, "try SIGHUP again")))
    }
}
