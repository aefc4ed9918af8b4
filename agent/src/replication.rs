//! The replication commands and the messages of a WAL stream, typed.
//!
//! Owns the grammar of <https://www.postgresql.org/docs/current/protocol-replication.html>: which command each major
//! version understands, what its answer must look like, and the three messages that flow during COPY BOTH. One file for
//! each command. It speaks through [`crate::wire::Connection`], never touches a socket itself, and knows no disk; it
//! decides nothing about where to stream from.

mod error;
mod history;
mod identify;
mod message;
mod setting;
mod slot;
mod stream;
mod version;

pub use error::ReplicationError;
pub use history::timeline_history;
pub use identify::{System, identify_system};
pub use message::{Message, MessageError, StatusUpdate};
pub use setting::{data_directory_mode, segment_size, sender_timeout};
pub use slot::{Slot, create_slot, drop_slot, read_slot, restart_lsn_by_sql};
pub use stream::{NextTimeline, Started, end_of_timeline, start_replication};
pub use version::{Support, Version};

/// An identifier as the replication grammar wants it: in double quotes, with those inside doubled.
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
