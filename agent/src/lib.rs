//! The native WAL receiver for PostgreSQL, as a library.
//!
//! The rooms, in the direction in which they know each other (ARCHITECTURE.md has the map):
//!
//! ```text
//! app ─► cli, logging, exit
//!  ├───► verify ────► wal
//!  └───► receiver ─► replication ─► wire ─► conninfo
//!            └─────► store ───────► wal, counters ◄── everyone
//! ```

pub mod app;
pub mod cli;
pub mod conninfo;
pub mod counters;
pub mod exit;
pub mod logging;
pub mod receiver;
pub mod replication;
#[cfg(test)]
mod simulation;
pub mod store;
pub mod verify;
pub mod wal;
pub mod wire;
