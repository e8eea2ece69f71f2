//! The logs of other machines over the broker: a [`Remote`].

mod fetch;
mod follow;
mod hosts;
mod place;
mod reach;

use std::fmt::{self, Formatter};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::broker::names::HostName;
use crate::broker::nats::Broker;
use crate::log::Generation;
use crate::mirror::{
    Connection, FetchError, Fetched, Host, Remote, RemoteEvent, RemoteLog, RemoteName, RemotePast,
    RemotePosition,
};
use follow::Following;
use hosts::Hosts;
use place::StreamReader;

/// How many events of a log may wait for its mirror.
const EVENTS_AHEAD: usize = 4;
/// An agent that does not answer within this time is out of reach.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// The machines that agents speak for. Dropping it ends all streams.
pub struct Edge {
    reader: StreamReader,
    hosts: Arc<Hosts>,
    ended: CancellationToken,
    _ends_with_this: DropGuard,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("broker", &self.reader.broker).finish_non_exhaustive()
    }
}

impl Edge {
    /// Begins to listen for machines. It has to be called in a tokio runtime.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        let ended = CancellationToken::new();
        let hosts = Arc::new(Hosts::new(broker.clone()));
        let listening = Arc::clone(&hosts).listen();
        let until = ended.clone();
        tokio::spawn(async move { until.run_until_cancelled(listening).await });
        let reader = StreamReader::new(broker);
        Self { reader, hosts, _ends_with_this: ended.clone().drop_guard(), ended }
    }
}

impl Remote for Edge {
    fn hosts(&self) -> Vec<Host> {
        self.hosts.all()
    }

    fn logs(&self, host: &str) -> Arc<[RemoteLog]> {
        self.hosts.logs(host)
    }

    fn revision(&self) -> u64 {
        self.hosts.revision()
    }

    fn connection(&self) -> Connection {
        let link = *self.reader.broker.link().borrow();
        Connection { is_up: link.is_up, losses: link.losses() }
    }

    fn follow(
        &self,
        log: &RemoteName,
        from: Option<RemotePosition>,
    ) -> mpsc::Receiver<RemoteEvent> {
        let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
        let Ok(host) = log.host.parse::<HostName>() else {
            // No agent can have such a name. The channel stays open, as for any log that is missing.
            let until = self.ended.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = until.cancelled() => {}
                    () = events.closed() => {}
                }
            });
            return receiver;
        };
        let following = Following::new(self.reader.clone(), &self.hosts, host, &log.path, events);
        let until = self.ended.clone();
        tokio::spawn(async move { until.run_until_cancelled(following.run(from)).await });
        receiver
    }

    fn fetch(
        &self,
        log: &RemoteName,
        generation: &Generation,
        range: Range<u64>,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        let (reader, generation) = (self.reader.clone(), *generation);
        let (host, path) = (log.host.parse::<HostName>(), Arc::clone(&log.path));
        Box::pin(async move {
            let Ok(host) = host else { return Err(FetchError::Refused) };
            fetch::fetch(&reader, &host, &path, &generation, range).await
        })
    }

    fn ending(
        &self,
        log: &RemoteName,
        generation: &Generation,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        let (reader, generation) = (self.reader.clone(), *generation);
        let (host, path) = (log.host.parse::<HostName>(), Arc::clone(&log.path));
        Box::pin(async move {
            let Ok(host) = host else { return Err(FetchError::Refused) };
            fetch::ending(&reader, &host, &path, &generation).await
        })
    }

    fn past(&self, log: &RemoteName) -> BoxFuture<'static, Result<Vec<RemotePast>, FetchError>> {
        let broker = self.reader.broker.clone();
        let (host, path) = (log.host.parse::<HostName>(), Arc::clone(&log.path));
        Box::pin(async move {
            let Ok(host) = host else { return Err(FetchError::Refused) };
            fetch::past(&broker, &host, &path).await
        })
    }
}
