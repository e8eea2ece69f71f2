//! Reads the configuration file, the users, the tokens and the certificate again, on SIGHUP and when
//! one of them has changed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::failure::Failure;
use crate::cli::reserve_descriptors;
use crate::cli::serve::certificate::{Loaded, Reminder};
use crate::cli::serve::config_file::{self, ConfigFile};
use crate::cli::serve::layers::{Configuration, Given};
use crate::cli::serve::systemd;
use crate::log::Access;
use crate::serve::{Handle, Sessions, Settings};

/// How often the files are compared with what was read. Their content decides, not their times: a
/// volume of Kubernetes swaps a link, and some file systems send no events.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The content of a file, as it was found at one time.
#[derive(Clone, PartialEq, Eq)]
enum Content {
    Bytes(Vec<u8>),
    Unreadable(String),
}

/// Files, as they were found at one time.
type Found = BTreeMap<PathBuf, Content>;

fn content_at(path: &Path) -> Content {
    match config_file::read(path) {
        Ok(bytes) => Content::Bytes(bytes),
        Err(error) => Content::Unreadable(error.to_string()),
    }
}

/// What a server was started with.
pub(super) struct First {
    pub(super) configuration: Configuration,
    /// The content of the configuration file.
    pub(super) content: Vec<u8>,
    pub(super) certificate: Loaded,
    pub(super) sessions: Option<Sessions>,
}

/// Everything that is read again, complete and checked.
struct Reading {
    access: Access,
    sessions: Option<Sessions>,
    configuration: Configuration,
    certificate: Loaded,
}

/// Keeps a running server in step with its files.
pub(super) struct Reloader {
    given: Arc<Given>,
    /// What the server was started with.
    first: Arc<Configuration>,
    /// What it was given last.
    present: Arc<Configuration>,
    /// Those of the server, once it has some: they are opened once.
    sessions: Option<Sessions>,
    certificate: Loaded,
    handle: Handle,
    /// The files as they were read last.
    known: Found,
    /// What was wrong when they were read last.
    wrong: Option<String>,
}

impl Reloader {
    /// Starts the task, after the server was given what it starts with. Without files there is
    /// nothing to read again, and SIGHUP ends the process as usual.
    pub(super) fn start(given: Given, first: First, handle: Handle) -> io::Result<JoinHandle<()>> {
        let First { configuration, content, certificate, sessions } = first;
        let known = known(&given, &content, &configuration, &certificate);
        if known.is_empty() {
            return Ok(tokio::spawn(async {}));
        }
        let hangup = signal(SignalKind::hangup())?;
        let first = Arc::new(configuration);
        let present = Arc::clone(&first);
        let given = Arc::new(given);
        let reloader =
            Self { given, first, present, sessions, certificate, handle, known, wrong: None };
        Ok(tokio::spawn(reloader.run(hangup)))
    }

    async fn run(mut self, mut hangup: Signal) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A file that changes may be half written. It counts when it is found the same twice.
        let mut newer = None;
        let mut reminder = Reminder::told(Instant::now());
        loop {
            self.certificate.remind(&mut reminder);
            let is_asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                _ = looks.tick() => false,
            };
            let found = self.look().await;
            let is_settled = newer.as_ref() == Some(&found);
            if is_asked || (found != self.known && is_settled) {
                systemd::reloading();
                self.wrong = None;
                self.read_again(found).await;
                systemd::ready();
                newer = None;
            } else if self.wrong.is_some() && is_settled {
                // What is wrong may be a file that the configuration names only now, and that is
                // not among those that are looked at.
                self.read_again(found).await;
                newer = None;
            } else {
                newer = Some(found);
            }
        }
    }

    /// The present state of the files that were read last.
    async fn look(&self) -> Found {
        let paths: Vec<PathBuf> = self.known.keys().cloned().collect();
        let looking = spawn_blocking(move || {
            let found = paths.into_iter().map(|path| (path.clone(), content_at(&path)));
            found.collect()
        });
        looking.await.unwrap_or_default()
    }

    /// Gives the server what the files say, or says what is wrong with them.
    async fn read_again(&mut self, found: Found) {
        let path = self.given.file.clone();
        let file = path.as_deref().map(|file| tracing::field::display(file.display()));
        let content = match self.given.file.as_ref().and_then(|file| found.get(file)) {
            Some(Content::Unreadable(error)) => {
                if self.is_new(error) {
                    let hint = "nothing changes until the file can be read";
                    tracing::error!(file, %error, hint, "cannot read the configuration again");
                }
                self.known = found;
                return;
            }
            Some(Content::Bytes(content)) => content.clone(),
            None => Vec::new(),
        };
        let reading = match self.reading(content.clone()).await {
            Ok(reading) => reading,
            Err(failure) => {
                let (error, hint) = (failure.causes(), failure.hint());
                if self.is_new(&error) {
                    tracing::error!(
                        file,
                        error,
                        hint,
                        "the configuration is wrong, so nothing changes"
                    );
                }
                self.known = found;
                return;
            }
        };
        self.wrong = None;
        let Reading { access, sessions, mut configuration, certificate } = reading;
        let (_, fixed) = configuration.changes(&self.first);
        let (mut changed, _) = configuration.changes(&self.present);
        if certificate.contents() != self.certificate.contents() {
            changed.push("certificate");
            certificate.warn();
        }
        let (fixed, changed) = (fixed.join(", "), changed.join(", "));
        configuration.keep_fixed(&self.first);
        self.sessions.clone_from(&sessions);
        let settings = Settings { sessions, ..certificate.with(configuration.settings()) };
        if settings.max_viewers > self.present.arguments.max_viewers {
            reserve_descriptors(settings.max_viewers);
        }
        self.handle.reload(access, settings).await;
        self.known = known(&self.given, &content, &configuration, &certificate);
        self.present = Arc::new(configuration);
        tracing::info!(file, changed, "read the configuration again");
        if !fixed.is_empty() {
            tracing::warn!(file, keys = fixed, "a change of these needs a restart");
        }
        self.certificate = certificate;
    }

    /// Notes what is wrong. Returns false if that has been told already.
    fn is_new(&mut self, error: &str) -> bool {
        if self.wrong.as_deref() == Some(error) {
            return false;
        }
        self.wrong = Some(error.to_owned());
        self.handle.reload_failed();
        true
    }

    /// Reads everything, or fails before anything has changed.
    async fn reading(&self, content: Vec<u8>) -> Result<Reading, Failure> {
        let (given, old) = (Arc::clone(&self.given), self.certificate.clone());
        let known = self.sessions.clone();
        let present = Arc::clone(&self.present);
        // To open the prefixes may block.
        let reading = spawn_blocking(move || {
            let file = match &given.file {
                Some(path) => ConfigFile::parse(path, &content)?,
                None => ConfigFile::default(),
            };
            let configuration = given.over(file)?;
            configuration.check_instead_of(&present)?;
            let certificate = Loaded::of(&configuration)?;
            certificate.check_instead_of(&old)?;
            if configuration.arguments.wants_stdin() && !given.has_stdin() {
                let error =
                    anyhow::anyhow!("standard input is read from the start of a server only");
                return Err(Failure::usage(error, "restart the server to serve it"));
            }
            let access = configuration.access(&given.sources)?;
            let sessions =
                known.map_or_else(|| configuration.sessions(), |known| Ok(Some(known)))?;
            Ok(Reading { access, sessions, configuration, certificate })
        });
        reading.await.unwrap_or_else(|error| Err(Failure::usage(error, "try SIGHUP again")))
    }
}

/// The files that were read, with what was in them.
fn known(
    given: &Given,
    content: &[u8],
    configuration: &Configuration,
    certificate: &Loaded,
) -> Found {
    let file = given.file.iter().map(|file| (file.clone(), content.to_vec()));
    let accounts = configuration.accounts.contents.iter().cloned();
    let all = file.chain(accounts).chain(certificate.contents().iter().cloned());
    all.map(|(path, bytes)| (path, Content::Bytes(bytes))).collect()
}
