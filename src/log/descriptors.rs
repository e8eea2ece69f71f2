//! Descriptors that are reserved for logs that are followed already.
//!
//! Connections may use up all descriptors of the process. A log that is rotated then still has to
//! be opened. So a registry holds a few descriptors from the start, and lends them to the open.

use std::os::fd::OwnedFd;

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getrlimit};

use crate::log::access::Refusal;

/// The most descriptors that are reserved. An open takes about four at a time, and keeps one.
const RESERVE_MAX: usize = 16;
/// At most one in this many of the process's descriptors is reserved.
const RESERVE_SHARE: u64 = 8;

/// Descriptors that nothing else can take.
#[derive(Debug, Default)]
pub struct Reserve(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// How many descriptors are wanted.
    size: usize,
    files: Vec<OwnedFd>,
}

impl Reserve {
    /// Takes as many descriptors as the process's limit allows for, at most 16.
    #[must_use]
    pub fn take() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let size = usize::try_from(limit / RESERVE_SHARE).unwrap_or(RESERVE_MAX).min(RESERVE_MAX);
        let mut held = Held { size, files: Vec::with_capacity(size) };
        held.fill();
        Self(Mutex::new(held))
    }

    /// How many descriptors it keeps back when it is full.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.lock().size
    }

    /// Calls `open`. When the process has no descriptor left, the reserve is freed for a second
    /// try, and then filled again as far as possible.
    pub(super) fn open<T>(&self, open: impl Fn() -> Result<T, Refusal>) -> Result<T, Refusal> {
        let first = open();
        let mut held = self.0.lock();
        let result = match first {
            Err(Refusal::Exhausted) if !held.files.is_empty() => {
                held.files.clear();
                open()
            }
            first => first,
        };
        held.fill();
        result
    }

    /// Gives all descriptors back to the process for good.
    pub(super) fn release(&self) {
        *self.0.lock() = Held::default();
    }
}

impl Held {
    fn fill(&mut self) {
        while self.files.len() < self.size {
            match rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(file) => self.files.push(file),
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_second_try_has_the_reserve_which_is_filled_again() {
        let reserve = Reserve::take();
        assert!(reserve.size() > 0);
        let held = || reserve.0.lock().files.len();
        let tries = Cell::new(0);
        let opened = reserve.open(|| {
            tries.set(tries.get() + 1);
            if tries.get() == 1 { Err(Refusal::Exhausted) } else { Ok(tries.get()) }
        });
        assert_eq!((opened, held()), (Ok(2), reserve.size()));
        let missing = reserve.open(|| {
            tries.set(tries.get() + 1);
            Err::<(), _>(Refusal::NotFound)
        });
        assert_eq!((missing, tries.get()), (Err(Refusal::NotFound), 3), "it is tried once");
        reserve.release();
        let empty = reserve.open(|| {
            tries.set(tries.get() + 1);
            Err::<(), _>(Refusal::Exhausted)
        });
        assert_eq!((empty, tries.get(), held()), (Err(Refusal::Exhausted), 4, 0));
    }
}
