//! The load client: many viewers of one log, the lines that they must get, and the cost to the
//! server.
//!
//! [`run`] makes one measurement with the viewers of [`load`] and the lines of [`writer`], and
//! returns a [`report`]. It prints nothing.

pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod writer;
