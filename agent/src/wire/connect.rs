//! The search for a server: each host of the connection string, each of its addresses, with TLS or without, once.
//!
//! As libpq (`PQconnectPoll` in `src/interfaces/libpq/fe-connect.c`), the search goes on where a server cannot be
//! reached, is starting up or shutting down, or is not of the kind that is wanted. It ends where a server refuses us or
//! cannot be trusted: a password is not carried from door to door. Unlike libpq, it also goes on where a connection
//! breaks in the middle of its start, since a dying server does just that.
//!
//! `connect_timeout` bounds everything that is done with one address. Without it, connecting takes as long as the system
//! allows, and what follows takes [`START_PATIENCE`] at most; so does resolving a name.

use super::{
    ConnectAttempt, ConnectError, ConnectErrorKind, ConnectFailure, Connection, Purpose, TlsError, auth::Credentials,
    connection::Socket, dial, session, startup, tls,
};
use crate::conninfo::{Conninfo, Endpoint, Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use std::{future::Future, net::SocketAddr, ops::ControlFlow, path::PathBuf, time::Duration};
use tokio::{
    io::BufReader,
    time::{Instant, timeout, timeout_at},
};

/// What is read from a socket at a time where TLS is spoken: some records of 16 KiB.
const TLS_READ: usize = 256 << 10;

/// How long TLS, authentication and the check of the session may take together, without `connect_timeout`.
const START_PATIENCE: Duration = Duration::from_secs(30);

impl Connection {
    /// Connects to the first acceptable server of `conninfo` and logs in.
    ///
    /// # Errors
    /// What happened at each address that was tried.
    pub async fn connect(conninfo: &Conninfo, purpose: Purpose<'_>) -> Result<Self, ConnectError> {
        let mut search = Search { conninfo, purpose, attempts: Vec::new() };
        let passes: &[_] = match conninfo.target_session_attrs {
            TargetSessionAttrs::PreferStandby => &[TargetSessionAttrs::Standby, TargetSessionAttrs::Any],
            ref other => std::slice::from_ref(other),
        };
        let mut hosts: Vec<_> = conninfo.hosts.iter().collect();
        if conninfo.load_balance_hosts == LoadBalanceHosts::Random {
            dial::shuffle(&mut hosts);
        }
        for wanted in passes {
            for host in &hosts {
                match search.visit(host, *wanted).await {
                    ControlFlow::Break(Some(connection)) => return Ok(*connection),
                    ControlFlow::Break(None) => return Err(ConnectError::new(search.attempts)),
                    ControlFlow::Continue(()) => {}
                }
            }
        }
        Err(ConnectError::new(search.attempts))
    }
}

/// Break: it is over, with a connection or without.
type Verdict = ControlFlow<Option<Box<Connection>>>;

struct Search<'a> {
    conninfo: &'a Conninfo,
    purpose: Purpose<'a>,
    attempts: Vec<ConnectAttempt>,
}

/// One address of one host.
struct Door<'a> {
    host: &'a Host,
    address: Address,
}

enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// How to speak to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Plain,
    /// Plain text will do, if the server has no TLS.
    PreferTls,
    RequireTls,
}

/// Why there is no connection, and what was in fact spoken.
struct Refusal {
    failure: ConnectFailure,
    plain: bool,
}

impl Search<'_> {
    async fn visit(&mut self, host: &Host, wanted: TargetSessionAttrs) -> Verdict {
        if let Endpoint::Unix(directory) = &host.endpoint {
            let address = Address::Unix(dial::socket_path(directory, host.port));
            return self.knock(&Door { host, address }, wanted).await;
        }
        let patience = self.conninfo.connect_timeout.unwrap_or(START_PATIENCE);
        let addresses = match timeout(patience, dial::resolve(&host.endpoint, host.port)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => {
                let name = host_name(host).unwrap_or_default().to_owned();
                return self.note(format!("host \"{name}\""), ConnectFailure::Resolve { host: name, error });
            }
            Err(_) => {
                let name = host_name(host).unwrap_or_default();
                return self.note(format!("resolving host \"{name}\""), ConnectFailure::Timeout(patience));
            }
        };
        let mut addresses = addresses;
        if self.conninfo.load_balance_hosts == LoadBalanceHosts::Random {
            dial::shuffle(&mut addresses);
        }
        for address in addresses {
            self.knock(&Door { host, address: Address::Tcp(address) }, wanted).await?;
        }
        ControlFlow::Continue(())
    }

    async fn knock(&mut self, door: &Door<'_>, wanted: TargetSessionAttrs) -> Verdict {
        let deadline = self.conninfo.connect_timeout.map(|patience| Instant::now() + patience);
        let mut verdict = ControlFlow::Continue(());
        let mut plain_refused = false;
        for transport in transports(self.conninfo.tls.mode, &door.address) {
            if plain_refused && *transport == Transport::Plain {
                // It has been tried where the server had no TLS.
                break;
            }
            match self.attempt(door, *transport, wanted, deadline).await {
                Ok(connection) => return ControlFlow::Break(Some(Box::new(connection))),
                Err(Refusal { failure, plain }) => {
                    plain_refused = plain;
                    let another_may_do = may_differ_by_transport(&failure);
                    verdict = self.note(door.to_string(), failure);
                    if !another_may_do {
                        break;
                    }
                }
            }
        }
        verdict
    }

    fn note(&mut self, target: String, failure: ConnectFailure) -> Verdict {
        let ends = ends_the_search(&failure);
        self.attempts.push(ConnectAttempt { target, failure });
        if ends { ControlFlow::Break(None) } else { ControlFlow::Continue(()) }
    }

    async fn attempt(
        &self,
        door: &Door<'_>,
        transport: Transport,
        wanted: TargetSessionAttrs,
        deadline: Option<Instant>,
    ) -> Result<Connection, Refusal> {
        let mut plain = transport == Transport::Plain;
        let attempt = async {
            let stream = within(deadline, self.conninfo.connect_timeout, async {
                let stream = match &door.address {
                    Address::Tcp(address) => dial::tcp(*address, self.conninfo).await.map(Dialled::Tcp),
                    Address::Unix(path) => dial::unix(path).await.map(Dialled::Unix),
                };
                stream.map_err(|error| ConnectFailure::Unreachable { error })
            })
            .await?;
            let start_deadline = deadline.unwrap_or_else(|| Instant::now() + START_PATIENCE);
            let patience = self.conninfo.connect_timeout.unwrap_or(START_PATIENCE);
            let start = self.start(stream, door, transport, wanted, &mut plain);
            within(Some(start_deadline), Some(patience), start).await
        };
        attempt.await.map_err(|failure| Refusal { failure, plain })
    }

    /// Everything between an open socket and a session that is wanted.
    async fn start(
        &self,
        stream: Dialled,
        door: &Door<'_>,
        transport: Transport,
        wanted: TargetSessionAttrs,
        plain: &mut bool,
    ) -> Result<Connection, ConnectFailure> {
        let conninfo = self.conninfo;
        let mut context = None;
        let mut end_point = None;
        let socket: Box<dyn Socket> = match (stream, &door.address) {
            (Dialled::Tcp(mut stream), Address::Tcp(address)) if transport != Transport::Plain => {
                if tls::offered(&mut stream, conninfo.tls.negotiation).await? {
                    let name = host_name(door.host);
                    // Beneath the TLS layer, which reads 4 KiB at a time.
                    let stream = BufReader::with_capacity(TLS_READ, stream);
                    let encrypted = tls::handshake(stream, &conninfo.tls, name, address.ip()).await?;
                    context = Some(encrypted.context);
                    end_point = Some(encrypted.end_point);
                    Box::new(encrypted.stream)
                } else if transport == Transport::RequireTls {
                    return Err(TlsError::NotOffered.into());
                } else {
                    *plain = true;
                    Box::new(stream)
                }
            }
            (Dialled::Tcp(stream), _) => Box::new(stream),
            (Dialled::Unix(stream), _) => stream,
        };
        let mut connection = Connection::new(socket, door.peer());
        let credentials = Credentials {
            user: &conninfo.user,
            password: door.host.password.as_ref(),
            require: &conninfo.require_auth,
            binding: conninfo.channel_binding,
            end_point,
        };
        let explain = |failure| match &context {
            Some(context) => context.explain_later(failure),
            None => failure,
        };
        startup::login(&mut connection, conninfo, self.purpose, credentials).await.map_err(explain)?;
        match session::check(&mut connection, wanted, self.purpose).await.map_err(explain) {
            Ok(()) => Ok(connection),
            Err(failure) => {
                connection.close().await;
                Err(failure)
            }
        }
    }
}

enum Dialled {
    Tcp(tokio::net::TcpStream),
    Unix(Box<dyn Socket>),
}

impl Door<'_> {
    fn peer(&self) -> String {
        match &self.address {
            Address::Unix(path) => path.display().to_string(),
            Address::Tcp(address) => match host_name(self.host) {
                Some(name) if !name.contains(':') => format!("{name}:{}", self.host.port),
                _ => address.to_string(),
            },
        }
    }
}

/// In libpq's words.
impl std::fmt::Display for Door<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = self.host.port;
        match &self.address {
            Address::Unix(path) => write!(f, "connection to server on socket \"{}\"", path.display()),
            Address::Tcp(address) => {
                let ip = address.ip().to_string();
                match host_name(self.host).filter(|name| *name != ip) {
                    Some(name) => write!(f, "connection to server at \"{name}\" ({ip}), port {port}"),
                    None => write!(f, "connection to server at \"{ip}\", port {port}"),
                }
            }
        }
    }
}

fn host_name(host: &Host) -> Option<&str> {
    match &host.endpoint {
        Endpoint::Tcp { host, .. } => host.as_deref(),
        Endpoint::Unix(_) => None,
    }
}

/// What to try at one address, in this order. As in libpq, `sslmode` says nothing about unix sockets.
fn transports(mode: SslMode, address: &Address) -> &'static [Transport] {
    match (address, mode) {
        (Address::Unix(_), _) | (_, SslMode::Disable) => &[Transport::Plain],
        (_, SslMode::Allow) => &[Transport::Plain, Transport::RequireTls],
        (_, SslMode::Prefer) => &[Transport::PreferTls, Transport::Plain],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[Transport::RequireTls],
    }
}

/// Whether the same server may do with the other transport: `pg_hba.conf` can tell them apart.
fn may_differ_by_transport(failure: &ConnectFailure) -> bool {
    match failure {
        ConnectFailure::Tls(_) | ConnectFailure::Closed | ConnectFailure::Lost(_) => true,
        ConnectFailure::Server(_) => failure.kind() != ConnectErrorKind::NotAccepting,
        _ => false,
    }
}

/// Whether the other hosts are not tried after this.
fn ends_the_search(failure: &ConnectFailure) -> bool {
    !matches!(
        failure.kind(),
        ConnectErrorKind::Unreachable | ConnectErrorKind::NotAccepting | ConnectErrorKind::SessionAttrs
    )
}

async fn within<T>(
    deadline: Option<Instant>,
    patience: Option<Duration>,
    work: impl Future<Output = Result<T, ConnectFailure>>,
) -> Result<T, ConnectFailure> {
    match (deadline, patience) {
        (Some(deadline), Some(patience)) => {
            timeout_at(deadline, work).await.unwrap_or(Err(ConnectFailure::Timeout(patience)))
        }
        _ => work.await,
    }
}

#[cfg(test)]
mod tests;
