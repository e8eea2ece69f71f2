//! The promises, tested from outside.
