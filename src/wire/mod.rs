//! All that travels: requests, messages, rows, answers, and the frames that carry them.

pub mod answer;
pub mod deflate;
pub mod frame;
pub mod message;
pub mod request;
