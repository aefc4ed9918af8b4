//! Why no connection came about: what happened at each address, and what kind of trouble that is.

use super::{ProtocolError, ServerError, WireError};
use std::{fmt, io, time::Duration};
use thiserror::Error;

/// No candidate of the connection string could be connected to.
#[derive(Debug, Error)]
pub struct ConnectError {
    attempts: Vec<ConnectAttempt>,
}

/// What happened at one address. An address is tried twice where `sslmode` allows both TLS and plain text.
#[derive(Debug)]
pub struct ConnectAttempt {
    /// `connection to server at "h" (192.0.2.1), port 5432`, or the like.
    pub target: String,
    /// What went wrong there.
    pub failure: ConnectFailure,
}

/// What went wrong at one address.
#[derive(Debug, Error)]
pub enum ConnectFailure {
    /// The host's name has no address.
    #[error("could not translate host name \"{host}\" to address: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// Nobody answers there.
    #[error("{error}{}", hint(.error))]
    Unreachable {
        /// What the system said.
        error: io::Error,
    },
    /// Connecting took too long.
    #[error("timeout expired after {} s", .0.as_secs())]
    Timeout(Duration),
    /// The server hung up without a word.
    #[error("server closed the connection unexpectedly")]
    Closed,
    /// The network failed during the start.
    #[error("connection to the server was lost: {0}")]
    Lost(io::Error),
    /// Something listens there that does not speak PostgreSQL's protocol.
    #[error("what answers there is not a PostgreSQL server ({0}): check host and port")]
    NotPostgres(String),
    /// No acceptable encryption.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No acceptable authentication, for us.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Not the kind of server that `target_session_attrs` asks for.
    #[error("{0}")]
    SessionAttrs(&'static str),
    /// The server refused.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The server sent what the protocol does not allow.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// Why TLS failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsError {
    /// The server has no TLS, and the settings want it.
    #[error("server does not support SSL, but SSL was required: turn it on there, or lower sslmode")]
    NotOffered,
    /// An error where the server should have said whether it has TLS. It is unauthenticated, so it is not shown.
    #[error("server sent an error response during SSL exchange")]
    ErrorResponse,
    /// A file or a setting of ours cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The server's certificate is not acceptable.
    #[error("{0}")]
    Verification(String),
    /// The server does not accept our certificate, or misses one.
    #[error("{0}")]
    Rejected(String),
    /// The two sides found no common ground, or the handshake broke.
    #[error("{0}")]
    Handshake(String),
    /// `sslcertmode=require`, and the server does not look at certificates.
    #[error("server did not request an SSL certificate")]
    CertificateNotRequested,
    /// `sslcertmode=require`, and there was no certificate to send.
    #[error("server accepted connection without a valid SSL certificate")]
    CertificateNotSent,
}

/// Why we did not go through with the authentication that the server wants.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthError {
    /// The server wants a password, and there is none.
    #[error("server asked for a password and none was supplied: put it into a password file, or set PGPASSWORD")]
    PasswordNeeded,
    /// An exchange that is not implemented here.
    #[error("server requested {0}, which is not supported here")]
    Unsupported(String),
    /// `require_auth` excludes what the server does.
    #[error("authentication method requirement \"{requirement}\" failed: {reason}")]
    Requirement {
        /// `require_auth`
        requirement: String,
        /// What the server did.
        reason: &'static str,
    },
    /// `channel_binding` excludes what the server does, or it cannot be had.
    #[error("{0}")]
    ChannelBinding(String),
    /// The SCRAM exchange failed on our side; among others, the server could not prove that it knows the password.
    #[error("SCRAM authentication failed: {0}")]
    Scram(String),
}

/// What kind of trouble it is: all that a caller needs to decide what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectErrorKind {
    /// Refused, unknown, timed out or broken off.
    Unreachable,
    /// The server is starting up or shutting down (SQLSTATE 57P03).
    NotAccepting,
    /// No connection slot is free (SQLSTATE 53300).
    TooManyConnections,
    /// Wrong or missing credentials, or a method that is not acceptable (SQLSTATE class 28 and [`AuthError`]).
    Authentication,
    /// No acceptable encryption.
    Tls,
    /// Not PostgreSQL.
    NotPostgres,
    /// A protocol violation.
    Protocol,
    /// A server, but not one of the kind that is wanted.
    SessionAttrs,
    /// Any other refusal of the server.
    Server,
}

impl ConnectError {
    pub(in crate::wire) fn new(attempts: Vec<ConnectAttempt>) -> Self {
        Self { attempts }
    }

    /// What happened, in the order of the attempts.
    pub fn attempts(&self) -> &[ConnectAttempt] {
        &self.attempts
    }

    /// The kind of the last attempt's failure: the one that ended the search.
    pub fn kind(&self) -> ConnectErrorKind {
        self.attempts.last().map_or(ConnectErrorKind::Unreachable, |attempt| attempt.failure.kind())
    }

    /// Whether the server asked for a password and there was none: the moment to ask a person for it.
    pub fn password_needed(&self) -> bool {
        self.attempts
            .last()
            .is_some_and(|attempt| matches!(attempt.failure, ConnectFailure::Auth(AuthError::PasswordNeeded)))
    }
}

/// One line for each attempt, as libpq has it.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ConnectAttempt { target, failure }) in self.attempts.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            match failure {
                // There was no address yet to connect to.
                ConnectFailure::Resolve { .. } => write!(f, "{separator}{failure}")?,
                _ => write!(f, "{separator}{target} failed: {failure}")?,
            }
        }
        Ok(())
    }
}

impl ConnectFailure {
    /// What kind of trouble it is.
    pub fn kind(&self) -> ConnectErrorKind {
        match self {
            Self::Resolve { .. } | Self::Unreachable { .. } | Self::Timeout(_) | Self::Closed | Self::Lost(_) => {
                ConnectErrorKind::Unreachable
            }
            Self::NotPostgres(_) => ConnectErrorKind::NotPostgres,
            Self::Tls(_) => ConnectErrorKind::Tls,
            Self::Auth(_) => ConnectErrorKind::Authentication,
            Self::SessionAttrs(_) => ConnectErrorKind::SessionAttrs,
            Self::Protocol(_) => ConnectErrorKind::Protocol,
            Self::Server(error) => match error.code.as_str() {
                "57P03" => ConnectErrorKind::NotAccepting,
                "53300" => ConnectErrorKind::TooManyConnections,
                code if code.starts_with("28") => ConnectErrorKind::Authentication,
                _ => ConnectErrorKind::Server,
            },
        }
    }
}

impl From<WireError> for ConnectFailure {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Server(error) => Self::Server(error),
            WireError::Closed => Self::Closed,
            WireError::Lost(error) => Self::Lost(error),
            WireError::Timeout(patience) => Self::Timeout(patience),
            WireError::NotReading => Self::Lost(io::ErrorKind::WriteZero.into()),
            WireError::Protocol(error) => Self::Protocol(error),
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => " (is the server running there and accepting connections?)",
        io::ErrorKind::NotFound => " (is the server running locally and accepting connections on that socket?)",
        _ => "",
    }
}
