//! The validated side: what the rest of the program may rely on. No text form survives to here that still needs parsing.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

/// Everything that is needed to open a connection, validated and with every default applied.
#[derive(Clone, Debug)]
pub struct Conninfo {
    /// The candidates in the order they were given; never empty.
    pub hosts: Vec<Host>,
    /// Whether to try `hosts` in order or shuffled.
    pub load_balance_hosts: LoadBalanceHosts,
    /// Which kind of server is wanted.
    pub target_session_attrs: TargetSessionAttrs,
    /// The role to log in as.
    pub user: String,
    /// `dbname` as given. A replication connection sends `replication` when this is `None`.
    pub dbname: Option<String>,
    /// `application_name`, else `fallback_application_name`.
    pub application_name: Option<String>,
    /// `options`: command-line options for the server process.
    pub options: Option<String>,
    /// Further run-time parameters that libpq sends in the startup packet (`client_encoding`, PGDATESTYLE, PGTZ, PGGEQO).
    pub startup_parameters: Vec<(String, String)>,
    /// Bound for each connection attempt, per address; `None` waits as long as the system does.
    pub connect_timeout: Option<Duration>,
    /// TCP keep-alives; `None` where `keepalives=0`.
    pub keepalives: Option<Keepalives>,
    /// `tcp_user_timeout`; `None` leaves the system's default.
    pub tcp_user_timeout: Option<Duration>,
    /// Which authentication exchanges are acceptable.
    pub require_auth: RequireAuth,
    /// Whether SCRAM must, may or must not be bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// How the connection is encrypted and whom it trusts. Ignored on unix sockets, as in libpq.
    pub tls: TlsSettings,
}

/// One candidate of a connection string, with the password that is meant for it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// TCP port, or the number in the unix socket's name.
    pub port: u16,
    /// From `password`, PGPASSWORD or the password file; `None` where none of them has one.
    pub password: Option<Secret>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP. At least one of the two is there.
    Tcp {
        /// The name to resolve and to verify the certificate against; `None` where only `hostaddr` was given.
        host: Option<String>,
        /// The address to use instead of resolving `host`.
        hostaddr: Option<IpAddr>,
    },
    /// The directory of a unix socket; a leading `@` means Linux' abstract name space. The socket is
    /// `<directory>/.s.PGSQL.<port>`.
    Unix(PathBuf),
}

/// A value that must never be seen in a log: its `Debug` and `Display` show stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// `keepalives_*`; `None` or zero leaves the system's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalives {
    /// `keepalives_idle`
    pub idle: Option<Duration>,
    /// `keepalives_interval`
    pub interval: Option<Duration>,
    /// `keepalives_count`
    pub count: Option<u32>,
}

/// `load_balance_hosts`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalanceHosts {
    /// In the order given.
    #[default]
    Disable,
    /// Hosts, and each host's addresses, in random order.
    Random,
}

/// `target_session_attrs`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Any server.
    #[default]
    Any,
    /// One where a session may write.
    ReadWrite,
    /// One where a session may not.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is in recovery.
    Standby,
    /// One that is in recovery, else any.
    PreferStandby,
}

/// An authentication exchange, as `require_auth` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// `password`: clear text.
    Password,
    /// `md5`
    Md5,
    /// `gss`
    Gss,
    /// `sspi`
    Sspi,
    /// `scram-sha-256`, with or without channel binding.
    ScramSha256,
    /// `oauth`
    OAuth,
    /// `none`: the server asks for nothing (trust, or a client certificate).
    None,
}

/// `require_auth`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RequireAuth {
    /// Whatever the server asks for.
    #[default]
    Any,
    /// Only these.
    Only(Vec<AuthMethod>),
    /// All but these.
    Not(Vec<AuthMethod>),
}

/// `channel_binding`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it.
    #[default]
    Prefer,
    /// Or no connection.
    Require,
}

/// Everything about TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Whether to encrypt, and what to verify.
    pub mode: SslMode,
    /// How TLS begins.
    pub negotiation: SslNegotiation,
    /// Whom to trust. libpq's default file counts only where it exists, so that is looked up for every connection.
    pub root: RootCertificates,
    /// Our certificate, read anew for every connection. libpq's default file counts only where it exists.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whether our certificate is sent.
    pub certificate_mode: SslCertMode,
    /// Revoked certificates (a PEM file).
    pub crl: Option<PathBuf>,
    /// The lowest acceptable version (libpq's default is TLS 1.2).
    pub min_version: TlsVersion,
    /// The highest acceptable version; `None`: the best there is.
    pub max_version: Option<TlsVersion>,
    /// Whether the host name is announced (`sslsni`).
    pub sni: bool,
}

/// `sslmode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Plain text only.
    Disable,
    /// Plain text first, then TLS.
    Allow,
    /// TLS first, then plain text.
    #[default]
    Prefer,
    /// TLS; the chain is verified only where a root certificate file is there (as in libpq).
    Require,
    /// TLS with a trusted chain, whatever name is in it.
    VerifyCa,
    /// TLS with a trusted chain and the host's name in it.
    VerifyFull,
}

/// `sslnegotiation`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslNegotiation {
    /// PostgreSQL's SSLRequest.
    #[default]
    Postgres,
    /// TLS at once, with ALPN `postgresql` (17 and later).
    Direct,
}

/// `sslcertmode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslCertMode {
    /// Never sent.
    Disable,
    /// Sent where the server asks and there is one.
    #[default]
    Allow,
    /// The server must ask for one.
    Require,
}

/// `sslrootcert`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// `sslrootcert` as given: it must be there where a chain is verified.
    File(PathBuf),
    /// `~/.postgresql/root.crt`, which need not be there; `None` where there is no home directory.
    DefaultFile(Option<PathBuf>),
    /// `system`: the system's store.
    System,
}

/// TLS versions that this agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

impl Secret {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the wire and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
