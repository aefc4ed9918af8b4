//! The native WAL receiver for PostgreSQL, as a library.

pub mod conninfo;
pub mod logging;
pub mod store;
pub mod wal;
