//! The promises, tested from outside: real sockets, real files, the real program, real foreign clients.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails loudly and opens what it wants"
)]
#![allow(unreachable_pub, reason = "`pub` is what a module gives to the others")]

mod browser;
mod clients;
mod servers;

mod cli;
mod examples;
mod fanout;
mod follow;
mod foreign;
mod http;
mod limits;
mod original;
mod page;
mod rooms;
mod screenshots;
mod security;
mod shutdown;
mod v1;
