//! The end of a stream, with a real store and a server that says exactly what a test wants.

use super::*;
use crate::{
    receiver::{Stopper, acks::Policy},
    store::{Claim, Disk, Identity},
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
