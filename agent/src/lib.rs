//! The native WAL receiver for PostgreSQL, as a library.

pub mod conninfo;
pub mod exit;
pub mod logging;
pub mod wal;
