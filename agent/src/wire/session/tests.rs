//! Tests of `target_session_attrs` on servers that report what they are, and on those that have to be asked.

use super::*;
use crate::wire::testing::{complete, connected, one_row, parameter, read_message, ready};
use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
use tokio::io::AsyncWriteExt;

#[test]
fn each_wish_and_each_session() {
    let session = |read_only, in_recovery| Session { read_only, in_recovery };
    let (primary, locked, standby) = (session(false, false), session(true, false), session(true, true));
    for (wanted, accepted) in [
        (Any, [true, true, true]),
        (ReadWrite, [true, false, false]),
        (ReadOnly, [false, true, true]),
        (Primary, [true, true, false]),
        (Standby, [false, false, true]),
        (PreferStandby, [true, true, true]),
    ] {
        let verdicts = [primary, locked, standby].map(|session| objection(wanted, session).is_none());
        assert_eq!(verdicts, accepted, "{wanted:?}");
    }
}

#[tokio::test]
async fn servers_that_report_are_not_asked() {
    for (in_hot_standby, expected) in [("off", true), ("on", false)] {
        let (mut connection, mut server) = connected();
        let reported = [
            parameter("in_hot_standby", in_hot_standby),
            parameter("default_transaction_read_only", "off"),
            complete("SELECT 0"),
            ready(),
        ];
        server.write_all(&reported.concat()).await.unwrap();
        connection.query("").await.unwrap();
        drop(server);
        assert_eq!(check(&mut connection, Primary, Purpose::Replication).await.is_ok(), expected);
        assert_eq!(check(&mut connection, ReadWrite, Purpose::Replication).await.is_ok(), expected);
    }
}

#[tokio::test]
async fn older_servers_are_asked_in_words_they_understand() {
    let check = async |wanted, purpose, question: &str, answer: &'static str| {
        let (mut connection, mut server) = connected();
        let question = [question.as_bytes(), b"\0"].concat();
        let server = tokio::spawn(async move {
            assert_eq!(read_message(&mut server).await.1, question);
            let answer = [one_row(&[("answer", Some(answer))]), complete("SHOW"), ready()];
            server.write_all(&answer.concat()).await.unwrap();
        });
        let result = check(&mut connection, wanted, purpose).await;
        server.await.unwrap();
        result.is_ok()
    };
    let (sql, show) = (Purpose::Sql { database: "postgres" }, "SHOW transaction_read_only");
    assert!(check(Primary, Purpose::Replication, show, "off").await);
    assert!(!check(Primary, Purpose::Replication, show, "on").await);
    assert!(check(ReadOnly, sql, show, "on").await);
    assert!(check(Standby, sql, "SELECT pg_catalog.pg_is_in_recovery()", "t").await);
    assert!(!check(Standby, sql, "SELECT pg_catalog.pg_is_in_recovery()", "f").await);
}
