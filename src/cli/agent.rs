//! `tailcast agent`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::broker::agent::{self, AgentFailure, Figures, Places, Publish, Settings};
use crate::broker::{Broker, HostName, StreamLimits, names};
use crate::cli::broker::{Place, refused};
use crate::cli::failure::{Failure, OrFail};
use crate::cli::listen::{Bound, ListenAddress};
use crate::cli::serve::{signals, systemd, usual_directory};
use crate::cli::size::bytes;
use crate::cli::span::span;
use crate::cli::{AccessLogFormat, HINT_LIMITS, init_logging, print, raise_descriptor_limit};
use crate::log::Access;
use crate::serve::serve_figures;

/// How many files the agent wants to have open.
const DESCRIPTORS: u64 = 16_384;
/// The directory below that of the state.
const PLACES: &str = "agent";
/// What the agent does is little work for most of the time.
const THREADS: usize = 2;

/// Publish the logs of this machine over NATS, to servers with `tailcast serve --nats`
///
/// A log is published while somebody looks at it, once for all servers. What it sends and what it
/// needs is in docs/fleet.md.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nats-server -js                                                a broker for a try
  tailcast agent --nats nats://broker:4222 /var/log              on each machine with logs
  tailcast serve --nats nats://broker:4222                       for those who look at them
  tailcast agent --nats nats://broker --publish always ci/logs   logs that outlive their machine

Exit codes: 0 after SIGTERM or Ctrl-C; 1 the broker refuses this agent, or another one has its name;
2 wrong arguments")]
pub(super) struct Arguments {
    /// Directories and files whose logs are published [default: the current directory]
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<PathBuf>,

    /// The broker: `nats://HOST:PORT` or `tls://HOST:PORT`, several with a comma between. A user and a
    /// password may stand before the host; others see the arguments of a program, so rather set the
    /// variable
    #[arg(long, value_name = "URL", env = "TAILCAST_NATS", hide_env_values = true)]
    nats: String,

    /// Sign in at the broker with this credentials file, or the seed of a key (NKEY) in it
    #[arg(long, value_name = "FILE", env = "TAILCAST_NATS_CREDS")]
    nats_creds: Option<PathBuf>,

    /// Speak TLS with the broker, and trust the certificate authorities in this file (PEM), too
    #[arg(long, value_name = "FILE", env = "TAILCAST_NATS_TLS_CA")]
    nats_tls_ca: Option<PathBuf>,

    /// The name of this machine, which no other agent has [default: the host name]
    #[arg(long, value_name = "HOST", env = "TAILCAST_NAME")]
    name: Option<HostName>,

    /// Which logs are published: `wanted` while somebody looks at them, or `always` all of them, from
    /// their first byte on, so that they can be read when this machine is gone
    #[arg(long, value_name = "WHICH", default_value = "wanted", env = "TAILCAST_PUBLISH")]
    publish: Which,

    /// If the broker has no stream `TAILCAST` yet, make one that keeps at most so many bytes. The
    /// oldest go first. One that is there is never changed
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = bytes, env = "TAILCAST_STREAM_MAX_BYTES")]
    stream_max_bytes: u64,

    /// The same: for how long it keeps them
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = span, env = "TAILCAST_STREAM_MAX_AGE")]
    stream_max_age: Duration,

    /// The same: on how many servers of the broker
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5), env = "TAILCAST_STREAM_REPLICAS")]
    stream_replicas: u8,

    /// Keep here how far the logs were published, with `--publish always`
    /// [default: the directory of a service's state, or `~/.local/state/tailcast`]
    #[arg(long, value_name = "DIR", env = "TAILCAST_STATE_DIR")]
    state_dir: Option<PathBuf>,

    /// Serve metrics for Prometheus at this address, as `/_/metrics`: `HOST:PORT`, or `unix:/path` for a
    /// unix socket
    #[arg(long, value_name = "ADDRESS", env = "TAILCAST_METRICS")]
    metrics: Option<ListenAddress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    Wanted,
    Always,
}

impl Arguments {
    fn host(&self) -> Result<HostName, Failure> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let system = rustix::system::uname();
        let name = system.nodename().to_string_lossy();
        name.parse()
            .with_context(|| format!("`{name}` is no name for this machine"))
            .or_usage("give it one: `--name NAME`")
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let limits = StreamLimits {
            bytes: self.stream_max_bytes,
            age: self.stream_max_age,
            replicas: usize::from(self.stream_replicas),
        };
        let publish = match self.publish {
            Which::Wanted => Publish::Wanted,
            Which::Always => Publish::Always,
        };
        Ok(Settings { host: self.host()?, publish, limits })
    }
}

impl Arguments {
    /// How far the logs were published before.
    fn places(&self, settings: &Settings) -> Result<Places, Failure> {
        if settings.publish == Publish::Wanted {
            return Ok(Places::default());
        }
        let open = |directory: &Path| Places::open(&directory.join(PLACES), settings.host.as_str());
        if let Some(directory) = &self.state_dir {
            let context = format!("cannot use `{}`", directory.display());
            let hint = "give `--state-dir` a directory that this user may write";
            return open(directory).context(context).or_usage(hint);
        }
        let opened = usual_directory().map(|directory| open(&directory));
        let why = match opened {
            Some(Ok(places)) => return Ok(places),
            Some(Err(error)) => error.to_string(),
            None => "there is no directory for it".to_owned(),
        };
        let hint = "give `--state-dir DIR`";
        tracing::warn!(
            why,
            hint,
            "cannot keep how far the logs are published: logs whose messages have left the stream are \
             sent once more after a restart"
        );
        Ok(Places::default())
    }
}

/// Publishes until a signal ends it.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = arguments.settings()?;
    let place = Place {
        url: arguments.nats.clone(),
        credentials: arguments.nats_creds.clone(),
        authorities: arguments.nats_tls_ca.clone(),
    };
    let name = format!("tailcast agent {}", settings.host);
    let options = place.options(name, names::agent_inbox(&settings.host))?;
    let prefixes = match arguments.prefixes.as_slice() {
        [] => vec![PathBuf::from(".")],
        prefixes => prefixes.to_vec(),
    };
    let access = Access::new(prefixes).map_err(|error| {
        let hint = error.hint();
        Failure::usage(error, hint)
    })?;
    init_logging("tailcast=info,warn,async_nats=off", AccessLogFormat::Text);
    let places = arguments.places(&settings)?;
    raise_descriptor_limit(DESCRIPTORS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .or_usage(HINT_LIMITS)?;
    let ended = runtime.block_on(async {
        let shutdown = signals().context("cannot handle signals").or_usage(HINT_LIMITS)?;
        tokio::pin!(shutdown);
        // An address that cannot be had is a mistake, also while the broker is not there yet.
        let addresses: Vec<ListenAddress> = arguments.metrics.iter().cloned().collect();
        let mut metrics = Bound::to(&addresses, "http").await?;
        for link in &metrics.links {
            tracing::info!(at = %format!("{link}/_/metrics"), "serving metrics");
        }
        let figures = Arc::<Figures>::default();
        let listeners = std::mem::take(&mut metrics.listeners).into_iter().collect();
        let serving = tokio::spawn(serve_figures(listeners, Arc::clone(&figures)));
        let connected = tokio::select! {
            connected = Broker::connect_in_time(&options) => connected,
            () = &mut shutdown => return Ok(()),
        };
        let broker = connected.map_err(|failure| refused(failure, &options.address))?;
        for prefix in access.prefixes() {
            tracing::info!(prefix = %prefix.display(), host = %settings.host, "publishing");
        }
        let watching = systemd::watch();
        let address = options.address.clone();
        let host = settings.host.clone();
        let on_ready = || {
            systemd::ready();
            if let Err(failure) = print(&format!("{host} at {address}\n")) {
                tracing::debug!(why = failure.causes(), "cannot print");
            }
        };
        let ended =
            agent::run(broker, access, settings.clone(), figures, places, on_ready, shutdown).await;
        watching.abort();
        serving.abort();
        ended.map_err(|failure| explained(failure, &address))
    });
    // A read that hangs on a dead disk must not delay the exit.
    runtime.shutdown_background();
    ended
}

fn explained(failure: AgentFailure, address: &crate::broker::BrokerAddress) -> Failure {
    match failure {
        AgentFailure::Connect(failure) => refused(failure, address),
        AgentFailure::Taken(_) => Failure::unavailable(
            failure,
            "end the other one, or give this machine another name: `--name NAME`",
        ),
        AgentFailure::NotPermitted(_) => Failure::unavailable(
            failure,
            "use the name for which its user has the permissions (`--name NAME`), or let the broker give \
             it those in docs/fleet.md",
        ),
    }
}
