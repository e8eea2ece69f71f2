//! All logs of all other machines: the list, and what follows and finds one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::log::file::{LogFile, Status};
use crate::log::metrics::Counter;
use crate::log::mirrored::{Feed, Figures, FoundFile, Listed, Mirror, PastElsewhere, Successor};
use crate::log::{Generation, LogPath, Offset, Refusal, blocking};
use crate::mirror::feed::Pump;
use crate::mirror::remote::{
    FetchError, Fetched, Remote, RemoteEvent, RemoteName, RemotePast, RemotePosition,
};
use crate::mirror::spool::{Spool, SpoolFile};

/// How long a new follower waits for the first word of the machine.
const FIRST_TIME_MAX: Duration = Duration::from_secs(3);
/// A log that was followed so long ago at most is followed on from there, over a restart of this
/// server. After a longer time that could be too much to bring at once.
const GO_ON_TIME_MAX: Duration = Duration::from_secs(600);
/// A machine that does not answer for so long is told to be out of reach.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(3);
/// A machine that is not ready to give a file is waited for so long. It may have to unpack it.
const BUSY_TIME_MAX: Duration = Duration::from_secs(120);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How many publications wait for the follower.
const FEED_LEN: usize = 16;
/// How often it is noted what is kept.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);
/// Of so many logs it is remembered which generation came before the one that was found first.
const SUCCESSIONS_MAX: usize = 1024;
/// At most so many logs are listed.
const LISTED_MAX: usize = 100_000;

/// The logs of other machines.
#[derive(Clone, Debug)]
pub struct MirroredLogs(Arc<Logs>);

#[derive(Debug)]
pub(super) struct Logs {
    pub(super) remote: Arc<dyn Remote>,
    spool: Spool,
    runtime: Handle,
    /// Which generation ended where directly before which other one, where no file of the first is kept.
    successions: Mutex<HashMap<RemoteName, (RemotePosition, Generation)>>,
    /// How many logs are followed.
    pub(super) followed: AtomicU64,
    /// Bytes that came by themselves.
    pub(super) fed: Counter,
}

/// The name of a log by its path, `/@HOST/absolute/path`, and by its pattern.
fn name_of(log: &LogPath) -> Option<RemoteName> {
    let path = log.as_path().as_os_str().as_bytes().strip_prefix(b"/@")?;
    let at = path.iter().position(|&byte| byte == b'/')?;
    let (host, path) = path.split_at(at);
    let host = std::str::from_utf8(host).ok().filter(|host| !host.is_empty())?;
    Some(RemoteName::new(host, path, log.pattern()))
}

/// Whether the machine has listed this path for a log.
fn is_listed_as(log: &LogPath, name: &RemoteName, path: &[u8]) -> bool {
    let Some(pattern) = log.pattern() else { return *path == *name.path };
    let split = |path: &[u8]| {
        let slash = path.iter().rposition(|&byte| byte == b'/')?;
        Some((path[..slash].to_vec(), path[slash + 1..].to_vec()))
    };
    let own = split(log.as_path().as_os_str().as_bytes());
    let (Some((directory, file)), Some((own, _))) = (split(path), own) else { return false };
    own.ends_with(&directory)
        && own.len() == directory.len() + name.host.len() + "/@".len()
        && pattern.matches(&file)
}

impl MirroredLogs {
    /// The logs that a remote brings, kept in a spool. To be called inside a runtime, in which a task
    /// then notes from time to time what is kept.
    #[must_use]
    pub fn new(remote: Arc<dyn Remote>, spool: Spool) -> Self {
        let runtime = Handle::current();
        let logs = Arc::new(Logs {
            remote,
            spool,
            runtime,
            successions: Mutex::default(),
            followed: AtomicU64::new(0),
            fed: Counter::default(),
        });
        tokio::spawn(note_regularly(Arc::downgrade(&logs)));
        Self(logs)
    }

    /// Notes what is kept, for the next server. It blocks.
    pub fn note(&self) {
        self.0.spool.note();
    }
}

async fn note_regularly(logs: Weak<Logs>) {
    loop {
        tokio::time::sleep(NOTE_INTERVAL).await;
        let Some(spool) = logs.upgrade().map(|logs| logs.spool.clone()) else { return };
        let noting = tokio::task::spawn_blocking(move || spool.note());
        if noting.await.is_err() {
            return;
        }
    }
}

impl Logs {
    /// The number that stands for a machine, where limits count devices. No device has it.
    pub(super) fn device(name: &RemoteName) -> u64 {
        let mut hasher = DefaultHasher::new();
        name.host.hash(&mut hasher);
        hasher.finish() | 1 << 63
    }

    /// The file of a generation.
    pub(super) async fn file(
        self: &Arc<Self>,
        name: &RemoteName,
        generation: Generation,
    ) -> io::Result<Arc<SpoolFile>> {
        let (logs, name) = (Arc::clone(self), name.clone());
        let device = Self::device(&name);
        let opening =
            move || logs.spool.file(&name, &generation, device, &logs.remote, &logs.runtime);
        // What is done here is done on this machine.
        blocking::run(0, opening).await.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
    }

    /// Asks the spool, which may have to wait for its disk.
    async fn in_spool<T: Send + 'static>(
        &self,
        name: &RemoteName,
        ask: impl FnOnce(&Spool, &RemoteName) -> T + Send + 'static,
    ) -> Option<T> {
        let (spool, name) = (self.spool.clone(), name.clone());
        blocking::run(0, move || ask(&spool, &name)).await
    }

    /// When a log was written to, as its machine has listed it; now, if it was not listed.
    pub(super) fn written(&self, name: &RemoteName) -> SystemTime {
        let logs = self.remote.logs(&name.host);
        let listed = logs.iter().find(|log| log.path == name.path);
        listed.map_or_else(SystemTime::now, |log| log.modified)
    }

    /// Remembers that a generation ended here directly before another one.
    pub(super) fn precedes(&self, name: &RemoteName, before: RemotePosition, next: Generation) {
        let mut all = self.successions.lock();
        if all.len() >= SUCCESSIONS_MAX {
            all.clear();
        }
        all.insert(name.clone(), (before, next));
    }

    async fn follow(self: Arc<Self>, name: RemoteName) -> Result<Feed, Refusal> {
        let stored = self.in_spool(&name, Spool::latest).await.flatten();
        let is_recent =
            |noted: SystemTime| noted.elapsed().is_ok_and(|elapsed| elapsed <= GO_ON_TIME_MAX);
        let from = stored.as_ref().filter(|stored| is_recent(stored.noted)).map(|stored| {
            RemotePosition { generation: stored.generation, offset: Offset(stored.end) }
        });
        let mut heard = self.remote.follow(&name, from);
        let device = Self::device(&name);
        let mut pump = Pump::new(Arc::clone(&self), name);
        let until = Instant::now() + FIRST_TIME_MAX;
        let mut first = Vec::new();
        while first.is_empty() {
            let event = match timeout_at(until, heard.recv()).await {
                Ok(Some(event)) => event,
                Ok(None) => return Err(Refusal::Unreachable),
                Err(_) => RemoteEvent::Unreachable,
            };
            if let (RemoteEvent::Unreachable, Some(stored)) = (&event, &stored) {
                first.extend(pump.begin_with(stored.generation).await);
            }
            first.extend(pump.hear(event).await);
        }
        let (sender, events) = mpsc::channel(FEED_LEN);
        tokio::spawn(pump.run(heard, sender));
        Ok(Feed { first, events, device })
    }

    async fn find(
        self: Arc<Self>,
        name: RemoteName,
        wanted: Generation,
        offset: Offset,
    ) -> Result<Option<FoundFile>, Refusal> {
        // How long it is.
        let asked = patiently(|| self.remote.fetch(&name, &wanted, 0..0)).await;
        let is_out_of_reach = matches!(asked, Err(FetchError::Unreachable | FetchError::Busy));
        let has = move |spool: &Spool, name: &RemoteName| spool.has(name, &wanted);
        let is_known = asked.is_ok() || self.in_spool(&name, has).await.unwrap_or(false);
        let found = match is_known {
            true => self.found(name, wanted, asked.ok()).await,
            false => None,
        };
        match found {
            Some(found) if offset <= found.end => Ok(Some(found)),
            _ if is_out_of_reach => Err(Refusal::Unreachable),
            found => Ok(found),
        }
    }

    /// The past of a log, as its machine knows it.
    async fn past(&self, name: RemoteName) -> Result<Vec<PastElsewhere>, Refusal> {
        let past = patiently(|| self.remote.past(&name)).await;
        let past = past.map_err(|error| match error {
            FetchError::Unreachable | FetchError::Busy => Refusal::Unreachable,
            FetchError::Gone | FetchError::Refused => Refusal::NotFound,
        })?;
        let elsewhere = |past: RemotePast| PastElsewhere {
            path: [b"/@", name.host.as_bytes(), &past.path].concat(),
            generation: past.generation,
            compression: past.compression,
            modified: past.modified,
            disk_size: past.disk_size,
            is_gap_after: past.is_gap_after,
        };
        Ok(past.into_iter().map(elsewhere).collect())
    }

    async fn found(
        self: Arc<Self>,
        name: RemoteName,
        wanted: Generation,
        asked: Option<Fetched>,
    ) -> Option<FoundFile> {
        let file = self.file(&name, wanted).await.ok()?;
        if let Some(asked) = &asked {
            // The wanted signature is only what a visitor says.
            file.hear_size(asked.size, None);
            if let Some(next) = asked.next.filter(|next| next.is_direct) {
                file.hear_next(next.generation);
            }
        }
        let bring = Arc::clone(&file);
        blocking::run(Self::device(&name), move || {
            bring_head(&bring);
            if bring.is_of_another(&wanted) {
                return None;
            }
            let (head, end) = (bring.head(), Offset(bring.size()));
            Some(FoundFile { file: mirrored(&bring).ok()?, head, end })
        })
        .await?
    }

    async fn next(self: Arc<Self>, name: RemoteName, before: Generation) -> Option<Successor> {
        let succession = self.successions.lock().get(&name).copied();
        let known = succession.filter(|(end, _)| end.generation.is(&before));
        if let Some((end, _)) = known {
            self.hear_end(&name, before, end.offset.0, None).await;
        }
        let known = known.map(|(_, next)| next);
        let next = move |spool: &Spool, name: &RemoteName| spool.next(name, &before);
        let known = match known {
            Some(known) => Some(known),
            None => self.in_spool(&name, next).await.flatten(),
        };
        if let Some(generation) = known {
            return Some(Successor { generation, is_direct: true });
        }
        let Fetched { size, next, .. } =
            patiently(|| self.remote.ending(&name, &before)).await.ok()?;
        let next = next?;
        // It is known then while the machine is away, too.
        let direct = next.is_direct.then_some(next.generation);
        self.hear_end(&name, before, size, direct).await;
        Some(next)
    }

    /// Takes the size of a generation that has ended, and what came directly after it, where a file of it
    /// is kept. Who was asked when that was found may have known less.
    async fn hear_end(
        self: &Arc<Self>,
        name: &RemoteName,
        generation: Generation,
        size: u64,
        next: Option<Generation>,
    ) {
        let has = move |spool: &Spool, name: &RemoteName| spool.has(name, &generation);
        if self.in_spool(name, has).await == Some(true)
            && let Ok(file) = self.file(name, generation).await
        {
            file.hear_size(size, None);
            if let Some(next) = next {
                file.hear_next(next);
            }
        }
    }
}

/// Asks a machine again that is only started again, or is not ready yet.
pub(super) async fn patiently<T>(
    ask: impl Fn() -> BoxFuture<'static, Result<T, FetchError>>,
) -> Result<T, FetchError> {
    let begun = Instant::now();
    loop {
        let asked = ask().await;
        let patience = match asked {
            Err(FetchError::Unreachable) => SILENCE_TIME_MAX,
            Err(FetchError::Busy) => BUSY_TIME_MAX,
            asked => return asked,
        };
        if begun.elapsed() >= patience {
            return asked;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Brings the first bytes of a file here, by which its generation and its encoding are known. It
/// blocks.
pub(super) fn bring_head(file: &SpoolFile) {
    use crate::log::mirrored::MirroredBytes as _;
    // Without them the file can be read all the same.
    let _brought = file.provide(0..crate::log::position::SIGNATURE_BYTES_MAX as u64);
}

/// A file of the spool as a file of a log.
pub(super) fn mirrored(file: &Arc<SpoolFile>) -> io::Result<LogFile> {
    let (handle, path) = file.handle()?;
    let identity = file.generation().identity;
    let bytes: Arc<SpoolFile> = Arc::clone(file);
    Ok(LogFile::mirrored(bytes, handle, path, identity))
}

impl Mirror for MirroredLogs {
    fn follow(&self, log: &LogPath) -> BoxFuture<'static, Result<Feed, Refusal>> {
        let logs = Arc::clone(&self.0);
        let name = name_of(log);
        async move { logs.follow(name.ok_or(Refusal::NotFound)?).await }.boxed()
    }

    fn find(
        &self,
        log: &LogPath,
        generation: Generation,
        offset: Offset,
    ) -> BoxFuture<'static, Result<Option<FoundFile>, Refusal>> {
        let (logs, name) = (Arc::clone(&self.0), name_of(log));
        async move { logs.find(name.ok_or(Refusal::NotFound)?, generation, offset).await }.boxed()
    }

    fn next(&self, log: &LogPath, before: Generation) -> BoxFuture<'static, Option<Successor>> {
        let (logs, name) = (Arc::clone(&self.0), name_of(log));
        async move { logs.next(name?, before).await }.boxed()
    }

    fn past(&self, log: &LogPath) -> BoxFuture<'static, Result<Vec<PastElsewhere>, Refusal>> {
        let (logs, name) = (Arc::clone(&self.0), name_of(log));
        async move { logs.past(name.ok_or(Refusal::NotFound)?).await }.boxed()
    }

    fn status(&self, log: &LogPath) -> Result<Status, Refusal> {
        let name = name_of(log).ok_or(Refusal::NotFound)?;
        let logs = self.0.remote.logs(&name.host);
        let listed = logs.iter().filter(|listed| is_listed_as(log, &name, &listed.path));
        let found = listed.max_by_key(|listed| listed.modified).ok_or(Refusal::NotFound)?;
        Ok(Status { size: found.size, modified: found.modified })
    }

    fn list(&self) -> (Vec<Listed>, bool) {
        let (mut all, mut is_more) = (Vec::new(), false);
        for host in self.0.remote.hosts() {
            let is_away = host.away.is_some();
            let logs = self.0.remote.logs(&host.name);
            let room = LISTED_MAX - all.len();
            is_more |= logs.len() > room;
            let own = logs.iter().filter(|log| log.path.first() == Some(&b'/'));
            all.extend(own.take(room).map(|log| {
                let path = [b"/@", host.name.as_bytes(), &log.path].concat();
                let status = Status { size: log.size, modified: log.modified };
                Listed { path, status, is_away }
            }));
        }
        (all, is_more)
    }

    fn away(&self) -> Vec<(Arc<str>, SystemTime)> {
        let hosts = self.0.remote.hosts().into_iter();
        hosts.filter_map(|host| Some((host.name, host.away?))).collect()
    }

    fn figures(&self) -> Figures {
        let Logs { remote, spool, followed, fed, .. } = &*self.0;
        let (hosts, connection) = (remote.hosts(), remote.connection());
        let away = hosts.iter().filter(|host| host.away.is_some()).count();
        Figures {
            is_connected: connection.is_up,
            losses: connection.losses,
            machines: hosts.len() as u64,
            machines_away: away as u64,
            followed: followed.load(Ordering::Relaxed),
            fed_bytes: fed.get(),
            fetched_bytes: spool.fetched_bytes(),
            kept_bytes: spool.bytes(),
            kept_bytes_max: spool.bytes_max(),
            evicted_files: spool.evicted_files(),
        }
    }
}
