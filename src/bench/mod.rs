//! The load client: many viewers of one log, the lines that they are to get, and what that cost the server.

pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod writer;
