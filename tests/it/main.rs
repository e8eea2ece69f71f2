//! The promises, tested from outside: real sockets, real files, the real program, real foreign clients.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "a test that meets something unexpected fails, and may look at any file"
)]

mod clients;
mod servers;

mod cli;
mod fanout;
mod follow;
mod http;
mod limits;
mod original;
mod rooms;
mod security;
mod shutdown;
mod v1;
