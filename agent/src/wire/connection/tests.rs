//! Tests of the connection's own bookkeeping.

use super::*;
use crate::wire::testing::{complete, connected, message, parameter, read_message, ready};
use tokio::{io::AsyncReadExt, time::Instant};

#[test]
fn a_connection_can_move_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Connection>();
}

#[tokio::test]
async fn parameters_follow_the_server_within_limits() {
    let (mut connection, mut server) = connected();
    let huge = "x".repeat(MAX_PARAMETER_LENGTH);
    let mut bytes = [parameter("a", "1"), parameter("b", "1"), parameter("a", "2"), parameter("b", &huge)].concat();
    bytes.extend((0..MAX_PARAMETERS).flat_map(|i| parameter(&format!("p{i}"), "x")));
    bytes.extend([parameter("a", "3"), complete("SELECT 0"), ready()].concat());
    server.write_all(&bytes).await.unwrap();
    connection.query("").await.unwrap();
    assert_eq!((connection.parameter("a"), connection.parameter("b")), (Some("3"), None));
    assert_eq!(connection.parameters.len(), MAX_PARAMETERS);
    assert_eq!(connection.parameter("p126"), Some("x"));
    assert_eq!(connection.parameter("p127"), None);
}

#[tokio::test]
async fn an_announced_length_allocates_only_what_a_message_may_have() {
    let (mut connection, mut server) = connected();
    server.write_all(&[b'd', 0, 16, 0, 0]).await.unwrap();
    server.write_all(&[0; 100]).await.unwrap();
    let poll = poll_fn(|cx| Poll::Ready(connection.poll_receive(cx, Phase::Copy).is_pending())).await;
    assert!(poll, "the message is not complete");
    assert!(connection.incoming.capacity() < 4 << 20, "{} bytes", connection.incoming.capacity());
}

#[tokio::test]
async fn small_messages_do_not_make_the_buffer_grow() {
    let (mut connection, mut server) = connected();
    let bytes = message(b'd', &[0; 500]).repeat(100);
    for _ in 0..200 {
        server.write_all(&bytes).await.unwrap();
        for _ in 0..100 {
            connection.receive(Phase::Copy).await.unwrap();
        }
    }
    assert!(connection.incoming.capacity() <= 2 * STREAM_READ, "{} bytes", connection.incoming.capacity());
}

#[tokio::test(start_paused = true)]
async fn closing_says_goodbye_and_waits_for_nobody() {
    let (connection, mut server) = connected();
    connection.close().await;
    assert_eq!(read_message(&mut server).await, (b'X', vec![]));
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    // A peer that reads nothing.
    let (mut connection, _server) = connected();
    connection.outgoing().extend_from_slice(&[0; 1 << 18]);
    let start = Instant::now();
    connection.close().await;
    assert_eq!(start.elapsed().as_secs(), FAREWELL_PATIENCE.as_secs());
}
