//! Points where a test makes the system calls of the followers fail, hang, panic or report wrong
//! sizes.
//!
//! Failpoints belong to one [`Access`](crate::log::Access) and to all that is opened with it, so
//! that servers in one process do not disturb each other. Without the feature `faults` there is
//! nothing to set, and the points do nothing.

use std::path::Path;

#[cfg(feature = "faults")]
use rustix::io::Errno;
use rustix::io::Result;

/// A kind of system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// The lookup of the file that a path leads to.
    Look,
    /// The open of a file for reading.
    Open,
    /// `fstat`.
    Stat,
    /// `pread`.
    Read,
    /// `lseek`, which finds the next data in a sparse file.
    Seek,
    /// `readlink`, which returns the path of an open file.
    Link,
    /// `inotify_add_watch`.
    Watch,
}

/// The faults of one [`Access`](crate::log::Access). Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Failpoints {
    #[cfg(feature = "faults")]
    shared: std::sync::Arc<set::Shared>,
}

/// The calls on one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Failpoint {
    #[cfg(feature = "faults")]
    of: (Failpoints, std::path::PathBuf),
}

#[cfg(not(feature = "faults"))]
#[allow(clippy::unused_self, reason = "the same calls with the feature have an answer")]
impl Failpoints {
    pub(super) fn check(&self, _: Call, _: &Path) -> Result<()> {
        Ok(())
    }

    pub(super) fn point(&self, _: &Path) -> Failpoint {
        Failpoint {}
    }

    pub(super) fn is_deaf(&self) -> bool {
        false
    }
}

#[cfg(not(feature = "faults"))]
#[allow(clippy::unused_self, reason = "the same calls with the feature have an answer")]
impl Failpoint {
    pub(super) fn check(&self, _: Call) -> Result<()> {
        Ok(())
    }

    pub(super) fn hangs(&self) -> bool {
        false
    }

    pub(super) fn size(&self, size: u64) -> u64 {
        size
    }
}

#[cfg(feature = "faults")]
mod set {
    use std::collections::HashMap;
    use std::path::PathBuf;

    use parking_lot::{Condvar, Mutex, MutexGuard};

    use super::{Call, Errno, Failpoint, Failpoints, Path, Result};

    #[derive(Debug, Default)]
    pub(super) struct Shared {
        plan: Mutex<Plan>,
        /// Notified when faults end, for the calls that hang.
        mended: Condvar,
    }

    #[derive(Debug, Default)]
    pub(super) struct Plan {
        /// How many calls there have been of each kind.
        calls: HashMap<Call, u64>,
        /// The call that fails, the number of calls of its kind before it, and its error.
        once: Option<(Call, u64, Errno)>,
        lasting: Vec<(Call, PathBuf, Fault)>,
        /// A file, and the number of bytes that its next `fstat` leaves out of the size.
        short: Option<(PathBuf, u64)>,
        deaf: bool,
        /// How many calls hang now.
        hanging: usize,
    }

    /// What happens to a call until the faults end.
    #[derive(Clone, Copy, Debug)]
    enum Fault {
        Fails(Errno),
        Hangs,
        Panics,
    }

    impl Plan {
        fn calls(&self) -> u64 {
            self.calls.values().sum()
        }

        fn fault(&self, call: Call, path: &Path) -> Option<Fault> {
            let of = |(of, at, _): &&(Call, PathBuf, Fault)| *of == call && path.starts_with(at);
            self.lasting.iter().find(of).map(|(_, _, fault)| *fault)
        }
    }

    impl Failpoints {
        fn plan(&self) -> MutexGuard<'_, Plan> {
            self.shared.plan.lock()
        }

        /// How many calls there have been.
        #[must_use]
        pub fn calls(&self) -> u64 {
            self.plan().calls()
        }

        /// How many of them were of this kind.
        #[must_use]
        pub fn calls_of(&self, call: Call) -> u64 {
            self.plan().calls.get(&call).copied().unwrap_or(0)
        }

        /// Makes one call fail, the `nth` of its kind from now, counted from 0.
        pub fn fail_nth(&self, call: Call, nth: u64, errno: Errno) {
            self.plan().once = Some((call, nth, errno));
        }

        /// Whether the call that [`fail_nth`](Self::fail_nth) made fail has come.
        #[must_use]
        pub fn has_failed(&self) -> bool {
            self.plan().once.is_none()
        }

        /// Makes each such call on this file, or below this directory, fail until
        /// [`mend`](Self::mend).
        pub fn fail(&self, call: Call, path: impl Into<PathBuf>, errno: Errno) {
            self.plan().lasting.push((call, path.into(), Fault::Fails(errno)));
        }

        /// Makes each such call hang until [`mend`](Self::mend), like a call to a file server that
        /// does not answer.
        pub fn hang(&self, call: Call, path: impl Into<PathBuf>) {
            self.plan().lasting.push((call, path.into(), Fault::Hangs));
        }

        /// How many calls hang now.
        #[must_use]
        pub fn hanging(&self) -> usize {
            self.plan().hanging
        }

        /// Makes each such call panic until [`mend`](Self::mend).
        pub fn panic(&self, call: Call, path: impl Into<PathBuf>) {
            self.plan().lasting.push((call, path.into(), Fault::Panics));
        }

        /// Makes the next `fstat` of this file report a size that is too small by this many bytes.
        pub fn shorten_once(&self, path: impl Into<PathBuf>, bytes: u64) {
            self.plan().short = Some((path.into(), bytes));
        }

        /// Drops all further events of the file system. The watches stay in place.
        pub fn deafen(&self) {
            self.plan().deaf = true;
        }

        /// Ends all faults.
        pub fn mend(&self) {
            let mut plan = self.plan();
            let (calls, hanging) = (std::mem::take(&mut plan.calls), plan.hanging);
            *plan = Plan { calls, hanging, ..Plan::default() };
            self.shared.mended.notify_all();
        }

        pub(in crate::log) fn check(&self, call: Call, path: &Path) -> Result<()> {
            let mut plan = self.plan();
            *plan.calls.entry(call).or_default() += 1;
            if let Some((_, before, errno)) = plan.once.as_mut().filter(|(of, ..)| *of == call) {
                match before.checked_sub(1) {
                    Some(left) => *before = left,
                    None => {
                        let errno = *errno;
                        plan.once = None;
                        return Err(errno);
                    }
                }
            }
            match plan.fault(call, path) {
                None => Ok(()),
                Some(Fault::Fails(errno)) => Err(errno),
                Some(Fault::Panics) => {
                    drop(plan);
                    panic!("a failpoint of {call:?}");
                }
                Some(Fault::Hangs) => {
                    plan.hanging += 1;
                    while let Some(Fault::Hangs) = plan.fault(call, path) {
                        self.shared.mended.wait(&mut plan);
                    }
                    plan.hanging -= 1;
                    Ok(())
                }
            }
        }

        pub(in crate::log) fn point(&self, path: &Path) -> Failpoint {
            Failpoint { of: (self.clone(), path.to_owned()) }
        }

        /// Whether events are dropped.
        #[must_use]
        pub fn is_deaf(&self) -> bool {
            self.plan().deaf
        }
    }

    impl Failpoint {
        pub(in crate::log) fn check(&self, call: Call) -> Result<()> {
            let (faults, path) = &self.of;
            faults.check(call, path)
        }

        /// Whether any call hangs. What is in memory is asked for without a call that may.
        pub(in crate::log) fn hangs(&self) -> bool {
            let (faults, path) = &self.of;
            let hangs = |(_, at, fault): &(Call, PathBuf, Fault)| {
                path.starts_with(at) && matches!(fault, Fault::Hangs)
            };
            faults.plan().lasting.iter().any(hangs)
        }

        pub(in crate::log) fn size(&self, size: u64) -> u64 {
            let (faults, path) = &self.of;
            match faults.plan().short.take_if(|(at, _)| at == path) {
                Some((_, bytes)) => size.saturating_sub(bytes),
                None => size,
            }
        }
    }
}
