//! Answers over plain HTTP: downloads with ranges, event streams, and random access to a log's
//! rows.

pub(super) mod api;
pub(super) mod download;
pub(super) mod merged_stream;
pub(super) mod stream;
