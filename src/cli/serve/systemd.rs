//! What systemd passes to a service, and what a service tells systemd. Without systemd, nothing.

use std::io;

use anyhow::Context;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::failure::{Failure, OrFail};
use crate::cli::listen::{Bound, link};

/// The sockets that systemd has opened for this service (sd_listen_fds(3)), on which TCP has this
/// scheme. None without any.
///
/// # Errors
/// For a socket on which nobody can listen.
pub(super) fn bound(scheme: &str) -> Result<Option<Bound>, Failure> {
    const HINT: &str = "a socket unit of tailcast has `ListenStream` only";
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Ok(None);
    }
    let mut bound = Bound::default();
    for nth in 0..passed.len() {
        take(&mut passed, nth, scheme, &mut bound)
            .with_context(|| format!("cannot listen on socket {nth} of systemd"))
            .or_usage(HINT)?;
    }
    Ok(Some(bound))
}

/// Takes a socket over. A socket of another kind than the first that is tried stays to be taken.
fn take(passed: &mut ListenFd, nth: usize, scheme: &str, bound: &mut Bound) -> io::Result<()> {
    if let Ok(Some(listener)) = passed.take_tcp_listener(nth) {
        listener.set_nonblocking(true)?;
        bound.links.push(link(scheme, listener.local_addr()?));
        bound.listeners.push(TcpListener::from_std(listener)?.into());
    } else if let Some(listener) = passed.take_unix_listener(nth)? {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let path = address.as_pathname().map(|path| path.display().to_string());
        bound.links.push(format!("unix:{}", path.unwrap_or_default()));
        bound.listeners.push(UnixListener::from_std(listener)?.into());
    }
    Ok(())
}

/// The service answers requests from now on.
pub(in crate::cli) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The service reads its configuration again, until [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "cannot read the clock that systemd wants"),
    }
}

/// The service ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells systemd again and again that the runtime still runs tasks, if it wants to know
/// (`WatchdogSec`). A service that no longer does is ended and started anew.
pub(in crate::cli) fn watch() -> JoinHandle<()> {
    tokio::spawn(async {
        let Some(deadline) = sd_notify::watchdog_enabled() else { return };
        let mut turns = interval(deadline / 3);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    })
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd how this service is");
    }
}
