//! The harness: everything that lets a scenario run against real PostgreSQL.
//!
//! ```text
//! postgres   programs of PostgreSQL 13 … 18, fetched once into a cache
//! server     a throwaway server: start, stop, kill, standby, base backup, recovery
//! receiver   wal-agent or pg_receivewal as a process under observation
//! load       clients that note each acknowledged commit
//! compare    receivers' directories with each other and with the server's pg_wal
//! certs      a certificate authority and what it signs
//! scripted   a server that says what no server says
//! tap        a relay that notes each status a receiver sends
//! slow_disk  a directory whose flushes take as long as a scenario says
//! embedded   the agent as a library, on such a directory
//! demo       the story of `cargo xtask demo`
//! bench      the figures of `cargo xtask bench`
//! ```
//!
//! What a scenario waits for it awaits with [`wait::until`], which says what did not come and never waits for ever.

pub mod agent;
pub mod bench;
pub mod certs;
pub mod compare;
pub mod demo;
pub mod embedded;
pub mod load;
pub mod postgres;
pub mod receiver;
pub mod scripted;
pub mod server;
pub mod slow_disk;
pub mod tap;
pub mod wait;

mod account;
mod port;
mod process;
