//! The spare segment: when it is made, what becomes of it, and that nothing depends on it.

use super::*;
use crate::store::spare::PIECE;

#[test]
fn a_spare_becomes_the_next_segment_once_the_one_before_is_durable() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + MIB / 2);
    bench.settle();
    assert!(memory.content(SPARE).is_some_and(|zeros| zeros == vec![0; MIB as usize]));
    let reserved = memory.calls(Op::Reserve);
    bench.append(MIB + MIB / 2, 2 * MIB + 10);
    assert_eq!(memory.names(), [SPARE.to_owned(), format!("{}.partial", name(1))], "the first is not durable yet");
    bench.flush_returns();
    assert_eq!(memory.names(), [name(1), format!("{}.partial", name(2))]);
    assert_eq!(memory.calls(Op::Reserve), reserved, "it is the spare that got the name");
    bench.settle();
    assert_eq!(bench.positions(), (2 * MIB + 10, 2 * MIB + 10));
    check_directory(&memory, 2 * MIB + 10);
}

#[test]
fn a_spare_is_made_at_twice_the_pace_of_the_wal_and_only_for_commits_that_wait() {
    let check = |mode, caught_up, upto, pieces: usize| {
        let memory = Memory::default();
        let mut bench = Bench::on(&memory, mode);
        bench.begin(MIB);
        bench.writer.append(Lsn::new(MIB), wal(MIB, MIB + upto), caught_up);
        bench.advance();
        let written = memory.calls(Op::Write);
        bench.settle();
        assert_eq!(memory.calls(Op::Write) - written, pieces, "{mode:?}, {upto} bytes");
        assert_eq!(memory.content(SPARE).is_some(), pieces > 0, "{mode:?}, {upto} bytes");
    };
    let pieces = |bytes: u64| bytes.div_ceil(PIECE as u64) as usize;
    check(FlushMode::Synchronous, true, 1, 1);
    check(FlushMode::Synchronous, true, MIB / 4, pieces(MIB / 2));
    check(FlushMode::Synchronous, true, MIB - 1, pieces(MIB));
    check(FlushMode::Synchronous, false, MIB / 2, 0);
    check(FlushMode::Asynchronous, true, MIB / 2, 0);
    check(FlushMode::NoSync, true, MIB / 2, 0);
}

#[test]
fn a_spare_that_cannot_be_made_is_no_error() {
    for op in [Op::Create, Op::Reserve, Op::Write, Op::Sync] {
        let memory = Memory::default();
        let mut bench = Bench::on(&memory, FlushMode::Synchronous);
        bench.begin(MIB);
        bench.writer.append(Lsn::new(MIB), wal(MIB, 2 * MIB - 10), true);
        bench.flushes.extend(bench.writer.advance(&bench.directory));
        for _piece in 0..MIB / PIECE as u64 {
            memory.fail(op, io::ErrorKind::StorageFull);
            bench.fills.extend(bench.writer.prepare());
            bench.fill_returns();
        }
        memory.take_fault();
        assert!(memory.content(SPARE).is_none(), "{op:?}");
        bench.append(2 * MIB - 10, 2 * MIB + 10);
        bench.settle();
        assert_eq!((bench.failure(), bench.positions().1), (None, 2 * MIB + 10), "{op:?}");
    }
}

#[test]
fn a_spare_that_somebody_removed_is_replaced_by_a_new_file() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, 2 * MIB - 10);
    bench.settle();
    FileSystem::remove(&memory, SPARE).expect("it is there");
    bench.append(2 * MIB - 10, 3 * MIB);
    bench.settle();
    assert_eq!((bench.failure(), bench.positions().1), (None, 3 * MIB));
    check_directory(&memory, 3 * MIB);
}

#[test]
fn a_spare_goes_with_the_stream_even_while_it_is_being_filled() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + MIB / 2);
    bench.flush_returns();
    bench.writer.finish(&bench.directory);
    bench.settle();
    assert_eq!(memory.names(), [format!("{}.partial", name(1))]);
}

#[test]
fn a_piece_that_hangs_is_not_joined_by_another() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + MIB / 2);
    assert_eq!(bench.fills.len(), 1);
    let hanging = bench.fills.pop_front().expect("it is there");
    bench.flush_returns();
    bench.writer.finish(&bench.directory);
    bench.begin(MIB);
    bench.append(MIB, MIB + MIB / 2);
    assert!(bench.fills.is_empty(), "a thread is left for writing, and one for flushes");
    bench.fills.push_back(hanging);
    bench.fill_returns();
    assert_eq!(bench.fills.len(), 1, "now there may be another");
    bench.settle();
    assert_eq!(bench.failure(), None);
}

#[test]
fn a_spare_gives_its_space_to_the_segment_that_needs_it() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, MIB + 10);
    bench.settle();
    assert!(memory.content(SPARE).is_some());
    memory.fail(Op::Reserve, io::ErrorKind::StorageFull);
    bench.writer.append(Lsn::new(MIB + 10), wal(MIB + 10, 2 * MIB + 10), false);
    bench.advance();
    bench.settle();
    assert_eq!((bench.failure(), bench.positions().1), (None, 2 * MIB + 10));
}

#[test]
fn who_is_in_a_hurry_does_not_wait_for_a_flush_to_use_a_spare() {
    let memory = Memory::default();
    let mut bench = Bench::on(&memory, FlushMode::Synchronous);
    bench.begin(MIB);
    bench.append(MIB, 2 * MIB - 10);
    bench.settle();
    bench.append(2 * MIB - 10, 2 * MIB - 5);
    assert_eq!(bench.flushes.len(), 1, "it hangs from now on");
    bench.append(2 * MIB - 5, 2 * MIB + 50);
    assert_eq!(bench.positions().0, 2 * MIB, "the spare is waited for");
    bench.writer.hurry();
    bench.advance();
    assert_eq!(bench.positions().0, 2 * MIB + 50);
}
