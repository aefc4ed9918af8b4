//! Streams that are right in any pieces, and each way in which a page is wrong.

use super::*;
use crate::wal::testing::LogWriter;
use proptest::prelude::*;

fn timeline(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

/// Timeline 3 from the middle of the third page on.
fn history() -> TimelineHistory {
    TimelineHistory::parse(timeline(3), b"1\t0/304800\tx\n").unwrap()
}

/// Two segments: records of all kinds, a crash within one, a switch.
fn log() -> LogWriter {
    let mut log = LogWriter::new(history(), 3);
    for len in [10, 5000, 30_000, 1, 8192] {
        log.record(len);
    }
    log.fill_page();
    log.record(3);
    log.crash_within_a_record(2);
    log.record(500);
    log.switch();
    log.record(100_000);
    log.record(1);
    log
}

fn check(log: &LogWriter) -> PageCheck {
    PageCheck::new(Some(log.magic), log.system, log.size, log.history.clone())
}

#[test]
fn what_a_server_writes_is_right() {
    let log = log();
    assert_eq!(check(&log).push(log.begin, &log.bytes), Ok(()));
    let mut learning = PageCheck::new(None, log.system, log.size, TimelineHistory::root(timeline(3)));
    assert_eq!(learning.push(log.begin, &log.bytes), Ok(()));
    assert_eq!(learning.magic(), Some(log.magic));
}

#[test]
fn each_wrong_field_is_named() {
    let log = log();
    let wrong = |page: usize, at: usize, value: u8, what: &str| {
        let mut bytes = log.bytes.clone();
        bytes[page * PAGE + at] = value;
        let found = check(&log).push(log.begin, &bytes).unwrap_err();
        assert_eq!(found.at, Lsn::new(log.begin.get() + (page * PAGE) as u64), "{found}");
        assert!(found.to_string().contains(what), "{found}");
    };
    wrong(0, 0, 1, "magic is D101, not D118");
    wrong(0, 2, 0, "flags");
    wrong(4, 2, 3, "flags");
    wrong(4, 3, 1, "flags");
    wrong(1, 4, 3, "timeline is 3, not 1");
    wrong(4, 4, 1, "timeline is 1, not 3");
    wrong(4, 4, 4, "timeline is 4, not 3");
    wrong(1, 9, 0, "address is 0/300000, not 0/302000");
    wrong(0, 24, 0, "system identifier");
    wrong(0, 34, 32, "segment size is 2 MB, not 1 MB");
    wrong(0, 37, 16, "block size");
    wrong(3, 16, 0xFF, "remaining length");
    wrong(100, 5000, 1, "other bytes than zeros");
    wrong(128, 4, 2, "timeline is 2, not 3");
}

#[test]
fn zeros_go_on_to_the_segments_end() {
    let log = log();
    let zeros = |from: usize, to: usize| {
        let mut bytes = log.bytes.clone();
        bytes[from * PAGE..to * PAGE].fill(0);
        check(&log).push(log.begin, &bytes).map_err(|bad| (bad.at.get() - log.begin.get()) as usize / PAGE)
    };
    assert_eq!(zeros(6, 128), Ok(()));
    assert_eq!(zeros(6, 7), Err(7));
    assert_eq!(zeros(0, 1), Err(0));
    assert_eq!(zeros(6, 129), Err(128));
    assert_eq!(check(&log).push(Lsn::new(log.begin.get() + 100), &log.bytes[100..]), Ok(()), "from anywhere");
}

#[test]
fn without_a_history_timelines_only_grow() {
    let log = log();
    let without = |page: usize, timeline: u8| {
        let mut bytes = log.bytes.clone();
        bytes[page * PAGE + 4] = timeline;
        let history = TimelineHistory::root(self::timeline(3));
        PageCheck::new(Some(log.magic), log.system, log.size, history).push(log.begin, &bytes)
    };
    assert_eq!(without(2, 2), Ok(()));
    assert!(without(5, 2).is_err() && without(2, 4).is_err());
}

#[test]
fn after_a_fault_any_page_may_come() {
    let log = log();
    let mut check = check(&log);
    assert!(check.push(log.begin, &[7; PAGE]).is_err());
    assert_eq!(check.push(Lsn::new(log.begin.get() + PAGE as u64), &log.bytes[PAGE..]), Ok(()));
    assert_eq!(check.push(log.begin, &log.bytes), Ok(()), "from the beginning again");
}

/// A server before 13.5, or one that lost a page: the rest of a record is not there, nor what stands for it.
#[test]
fn a_record_goes_on_as_it_must() {
    let mut log = LogWriter::new(history(), 3);
    log.record(40_000);
    let mut other = LogWriter::new(history(), 3);
    other.record(50_000);
    log.bytes[3 * PAGE..4 * PAGE].copy_from_slice(&other.bytes[3 * PAGE..4 * PAGE]);
    let bad = check(&log).push(log.begin, &log.bytes).unwrap_err();
    assert!(matches!(bad.source, PageError::Foreign { what: "remaining length", .. }), "{bad}");
}

proptest! {
    #[test]
    fn pieces_make_no_difference(cuts in proptest::collection::vec(1..20_000_usize, 1..200), flip in 0..300_000_usize) {
        let mut log = log();
        for flipped in [false, true] {
            if flipped {
                log.bytes[flip] ^= 0xFF;
            }
            let whole = check(&log).push(log.begin, &log.bytes);
            let (mut piecewise, mut at, mut found) = (check(&log), 0, Ok(()));
            for cut in cuts.iter().copied().cycle() {
                if at == log.bytes.len() || found.is_err() {
                    break;
                }
                let end = (at + cut).min(log.bytes.len());
                found = piecewise.push(Lsn::new(log.begin.get() + at as u64), &log.bytes[at..end]);
                at = end;
            }
            prop_assert_eq!(found, whole);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(at in 0..1_u64 << 40, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let log = LogWriter::new(history(), 3);
        let _ = check(&log).push(Lsn::new(at), &bytes);
    }
}
