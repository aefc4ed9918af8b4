//! The writer against a file system that fails and crashes: what is acknowledged stays, whatever happens.

use super::*;
use crate::{
    store::{
        Held, Identity, Inventory,
        directory::SPARE,
        engine::Job,
        fs::FileSystem,
        memory::{Memory, Op},
    },
    wal::{PageMagic, SegmentNo, SegmentSize, SystemIdentifier},
};
use std::{collections::VecDeque, io, path::PathBuf, sync::LazyLock};

mod schedules;
mod spare;

const MIB: u64 = 1 << 20;

fn claim() -> Claim {
    let segment_size = SegmentSize::new(MIB).expect("1 MB");
    let identity = Identity { system: SystemIdentifier::new(7), segment_size };
    Claim { identity, mode: 0o600, magic: Some(PageMagic(0xD110)) }
}

/// The bytes of the log from `from` to `to`: first pages have headers, no other byte is ever zero.
fn wal(from: u64, to: u64) -> Bytes {
    static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| (0..2 * MIB).map(|at| (at % 251) as u8 + 1).collect());
    let mut bytes = Vec::with_capacity((to - from) as usize);
    let mut at = from;
    while at < to {
        let (start, offset) = (at - at % MIB, (at % MIB) as usize);
        let len = (to.min(start + MIB) - at) as usize;
        // Segments differ from each other, so that none can stand in for its neighbour.
        let phase = (start / MIB % 251) as usize;
        let mut header = [0; 40];
        header[..8].copy_from_slice(&[0x10, 0xD1, 2, 0, 1, 0, 0, 0]);
        header[8..16].copy_from_slice(&start.to_le_bytes());
        header[24] = 7;
        header[32..36].copy_from_slice(&(MIB as u32).to_le_bytes());
        header[36..40].copy_from_slice(&8192_u32.to_le_bytes());
        let before = bytes.len();
        bytes.extend_from_slice(&BODY[phase + offset..phase + offset + len]);
        for (index, byte) in header.iter().enumerate().skip(offset).take(len) {
            bytes[before + index - offset] = *byte;
        }
        at += len as u64;
    }
    bytes.into()
}

/// Nobody listens but to [`Progress`].
fn untold() -> OnDurable {
    Arc::new(|_| false)
}

struct Bench {
    memory: Memory,
    directory: Directory,
    writer: Writer,
    progress: watch::Receiver<Progress>,
    flushes: VecDeque<Flush>,
    fills: VecDeque<Fill>,
    streams: u64,
}

impl Bench {
    fn on(memory: &Memory, mode: FlushMode) -> Self {
        let (sender, progress) = watch::channel(Progress::default());
        Self {
            memory: memory.clone(),
            directory: Directory::new(Arc::new(memory.clone()), PathBuf::from("dir")),
            writer: Writer::new(mode, Arc::new(sender), Counters::default()),
            progress,
            flushes: VecDeque::new(),
            fills: VecDeque::new(),
            streams: 0,
        }
    }

    fn begin(&mut self, start: u64) {
        self.streams += 1;
        self.writer.begin(
            &self.directory,
            StreamId(self.streams),
            claim(),
            TimelineId::FIRST,
            Lsn::new(start),
            untold(),
        );
    }

    fn append(&mut self, from: u64, to: u64) {
        self.writer.append(Lsn::new(from), wal(from, to), true);
        self.advance();
    }

    fn advance(&mut self) {
        self.flushes.extend(self.writer.advance(&self.directory));
        self.fills.extend(self.writer.prepare());
    }

    /// The oldest flush under way returns; whether there was one.
    fn flush_returns(&mut self) -> bool {
        let Some(flush) = self.flushes.pop_front() else { return false };
        let (stream, result) = (flush.stream, flush.run(&self.memory));
        self.writer.flushed(&self.directory, stream, result);
        self.advance();
        true
    }

    /// The oldest piece of a spare segment is there; whether there was one.
    fn fill_returns(&mut self) -> bool {
        let Some(fill) = self.fills.pop_front() else { return false };
        let Job::Filled(filled) = fill.run(&self.memory) else { unreachable!("that is what it answers") };
        self.writer.filled(&self.directory, filled);
        self.advance();
        true
    }

    fn settle(&mut self) {
        while self.flush_returns() || self.fill_returns() {}
    }

    fn positions(&self) -> (u64, u64) {
        let progress = self.progress.borrow();
        (progress.written.get(), progress.flushed.get())
    }

    fn failure(&self) -> Option<String> {
        match &self.progress.borrow().state {
            State::Failed(error) => Some(error.to_string()),
            _ => None,
        }
    }
}

fn name(segment: u64) -> String {
    SegmentName { segment: SegmentNo::new(segment), timeline: TimelineId::FIRST }
        .file_name(claim().identity.segment_size)
}

/// Every acknowledged byte is in a file, and every finished file is right.
fn check_directory(memory: &Memory, acknowledged: u64) {
    for file in memory.names() {
        let Some(content) = memory.content(&file) else { continue };
        if file == SPARE {
            continue;
        }
        let segment = u64::from_str_radix(&file[16..24], 16).expect("a segment's name");
        let (start, end) = (segment * MIB, (segment + 1) * MIB);
        let whole = if file.ends_with(".partial") { acknowledged.clamp(start, end) } else { end };
        let expected = wal(start, whole);
        assert!(content.len() >= expected.len() && content[..expected.len()] == expected[..], "{file} up to {whole:X}");
    }
    for segment in 1..acknowledged.div_ceil(MIB) {
        let there = memory.names().iter().any(|file| file.starts_with(&name(segment)));
        assert!(there, "segment {segment} is missing, acknowledged up to {acknowledged:X}");
    }
}

#[test]
fn a_segment_costs_one_fdatasync_and_one_directory_fsync() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Asynchronous);
    bench.begin(MIB);
    for chunk in 0..8 * 4 {
        bench.append(MIB + chunk * MIB / 4, MIB + (chunk + 1) * MIB / 4);
        bench.settle();
    }
    assert_eq!((memory.calls(Op::Sync), memory.calls(Op::SyncDirectory)), (8, 8));
    assert_eq!(bench.positions(), (9 * MIB, 9 * MIB));
    for segment in 1..9 {
        assert_eq!(memory.content(&name(segment)), Some(wal(segment * MIB, (segment + 1) * MIB).to_vec()));
    }
}

#[test]
fn the_end_of_a_segment_is_acknowledged_although_its_rename_fails() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Asynchronous);
    bench.begin(MIB);
    memory.fail(Op::Rename, io::ErrorKind::PermissionDenied);
    bench.append(MIB, 2 * MIB);
    bench.settle();
    assert_eq!(bench.positions(), (2 * MIB, 2 * MIB));
    assert!(bench.failure().is_some_and(|text| text.starts_with("could not rename file")));
}

#[test]
fn nothing_is_acknowledged_before_its_directory_entry_is_durable() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + 100);
    assert!(bench.flushes.front().is_some_and(|flush| flush.directory));
    bench.settle();
    bench.append(MIB + 100, MIB + 200);
    assert!(bench.flushes.front().is_some_and(|flush| !flush.directory), "once is enough");
}

#[test]
fn writing_goes_on_while_a_flush_is_under_way_and_joins_the_next() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + 100);
    bench.append(MIB + 100, MIB + 200);
    bench.append(MIB + 200, MIB + 300);
    assert_eq!(bench.positions(), (MIB + 300, MIB));
    assert!(bench.flush_returns());
    assert_eq!(bench.positions(), (MIB + 300, MIB + 100));
    assert!(bench.flush_returns());
    assert_eq!(bench.positions(), (MIB + 300, MIB + 300));
    assert!(!bench.flush_returns(), "an idle stream costs nothing");
}

#[test]
fn without_synchronous_a_flush_comes_when_asked_for() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Asynchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + 100);
    bench.settle();
    assert_eq!(memory.calls(Op::Sync), 0, "only the new entry");
    bench.writer.flush();
    bench.advance();
    assert!(bench.flush_returns());
    assert_eq!(bench.positions(), (MIB + 100, MIB + 100));
}

#[test]
fn no_sync_never_asks_the_disk() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::NoSync);
    bench.begin(MIB);
    bench.append(MIB, 2 * MIB + 100);
    bench.writer.finish(&bench.directory);
    bench.advance();
    assert_eq!((memory.calls(Op::Sync), memory.calls(Op::SyncDirectory)), (0, 0));
    assert_eq!(bench.positions(), (2 * MIB + 100, 2 * MIB + 100));
    assert!(matches!(bench.progress.borrow().state, State::Closed));
    assert_eq!(memory.names(), [name(1), name(2) + ".partial"]);
}

#[test]
fn finishing_makes_everything_durable_and_keeps_the_partial() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Asynchronous);
    bench.begin(MIB);
    bench.append(MIB, 2 * MIB + 100);
    bench.writer.finish(&bench.directory);
    bench.advance();
    bench.settle();
    assert!(matches!(bench.progress.borrow().state, State::Closed));
    assert_eq!(bench.positions(), (2 * MIB + 100, 2 * MIB + 100));
    memory.crash(|| false);
    assert_eq!(memory.names(), [name(1), name(2) + ".partial"]);
    assert_eq!(memory.mode(&name(1)), Some(0o600));
    let partial = memory.content(&(name(2) + ".partial")).expect("durable");
    assert_eq!(partial.len() as u64, MIB);
    assert_eq!(&partial[..100], &wal(2 * MIB, 2 * MIB + 100)[..]);
}

#[test]
fn a_partial_of_any_size_is_continued() {
    for (kept, reserves) in
        [0, 1, 5000, MIB as usize, MIB as usize + 7].into_iter().flat_map(|n| [(n, true), (n, false)])
    {
        let memory = Memory::default();
        let mut bytes = wal(MIB, 2 * MIB).to_vec();
        bytes.extend([9; 7]);
        memory.put(&(name(1) + ".partial"), bytes[..kept].to_vec());
        if !reserves {
            memory.fail(Op::Reserve, io::ErrorKind::Unsupported);
        }
        let mut bench = Bench::on(&memory, FlushMode::Synchronous);
        bench.begin(MIB);
        bench.append(MIB, MIB + 10);
        let partial = memory.content(&(name(1) + ".partial")).map(|bytes| bytes.len() as u64);
        assert_eq!(partial, Some(MIB), "{kept} {reserves}");
        bench.append(MIB + 10, 2 * MIB);
        bench.settle();
        assert_eq!(memory.content(&name(1)), Some(wal(MIB, 2 * MIB).to_vec()), "{kept} {reserves}");
    }
}

#[test]
fn other_bytes_on_the_same_timeline_are_never_overwritten() {
    for kept in [name(1), name(1) + ".partial"] {
        let memory = Memory::default();
        let mut bytes = wal(MIB, 2 * MIB).to_vec();
        bytes[70_000] ^= 0x80;
        memory.put(&kept, bytes.clone());
        let mut bench = Bench::on(&memory, FlushMode::Synchronous);
        bench.begin(MIB);
        bench.append(MIB, MIB + 60_000);
        bench.append(MIB + 60_000, MIB + 80_000);
        bench.settle();
        assert!(bench.failure().is_some_and(|text| text.contains("WAL at 0/111170 differs")), "{:?}", bench.failure());
        assert_eq!(memory.content(&kept), Some(bytes));
    }
}

#[test]
fn a_segment_of_another_cluster_is_not_even_reported_as_written() {
    for header_comes_in in [vec![40], vec![100], vec![39, 100], vec![1, 2, 60], vec![MIB]] {
        let memory = Memory::default();
        let mut bench = Bench::on(&memory, FlushMode::Synchronous);
        bench.begin(MIB);
        let mut bytes = wal(MIB, 2 * MIB).to_vec();
        bytes[24] = 8;
        let mut at = 0;
        for upto in header_comes_in {
            let part = Bytes::copy_from_slice(&bytes[at as usize..upto as usize]);
            bench.writer.append(Lsn::new(MIB + at), part, false);
            bench.advance();
            bench.settle();
            at = upto;
        }
        let failure = bench.failure();
        assert!(failure.as_ref().is_some_and(|text| text.contains("system identifier is 8, not 7")), "{failure:?}");
        assert!(bench.positions().0 < MIB + 40);
        assert_eq!(memory.names(), [name(1) + ".partial"]);
    }
}

#[test]
fn an_unknown_majors_page_magic_is_learned_and_then_held() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Asynchronous);
    let unknown = Claim { magic: None, ..claim() };
    bench.writer.begin(&bench.directory, StreamId(1), unknown, TimelineId::FIRST, Lsn::new(MIB), untold());
    bench.append(MIB, 2 * MIB);
    bench.settle();
    assert_eq!(memory.names(), [name(1)]);
    bench.writer.begin(&bench.directory, StreamId(2), unknown, TimelineId::FIRST, Lsn::new(2 * MIB), untold());
    let mut bytes = wal(2 * MIB, 3 * MIB).to_vec();
    bytes[0] ^= 1;
    bench.writer.append(Lsn::new(2 * MIB), bytes.into(), true);
    bench.advance();
    assert!(bench.failure().is_some_and(|text| text.contains("magic is D111, not D110")), "{:?}", bench.failure());
}

#[test]
fn a_failed_flush_of_an_earlier_stream_is_no_success_of_this_one() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + 100);
    bench.begin(MIB);
    bench.append(MIB, MIB + 700);
    memory.fail(Op::Sync, io::ErrorKind::StorageFull);
    bench.settle();
    assert_eq!(bench.positions().1, MIB);
    assert!(bench.failure().is_some_and(|text| text.starts_with("could not fsync file")), "{:?}", bench.failure());
}

/// ext4 gives up pages that it cannot map, and a later `fdatasync` says OK.
#[test]
fn what_an_early_write_back_could_not_write_is_never_acknowledged() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Asynchronous);
    bench.begin(MIB);
    memory.fail(Op::WriteBack, io::ErrorKind::Other);
    bench.append(MIB, 2 * MIB);
    bench.settle();
    assert!(bench.failure().is_some_and(|text| text.starts_with("could not write back")), "{:?}", bench.failure());
    assert_eq!(bench.positions().1, MIB);
}

#[test]
fn a_gap_in_what_is_handed_over_is_noticed() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Asynchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + 10);
    bench.append(MIB + 11, MIB + 20);
    assert!(bench.failure().is_some_and(|text| text.contains("0/10000B does not follow")), "{:?}", bench.failure());
}
