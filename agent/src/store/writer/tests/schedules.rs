//! Random orders of arrivals, flushes, failures and crashes: acknowledged WAL is there afterwards.

use super::*;
use proptest::prelude::*;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Arrives(u64),
    FlushReturns,
    FillReturns,
    FlushIsAsked,
    Fails(Op, io::ErrorKind),
    Reconnects,
    PowerIsLost(u64),
}

fn event() -> impl Strategy<Value = Event> {
    use io::ErrorKind::{Other, StorageFull};
    let op = prop::sample::select(vec![
        Op::Stat,
        Op::Open,
        Op::Create,
        Op::Read,
        Op::Write,
        Op::Reserve,
        Op::Sync,
        Op::Rename,
        Op::SyncDirectory,
    ]);
    prop_oneof![
        10 => (1..MIB / 2).prop_map(Event::Arrives),
        10 => Just(Event::FlushReturns),
        10 => Just(Event::FillReturns),
        2 => Just(Event::FlushIsAsked),
        2 => (op, prop::sample::select(vec![StorageFull, Other])).prop_map(|(op, kind)| Event::Fails(op, kind)),
        1 => Just(Event::Reconnects),
        1 => any::<u64>().prop_map(Event::PowerIsLost),
    ]
}

/// The first byte that is missing, as the next start will find it: the lowest `.partial`, else behind the last segment.
fn resume_at(memory: &Memory) -> u64 {
    let size = claim().identity.segment_size;
    let inventory = Inventory::take(memory, size, |doing, _, source| StoreError::Io { doing, path: "".into(), source });
    let segments = inventory.expect("no fault is pending").segments;
    let lowest_partial = segments.iter().find(|(_, held)| **held == Held::Partial).map(|(name, _)| name.segment);
    let behind_last = segments.keys().next_back().map(|name| name.segment.next());
    lowest_partial.or(behind_last).map_or(MIB, |segment| size.start_of(segment).get())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_acknowledged_wal_is_there(
        synchronous: bool,
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mode = if synchronous { FlushMode::Synchronous } else { FlushMode::Asynchronous };
        let memory = Memory::default();
        let mut bench = Bench::on(&memory, mode);
        let (mut sent, mut acknowledged) = (MIB, MIB);
        bench.begin(MIB);
        for event in events {
            match event {
                Event::Arrives(len) => {
                    bench.append(sent, sent + len);
                    sent += len;
                }
                Event::FlushReturns => drop(bench.flush_returns()),
                Event::FillReturns => drop(bench.fill_returns()),
                Event::FlushIsAsked => {
                    bench.writer.flush();
                    bench.advance();
                }
                Event::Fails(op, kind) => memory.fail(op, kind),
                Event::Reconnects => bench.writer.stream = None,
                Event::PowerIsLost(mut seed) => {
                    memory.crash(|| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        seed >> 63 == 1
                    });
                    bench.flushes.clear();
                    bench.fills.clear();
                    bench.writer = Writer::new(mode, bench.writer.progress.clone(), Counters::default());
                    check_directory(&memory, acknowledged);
                }
            }
            let (written, flushed) = bench.positions();
            prop_assert!(bench.flushes.len() <= 1, "what arrives during a flush joins the next");
            prop_assert!(flushed <= written && written <= sent);
            // A connection that starts further back reports less for a while; that takes nothing back.
            acknowledged = acknowledged.max(flushed);
            if bench.writer.stream.is_none() {
                memory.take_fault();
                sent = resume_at(&memory);
                prop_assert!(sent <= acknowledged.max(MIB) + MAX_FULL as u64 * MIB);
                bench.begin(sent);
                prop_assert_eq!(bench.positions(), (sent, sent));
                prop_assert!(sent <= acknowledged, "the beginning of a stream counts as acknowledged");
            }
        }
        memory.take_fault();
        memory.crash(|| false);
        check_directory(&memory, acknowledged);
    }
}
