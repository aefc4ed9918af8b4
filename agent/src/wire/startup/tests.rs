//! Tests of the start against servers that answer as told: each phase with what does not belong there.

use super::*;
use crate::{
    conninfo::{ChannelBinding, RequireAuth},
    wire::testing::{OK, complete, conninfo, message, over, parameter, read_startup, ready, report, welcome},
};
use tokio::io::{AsyncWriteExt, duplex};

fn credentials() -> Credentials<'static> {
    let binding = ChannelBinding::Prefer;
    Credentials { user: "postgres", password: None, require: &RequireAuth::Any, binding, end_point: None }
}

/// What becomes of a login that the server answers with `bytes`, and then hangs up.
async fn check(bytes: &[u8]) -> Result<Connection, ConnectFailure> {
    let (ours, mut server) = duplex(1 << 20);
    let mut connection = over(ours);
    server.write_all(bytes).await.unwrap();
    let conninfo = conninfo(&[]);
    let login = login(&mut connection, &conninfo, Purpose::Replication, credentials());
    let (result, _) = tokio::join!(login, async move {
        read_startup(&mut server).await;
    });
    result.map(|()| connection)
}

#[tokio::test]
async fn the_startup_packet_says_who_we_are() {
    let check = async |conninfo: &Conninfo, purpose: Purpose<'_>, expected: &str| {
        let (ours, mut server) = duplex(1 << 16);
        server.write_all(&welcome()).await.unwrap();
        login(&mut over(ours), conninfo, purpose, credentials()).await.unwrap();
        let packet = read_startup(&mut server).await;
        assert_eq!(String::from_utf8_lossy(&packet[4..]), expected);
        assert_eq!(packet[..4], [0, 3, 0, 0]);
    };
    let mut conninfo = conninfo(&[]);
    let replication = "user\0postgres\0database\0replication\0replication\0true\0application_name\0pg_receivewal\0\0";
    check(&conninfo, Purpose::Replication, replication).await;
    conninfo.dbname = Some("app".into());
    conninfo.options = Some("-c geqo=off".into());
    conninfo.startup_parameters = vec![("client_encoding".into(), "UTF8".into()), ("timezone".into(), String::new())];
    let all = "user\0postgres\0database\0app\0replication\0true\0options\0-c geqo=off\0\
               application_name\0pg_receivewal\0client_encoding\0UTF8\0\0";
    check(&conninfo, Purpose::Replication, all).await;
    conninfo.options = None;
    conninfo.application_name = None;
    let sql = "user\0postgres\0database\0postgres\0client_encoding\0UTF8\0\0";
    check(&conninfo, Purpose::Sql { database: "postgres" }, sql).await;
}

#[tokio::test]
async fn parameters_and_notices_of_the_start_are_taken() {
    let bytes = [
        report(b'N', "WARNING", "01000", "collation version mismatch"),
        message(b'R', &OK),
        parameter("integer_datetimes", "on"),
        ready(),
    ];
    assert_eq!(check(&bytes.concat()).await.unwrap().parameter("integer_datetimes"), Some("on"));
}

#[tokio::test]
async fn each_wrong_beginning_has_its_error() {
    let check = async |bytes: &[u8], expected: fn(&ConnectFailure) -> bool| {
        let failure = check(bytes).await.unwrap_err();
        assert!(expected(&failure), "{failure:?}");
    };
    check(b"", |e| matches!(e, ConnectFailure::Closed)).await;
    check(b"R\0\0", |e| matches!(e, ConnectFailure::Closed)).await;
    check(b"HTTP/1.1 400 Bad Request", |e| matches!(e, ConnectFailure::NotPostgres(_))).await;
    check(b"SSH-2.0-OpenSSH_9.6\r\n", |e| matches!(e, ConnectFailure::NotPostgres(_))).await;
    check(&[b'R', 0xff, 0xff, 0xff, 0xff], |e| matches!(e, ConnectFailure::NotPostgres(_))).await;
    let ok = message(b'R', &OK);
    let then = |bytes: &[u8]| [&ok, bytes].concat();
    let length = |e: &ConnectFailure| matches!(e, ConnectFailure::Protocol(ProtocolError::Length { .. }));
    check(&then(&[b'S', 0xff, 0xff, 0xff, 0xff]), length).await;
    let unexpected = |e: &ConnectFailure| matches!(e, ConnectFailure::Protocol(ProtocolError::Unexpected { .. }));
    check(&then(&ok), unexpected).await;
    check(&then(&complete("SELECT 1")), unexpected).await;
    check(&ready(), unexpected).await;
    check(&message(b'K', &[0; 8]), unexpected).await;
    let refused = then(&report(b'E', "FATAL", "57P03", "the database system is starting up"));
    check(&refused, |e| matches!(e, ConnectFailure::Server(error) if error.code == "57P03")).await;
}

#[tokio::test]
async fn an_endless_start_ends_in_an_error() {
    for endless in [report(b'N', "NOTICE", "00000", "again"), parameter("a", "b"), message(b'K', &[0; 8])] {
        let (ours, mut server) = duplex(1 << 16);
        let server = tokio::spawn(async move {
            let _ = server.write_all(&message(b'R', &OK)).await;
            let many = endless.repeat(100);
            while server.write_all(&many).await.is_ok() {}
        });
        let result = login(&mut over(ours), &conninfo(&[]), Purpose::Replication, credentials()).await;
        assert!(matches!(result, Err(ConnectFailure::Protocol(ProtocolError::Endless))), "{result:?}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_in_a_packet_is_not_sent() {
    let (ours, _server) = duplex(1 << 16);
    let mut conninfo = conninfo(&[]);
    conninfo.user = "a\0b".into();
    let result = login(&mut over(ours), &conninfo, Purpose::Replication, credentials()).await;
    assert!(matches!(result, Err(ConnectFailure::Protocol(ProtocolError::Unsendable(_)))));
}
