//! What can go wrong with a replication command.

use super::version::Version;
use crate::wire::{ServerError, WireError};

/// Why a replication command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// The server refused, or the connection failed.
    #[error("could not send replication command \"{command}\": {source}")]
    Command {
        /// The command as it was sent.
        command: String,
        /// Why.
        source: WireError,
    },
    /// The answer has not the form that the protocol gives it.
    #[error("the server's answer to \"{command}\" is not understood: {why}")]
    Answer {
        /// The command.
        command: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server is too old.
    #[error("incompatible server version {0}; wal-agent does not support streaming from server versions older than 13")]
    TooOld(Version),
    /// The connection is one for SQL: a pooler in between has dropped `replication=true`.
    #[error(
        "the connection is not a replication connection but belongs to database \"{0}\"; \
             connect to the server itself, without a connection pooler"
    )]
    NotReplication(String),
    /// A server built without 64-bit timestamps.
    #[error("integer_datetimes is off on the server: it is no PostgreSQL that this agent can stream from")]
    FloatingPointTimes,
}

impl ReplicationError {
    /// What the server said, if it was the server who refused.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Command { source: WireError::Server(error), .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the server has no slot of that name (SQLSTATE 42704, `undefined_object`).
    pub fn is_missing_slot(&self) -> bool {
        self.has_code("42704")
    }

    /// Whether the server has a slot of that name already (SQLSTATE 42710, `duplicate_object`).
    pub fn is_duplicate_slot(&self) -> bool {
        self.has_code("42710")
    }

    fn has_code(&self, code: &str) -> bool {
        self.server().is_some_and(|error| error.code == code)
    }

    pub(super) fn answer(command: &str, why: impl Into<String>) -> Self {
        Self::Answer { command: command.to_owned(), why: why.into() }
    }
}
