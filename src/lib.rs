//! tailcast: a shared live log viewer.
