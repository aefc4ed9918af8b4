//! The directory that WAL is kept in.
//!
//! ```text
//! DIR/000000010000000000000007           whole, durable, right: a final name is a promise
//! DIR/000000010000000000000008.partial   still growing, already at full size, zeros behind what was received
//! DIR/00000002.history
//! DIR/.wal-agent/                        the only thing that pg_receivewal would not have left here (0700)
//!     identity                           the one cluster this directory belongs to
//!     lock                               held while an agent runs
//!     spare                              zeros, to become the next segment: while an agent runs as a synchronous standby
//! ```
//!
//! One owner has the directory, taken up in turn by equal threads; the rest of the program sends it jobs through a
//! [`Store`] and watches its [`Progress`]. Everything touches the disk through [`FileSystem`], so that tests can break each operation by name.
//! This room knows no network, and never decides where a stream starts or what is acknowledged.

mod directory;
mod disk;
mod engine;
mod error;
mod fs;
mod handle;
mod identity;
mod inventory;
#[cfg(test)]
pub(crate) mod memory;
mod segment;
mod spare;
mod work;
mod writer;

pub use disk::Disk;
pub use error::StoreError;
pub use fs::{File, FileSystem, Open};
pub use handle::Store;
#[cfg(test)]
pub(crate) use handle::{Hand, Held as HandTask};
pub use identity::Identity;
pub use inventory::{Held, Inventory, WrongSize};
pub use writer::{Progress, State, StreamId};

use crate::wal::{Lsn, PageMagic};
use std::sync::Arc;

/// Called by the thread whose flush has returned, with the byte behind the last that is durable now: whether that is dealt
/// with. Where it is not, [`Progress`] tells it.
pub type OnDurable = Arc<dyn Fn(Lsn) -> bool + Send + Sync>;

/// When what was written is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// At once; what arrives during a flush joins the next.
    Synchronous,
    /// At each completed segment, and when asked to.
    Asynchronous,
    /// Never: files are left to the operating system.
    NoSync,
}

/// What the server says about itself, and the directory must agree to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The cluster.
    pub identity: Identity,
    /// Permissions for new files: 0600, or 0640 where the server's data directory is open to its group.
    pub mode: u32,
    /// How the server's major version marks its pages; `None` where that is yet to be learned.
    pub magic: Option<PageMagic>,
}
