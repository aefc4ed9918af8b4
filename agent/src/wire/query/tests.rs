//! Tests of simple queries against servers that answer as told.

use super::*;
use crate::wire::testing::{complete, connected, message, one_row, read_message, ready, report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The answer to a query that the server answers with `bytes`, and then hangs up.
async fn check(bytes: Vec<u8>) -> Result<Vec<ResultSet>, WireError> {
    let (mut connection, mut server) = connected();
    let server = tokio::spawn(async move {
        assert_eq!(read_message(&mut server).await, (b'Q', b"SHOW x\0".to_vec()));
        // It hangs up when we do.
        let _ = server.write_all(&bytes).await;
    });
    let result = connection.query("SHOW x").await;
    drop(connection);
    server.await.unwrap();
    result
}

#[tokio::test]
async fn result_sets_are_read_with_nulls_and_tags() {
    let answer = [
        report(b'N', "NOTICE", "00000", "by the way"),
        one_row(&[("a", Some("1")), ("b", None)]),
        complete("SELECT 1"),
        complete("START_REPLICATION"),
        message(b'I', b""),
        ready(),
    ];
    let results = check(answer.concat()).await.unwrap();
    assert_eq!(results[0].columns, ["a", "b"]);
    assert_eq!((results[0].text(0, 0), results[0].text(0, 1), results[0].text(1, 0)), (Some("1"), None, None));
    let tags: Vec<_> = results.iter().map(|result| (result.tag.as_str(), result.rows.len())).collect();
    assert_eq!(tags, [("SELECT 1", 1), ("START_REPLICATION", 0), ("", 0)]);
}

#[tokio::test]
async fn after_an_error_the_connection_is_usable() {
    let (mut connection, mut server) = connected();
    let server = tokio::spawn(async move {
        read_message(&mut server).await;
        let error = b"SERROR\0VERROR\0C42710\0Mslot exists\0DIt does.\0HDrop it.\0Zunknown\0\0";
        server.write_all(&[message(b'E', error), ready()].concat()).await.unwrap();
        read_message(&mut server).await;
        server.write_all(&[one_row(&[("a", Some("1"))]), complete("SHOW"), ready()].concat()).await.unwrap();
    });
    match connection.query("CREATE").await {
        Err(WireError::Server(error)) => {
            assert_eq!((error.code.as_str(), error.is_fatal()), ("42710", false));
            assert_eq!(error.to_string(), "ERROR:  slot exists\nDETAIL:  It does.\nHINT:  Drop it.");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(connection.query("SHOW").await.unwrap()[0].text(0, 0), Some("1"));
    server.await.unwrap();
}

#[tokio::test]
async fn the_last_words_of_a_server_are_the_error() {
    let result = check(report(b'E', "FATAL", "57P01", "terminating connection")).await;
    assert!(matches!(result, Err(WireError::Server(error)) if error.code == "57P01" && error.is_fatal()));
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let check = async |bytes: &[u8], expected: fn(&WireError) -> bool| {
        let error = check(bytes.to_vec()).await.unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    check(b"", |e| matches!(e, WireError::Closed)).await;
    check(b"C\0\0", |e| matches!(e, WireError::Closed)).await;
    check(b"HTTP/1.1 400 Bad Request", |e| matches!(e, WireError::Protocol(_))).await;
    check(&[b'D', 0xff, 0xff, 0xff, 0xff], |e| matches!(e, WireError::Protocol(ProtocolError::Length { .. }))).await;
    let unannounced = message(b'D', &[0, 0]);
    check(&unannounced, |e| matches!(e, WireError::Protocol(ProtocolError::Unexpected { tag: b'D' }))).await;
    let too_many = [one_row(&[("a", None)]), message(b'D', &[0, 2, 255, 255, 255, 255, 255, 255, 255, 255])].concat();
    check(&too_many, |e| matches!(e, WireError::Protocol(ProtocolError::Malformed { tag: b'D', .. }))).await;
    check(&message(b'W', &[0, 0, 0]), |e| matches!(e, WireError::Protocol(ProtocolError::Unexpected { .. }))).await;
}

#[tokio::test]
async fn an_endless_answer_ends_in_an_error() {
    for endless in [
        report(b'N', "NOTICE", "00000", "again"),
        complete("SELECT 0"),
        message(b'A', b"\0\0\0\0channel\0payload\0"),
        message(b'S', b"name\0value\0"),
    ] {
        let (mut connection, mut server) = connected();
        let server = tokio::spawn(async move {
            let many = endless.repeat(1000);
            while server.write_all(&many).await.is_ok() {}
        });
        let result = connection.query("SHOW x").await;
        assert!(matches!(result, Err(WireError::Protocol(ProtocolError::Endless))), "{result:?}");
        drop(connection);
        server.await.unwrap();
    }
    // Many empty values are little on the wire, and much in memory.
    let columns = 1000_u16;
    let description = [&columns.to_be_bytes()[..], &[0; 19].repeat(1000)].concat();
    let row = [&columns.to_be_bytes()[..], &[255; 4].repeat(1000)].concat();
    let bytes = [message(b'T', &description), message(b'D', &row).repeat(101)].concat();
    assert!(matches!(check(bytes).await, Err(WireError::Protocol(ProtocolError::Endless))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up() {
    let (mut connection, mut server) = connected();
    server.write_all(&one_row(&[("a", None)])).await.unwrap();
    let result = connection.query("SHOW x").await;
    assert!(matches!(result, Err(WireError::Timeout(ANSWER_PATIENCE))), "{result:?}");
    server.read_u8().await.unwrap();
}

#[tokio::test]
async fn a_query_that_cannot_be_sent_leaves_nothing_behind() {
    let (mut connection, _server) = connected();
    let result = connection.query("SHOW \0").await;
    assert!(matches!(result, Err(WireError::Protocol(ProtocolError::Unsendable(_)))));
    assert!(connection.outgoing().is_empty());
}
