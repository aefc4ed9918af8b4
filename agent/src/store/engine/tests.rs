//! The threads for real: nothing that was handed over is left lying while all of them sleep.

use crate::{
    store::{Claim, Disk, FlushMode, Identity, OnDurable, State, Store},
    wal::{Lsn, PageMagic, SegmentSize, SystemIdentifier, TimelineId},
};
use bytes::Bytes;
use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

const MIB: u64 = 1 << 20;

/// A first page's header at the beginning of each segment, and ones.
fn wal(from: u64, to: u64) -> Bytes {
    let mut bytes = vec![1; (to - from) as usize];
    let mut header = [0; 40];
    for segment in from / MIB..=to / MIB {
        let start = segment * MIB;
        header[..8].copy_from_slice(&[0x10, 0xD1, 2, 0, 1, 0, 0, 0]);
        header[8..16].copy_from_slice(&start.to_le_bytes());
        header[24] = 7;
        header[32..36].copy_from_slice(&(MIB as u32).to_le_bytes());
        header[36..40].copy_from_slice(&8192_u32.to_le_bytes());
        for (at, byte) in (start..).zip(header).filter(|(at, _)| (from..to).contains(at)) {
            bytes[(at - from) as usize] = byte;
        }
    }
    bytes.into()
}

#[test]
fn no_wake_up_is_lost_whatever_arrives_when() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::open(dir.path()).unwrap());
    let mut store = Store::spawn(disk, dir.path().to_owned(), FlushMode::Synchronous).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let identity = Identity { system: SystemIdentifier::new(7), segment_size: SegmentSize::new(MIB).unwrap() };
    let claim = Claim { identity, mode: 0o600, magic: Some(PageMagic(0xD110)) };
    runtime.block_on(store.claim(claim)).unwrap();
    let (tell, told) = mpsc::channel();
    let on_durable: OnDurable = Arc::new(move |upto: Lsn| {
        // The test may have ended. Every other time, as if the socket had been full.
        let _ = tell.send(upto.get());
        upto.get().is_multiple_of(2)
    });
    store.begin(claim, TimelineId::FIRST, Lsn::new(MIB), on_durable);

    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut dice = |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let (mut at, mut durable) = (MIB, MIB);
    for round in 0..4000 {
        let len = 1 + match dice(20) {
            0 => dice(100_000),
            1..4 => dice(9000),
            _ => dice(300),
        };
        store.append(Lsn::new(at), wal(at, at + len), dice(16) > 0);
        at += len;
        while dice(3) == 0 && durable < at {
            let upto = told.recv_timeout(Duration::from_secs(30));
            let upto = upto.unwrap_or_else(|_| panic!("round {round}: durable up to {durable:X} of {at:X}"));
            assert!(upto > durable, "round {round}: back from {durable:X} to {upto:X}");
            durable = upto;
        }
    }
    store.finish();
    let mut progress = store.progress();
    let closed = progress.wait_for(|progress| matches!(progress.state, State::Closed));
    assert_eq!(runtime.block_on(closed).unwrap().flushed.get(), at);
}
