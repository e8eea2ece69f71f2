//! The `tailcast` program.
fn main() {}
