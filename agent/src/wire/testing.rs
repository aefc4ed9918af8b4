//! What this room's tests share: servers that say exactly what a test wants, and connection settings to reach them.

pub(crate) mod network;
pub(super) mod pki;

use super::{Connection, connection::Socket};
use crate::conninfo::{
    ChannelBinding, Conninfo, Endpoint, Host, LoadBalanceHosts, RequireAuth, RootCertificates, Secret, SslCertMode,
    SslMode, SslNegotiation, TargetSessionAttrs, TlsSettings, TlsVersion,
};
use std::{future::Future, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
};

pub(crate) const OK: [u8; 4] = [0, 0, 0, 0];

/// One message.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// An ErrorResponse or a NoticeResponse.
pub(crate) fn report(tag: u8, severity: &str, code: &str, text: &str) -> Vec<u8> {
    message(tag, format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0").as_bytes())
}

pub(crate) fn parameter(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

pub(crate) fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

pub(crate) fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

/// A result set of text columns with one row.
pub(crate) fn one_row(cells: &[(&str, Option<&str>)]) -> Vec<u8> {
    let count = u16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
    let (mut description, mut row) = (count.clone(), count);
    for (name, value) in cells {
        description.extend([name.as_bytes(), &[0; 19]].concat());
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        row.extend(length.to_be_bytes());
        row.extend(value.unwrap_or_default().as_bytes());
    }
    [message(b'T', &description), message(b'D', &row)].concat()
}

/// What a server says that lets anybody in.
pub(crate) fn welcome() -> Vec<u8> {
    [message(b'R', &OK), parameter("server_version", "17.5"), message(b'K', &[0; 8]), ready()].concat()
}

/// A connection whose server is the other end.
pub(crate) fn connected() -> (Connection, DuplexStream) {
    let (ours, theirs) = duplex(1 << 16);
    (over(ours), theirs)
}

pub(super) fn over(socket: impl Socket + 'static) -> Connection {
    Connection::new(Box::new(socket), "test".into())
}

/// Runs `serve` for each connection, in order, on a port of its own.
pub(super) async fn listen<F>(mut serve: impl FnMut(usize, TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(count, stream));
            count += 1;
        }
    });
    address
}

/// Reads a message without a type: the startup packet, an SSLRequest.
pub(super) async fn read_startup(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let length = stream.read_u32().await.unwrap();
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
    body
}

/// Reads a message with its type.
pub(crate) async fn read_message(stream: &mut (impl AsyncReadExt + Unpin)) -> (u8, Vec<u8>) {
    let tag = stream.read_u8().await.unwrap();
    (tag, read_startup(stream).await)
}

/// Plain text to each of `servers`, as `postgres` with the password `secret`.
pub(crate) fn conninfo(servers: &[SocketAddr]) -> Conninfo {
    let host = |address: &SocketAddr| Host {
        endpoint: Endpoint::Tcp { host: Some("db.example".into()), hostaddr: Some(address.ip()) },
        port: address.port(),
        password: Some(Secret::new("secret")),
    };
    Conninfo {
        hosts: servers.iter().map(host).collect(),
        load_balance_hosts: LoadBalanceHosts::Disable,
        target_session_attrs: TargetSessionAttrs::Any,
        user: "postgres".into(),
        dbname: None,
        application_name: Some("pg_receivewal".into()),
        options: None,
        startup_parameters: Vec::new(),
        connect_timeout: None,
        keepalives: None,
        tcp_user_timeout: None,
        require_auth: RequireAuth::Any,
        channel_binding: ChannelBinding::Prefer,
        tls: tls_settings(SslMode::Disable),
    }
}

pub(super) fn tls_settings(mode: SslMode) -> TlsSettings {
    TlsSettings {
        mode,
        negotiation: SslNegotiation::Postgres,
        root: RootCertificates::DefaultFile(None),
        certificate: None,
        key: None,
        certificate_mode: SslCertMode::Allow,
        crl: None,
        min_version: TlsVersion::Tls12,
        max_version: None,
        sni: true,
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..4).map(move |i| match i <= chunk.len() {
            true => ALPHABET[(bits >> (18 - 6 * i) & 63) as usize] as char,
            false => '=',
        })
    });
    digits.collect()
}
