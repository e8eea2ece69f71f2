//! The logs of other machines, which their agents publish over a broker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

use crate::broker::{Broker, ConnectFailure, Edge, Options, names};
use crate::cli::broker::{Place, refused};
use crate::cli::failure::{Failure, OrFail};
use crate::cli::serve::accounts::usual_directory;
use crate::cli::serve::arguments::Arguments;
use crate::log::Access;
use crate::mirror::{LaterRemote, MirroredLogs, Spool};
use crate::source::temporary::TemporaryDirectory;

/// A server that starts waits at most so long to hear whether the broker takes its login.
const START_TIME_MAX: Duration = Duration::from_secs(2);
/// The spool below the state directory.
const DIRECTORY: &str = "mirror";

/// Where the logs of other machines come from, and where they are kept.
pub(super) struct Machines {
    options: Options,
    spool: Spool,
    /// Removed at the end: where there is no state directory.
    _temporary: Option<TemporaryDirectory>,
}

impl Machines {
    /// Opens what is needed, if they are wanted.
    ///
    /// # Errors
    /// When the broker's address is none, or a file or the spool can't be used.
    pub(super) fn prepare(arguments: &Arguments) -> Result<Option<Self>, Failure> {
        let Some(url) = &arguments.nats else { return Ok(None) };
        let place = Place {
            url: url.clone(),
            credentials: arguments.nats_creds.clone(),
            authorities: arguments.nats_tls_ca.clone(),
        };
        let options = place.options("tailcast serve".to_owned(), names::EDGE_INBOX.to_owned())?;
        let (directory, temporary) = directory(arguments)?;
        let spool = Spool::open(&directory, arguments.spool_bytes)
            .with_context(|| {
                format!("cannot keep the logs of other machines in `{}`", directory.display())
            })
            .or_usage("give `--spool` a directory that this user may write")?;
        Ok(Some(Self { options, spool, _temporary: temporary }))
    }

    /// Serves them below `/@HOST` from now on. While the broker does not answer, they are out of reach,
    /// and the logs of this machine are served all the same.
    ///
    /// # Errors
    /// When the broker answers and refuses this server.
    pub(super) async fn serve_in(&self, access: &Access) -> Result<MirroredLogs, Failure> {
        let later = LaterRemote::default();
        let mirror = MirroredLogs::new(Arc::new(later.clone()), self.spool.clone());
        access.mirror(Arc::new(mirror.clone()));
        match timeout(START_TIME_MAX, Broker::connect(&self.options)).await {
            Ok(Ok(broker)) => later.put(Arc::new(Edge::new(broker))),
            Err(_) | Ok(Err(ConnectFailure::Away(_))) => {
                let options = self.options.clone();
                tokio::spawn(async move {
                    match Broker::connect_in_time(&options).await {
                        Ok(broker) => later.put(Arc::new(Edge::new(broker))),
                        Err(error) => {
                            let broker = &options.address;
                            tracing::error!(%broker, %error, "the broker refuses this server: the logs of other machines stay out of reach");
                        }
                    }
                });
            }
            Ok(Err(failure)) => return Err(refused(failure, &self.options.address)),
        }
        tracing::info!(broker = %self.options.address, "serving the logs of other machines");
        Ok(mirror)
    }
}

fn directory(arguments: &Arguments) -> Result<(PathBuf, Option<TemporaryDirectory>), Failure> {
    if let Some(directory) = &arguments.spool {
        return Ok((directory.clone(), None));
    }
    if let Some(directory) = arguments.state_dir.clone().or_else(usual_directory) {
        return Ok((directory.join(DIRECTORY), None));
    }
    let temporary = TemporaryDirectory::create_in(&std::env::temp_dir())
        .context("cannot make a directory for the logs of other machines")
        .or_usage("give `--spool DIR`")?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}
