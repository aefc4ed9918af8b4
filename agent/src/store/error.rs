//! What can be wrong with a directory. Each message says what, where, and what to do where there is a choice.

use crate::wal::{Lsn, PageError, SegmentSize, SystemIdentifier};
use std::{io, path::PathBuf};

/// Why the store cannot go on. Nothing that was acknowledged is lost by any of these.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("could not {doing} \"{path}\": {source}{}", way_out(source), path = path.display())]
    Io {
        /// The operation, as in "could not …".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another agent holds the lock.
    #[error("directory \"{path}\" is in use by another wal-agent{}; \
             stop it, or give this one a directory of its own", held_by(holder), path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the other one wrote into its lock file.
        holder: Option<String>,
    },
    /// The directory holds another cluster's WAL.
    #[error("directory \"{path}\" holds WAL of the cluster with system identifier {found}, \
             but the server's is {server}; connect to that cluster, or give this one an empty directory",
            path = path.display())]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// Whose WAL is there.
        found: SystemIdentifier,
        /// Whose WAL was to be written.
        server: SystemIdentifier,
    },
    /// The directory holds segments of another size.
    #[error("directory \"{path}\" holds WAL segments of {found}, but the server's are {server}; \
             connect to that cluster, or give this one an empty directory", path = path.display())]
    ForeignSegmentSize {
        /// The directory.
        path: PathBuf,
        /// The size there.
        found: SegmentSize,
        /// The server's.
        server: SegmentSize,
    },
    /// The identity record cannot be read.
    #[error("\"{path}\" is not a record of the cluster that this directory belongs to ({why}); \
             move it away to have it written anew from the segments' own headers", path = path.display())]
    Identity {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The server sent other bytes than the ones that are kept.
    #[error("the server's WAL at {at} differs from what \"{path}\" holds on the same timeline; \
             nothing was overwritten", path = path.display())]
    Conflict {
        /// The file that keeps its bytes.
        path: PathBuf,
        /// The first byte that differs.
        at: Lsn,
    },
    /// The server's history of a timeline is not the one that is kept.
    #[error("the server's history of this timeline differs from \"{path}\": \
             two servers chose the same timeline; nothing was overwritten", path = path.display())]
    HistoryConflict {
        /// The stored history.
        path: PathBuf,
    },
    /// What arrived, or lies there, is no segment of this cluster at this place.
    #[error("\"{path}\" is no segment of this cluster: {source}; if it was there before, move it away", path = path.display())]
    Page {
        /// The segment.
        path: PathBuf,
        /// What its header says.
        source: PageError,
    },
    /// WAL was handed over that does not follow what came before.
    #[error("WAL at {at} does not follow what was received up to {expected}")]
    Discontinuous {
        /// Where it stands.
        at: Lsn,
        /// Where it should.
        expected: Lsn,
    },
    /// The thread that owns the directory is gone.
    #[error("the thread that owns the directory has ended")]
    Gone,
}

/// What to do about an error of the system, where its text does not say it.
fn way_out(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid();
            format!("; wal-agent runs as user id {user}, which has to be able to read and write there")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space, or give it more".to_owned(),
        io::ErrorKind::NotFound => "; it has to exist already".to_owned(),
        _ => String::new(),
    }
}

fn held_by(holder: &Option<String>) -> String {
    holder.as_ref().map(|who| format!(" ({who})")).unwrap_or_default()
}
