//! Everything that can end a connection, and what to make of it: retry soon, retry patiently, or end the program.

use super::backoff::Pace;
use crate::{
    exit::Exit,
    replication::{MessageError, ReplicationError},
    store::StoreError,
    wal::{HistoryError, Lsn, TimelineId},
    wire::{ConnectError, ConnectErrorKind, WireError},
};
use std::sync::Arc;

/// Why a stream, or the attempt to have one, ended.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A replication command failed.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The stream broke off.
    #[error("could not receive data from WAL stream: {0}")]
    Wire(WireError),
    /// The server ended the stream with an error.
    #[error("unexpected termination of replication stream: {0}")]
    Terminated(WireError),
    /// The server sent a message that is none.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The directory refuses.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// WAL that does not follow.
    #[error("got WAL data at {at}, expected {expected}")]
    Misplaced {
        /// Where it stands.
        at: Lsn,
        /// Where it should.
        expected: Lsn,
    },
    /// The server ended the stream in good order, as it does when it shuts down.
    #[error("replication stream was terminated before stop point")]
    ServerEnded,
    /// There is no such slot, and it is not to be created.
    #[error("replication slot \"{0}\" does not exist; create it with --create-slot, or correct its name")]
    SlotMissing(String),
    /// The server is on an older timeline than the directory.
    #[error(
        "starting timeline {held} is not present in the server, which is on timeline {server}; \
             it is not followed backwards: connect to the present primary, or give this server an empty directory"
    )]
    ServerIsBehind {
        /// The highest timeline in the directory.
        held: TimelineId,
        /// The server's.
        server: TimelineId,
    },
    /// The server's history file makes no sense.
    #[error("the server's history of timeline {timeline} is malformed: {source}")]
    History {
        /// Whose history.
        timeline: TimelineId,
        /// What is wrong with it.
        source: HistoryError,
    },
    /// The server names a next timeline that is not behind this one.
    #[error("server reported unexpected next timeline {next}, following timeline {current}")]
    NextTimeline {
        /// The one it named.
        next: TimelineId,
        /// The one that ended.
        current: TimelineId,
    },
    /// The server left a timeline behind the point where it says the next one begins.
    #[error(
        "server stopped streaming timeline {current} at {received}, but reported next timeline {next} to begin at {start}"
    )]
    NextStart {
        /// The one that ended.
        current: TimelineId,
        /// What was received of it.
        received: Lsn,
        /// The next one.
        next: TimelineId,
        /// Its beginning.
        start: Lsn,
    },
    /// At a stop, the disk did not finish in time.
    #[error("the disk did not finish within the time that a stop may take")]
    DiskTooSlow,
    /// A stop was requested: no trouble, but the end of whatever was going on.
    #[error("received interrupt signal, exiting")]
    Stopped,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl Trouble {
    /// With what the program ends because of this; `None`: it goes on and tries again.
    pub(super) fn exit(&self, no_loop: bool, at_start: bool) -> Option<Exit> {
        let otherwise = no_loop.then_some(Exit::Failed);
        match self {
            Self::Store(error) => match **error {
                StoreError::InUse { .. } => Some(Exit::DirectoryInUse),
                // Nothing brings it back but a new start.
                StoreError::Gone => Some(Exit::Failed),
                StoreError::ForeignCluster { .. } | StoreError::ForeignSegmentSize { .. } if at_start => {
                    Some(Exit::ForeignDirectory)
                }
                StoreError::Identity { .. } | StoreError::Page { .. } if at_start => Some(Exit::ForeignDirectory),
                _ => otherwise,
            },
            Self::Replication(
                ReplicationError::TooOld(_)
                | ReplicationError::NotReplication(_)
                | ReplicationError::FloatingPointTimes,
            ) if at_start => Some(Exit::Failed),
            _ => otherwise,
        }
    }

    /// How soon another attempt is worth its while.
    pub(super) fn pace(&self) -> Pace {
        match self {
            Self::Connect(error) => match error.kind() {
                ConnectErrorKind::Authentication
                | ConnectErrorKind::Tls
                | ConnectErrorKind::NotPostgres
                | ConnectErrorKind::Protocol
                | ConnectErrorKind::Server => Pace::Patient,
                ConnectErrorKind::Unreachable
                | ConnectErrorKind::NotAccepting
                | ConnectErrorKind::TooManyConnections
                | ConnectErrorKind::SessionAttrs => Pace::Eager,
            },
            Self::Store(error) => match **error {
                // Space may be freed any moment.
                StoreError::Io { .. } => Pace::Eager,
                _ => Pace::Patient,
            },
            Self::Wire(_) | Self::Terminated(_) | Self::ServerEnded | Self::Replication(_) => Pace::Eager,
            _ => Pace::Patient,
        }
    }

    /// Whether it cannot mend itself.
    pub(super) fn needs_a_person(&self) -> bool {
        match self {
            Self::Store(error) => !matches!(**error, StoreError::Io { .. }),
            Self::ServerIsBehind { .. } | Self::SlotMissing(_) => true,
            _ => false,
        }
    }
}
