//! How to reach a server: libpq's connection strings, as typed, then validated into one [`Conninfo`].

mod settings;

pub use settings::{
    AuthMethod, ChannelBinding, Conninfo, Endpoint, Host, Keepalives, LoadBalanceHosts, RequireAuth, RootCertificates,
    Secret, SslCertMode, SslMode, SslNegotiation, TargetSessionAttrs, TlsSettings, TlsVersion,
};
