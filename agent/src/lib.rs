//! The native WAL receiver for PostgreSQL, as a library.

pub mod conninfo;
pub mod wal;
pub mod wire;
