//! Chains as servers write them, and each way in which they break.

use super::*;
use crate::wal::testing::LogWriter;
use crate::wal::{TimelineHistory, TimelineId};
use proptest::prelude::*;

fn log() -> LogWriter {
    LogWriter::new(TimelineHistory::root(TimelineId::FIRST), 3)
}

fn walker(log: &LogWriter, start: Lsn) -> Walker {
    let pages = PageCheck::new(Some(log.magic), log.system, log.size, log.history.clone());
    Walker::new(pages, log.size, start)
}

/// Walks through all pages of `log`, its end padded with zeros; returns all breaks.
fn walk(log: &LogWriter) -> (Walker, Vec<Break>) {
    let mut walker = walker(log, log.begin);
    let mut bytes = log.bytes.clone();
    bytes.resize(bytes.len().next_multiple_of(PAGE) + PAGE, 0);
    let breaks = bytes.chunks(PAGE).filter_map(|page| walker.page(page).err()).collect();
    (walker, breaks)
}

fn some_records() -> (LogWriter, Vec<Lsn>) {
    let mut log = log();
    let mut starts: Vec<Lsn> = [10, 5000, 3, 30_000, 1, 0, 8192, 700].into_iter().map(|len| log.record(len)).collect();
    starts.push(log.fill_page());
    starts.extend([9, 100_000, 5].map(|len| log.record(len)));
    (log, starts)
}

#[test]
fn whole_records_are_followed_to_the_last() {
    let (log, starts) = some_records();
    let (walker, breaks) = walk(&log);
    let [end] = breaks.as_slice() else { panic!("{breaks:?}") };
    assert_eq!((end.from, &end.reason), (log.end(), &Reason::NoRecord));
    let chain = walker.chain();
    assert_eq!(chain.records, starts.len() as u64);
    assert_eq!(chain.first, Some(First { start: starts[0], previous: Lsn::INVALID, overwrites: None }));
    assert_eq!(chain.last, Some(Link { record: starts[starts.len() - 1], end: log.end(), cut_off: None }));
}

#[test]
fn a_switch_leads_to_the_next_segment() {
    let mut log = log();
    log.record(100);
    let switch = log.switch();
    let second = log.record(100);
    let (walker, breaks) = walk(&log);
    assert_eq!((breaks.len(), walker.chain().records, walker.notes()), (1, 3, [].as_slice()));
    assert_eq!(second, Lsn::new(log.begin.get() + (1 << 20) + 40));

    let stray = (1 << 20) - 5;
    log.bytes[stray] = 1;
    let (walker, breaks) = walk(&log);
    let note = Note::BehindSwitch { at: Lsn::new(log.begin.get() + stray as u64) };
    assert_eq!((breaks.len(), walker.chain().records, walker.notes()), (1, 3, [note].as_slice()));
    assert!(switch < second);
}

#[test]
fn a_record_that_a_crash_cut_off_is_no_break() {
    let mut log = log();
    log.record(100);
    let cut_off = log.crash_within_a_record(3);
    let last = log.record(10);
    let (walker, breaks) = walk(&log);
    assert_eq!((breaks.len(), walker.chain().records), (1, 3), "{breaks:?}");
    assert_eq!(walker.chain().last.map(|link| link.record), Some(last));
    assert!(matches!(walker.notes(), [Note::CutOff { record, .. }] if *record == cut_off));

    // The rest of another one.
    let at = log.bytes.windows(8).rposition(|bytes| bytes == cut_off.get().to_le_bytes()).unwrap();
    let start = at - 26;
    log.bytes[at] ^= 8;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&log.bytes[start + 24..start + 42]), &log.bytes[start..start + 20]);
    log.bytes[start + 20..start + 24].copy_from_slice(&crc.to_le_bytes());
    let (_, breaks) = walk(&log);
    assert!(matches!(breaks[0].reason, Reason::Overwriting { .. }), "{breaks:?}");
}

#[test]
fn a_walk_begins_with_the_first_record_that_begins_there() {
    let (log, starts) = some_records();
    for page in 1..log.bytes.len() / PAGE {
        let start = Lsn::new(log.begin.get() + (page * PAGE) as u64);
        let mut walker = walker(&log, start);
        for page in log.bytes[page * PAGE..].chunks_exact(PAGE) {
            walker.page(page).unwrap();
        }
        let whole =
            |lsn: &&Lsn| **lsn >= start && (lsn.get() - log.begin.get()) as usize <= log.bytes.len() / PAGE * PAGE;
        let first = starts.iter().find(whole);
        let found = walker.chain().first.map(|first| first.start);
        assert!(found.is_none_or(|found| Some(&found) == first), "{found:?} {first:?}");
    }
}

#[test]
fn after_a_break_the_chain_is_taken_up_again() {
    let (mut log, starts) = some_records();
    let hit = (starts[3].get() - log.begin.get() + 100) as usize;
    log.bytes[hit] ^= 1;
    let (walker, breaks) = walk(&log);
    assert_eq!((breaks[0].at, &breaks[0].reason, breaks.len()), (starts[3], &Reason::Checksum, 2));
    assert_eq!(walker.chain().last.map(|link| link.record), starts.last().copied());
    assert!(walker.chain().first.is_some_and(|first| first.start == starts[0]));
}

#[test]
fn each_break_is_named() {
    let (log, starts) = some_records();
    let check = |at: u64, value: u8, expected: Lsn, what: &str| {
        let mut log = log.clone();
        log.bytes[(at - log.begin.get()) as usize] = value;
        let (_, breaks) = walk(&log);
        assert_eq!(breaks[0].at, expected, "{breaks:?}");
        assert!(breaks[0].reason.to_string().contains(what), "{breaks:?}");
    };
    let second = starts[1].get();
    check(second, 1, starts[1], "checksum");
    check(second + 3, 0x80, starts[1], "length");
    check(second + 2, 0x10, starts[1], "bytes are left");
    check(second + 8, 0, starts[1], "the one before");
    check(second + 20, 0, starts[1], "checksum");
    let third_page = log.begin.get() + 2 * PAGE as u64;
    check(third_page, 0, Lsn::new(third_page), "magic");
    check(third_page + 8, 1, Lsn::new(third_page), "address");
    check(third_page + 16, 1, Lsn::new(third_page), "remaining length");
    check(log.begin.get() + 40 + 8, 0xFF, starts[0], "checksum");
    check(log.begin.get() + 40 + 15, 0xFF, starts[0], "not before it");
}

#[test]
fn zeros_in_the_middle_are_told_once() {
    let (mut log, _) = some_records();
    log.bytes[PAGE..4 * PAGE].fill(0);
    let (_, breaks) = walk(&log);
    assert_eq!((breaks.len(), &breaks[0].reason), (2, &Reason::NoPage));
}

proptest! {
    /// The record that a flipped byte belongs to is the one that is found, or the page whose header it is in.
    #[test]
    fn a_flipped_byte_is_found_where_it_is(lens in proptest::collection::vec(0..12_000_usize, 1..8), place: u32, mask in 1..=255_u8) {
        let mut log = log();
        let starts: Vec<Lsn> = lens.iter().map(|len| log.record(*len)).collect();
        let at = place as usize % log.bytes.len();
        let lsn = Lsn::new(log.begin.get() + at as u64);
        let record = *starts.iter().rfind(|start| **start <= lsn).unwrap_or(&starts[0]);
        let page = Lsn::new(lsn.get() - lsn.get() % PAGE as u64);
        let before = log.bytes[at];
        log.bytes[at] ^= mask;
        let (_, breaks) = walk(&log);
        let first = &breaks[0];
        if at % PAGE < 24 || at < 40 {
            // In a header everything but the padding and a meaningless flag tells.
            let silent = matches!(at % PAGE, 20..24) || (at % PAGE == 2 && mask == 4) || before == log.bytes[at];
            prop_assert!(silent || first.at == page || first.at <= record, "{first:?} {lsn}");
        } else {
            // Between two records are up to 7 bytes that belong to none. A greater length may reach beyond the log's end.
            let endless = first.reason == Reason::NoPage && first.from == record;
            prop_assert!(first.at == record || first.reason == Reason::NoRecord || endless, "{first:?} {lsn} {record}");
        }
    }

    #[test]
    fn any_bytes_are_walked(bytes in proptest::collection::vec(any::<u8>(), 3 * PAGE..=3 * PAGE), header: bool) {
        let log = log();
        let mut walker = walker(&log, log.begin);
        for (page, bytes) in bytes.chunks(PAGE).enumerate() {
            let mut page_of_log = log.clone();
            page_of_log.bytes.resize(page * PAGE, 0);
            page_of_log.record(10);
            let mut bytes = bytes.to_vec();
            if header {
                bytes[..24].copy_from_slice(&page_of_log.bytes[page * PAGE..][..24]);
                if page == 0 {
                    bytes[..40].copy_from_slice(&page_of_log.bytes[..40]);
                }
            }
            let _ = walker.page(&bytes);
        }
    }
}
