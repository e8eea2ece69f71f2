//! A remote that may not be there yet: the logs of other machines are out of reach until it is.

use std::ops::Range;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{SetOnce, mpsc};

use crate::log::Generation;
use crate::mirror::remote::{
    Connection, FetchError, Fetched, Host, Remote, RemoteEvent, RemoteLog, RemoteName, RemotePast,
    RemotePosition,
};

/// How many events of a log wait for its mirror.
const EVENTS_AHEAD: usize = 4;

/// A remote once it is there.
#[derive(Clone, Debug, Default)]
pub struct LaterRemote(Arc<SetOnce<Arc<dyn Remote>>>);

impl LaterRemote {
    /// The remote is there. Only the first one counts.
    pub fn put(&self, remote: Arc<dyn Remote>) {
        let _already_there = self.0.set(remote);
    }
}

impl Remote for LaterRemote {
    fn hosts(&self) -> Vec<Host> {
        self.0.get().map_or_else(Vec::new, |remote| remote.hosts())
    }

    fn logs(&self, host: &str) -> Arc<[RemoteLog]> {
        self.0.get().map_or_else(|| Arc::new([]) as Arc<[_]>, |remote| remote.logs(host))
    }

    fn revision(&self) -> u64 {
        self.0.get().map_or(0, |remote| remote.revision())
    }

    fn connection(&self) -> Connection {
        self.0.get().map_or_else(Connection::default, |remote| remote.connection())
    }

    fn follow(
        &self,
        log: &RemoteName,
        from: Option<RemotePosition>,
    ) -> mpsc::Receiver<RemoteEvent> {
        if let Some(remote) = self.0.get() {
            return remote.follow(log, from);
        }
        let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
        let (own, log) = (self.clone(), log.clone());
        tokio::spawn(async move {
            if events.send(RemoteEvent::Unreachable).await.is_err() {
                return;
            }
            let remote = tokio::select! {
                remote = own.0.wait() => Arc::clone(remote),
                () = events.closed() => return,
            };
            let mut heard = remote.follow(&log, from);
            while let Some(event) = heard.recv().await {
                if events.send(event).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    fn fetch(
        &self,
        log: &RemoteName,
        generation: &Generation,
        range: Range<u64>,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        match self.0.get() {
            Some(remote) => remote.fetch(log, generation, range),
            None => std::future::ready(Err(FetchError::Unreachable)).boxed(),
        }
    }

    fn ending(
        &self,
        log: &RemoteName,
        generation: &Generation,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        match self.0.get() {
            Some(remote) => remote.ending(log, generation),
            None => std::future::ready(Err(FetchError::Unreachable)).boxed(),
        }
    }

    fn past(&self, log: &RemoteName) -> BoxFuture<'static, Result<Vec<RemotePast>, FetchError>> {
        match self.0.get() {
            Some(remote) => remote.past(log),
            None => std::future::ready(Err(FetchError::Unreachable)).boxed(),
        }
    }
}
