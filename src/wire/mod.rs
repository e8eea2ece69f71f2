//! The data between server and viewers: requests, messages, rows, answers, and the frames that
//! carry them.
//!
//! Nothing outside this module is serialised, and no other module below `serve` knows what a
//! WebSocket frame or a compressed message looks like.

pub mod answer;
pub mod deflate;
pub mod frame;
pub mod message;
pub mod request;
pub mod rows;
