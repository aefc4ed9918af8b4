//! Every parameter of libpq 18 (`PQconninfoOptions` of fe-connect.c), and what becomes of it here. The one table: names
//! are looked up in it, and the manual's list is made from it.

/// A parameter of a connection string.
#[derive(Debug)]
pub struct Parameter {
    /// As libpq calls it.
    pub name: &'static str,
    /// The environment variable that stands in for it.
    pub environment: Option<&'static str>,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// What becomes of it.
    pub class: Class,
    /// What it does, or why it does nothing, or why it is refused.
    pub about: &'static str,
}

/// What becomes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It does what libpq does.
    Implemented,
    /// Accepted, because its value changes nothing here. `about` names the values, if any, for which that would be wrong:
    /// these are refused.
    Inert,
    /// Any value but an empty one is refused, because to ignore it would weaken what was asked.
    Refused,
}

impl Parameter {
    /// The parameter of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PARAMETERS.iter().find(|parameter| parameter.name == name)
    }
}

const fn implemented(name: &'static str, environment: &'static str, about: &'static str) -> Parameter {
    let environment = if environment.is_empty() { None } else { Some(environment) };
    Parameter { name, environment, secret: false, class: Class::Implemented, about }
}

const fn inert(name: &'static str, environment: &'static str, about: &'static str) -> Parameter {
    Parameter { class: Class::Inert, ..implemented(name, environment, about) }
}

const fn refused(name: &'static str, environment: &'static str, about: &'static str) -> Parameter {
    Parameter { class: Class::Refused, ..implemented(name, environment, about) }
}

const fn secret(parameter: Parameter) -> Parameter {
    Parameter { secret: true, ..parameter }
}

/// All of them, in libpq's order.
pub const PARAMETERS: &[Parameter] = &[
    implemented("service", "PGSERVICE", "section of a service file from which further parameters are taken"),
    implemented(
        "servicefile",
        "PGSERVICEFILE",
        "the service file (a parameter since libpq 19, before only a variable)",
    ),
    implemented("user", "PGUSER", "role to log in as; default: the operating system's user name"),
    secret(implemented("password", "PGPASSWORD", "password; default: from the password file")),
    implemented("passfile", "PGPASSFILE", "password file; default: ~/.pgpass"),
    implemented("channel_binding", "PGCHANNELBINDING", "disable, prefer (default) or require binding SCRAM to TLS"),
    implemented("connect_timeout", "PGCONNECT_TIMEOUT", "seconds for each attempt; zero or negative: no bound"),
    implemented(
        "dbname",
        "PGDATABASE",
        "database to name at login and to look for in the password file; default: replication. \
         Counts in the connection string only, not in a service file or the environment, as with pg_receivewal",
    ),
    implemented(
        "host",
        "PGHOST",
        "names or socket directories, separated by commas; default: a local socket directory",
    ),
    implemented("hostaddr", "PGHOSTADDR", "addresses to use in place of looking up the names, separated by commas"),
    implemented("port", "PGPORT", "one port for all hosts, or as many as there are hosts; default: 5432"),
    implemented("client_encoding", "PGCLIENTENCODING", "encoding of the server's messages; auto means UTF8"),
    implemented("options", "PGOPTIONS", "command-line options for the server process"),
    implemented("application_name", "PGAPPNAME", "name in pg_stat_replication and synchronous_standby_names"),
    implemented(
        "fallback_application_name",
        "",
        "application_name where that is not given; the program sets it itself",
    ),
    implemented("keepalives", "", "0 turns TCP keep-alives off"),
    implemented(
        "keepalives_idle",
        "",
        "seconds without traffic before the first keep-alive; zero: the system's default",
    ),
    implemented("keepalives_interval", "", "seconds between keep-alives; zero: the system's default"),
    implemented("keepalives_count", "", "lost keep-alives before the connection is dead; zero: the system's default"),
    implemented(
        "tcp_user_timeout",
        "",
        "milliseconds that sent data may stay unacknowledged; zero: the system's default",
    ),
    implemented("sslmode", "PGSSLMODE", "disable, allow, prefer (default), require, verify-ca or verify-full"),
    implemented("sslnegotiation", "PGSSLNEGOTIATION", "postgres (default), or direct: TLS without asking first"),
    inert("sslcompression", "PGSSLCOMPRESSION", "TLS is never compressed"),
    implemented("sslcert", "PGSSLCERT", "client certificate; default: ~/.postgresql/postgresql.crt"),
    implemented("sslkey", "PGSSLKEY", "its key; default: ~/.postgresql/postgresql.key. A key in an engine is refused"),
    implemented("sslcertmode", "PGSSLCERTMODE", "disable, allow (default) or require sending the client certificate"),
    secret(refused("sslpassword", "", "encrypted keys are not supported: give a key without a password")),
    implemented("sslrootcert", "PGSSLROOTCERT", "trusted certificates, or system; default: ~/.postgresql/root.crt"),
    implemented("sslcrl", "PGSSLCRL", "revoked certificates; default: ~/.postgresql/root.crl"),
    refused("sslcrldir", "PGSSLCRLDIR", "directories of revoked certificates are not supported: give a file as sslcrl"),
    implemented("sslsni", "PGSSLSNI", "1 (default) announces the host name; anything else does not"),
    refused("requirepeer", "PGREQUIREPEER", "the owner of the server process is not checked"),
    implemented("require_auth", "PGREQUIREAUTH", "acceptable (or with ! unacceptable) authentication methods"),
    inert(
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        "protocol 3.0 is spoken: 3.0 changes nothing, and 3.2 and latest are refused",
    ),
    inert("max_protocol_version", "PGMAXPROTOCOLVERSION", "protocol 3.0 is spoken, which no bound excludes"),
    implemented(
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        "TLSv1.2 (default) or TLSv1.3; older means TLSv1.2",
    ),
    implemented(
        "ssl_max_protocol_version",
        "PGSSLMAXPROTOCOLVERSION",
        "TLSv1.2 or TLSv1.3; older versions are refused",
    ),
    inert(
        "gssencmode",
        "PGGSSENCMODE",
        "nothing is encrypted by GSSAPI: disable and prefer change nothing, require is refused",
    ),
    inert("krbsrvname", "PGKRBSRVNAME", "there is no Kerberos authentication"),
    inert("gsslib", "PGGSSLIB", "there is no GSSAPI authentication"),
    inert("gssdelegation", "PGGSSDELEGATION", "no credentials are delegated: 1 is refused"),
    inert("replication", "", "always true, as with pg_receivewal"),
    implemented("target_session_attrs", "PGTARGETSESSIONATTRS", "any (default), read-write, read-only, primary, …"),
    implemented("load_balance_hosts", "PGLOADBALANCEHOSTS", "disable (default), or random: the hosts in random order"),
    secret(refused("scram_client_key", "", "SCRAM keys in place of a password are not supported: give the password")),
    secret(refused("scram_server_key", "", "SCRAM keys in place of a password are not supported: give the password")),
    refused("oauth_issuer", "", "OAuth authentication is not supported"),
    refused("oauth_client_id", "", "OAuth authentication is not supported"),
    secret(refused("oauth_client_secret", "", "OAuth authentication is not supported")),
    refused("oauth_scope", "", "OAuth authentication is not supported"),
    refused("sslkeylogfile", "", "TLS secrets are never written to a file"),
];
