//! Addresses and sockets: resolving, shuffling, connecting, keep-alives.

use super::connection::Socket;
use crate::conninfo::{Conninfo, Endpoint, Keepalives};
use socket2::{SockRef, TcpKeepalive};
use std::{
    ffi::OsString,
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};

/// The addresses of a TCP endpoint: `hostaddr`, else what the resolver knows of `host`; never empty.
pub(super) async fn resolve(endpoint: &Endpoint, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = match endpoint {
        Endpoint::Tcp { hostaddr: Some(address), .. } => return Ok(vec![SocketAddr::new(*address, port)]),
        Endpoint::Tcp { host: Some(host), .. } => host.as_str(),
        Endpoint::Tcp { host: None, hostaddr: None } | Endpoint::Unix(_) => "",
    };
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Connects to `address`, with the socket options of `conninfo`.
pub(super) async fn tcp(address: SocketAddr, conninfo: &Conninfo) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A status of 39 bytes must not wait for anything.
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    if let Some(keepalives) = &conninfo.keepalives {
        options.set_tcp_keepalive(&keepalive(*keepalives))?;
    }
    options.set_tcp_user_timeout(conninfo.tcp_user_timeout)?;
    socket.connect(address).await
}

/// Connects to a unix socket; a leading `@` stands for Linux' abstract name space.
pub(super) async fn unix(path: &Path) -> io::Result<Box<dyn Socket>> {
    #[cfg(test)]
    if let Some(dialled) = super::testing::network::dial() {
        return dialled;
    }
    let mut name = path.as_os_str().as_bytes().to_vec();
    if let Some(first) = name.first_mut()
        && *first == b'@'
    {
        *first = 0;
    }
    Ok(Box::new(UnixStream::connect(PathBuf::from(OsString::from_vec(name))).await?))
}

/// The socket's path in `directory`.
pub(super) fn socket_path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

/// A random order, as `load_balance_hosts` wants it. It need not be secret, only different for each client.
pub(super) fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        // Each `RandomState` is seeded anew.
        let random = RandomState::new().hash_one(last);
        items.swap(last, (random % (last as u64 + 1)) as usize);
    }
}

fn keepalive(Keepalives { idle, interval, count }: Keepalives) -> TcpKeepalive {
    let mut keepalive = TcpKeepalive::new();
    if let Some(idle) = idle.filter(|idle| !idle.is_zero()) {
        keepalive = keepalive.with_time(idle);
    }
    if let Some(interval) = interval.filter(|interval| !interval.is_zero()) {
        keepalive = keepalive.with_interval(interval);
    }
    match count {
        None | Some(0) => keepalive,
        Some(count) => keepalive.with_retries(count),
    }
}

#[cfg(test)]
mod tests;
