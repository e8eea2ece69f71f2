//! `tailcast serve`.

mod accounts;
mod arguments;
mod certificate;
mod config_file;
mod journal;
mod layers;
#[cfg(feature = "nats")]
mod machines;
mod meaning;
mod reload;
mod stdin;
pub(super) mod systemd;

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use clap::ArgMatches;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::failure::{Failure, OrFail};
use crate::cli::listen::Bound;
use crate::cli::{HINT_LIMITS, init_logging, reserve_descriptors};
use crate::serve::{Listeners, Server, Settings};
use certificate::Loaded;
use journal::Copies;
use layers::Given;
use reload::{First, Reloader};
use stdin::{STDIN_PATH, Stdin};

#[cfg(feature = "nats")]
pub(super) use accounts::usual_directory;
pub(super) use arguments::Arguments;
pub(super) use meaning::{ConfigArguments, check};

/// Serves until a signal ends it.
pub(super) fn run(arguments: Arguments, matches: &ArgMatches) -> Result<(), Failure> {
    let mut given = Given::on_command_line(arguments, matches);
    let (configuration, content) = given.configuration()?;
    init_logging("tailcast=info,warn,async_nats=off", configuration.arguments.access_log);
    let certificate = Loaded::of(&configuration)?;
    certificate.warn();
    let stdin =
        Stdin::new(configuration.arguments.wants_stdin(), configuration.arguments.spool_max)?;
    let arguments = &configuration.arguments;
    let (state_dir, spool_max) = (arguments.state_dir.as_deref(), arguments.spool_max);
    // Dropped at the end, with the last entries written.
    let journal = Copies::start(arguments.journal, state_dir, spool_max)?;
    given.sources = journal.sources();
    given.sources.extend(stdin.file().map(|file| (PathBuf::from(STDIN_PATH), file)));
    #[cfg(feature = "nats")]
    let machines = machines::Machines::prepare(&configuration.arguments)?;
    let access = configuration.access(&given.sources)?;
    let sessions = configuration.sessions()?;
    let settings =
        Settings { sessions: sessions.clone(), ..certificate.with(configuration.settings()) };
    reserve_descriptors(settings.max_viewers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .or_usage(HINT_LIMITS)?;
    let served = runtime.block_on(async {
        let shutdown = signals().context("cannot handle signals").or_usage(HINT_LIMITS)?;
        let mut bound = match systemd::bound(configuration.scheme())? {
            Some(bound) => bound,
            None => Bound::to(&configuration.listen, configuration.scheme()).await?,
        };
        for prefix in access.prefixes() {
            tracing::info!(prefix = %prefix.display(), "serving");
        }
        #[cfg(feature = "nats")]
        let mirror = match &machines {
            Some(machines) => Some(machines.serve_in(&access).await?),
            None => None,
        };
        let base = settings.base_path.clone();
        let asks_for_identity = settings.needs_identity();
        let server = Server::new(access, settings);
        let first = First { configuration, content, certificate, sessions };
        let reloading = Reloader::start(given, first, server.handle())
            .context("cannot handle signals")
            .or_usage(HINT_LIMITS)?;
        let _reading = stdin.read(server.handle());
        bound.announce(&base);
        if !asks_for_identity && bound.is_reachable() {
            tracing::warn!(
                hint = "let people sign in (`--users`), or let only a proxy reach this port",
                "everybody who can reach this machine can read these logs"
            );
        }
        systemd::ready();
        let watching = systemd::watch();
        let listeners: Listeners = std::mem::take(&mut bound.listeners).into_iter().collect();
        let served = server.serve(listeners, shutdown).await;
        reloading.abort();
        watching.abort();
        #[cfg(feature = "nats")]
        if let Some(mirror) = mirror {
            // It blocks for a moment, and nothing else runs any more.
            mirror.note();
        }
        served.context("cannot serve").or_usage(HINT_LIMITS)
    });
    // A read that hangs on a dead disk must not delay the exit.
    runtime.shutdown_background();
    served
}

/// Completes at the first SIGTERM or SIGINT. The second signal ends the process at once.
pub(super) fn signals() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        systemd::stopping();
        tracing::info!(
            "shutting down: sending what was written so far; a second signal ends at once"
        );
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            exit_at_once();
        });
    })
}

#[expect(clippy::exit, reason = "the second signal asks for an exit without clean-up")]
fn exit_at_once() {
    std::process::exit(130);
}
