//! Whose turn it is: reading and searching takes threads and cores that viewers need too.

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::search::Lost;

/// So many short reads run at once, in the whole process.
const GLANCES: usize = 4;

/// Turns of those who look around, given in the order in which they ask.
#[derive(Debug)]
pub struct Turns {
    glances: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { glances: Semaphore::new(GLANCES) }
    }
}

impl Turns {
    /// Runs something that takes some milliseconds on a thread that may block.
    ///
    /// # Errors
    /// Its own, and when the process is going down.
    pub async fn glance<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, Lost> + Send + 'static,
    ) -> Result<T, Lost> {
        let Ok(_turn) = self.glances.acquire().await else { return Err(Lost::Unreadable) };
        spawn_blocking(look).await.unwrap_or(Err(Lost::Unreadable))
    }
}
