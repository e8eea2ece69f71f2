//! The journal of systemd, as `journalctl` exports it.

mod entry;
mod export;
mod spool;
