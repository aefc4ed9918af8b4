//! Tests of addresses and sockets.

use super::*;
use crate::wire::testing::{conninfo, listen};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};

#[tokio::test]
async fn hostaddr_is_not_resolved() {
    let address = IpAddr::from([192, 0, 2, 1]);
    let endpoint = Endpoint::Tcp { host: Some("no.such.host.invalid".into()), hostaddr: Some(address) };
    assert_eq!(resolve(&endpoint, 5432).await.unwrap(), [SocketAddr::new(address, 5432)]);
    let v6 = Endpoint::Tcp { host: Some("::1".into()), hostaddr: None };
    assert_eq!(resolve(&v6, 1).await.unwrap(), ["[::1]:1".parse().unwrap()]);
}

#[tokio::test]
async fn options_of_the_connection_string_reach_the_socket() {
    let address = listen(|_, _stream| async {}).await;
    let mut conninfo = conninfo(&[]);
    conninfo.tcp_user_timeout = Some(Duration::from_millis(1500));
    let seconds = |n| Some(Duration::from_secs(n));
    conninfo.keepalives = Some(Keepalives { idle: seconds(7), interval: seconds(3), count: Some(2) });
    let stream = tcp(address, &conninfo).await.unwrap();
    let socket = SockRef::from(&stream);
    assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1500)));
    let times = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
    assert_eq!(times, (Duration::from_secs(7), Duration::from_secs(3)));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 2);
    conninfo.keepalives = None;
    let stream = tcp(address, &conninfo).await.unwrap();
    assert!(!SockRef::from(&stream).keepalive().unwrap());
}

#[tokio::test]
async fn unix_sockets_are_found_in_directories_and_in_the_abstract_name_space() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path(), 5433);
    assert_eq!(path.file_name().unwrap(), ".s.PGSQL.5433");
    let _listener = tokio::net::UnixListener::bind(&path).unwrap();
    unix(&path).await.unwrap();

    let name = format!("wire-test-{}", std::process::id());
    let _listener = tokio::net::UnixListener::bind(format!("\0{name}/.s.PGSQL.5433")).unwrap();
    unix(&socket_path(Path::new(&format!("@{name}")), 5433)).await.unwrap();
}

#[test]
fn shuffling_keeps_everything_and_reaches_every_order() {
    let orders: BTreeSet<_> = (0..1000)
        .map(|_| {
            let mut items = [1, 2, 3];
            shuffle(&mut items);
            items
        })
        .collect();
    assert_eq!(orders.len(), 6, "{orders:?}");
    shuffle::<u8>(&mut []);
}
