//! What the tests of all rooms share.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use proptest::test_runner::Config;

use crate::log::access::{LogPath, Refusal};
use crate::log::file::Status;
use crate::log::mirrored::{Feed, Figures, FoundFile, Listed, Mirror, PastElsewhere, Successor};
use crate::log::{Generation, Offset};

/// The settings of a property test with that many cases. `PROPTEST_CASES` asks all of them for more
/// or fewer, in proportion: with 2560 each runs ten times as many.
pub(crate) fn cases(usual: u32) -> Config {
    let config = Config::default();
    let cases = u64::from(usual) * u64::from(config.cases) / 256;
    let cases = u32::try_from(cases).unwrap_or(u32::MAX).max(1);
    Config { cases, failure_persistence: None, ..config }
}

/// A machine with one log, of which nobody has other bytes than those that are kept or fed.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    /// What follows the log at most once.
    pub(crate) feed: Mutex<Option<Feed>>,
    /// A file that was kept; it is given once.
    pub(crate) kept: Mutex<Option<FoundFile>>,
    /// What came after a generation.
    pub(crate) next: fn(Generation) -> Option<Generation>,
    /// It takes so long to say that.
    pub(crate) answer_time: Duration,
}

impl Mirror for Elsewhere {
    fn next(&self, _: &LogPath, before: Generation) -> BoxFuture<'static, Option<Successor>> {
        let (answer_time, next) = (self.answer_time, (self.next)(before));
        async move {
            tokio::time::sleep(answer_time).await;
            next.map(|generation| Successor { generation, is_direct: true })
        }
        .boxed()
    }

    fn follow(&self, _: &LogPath) -> BoxFuture<'static, Result<Feed, Refusal>> {
        std::future::ready(self.feed.lock().take().ok_or(Refusal::NotFound)).boxed()
    }

    fn find(
        &self,
        _: &LogPath,
        wanted: Generation,
        _: Offset,
    ) -> BoxFuture<'static, Result<Option<FoundFile>, Refusal>> {
        let found = self.kept.lock().take_if(|kept| kept.head.signed.is(&wanted));
        std::future::ready(Ok(found)).boxed()
    }

    fn past(&self, _: &LogPath) -> BoxFuture<'static, Result<Vec<PastElsewhere>, Refusal>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn status(&self, _: &LogPath) -> Result<Status, Refusal> {
        Err(Refusal::NotFound)
    }

    fn list(&self) -> (Vec<Listed>, bool) {
        (Vec::new(), false)
    }

    fn away(&self) -> Vec<(std::sync::Arc<str>, SystemTime)> {
        Vec::new()
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }
}
