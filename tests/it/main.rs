//! Integration tests: real sockets, real files, the real program, and independent clients.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "a test that meets something unexpected fails, and may look at any file"
)]

mod checked_viewer;
mod clients;
mod emulators;
mod machine;
#[cfg(feature = "nats")]
mod machines;
mod markup;
mod merged_rows;
mod merged_stream;
mod reader;
mod servers;
mod transport;

mod api;
mod archive_faults;
mod archives;
mod audience;
mod base_path;
mod bench;
mod broadcast_group;
#[cfg(feature = "nats")]
mod broker;
mod budget;
mod checkpoints;
mod cli;
mod compression;
mod config;
mod containers;
mod deploy;
mod encodings;
mod fanout;
#[cfg(feature = "faults")]
mod faults;
mod fields;
#[cfg(feature = "nats")]
mod fleet;
mod follow;
mod followers;
mod foreign;
mod gnu_tail;
mod goldens;
mod heartbeats;
mod history;
mod holes;
mod http;
mod identity;
mod journal;
mod lag;
mod large;
mod late;
mod leaks;
mod limits;
mod listen;
mod metrics;
mod mirror;
mod mirror_faults;
mod missed_files;
mod model;
mod old_files;
mod oracle;
mod original;
mod patterns;
mod proof;
mod proxies;
mod resume;
mod rights;
mod rooms;
mod rotate;
mod run;
mod screen_size;
mod security;
mod service;
mod serving;
mod shutdown;
mod stdin;
mod tail;
mod times;
mod tls;
mod truncate;
mod v1;
mod watching;
mod written_anew;
