//! The promises, tested from outside: real sockets, real files, the real program, real foreign clients.

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
