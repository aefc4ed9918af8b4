//! What can go wrong, typed so that a caller branches without reading a sentence.

mod connect;
mod server;

pub use connect::{AuthError, ConnectAttempt, ConnectError, ConnectErrorKind, ConnectFailure, TlsError};
pub use server::ServerError;

use std::{io, time::Duration};
use thiserror::Error;

/// What went wrong on a connection that was open.
///
/// After anything but [`WireError::Server`] from a query, the connection is of no further use.
#[derive(Debug, Error)]
pub enum WireError {
    /// The server answered with an error.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The server hung up without a word.
    #[error("server closed the connection unexpectedly")]
    Closed,
    /// The network or the TLS layer failed.
    #[error("connection to the server was lost: {0}")]
    Lost(io::Error),
    /// The server did not answer in time.
    #[error("server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// More and more is queued because the server takes nothing.
    #[error("server does not read what is sent to it")]
    NotReading,
    /// The server sent what the protocol does not allow here.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// What the protocol does not allow, or more of it than can be sensible.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A length that no message of this type has. Nothing was allocated for it.
    #[error(
        "server announced a message of type \"{}\" with {length} bytes, which is outside 4 to {limit}",
        .tag.escape_ascii()
    )]
    Length {
        /// The message's type.
        tag: u8,
        /// The announced length, which includes itself.
        length: u32,
        /// The highest length that is accepted.
        limit: u32,
    },
    /// A message that has no place here.
    #[error("server sent an unexpected message of type \"{}\"", .tag.escape_ascii())]
    Unexpected {
        /// The message's type.
        tag: u8,
    },
    /// A message whose content contradicts its type.
    #[error("server sent a malformed message of type \"{}\": {reason}", .tag.escape_ascii())]
    Malformed {
        /// The message's type.
        tag: u8,
        /// What is wrong with it.
        reason: String,
    },
    /// Well-formed messages without end.
    #[error("server sends more than can be an answer")]
    Endless,
    /// A value of ours that cannot be put into a message.
    #[error("cannot be sent to a server: {0}")]
    Unsendable(String),
}
