//! Tests of the search for a server: who is tried, in which order, in which way, and what is said in the end.

use super::*;
use crate::{
    conninfo::{RootCertificates, TlsSettings},
    wire::testing::{
        OK, conninfo, listen, message, parameter,
        pki::{Authority, params, server},
        read_message, read_startup, ready, report, tls_settings, welcome,
    },
};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
};
use tokio_rustls::TlsAcceptor;

/// What servers were asked, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// A server without TLS that answers each startup packet with `answer`.
async fn plain(name: &'static str, log: &Log, answer: Vec<u8>) -> SocketAddr {
    serve(name, log, None, answer.clone(), answer).await
}

/// A server that answers the startup packet with `encrypted` in TLS and with `open` in plain text.
async fn serve(
    name: &'static str,
    log: &Log,
    acceptor: Option<TlsAcceptor>,
    encrypted: Vec<u8>,
    open: Vec<u8>,
) -> SocketAddr {
    let log = log.clone();
    listen(move |_, mut stream| {
        let (log, acceptor, encrypted, open) = (log.clone(), acceptor.clone(), encrypted.clone(), open.clone());
        let note = move |what: &str| log.lock().unwrap().push(format!("{name}: {what}"));
        async move {
            let packet = read_startup(&mut stream).await;
            if packet == [4, 210, 22, 47] {
                let Some(acceptor) = acceptor else {
                    note("no TLS");
                    stream.write_all(b"N").await.unwrap();
                    // It may have left.
                    if stream.read_u32().await.is_ok() {
                        note("plain");
                        answer(stream, &open).await;
                    }
                    return;
                };
                note("TLS");
                stream.write_all(b"S").await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                read_startup(&mut stream).await;
                return answer(stream, &encrypted).await;
            }
            note("plain");
            answer(stream, &open).await;
        }
    })
    .await
}

async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

fn fatal(code: &str, text: &str) -> Vec<u8> {
    report(b'E', "FATAL", code, text)
}

fn in_recovery(yes: bool) -> Vec<u8> {
    let reported = parameter("in_hot_standby", if yes { "on" } else { "off" });
    [message(b'R', &OK), reported, parameter("default_transaction_read_only", "off"), ready()].concat()
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// Nobody listens there any more.
async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn the_search_goes_on_where_nobody_answers_and_ends_where_somebody_refuses() {
    let log = Log::default();
    let starting = plain("starting", &log, fatal("57P03", "the database system is starting up")).await;
    let dying = listen(|_, mut stream| async move {
        read_startup(&mut stream).await;
    })
    .await;
    let refusing = plain("refusing", &log, fatal("28P01", "password authentication failed")).await;
    let full = plain("full", &log, fatal("53300", "too many clients")).await;
    let good = plain("good", &log, welcome()).await;

    let connection =
        Connection::connect(&conninfo(&[closed().await, starting, dying, good]), Purpose::Replication).await;
    let connection = connection.unwrap();
    assert_eq!(connection.parameter("server_version"), Some("17.5"));
    assert_eq!(connection.peer(), format!("db.example:{}", good.port()));
    assert_eq!(taken(&log), ["starting: plain", "good: plain"]);

    for (server, kind) in [(refusing, ConnectErrorKind::Authentication), (full, ConnectErrorKind::TooManyConnections)] {
        let error = Connection::connect(&conninfo(&[server, good]), Purpose::Replication).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(taken(&log).len(), 1);
    }
}

#[tokio::test]
async fn the_error_says_what_happened_at_each_address() {
    let log = Log::default();
    let starting = plain("starting", &log, fatal("57P03", "the database system is starting up")).await;
    let nobody = closed().await;
    let mut conninfo = conninfo(&[nobody, starting]);
    conninfo.hosts[1].endpoint = Endpoint::Tcp { host: Some("127.0.0.1".into()), hostaddr: None };
    let error = Connection::connect(&conninfo, Purpose::Replication).await.unwrap_err();
    let expected = format!(
        "connection to server at \"db.example\" (127.0.0.1), port {} failed: Connection refused (os error 111) (is the \
         server running there and accepting connections?)\n\
         connection to server at \"127.0.0.1\", port {} failed: FATAL:  the database system is starting up",
        nobody.port(),
        starting.port()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.attempts().len(), 2);
    assert_eq!(error.kind(), ConnectErrorKind::NotAccepting);
    assert!(!error.password_needed());
}

#[tokio::test]
async fn a_missing_password_is_asked_for_only_where_one_is_needed() {
    let log = Log::default();
    let cleartext = plain("cleartext", &log, message(b'R', &[0, 0, 0, 3])).await;
    let mut conninfo = conninfo(&[cleartext]);
    conninfo.hosts[0].password = None;
    let error = Connection::connect(&conninfo, Purpose::Replication).await.unwrap_err();
    assert!(error.password_needed() && error.kind() == ConnectErrorKind::Authentication);
}

#[tokio::test]
async fn target_session_attrs_chooses_among_the_hosts() {
    use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
    let log = Log::default();
    let primary = plain("primary", &log, in_recovery(false)).await;
    let standby = plain("standby", &log, in_recovery(true)).await;
    for (wanted, hosts, expected) in [
        (Any, &[standby, primary][..], Some(standby)),
        (Primary, &[standby, primary], Some(primary)),
        (ReadWrite, &[standby, primary], Some(primary)),
        (ReadOnly, &[primary, standby], Some(standby)),
        (Standby, &[primary, standby], Some(standby)),
        (PreferStandby, &[primary, standby], Some(standby)),
        (PreferStandby, &[primary, primary], Some(primary)),
        (Standby, &[primary, primary], None),
    ] {
        let mut conninfo = conninfo(hosts);
        conninfo.target_session_attrs = wanted;
        let found = Connection::connect(&conninfo, Purpose::Replication).await;
        let expected = expected.map(|address| format!("db.example:{}", address.port()));
        assert_eq!(found.as_ref().ok().map(Connection::peer), expected.as_deref(), "{wanted:?} {hosts:?}");
        if let Err(error) = found {
            assert_eq!(error.kind(), ConnectErrorKind::SessionAttrs);
            assert!(error.to_string().contains("server is not in hot standby mode"), "{error}");
        }
    }
}

#[tokio::test]
async fn encryption_falls_back_as_sslmode_allows() {
    use SslMode::{Allow, Disable, Prefer, Require};
    let log = Log::default();
    let authority = Authority::new();
    let leaf = authority.issue(&params("", &["db.example"]));
    let acceptor = TlsAcceptor::from(Arc::new(server(&leaf, None)));
    let directory = tempfile::tempdir().unwrap();
    let foreign = directory.path().join("foreign.crt");
    std::fs::write(&foreign, Authority::new().pem()).unwrap();

    let refuse = || fatal("28000", "no pg_hba.conf entry");
    let both = serve("both", &log, Some(acceptor.clone()), welcome(), welcome()).await;
    let only_tls = serve("only_tls", &log, Some(acceptor.clone()), welcome(), refuse()).await;
    let only_plain = serve("only_plain", &log, Some(acceptor.clone()), refuse(), welcome()).await;
    let without = serve("without", &log, None, Vec::new(), welcome()).await;
    let unwilling = serve("unwilling", &log, None, Vec::new(), refuse()).await;
    let starting =
        serve("starting", &log, Some(acceptor), fatal("57P03", "starting"), fatal("57P03", "starting")).await;
    let trusting = tls_settings;
    let distrusting = |mode| TlsSettings { root: RootCertificates::File(foreign.clone()), ..tls_settings(mode) };
    for (settings, server, expected) in [
        (trusting(Disable), both, "both: plain, in"),
        (trusting(Allow), both, "both: plain, in"),
        (trusting(Prefer), both, "both: TLS, in"),
        (trusting(Require), both, "both: TLS, in"),
        (trusting(Disable), only_tls, "only_tls: plain, out"),
        (trusting(Allow), only_tls, "only_tls: plain, only_tls: TLS, in"),
        (trusting(Prefer), only_plain, "only_plain: TLS, only_plain: plain, in"),
        (trusting(Require), only_plain, "only_plain: TLS, out"),
        (trusting(Allow), without, "without: plain, in"),
        (trusting(Prefer), without, "without: no TLS, without: plain, in"),
        (trusting(Require), without, "without: no TLS, out"),
        // Plain text has been tried: not once more.
        (trusting(Prefer), unwilling, "unwilling: no TLS, unwilling: plain, out"),
        (trusting(Prefer), starting, "starting: TLS, out"),
        (distrusting(Prefer), both, "both: TLS, both: plain, in"),
        (distrusting(Require), both, "both: TLS, out"),
    ] {
        let mut conninfo = conninfo(&[server]);
        conninfo.tls = settings;
        let mode = conninfo.tls.mode;
        let found = Connection::connect(&conninfo, Purpose::Replication).await;
        let mut trace = taken(&log);
        trace.push(if found.is_ok() { "in" } else { "out" }.into());
        assert_eq!(trace.join(", "), expected, "{mode:?}: {:?}", found.err().map(|error| error.to_string()));
    }
}

#[tokio::test]
async fn a_certificate_that_the_server_rejects_after_the_handshake_is_explained() {
    let authority = Authority::new();
    let leaf = authority.issue(&params("", &["db.example"]));
    let acceptor = TlsAcceptor::from(Arc::new(server(&leaf, Some(&authority))));
    let server = serve("strict", &Log::default(), Some(acceptor), welcome(), welcome()).await;
    let mut conninfo = conninfo(&[server]);
    conninfo.tls = tls_settings(SslMode::Require);
    let error = Connection::connect(&conninfo, Purpose::Replication).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Tls);
    assert!(error.to_string().contains("rejected us without a client certificate"), "{error}");
}

#[tokio::test]
async fn unix_sockets_know_no_tls() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dial::socket_path(directory.path(), 5432)).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(read_startup(&mut stream).await[..4], [0, 3, 0, 0]);
        stream.write_all(&welcome()).await.unwrap();
        read_message(&mut stream).await.0
    });
    let mut conninfo = conninfo(&[closed().await]);
    conninfo.hosts[0].endpoint = Endpoint::Unix(directory.path().to_owned());
    conninfo.hosts[0].port = 5432;
    conninfo.tls = tls_settings(SslMode::VerifyFull);
    let connection = Connection::connect(&conninfo, Purpose::Replication).await.unwrap();
    assert!(connection.peer().ends_with("/.s.PGSQL.5432"));
    connection.close().await;
    assert_eq!(server.await.unwrap(), b'X');

    conninfo.hosts[0].port = 5433;
    let error = Connection::connect(&conninfo, Purpose::Replication).await.unwrap_err().to_string();
    assert!(error.contains("connection to server on socket \"/") && error.contains("5433\" failed: "), "{error}");
}

#[tokio::test]
async fn a_name_without_address_is_an_error_of_its_own() {
    let mut conninfo = conninfo(&[closed().await]);
    conninfo.hosts[0].endpoint = Endpoint::Tcp { host: Some("no such host".into()), hostaddr: None };
    let error = Connection::connect(&conninfo, Purpose::Replication).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
    assert!(error.to_string().starts_with("could not translate host name \"no such host\" to address: "), "{error}");
}

/// Takes the connection, says `start`, and never anything again.
async fn hanging(start: &'static [u8]) -> SocketAddr {
    listen(move |_, mut stream: TcpStream| async move {
        stream.write_all(start).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_in_any_phase_is_given_up() {
    for (mode, start) in [
        (SslMode::Disable, &b""[..]),
        (SslMode::Disable, b"R\0\0"),
        (SslMode::Disable, b"R\0\0\0\x08\0\0\0\0"),
        (SslMode::Disable, b"R\0\0\0\x08\0\0\0\x03"),
        (SslMode::Require, b""),
        (SslMode::Require, b"S"),
        (SslMode::Require, b"S\x16\x03\x03"),
    ] {
        for connect_timeout in [None, Some(Duration::from_secs(5))] {
            let mut conninfo = conninfo(&[hanging(start).await]);
            conninfo.tls = tls_settings(mode);
            conninfo.connect_timeout = connect_timeout;
            let error = Connection::connect(&conninfo, Purpose::Replication).await.unwrap_err();
            let expected = format!("timeout expired after {} s", connect_timeout.unwrap_or(START_PATIENCE).as_secs());
            assert!(error.to_string().ends_with(&expected), "{mode:?} {start:?}: {error}");
            assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
        }
    }
}

#[tokio::test]
async fn shuffled_hosts_are_all_tried() {
    let log = Log::default();
    let starting = || fatal("57P03", "starting");
    let servers = [plain("a", &log, starting()).await, plain("b", &log, starting()).await];
    let mut conninfo = conninfo(&servers);
    conninfo.load_balance_hosts = LoadBalanceHosts::Random;
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..50 {
        Connection::connect(&conninfo, Purpose::Replication).await.unwrap_err();
        orders.insert(taken(&log).join(" "));
    }
    assert_eq!(orders.into_iter().collect::<Vec<_>>(), ["a: plain b: plain", "b: plain a: plain"]);
}
