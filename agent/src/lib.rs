//! The native WAL receiver for PostgreSQL, as a library.

pub mod cli;
pub mod conninfo;
pub mod exit;
pub mod logging;
pub mod store;
pub mod wal;
