//! When a status leaves, on a clock that the test moves.

use super::*;
use proptest::prelude::*;

const SYNCHRONOUS: Policy = Policy { report_flush: true, report_write: true, heartbeat: Some(Duration::from_secs(10)) };

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn lsn(position: u64) -> Lsn {
    Lsn::new(position)
}

/// An open stream at 1000 whose first status has left.
fn started(policy: Policy) -> (Acks, Instant) {
    let now = Instant::now();
    let mut acks = Acks::new(policy, lsn(1000));
    assert!(acks.due(now).is_some(), "the first status is due at once");
    (acks, now)
}

fn told(acks: &mut Acks, now: Instant) -> Option<(u64, u64)> {
    acks.due(now).map(|status| (status.write.get(), status.flush.get()))
}

#[test]
fn a_flush_is_acknowledged_at_once_and_together_with_its_write() {
    let (mut acks, now) = started(SYNCHRONOUS);
    acks.received(lsn(1100), now);
    acks.stored(lsn(1100), lsn(1000), now);
    assert_eq!(told(&mut acks, now + ms(1)), None);
    acks.stored(lsn(1100), lsn(1100), now + ms(1));
    assert_eq!(told(&mut acks, now + ms(1)), Some((1100, 1100)));
    assert_eq!(told(&mut acks, now + ms(2)), None);
}

#[test]
fn the_wait_for_an_acknowledgement_begins_with_the_last_one_while_more_is_pending() {
    let (mut acks, now) = started(SYNCHRONOUS);
    assert_eq!(acks.stored(lsn(1000), lsn(1000), now + ms(5)), None, "nothing was waited for");
    acks.received(lsn(1100), now + ms(10));
    acks.received(lsn(1200), now + ms(20));
    assert_eq!(acks.stored(lsn(1200), lsn(1000), now + ms(25)), None);
    assert_eq!(acks.stored(lsn(1200), lsn(1100), now + ms(30)), Some(ms(20)));
    assert_eq!(acks.stored(lsn(1200), lsn(1200), now + ms(70)), Some(ms(40)));
    acks.received(lsn(1300), now + ms(100));
    assert_eq!(acks.stored(lsn(1300), lsn(1300), now + ms(101)), Some(ms(1)));
}

#[test]
fn a_slow_flush_does_not_hold_up_remote_write() {
    let (mut acks, now) = started(SYNCHRONOUS);
    acks.received(lsn(1100), now);
    acks.stored(lsn(1100), lsn(1000), now);
    assert_eq!(acks.deadline(), Some(now + WRITE_PATIENCE));
    assert_eq!(told(&mut acks, now + ms(2)), Some((1100, 1000)));
    acks.received(lsn(1200), now);
    acks.stored(lsn(1200), lsn(1000), now + ms(50));
    assert_eq!(told(&mut acks, now + ms(52)), Some((1200, 1000)));
}

#[test]
fn a_requested_reply_is_the_acknowledgement_that_the_flush_brings() {
    let (mut acks, now) = started(Policy { report_write: false, ..SYNCHRONOUS });
    acks.received(lsn(1100), now);
    acks.reply_requested(now + ms(200));
    assert_eq!(told(&mut acks, now + ms(900)), None);
    acks.stored(lsn(1100), lsn(1100), now + ms(900));
    assert_eq!(told(&mut acks, now + ms(900)), Some((1100, 1100)));
    assert_eq!(told(&mut acks, now + ms(2000)), None, "it has been answered");
}

#[test]
fn a_requested_reply_comes_after_a_second_whatever_the_disk_does() {
    let (mut acks, now) = started(Policy { report_write: false, ..SYNCHRONOUS });
    acks.received(lsn(1100), now);
    acks.reply_requested(now + ms(200));
    acks.reply_requested(now + ms(300));
    assert_eq!(acks.deadline(), Some(now + ms(1200)));
    assert_eq!(told(&mut acks, now + ms(1200)), Some((1000, 1000)));
}

#[test]
fn asking_again_and_again_costs_nothing() {
    let (mut acks, start) = started(SYNCHRONOUS);
    acks.received(lsn(1100), start);
    let statuses = (0..2000).filter(|&at| {
        acks.reply_requested(start + ms(at));
        acks.due(start + ms(at)).is_some()
    });
    assert!(statuses.count() <= 3, "a flush of two seconds under a server that asks every millisecond");
    let idle = (2000..4000).filter(|&at| {
        acks.stored(lsn(1100), lsn(1100), start + ms(at));
        acks.reply_requested(start + ms(at));
        acks.due(start + ms(at)).is_some()
    });
    assert!(idle.count() <= 21, "identical statuses are at least 100 ms apart");
}

#[test]
fn silence_is_broken_at_each_heartbeat() {
    let (mut acks, now) = started(SYNCHRONOUS);
    assert_eq!(told(&mut acks, now + ms(9999)), None);
    assert_eq!(told(&mut acks, now + ms(10_000)), Some((1000, 1000)));
}

#[test]
fn without_slot_and_synchronous_flush_is_not_reported_but_a_request_is_answered() {
    let (mut acks, now) = started(Policy { report_flush: false, report_write: false, heartbeat: None });
    acks.received(lsn(1100), now);
    acks.stored(lsn(1100), lsn(1100), now);
    assert_eq!(told(&mut acks, now + ms(60_000)), None);
    acks.reply_requested(now + ms(60_000));
    assert_eq!(told(&mut acks, now + ms(60_000)), Some((1100, 0)));
}

#[test]
fn a_new_timeline_takes_nothing_back() {
    let (mut acks, now) = started(SYNCHRONOUS);
    acks.received(lsn(1500), now);
    acks.stored(lsn(1500), lsn(1500), now);
    assert_eq!(told(&mut acks, now), Some((1500, 1500)));
    acks.restart(lsn(1024), lsn(1500));
    assert_eq!(told(&mut acks, now), Some((1500, 1500)), "its first status is due at once");
    assert_eq!(told(&mut acks, now + ms(9_999)), None);
    assert_eq!(told(&mut acks, now + ms(10_000)), Some((1500, 1500)));
    acks.received(lsn(1600), now);
    acks.stored(lsn(1600), lsn(1400), now + ms(10_000));
    assert_eq!(told(&mut acks, now + ms(10_002)), Some((1600, 1500)));
}

/// A dead primary's last record reached a standby in part: the standby streams it on, and overwrites it once it is
/// promoted. Commits of the new timeline must not be released by bytes that are not theirs.
#[test]
fn what_lies_behind_the_switch_point_is_no_acknowledgement_of_the_new_timeline() {
    let (mut acks, now) = started(SYNCHRONOUS);
    acks.received(lsn(1900), now);
    acks.stored(lsn(1900), lsn(1900), now);
    assert_eq!(told(&mut acks, now), Some((1900, 1900)));
    acks.restart(lsn(1024), lsn(1500));
    assert_eq!(told(&mut acks, now), Some((1500, 1500)));
    acks.received(lsn(1700), now);
    acks.stored(lsn(1700), lsn(1700), now + ms(5));
    assert_eq!(told(&mut acks, now + ms(5)), Some((1700, 1700)));
}

proptest! {
    /// Positions only grow, `flush` ≤ `write` ≤ received, and no two identical statuses are close.
    #[test]
    fn what_is_told_is_true_and_only_grows(
        report_flush: bool,
        report_write: bool,
        steps in proptest::collection::vec((0_u64..300, 0_u64..50, 0_u64..50, 0_u64..50, any::<bool>()), 1..80),
    ) {
        let heartbeat = Some(ms(500));
        let (mut acks, mut now) = started(Policy { report_flush, report_write, heartbeat });
        let (mut received, mut written, mut flushed) = (1000, 1000, 1000);
        let mut last = (1000, if report_flush { 1000 } else { 0 });
        let mut last_at = now;
        for (pause, arrived, wrote, synced, asks) in steps {
            now += ms(pause);
            received += arrived;
            written = received.min(written + wrote);
            flushed = written.min(flushed + synced);
            acks.received(lsn(received), now);
            acks.stored(lsn(written), lsn(flushed), now);
            if asks {
                acks.reply_requested(now);
            }
            if let Some((write, flush)) = told(&mut acks, now) {
                prop_assert!(flush <= write && write <= received);
                prop_assert!(flush <= flushed && write == written);
                prop_assert!((write, flush) >= last && flush >= last.1);
                prop_assert!((write, flush) != last || now >= last_at + QUIET);
                (last, last_at) = ((write, flush), now);
            }
            prop_assert!(now < last_at + ms(500), "the heartbeat is never missed");
            prop_assert!(!report_flush || last.1 == flushed, "a flush is told at once");
        }
    }
}
