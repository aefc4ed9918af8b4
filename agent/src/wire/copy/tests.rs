//! Tests of COPY BOTH: the flow, and that no byte is lost whatever is dropped half-way.

use super::*;
use crate::wire::testing::{complete, connected, message, one_row, over, read_message, ready, report};
use proptest::prelude::*;
use std::{future::Future, pin::pin};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

fn both() -> Vec<u8> {
    message(b'W', &[0, 0, 0])
}

#[tokio::test]
async fn a_timeline_from_beginning_to_end() {
    let (mut connection, mut server) = connected();
    let server = tokio::spawn(async move {
        assert_eq!(read_message(&mut server).await.0, b'Q');
        server.write_all(&[both(), message(b'd', b"one"), message(b'd', b"two")].concat()).await.unwrap();
        assert_eq!(read_message(&mut server).await, (b'd', b"status".to_vec()));
        server.write_all(&message(b'c', b"")).await.unwrap();
        assert_eq!(read_message(&mut server).await, (b'c', vec![]));
        let end = [
            one_row(&[("next_tli", Some("2")), ("next_tli_startpos", Some("0/3000000"))]),
            complete("START_STREAMING"),
            complete("START_REPLICATION"),
            ready(),
        ];
        server.write_all(&end.concat()).await.unwrap();
        assert_eq!(read_message(&mut server).await, (b'X', vec![]));
    });
    assert!(matches!(connection.start_copy_both("START_REPLICATION 0/0").await, Ok(CopyStart::Both)));
    assert_eq!(connection.next().await.unwrap(), CopyEvent::Data("one".into()));
    assert_eq!(connection.next().await.unwrap(), CopyEvent::Data("two".into()));
    connection.send_copy_data(b"status");
    assert_eq!(connection.next().await.unwrap(), CopyEvent::Done);
    connection.send_copy_done();
    let results = connection.finish_copy().await.unwrap();
    assert_eq!((results[0].text(0, 0), results[0].text(0, 1)), (Some("2"), Some("0/3000000")));
    connection.close().await;
    server.await.unwrap();
}

#[tokio::test]
async fn our_end_discards_what_is_still_on_its_way() {
    let (mut connection, mut server) = connected();
    let data = message(b'd', &[0; 1000]).repeat(50);
    let end = [data, message(b'c', b""), complete("START_STREAMING"), ready()].concat();
    let server = tokio::spawn(async move { server.write_all(&end).await });
    connection.send_copy_done();
    assert_eq!(connection.finish_copy().await.unwrap()[0].tag, "START_STREAMING");
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_start_at_the_switch_point_is_answered_at_once() {
    let (mut connection, mut server) = connected();
    let answer = [one_row(&[("next_tli", Some("2"))]), complete("START_STREAMING"), ready()].concat();
    server.write_all(&answer).await.unwrap();
    match connection.start_copy_both("START_REPLICATION 0/0").await.unwrap() {
        CopyStart::Results(results) => assert_eq!(results[0].text(0, 0), Some("2")),
        CopyStart::Both => panic!("there is no stream"),
    }
}

#[tokio::test]
async fn a_walsender_that_ends_is_heard() {
    let check = async |bytes: &[u8]| {
        let (mut connection, mut server) = connected();
        server.write_all(bytes).await.unwrap();
        drop(server);
        connection.next().await
    };
    // A clean shutdown: CommandComplete, then the end of the file.
    assert_eq!(check(&complete("COPY 0")).await.unwrap(), CopyEvent::Finished);
    let error = check(&report(b'E', "FATAL", "57P01", "terminating")).await;
    assert!(matches!(error, Err(WireError::Server(error)) if error.code == "57P01"));
    assert!(matches!(check(&message(b'd', b"half")[..6]).await, Err(WireError::Closed)));
    let cut = check(&[b'd', 0xff, 0xff, 0xff, 0xff]).await;
    assert!(matches!(cut, Err(WireError::Protocol(ProtocolError::Length { .. }))));
}

#[tokio::test]
async fn last_words_are_read_although_nothing_can_be_sent() {
    let (ours, theirs) = duplex(1 << 16);
    let (reader, mut writer) = tokio::io::split(theirs);
    let (our_reader, _) = tokio::io::split(ours);
    let mut connection = over(tokio::io::join(our_reader, Broken));
    connection.send_copy_data(b"status");
    writer.write_all(&complete("COPY 0")).await.unwrap();
    assert_eq!(connection.next().await.unwrap(), CopyEvent::Finished);
    assert!(matches!(connection.next().await, Err(WireError::Lost(_))));
    drop(reader);
}

/// Takes nothing.
struct Broken;

impl tokio::io::AsyncWrite for Broken {
    fn poll_write(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_status_leaves_while_reading_is_paused_and_while_data_waits() {
    let (mut connection, mut server) = connected();
    connection.send_copy_data(b"paused");
    connection.flush().await.unwrap();
    assert_eq!(read_message(&mut server).await.1, b"paused");
    // A hundred messages are there to be read: the status leaves with the first.
    server.write_all(&message(b'd', b"x").repeat(100)).await.unwrap();
    connection.send_copy_data(b"busy");
    connection.next().await.unwrap();
    assert_eq!(read_message(&mut server).await.1, b"busy");
}

#[tokio::test]
async fn a_server_that_does_not_read_is_noticed_before_memory_fills() {
    let (mut connection, _server) = connected();
    for _ in 0..40_000 {
        connection.send_copy_data(&[0; 34]);
    }
    assert!(matches!(connection.flush().await, Err(WireError::NotReading)));
}

/// Polls `work` once: as `select!` does where another branch is ready.
async fn poll_once<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        Poll::Ready(match work.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_is_lost_where_next_and_flush_are_dropped(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..12),
        steps in proptest::collection::vec(1..50_usize, 1..40),
        room in 1..60_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ours, mut server) = duplex(room);
            let mut connection = over(ours);
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| message(b'd', payload)).collect();
            let (mut sent, mut received, mut statuses, mut events) = (0, Vec::new(), Vec::new(), Vec::new());
            for (turn, step) in steps.iter().cycle().enumerate() {
                // The server writes a little, and reads a little.
                let piece = &bytes[sent..bytes.len().min(sent + step)];
                sent += poll_once(server.write(piece)).await.map_or(0, Result::unwrap);
                if turn < 50 {
                    let status = [turn as u8; 34];
                    connection.send_copy_data(&status);
                    statuses.extend(message(b'd', &status));
                }
                match turn % 3 {
                    0 => drop(poll_once(connection.flush()).await),
                    _ => events.extend(poll_once(connection.next()).await.map(Result::unwrap)),
                }
                let mut piece = [0; 64];
                let read = poll_once(server.read(&mut piece)).await.map_or(0, Result::unwrap);
                received.extend_from_slice(&piece[..read]);
                if events.len() == payloads.len() && turn >= 50 && received.len() >= statuses.len() {
                    break;
                }
                // Without it tokio's budget for a task runs out, and nothing is ready any more.
                tokio::task::yield_now().await;
                assert!(turn < 100_000, "no end: {} of {} events", events.len(), payloads.len());
            }
            let expected: Vec<_> = payloads.iter().map(|payload| CopyEvent::Data(payload.clone().into())).collect();
            assert_eq!(events, expected);
            assert_eq!(received, statuses);
        });
    }
}
