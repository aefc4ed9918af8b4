//! The end of a stream, with a real store and a server that says exactly what a test wants.

use super::*;
use crate::{
    receiver::{Stopper, acks::Policy},
    store::{Claim, Disk, Hand, Identity},
    wal::{SegmentSize, SystemIdentifier},
    wire::testing::{connected, conninfo, message, read_message},
};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, time::timeout};

const START: Lsn = Lsn::new(3 << 20);
const PATIENCE: Duration = Duration::from_secs(30);

fn claim() -> Claim {
    let identity = Identity { system: SystemIdentifier::new(7), segment_size: SegmentSize::new(1 << 20).unwrap() };
    Claim { identity, mode: 0o600, magic: None }
}

fn store(dir: &TempDir) -> Store {
    let disk = Disk::open(dir.path()).unwrap();
    Store::spawn(Arc::new(disk), dir.path().to_owned(), FlushMode::Synchronous).unwrap()
}

fn settings() -> Settings {
    Settings {
        conninfo: conninfo(&[]),
        slot: None,
        create_missing_slot: false,
        end_position: None,
        no_loop: false,
        status_interval: Some(Duration::from_secs(10)),
        flush: FlushMode::Synchronous,
    }
}

fn acks() -> Acks {
    Acks::new(Policy { report_flush: true, report_write: true, heartbeat: None }, START)
}

async fn closed(store: &Store, id: StreamId) {
    let mut progress = store.progress();
    let closed = progress.wait_for(|now| now.stream == id && matches!(now.state, State::Closed));
    timeout(PATIENCE, closed).await.unwrap().unwrap();
}

/// The store may be done before its progress has been looked at even once.
#[tokio::test]
async fn the_final_status_tells_what_the_store_did_last() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, settings) = (store(&dir), settings());
    let ((connection, mut server), mut memory) = (connected(), Memory::default());
    let (_stopper, mut stop) = Stopper::new();
    let line = Line::new(connection, acks(), store.counters());
    let id = store.begin(claim(), TimelineId::FIRST, START, line.on_durable());
    let position = Position { timeline: TimelineId::FIRST, lsn: START };
    let mut stream = Stream::new(&line, &store, id, &settings, &mut memory, position);
    stream.wal(START, START, Bytes::from_static(&[1; 20])).unwrap();
    stream.leave(Leaving::Stopped);
    closed(&store, id).await;
    assert!(matches!(stream.run(&mut stop).await, Ok(End::Stopped)));

    let mut told = Vec::new();
    while let (b'd', status) = read_message(&mut server).await {
        told = status[1..17].to_vec();
    }
    assert_eq!(told, (START.get() + 20).to_be_bytes().repeat(2), "write and flush");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_server_that_never_says_how_its_timeline_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, settings) = (store(&dir), settings());
    let ((connection, mut server), mut memory) = (connected(), Memory::default());
    let (stopper, mut stop) = Stopper::new();
    let line = Line::new(connection, acks(), store.counters());
    let id = store.begin(claim(), TimelineId::FIRST, START, line.on_durable());
    let position = Position { timeline: TimelineId::FIRST, lsn: START };
    let stream = Stream::new(&line, &store, id, &settings, &mut memory, position);
    let silent = async {
        server.write_all(&message(b'c', b"")).await.unwrap();
        while read_message(&mut server).await.0 != b'c' {}
        stopper.stop();
    };
    let (ended, ()) = timeout(PATIENCE, async { tokio::join!(stream.run(&mut stop), silent) }).await.unwrap();
    assert!(matches!(ended, Err(Trouble::Stopped)));
}

/// What a thread does that waits for no disk: all turns, but no work.
fn take_turns(hand: &Hand) {
    while let Some(task) = hand.take() {
        if task.is_turn() {
            hand.perform(task);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_while_the_flush_for_the_end_position_hangs() {
    let files = crate::store::memory::Memory::default();
    let (mut store, hand) = Store::by_hand(Arc::new(files), "dir".into(), FlushMode::Synchronous);
    let settings =
        Settings { end_position: Some(START), status_interval: Some(Duration::from_secs(3600)), ..settings() };
    let ((connection, _server), mut memory) = (connected(), Memory::default());
    let (stopper, mut stop) = Stopper::new();
    let line = Line::new(connection, acks(), store.counters());
    let id = store.begin(claim(), TimelineId::FIRST, START, line.on_durable());
    let position = Position { timeline: TimelineId::FIRST, lsn: START };
    let mut stream = Stream::new(&line, &store, id, &settings, &mut memory, position);
    stream.wal(START, START, Bytes::from_static(&[1; 20])).unwrap();
    take_turns(&hand);
    let began = Instant::now();
    let signal = async {
        sleep_until(began + Duration::from_secs(1)).await;
        stopper.stop();
    };
    let (ended, ()) = tokio::join!(stream.run(&mut stop), signal);
    assert!(matches!(ended, Err(Trouble::DiskTooSlow)));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_sends_few_bytes_at_a_time_is_not_read_without_end() {
    let files = crate::store::memory::Memory::default();
    let (mut store, _hand) = Store::by_hand(Arc::new(files), "dir".into(), FlushMode::Synchronous);
    let (settings, (connection, _server), mut memory) = (settings(), connected(), Memory::default());
    let line = Line::new(connection, acks(), store.counters());
    let id = store.begin(claim(), TimelineId::FIRST, START, line.on_durable());
    let position = Position { timeline: TimelineId::FIRST, lsn: START };
    let mut stream = Stream::new(&line, &store, id, &settings, &mut memory, position);
    for number in 0..u64::from(MAX_MESSAGES) {
        assert!(stream.reads(number), "message {number}");
        let at = Lsn::new(START.get() + number);
        stream.wal(at, at, Bytes::from_static(b"x")).unwrap();
        stream.wal(at.checked_add(1).unwrap(), at, Bytes::new()).unwrap();
    }
    assert!(!stream.reads(u64::from(MAX_MESSAGES)));
    assert!(stream.reads(0), "all of it has been written");
}
