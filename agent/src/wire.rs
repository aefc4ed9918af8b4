//! One connection to a PostgreSQL server: dialling, TLS, authentication, simple queries and the COPY BOTH framing.
//!
//! Owns the socket and every byte on it, and bounds everything a server can announce: the length of a message by its
//! kind, the answer to a command by its total, each phase by its time. Knows no WAL and no replication command, tries
//! the hosts of a connection string once and never again, and looks for no password other than the one it is given.
//!
//! ```text
//! connect ── for each host and address ──► dial ► tls (verify) ► startup (auth) ► session (target_session_attrs)
//! Connection ── query, start_copy_both, next, flush, finish_copy, close ──► frame ► bytes
//! ```
//!
//! Protocol: <https://www.postgresql.org/docs/current/protocol.html>.

mod auth;
mod connect;
mod connection;
mod copy;
mod dial;
mod error;
pub mod frame;
mod query;
mod session;
mod startup;
mod tls;
mod verify;

#[cfg(test)]
pub(crate) mod testing;

pub use connection::Connection;
pub use copy::{CopyEvent, CopyStart};
pub use error::{
    AuthError, ConnectAttempt, ConnectError, ConnectErrorKind, ConnectFailure, ProtocolError, ServerError, TlsError,
    WireError,
};
pub use query::ResultSet;

/// What a connection is for: it decides how the server is asked to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// Physical replication: a walsender that belongs to no database.
    Replication,
    /// Ordinary SQL in `database`.
    Sql {
        /// The database to log in to.
        database: &'a str,
    },
}
