//! How to reach a server: libpq's connection strings, as typed, then validated into one [`Conninfo`].
//!
//! ```text
//! command line   -h -p -U, the password prompt   ┐
//! connection string   key=value, or a URI        │  the first one
//! service file   pg_service.conf                 ├─ that has a      ──► Typed ──validate──► Conninfo
//! environment    PGHOST, PGPORT, …               │  value counts             + password file
//! defaults       libpq's                         ┘
//! ```
//!
//! That is the precedence of `pg_receivewal` as it is, not as its manual has it: the command line wins over the
//! connection string. [`PARAMETERS`] says for each parameter of libpq what becomes of it here.
//!
//! This room reads the service and password files anew for each [`Conninfo::resolve`], so that a caller that resolves for
//! each connection follows a renewed password. It never connects, and never prints a secret.

mod environment;
mod error;
mod hosts;
mod key_value;
mod parameters;
mod password_file;
mod resolve;
mod service_file;
mod settings;
mod tls;
mod typed;
mod uri;
mod validate;

#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use error::{ConninfoError, Place, Warning};
pub use parameters::{Class, PARAMETERS, Parameter};
pub use password_file::{Login, find_password};
pub use resolve::Overrides;
pub use service_file::parse_service_file;
pub use settings::{
    AuthMethod, ChannelBinding, Conninfo, Endpoint, Host, Keepalives, LoadBalanceHosts, RequireAuth, RootCertificates,
    Secret, SslCertMode, SslMode, SslNegotiation, TargetSessionAttrs, TlsSettings, TlsVersion,
};
pub use typed::{Typed, parse_connection_string};
