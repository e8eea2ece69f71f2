//! The process of the command: signals for it, and its end.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::sync::oneshot;

/// The process of the command, while it has not been waited for.
#[derive(Debug)]
pub(super) struct Leader {
    /// None once its number may belong to another process.
    pid: Mutex<Option<Pid>>,
    /// Whether it leads a session of its own, on a pty.
    leads_group: bool,
}

impl Leader {
    /// Watches over a process. The receiver gets its status when it has ended.
    pub(super) fn watch(
        mut child: Child,
        leads_group: bool,
    ) -> io::Result<(Arc<Self>, oneshot::Receiver<io::Result<ExitStatus>>)> {
        let pid = Pid::from_child(&child);
        let leader = Arc::new(Self { pid: Mutex::new(Some(pid)), leads_group });
        let (sender, ended) = oneshot::channel();
        let waiting = Arc::clone(&leader);
        std::thread::Builder::new().name("wait".to_owned()).spawn(move || {
            // The number stays its own until it is reaped.
            let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), exited), Err(Errno::INTR)) {}
            let mut pid = waiting.pid.lock();
            let status = child.wait();
            *pid = None;
            drop(pid);
            // The receiver may be gone at the end of the program.
            let _sent = sender.send(status);
        })?;
        Ok((leader, ended))
    }

    /// Sends it a signal: on a pty, to all of its process group.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.pid.lock() {
            // It may have ended.
            let _sent = match self.leads_group {
                true => kill_process_group(pid, signal),
                false => kill_process(pid, signal),
            };
        }
    }

    /// Whether this is its process group.
    pub(super) fn is_group(&self, group: Pid) -> bool {
        self.leads_group && *self.pid.lock() == Some(group)
    }
}
