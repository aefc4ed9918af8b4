//! What belongs to the life of the stream as a whole.

use super::*;
use crate::{
    store::{Claim, Disk, Identity},
    wal::{SegmentSize, SystemIdentifier, TimelineId},
    wire::testing::conninfo,
};
use bytes::Bytes;
use std::sync::Arc;

/// A stream that breaks at once ends before the store has even heard of it; what the store says is about an earlier one.
#[tokio::test]
async fn files_count_as_closed_only_when_this_streams_are() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        conninfo: conninfo(&[]),
        slot: None,
        create_missing_slot: false,
        end_position: None,
        no_loop: false,
        status_interval: None,
        flush: FlushMode::Asynchronous,
    };
    let disk = Arc::new(Disk::open(dir.path()).unwrap());
    let store = Store::spawn(disk, dir.path().to_owned(), settings.flush).unwrap();
    let mut receiver = Receiver::new(settings, store);
    let identity = Identity { system: SystemIdentifier::new(7), segment_size: SegmentSize::new(1 << 20).unwrap() };
    let claim = Claim { identity, mode: 0o600, magic: None };
    let (_stopper, mut stop) = Stopper::new();
    for number in 1..20 {
        let start = Lsn::new(number << 20);
        let id = receiver.store.begin(claim, TimelineId::FIRST, start, Arc::new(|_| false));
        receiver.store.append(start, Bytes::from_static(&[1; 20]), false);
        receiver.close_files(&mut stop).await.unwrap();
        let progress = receiver.store.progress().borrow().clone();
        assert_eq!((progress.stream, progress.flushed.get()), (id, start.get() + 20));
    }
}

/// The same refusal after each start is one trouble, however often the stream was open in between.
#[test]
fn trouble_is_over_once_the_stream_is_further_than_ever_or_has_lasted() {
    let now = Instant::now();
    let check = |written: u64, after: u64, over: bool| {
        let mut memory = Memory { furthest: Lsn::new(100), streaming_since: Some(now), ..Memory::default() };
        memory.reporter.trouble(&Trouble::ServerEnded, Duration::ZERO);
        memory.streaming(Lsn::new(written), TimelineId::FIRST, now + Duration::from_secs(after));
        assert_eq!(memory.reporter.is_troubled(), !over, "{written} after {after} s");
    };
    check(50, 0, false);
    check(100, 9, false);
    check(101, 0, true);
    check(100, 10, true);
}
