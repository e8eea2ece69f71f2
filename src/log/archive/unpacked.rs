//! The content of one compressed file: a file without a name that grows while the content is
//! unpacked into it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::log::archive::{Compression, Notice, Shortfall};

/// How far the unpacking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Ended(Option<Shortfall>),
}

/// The content of a compressed file, as far as it is unpacked.
#[derive(Debug)]
pub struct Unpacked {
    file: File,
    compression: Compression,
    size: AtomicU64,
    state: watch::Sender<State>,
}

impl Unpacked {
    pub(super) fn new(file: File, compression: Compression) -> Arc<Self> {
        let state = watch::channel(State::Running).0;
        Arc::new(Self { file, compression, size: AtomicU64::new(0), state })
    }

    /// The file that has the content.
    pub(in crate::log) fn file(&self) -> &File {
        &self.file
    }

    /// How the original is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// How many bytes are unpacked.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Whether no more will be unpacked.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.state.borrow() != State::Running
    }

    /// Waits until no more will be unpacked.
    pub async fn ended(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ended = state.wait_for(|state| *state != State::Running).await;
    }

    /// What has to be said where the content is not complete. None before the end.
    #[must_use]
    pub fn notice(&self) -> Option<Notice> {
        let State::Ended(Some(shortfall)) = *self.state.borrow() else { return None };
        Some(Notice { shortfall, compression: self.compression, readable: self.size() })
    }

    pub(super) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.size())?;
        self.size.fetch_add(bytes.len() as u64, Ordering::Release);
        Ok(())
    }

    pub(super) fn end(&self, shortfall: Option<Shortfall>) {
        self.state.send_replace(State::Ended(shortfall));
    }
}
