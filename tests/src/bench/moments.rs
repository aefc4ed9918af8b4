//! What is computed from single moments: percentiles, and how long something was pending.

use crate::load::rank;
use crate::tap::{Arrival, Status};
use std::time::Duration;
use tokio::time::Instant;
use wal_agent::wal::Lsn;

/// The value that `percent` of them do not exceed; of nothing: not a number.
pub(super) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(rank(values.len(), percent)).copied().unwrap_or(f64::NAN)
}

/// In milliseconds.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// How long WAL was pending before each acknowledgement that advanced, from the first one in `window` on; what is still
/// pending when `window` ends counts with the time it has been.
///
/// WAL is pending from the moment it has come, or the acknowledgement before it was sent, whichever is later.
pub(super) fn waits(arrivals: &[Arrival], statuses: &[Status], window: (Instant, Instant)) -> Vec<Duration> {
    let (start, end) = window;
    let mut waits = Vec::new();
    let mut arrivals = arrivals.iter().peekable();
    let mut pending = |acknowledged: Lsn, since: Instant, until: Instant| {
        while arrivals.next_if(|arrival| arrival.end <= acknowledged).is_some() {}
        let came = arrivals.peek().filter(|arrival| arrival.at < until)?.at;
        Some(until - came.max(since))
    };
    let mut last: Option<(Lsn, Instant)> = None;
    for status in statuses.iter().filter(|status| (start..=end).contains(&status.at)) {
        match last {
            Some((flush, _)) if status.flush <= flush => continue,
            Some((flush, at)) => waits.extend(pending(flush, at, status.at)),
            None => {}
        }
        last = Some((status.flush, status.at));
    }
    let (flush, at) = last.unwrap_or((Lsn::INVALID, start));
    waits.extend(pending(flush, at, end));
    waits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let check = |values: &[f64], percent, expected: f64| {
            assert_eq!(percentile(&mut values.to_vec(), percent), expected, "{values:?} {percent}");
        };
        let hundreds: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        check(&hundreds, 0, 1.0);
        check(&hundreds, 50, 100.0);
        check(&hundreds, 99, 198.0);
        check(&hundreds, 100, 200.0);
        check(&[7.0], 99, 7.0);
        assert!(percentile(&mut [], 50).is_nan());
    }

    #[test]
    fn only_time_counts_in_which_wal_was_pending() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let check = |arrivals: &[(u64, u64)], statuses: &[(u64, u64)], expected: &[u64]| {
            let arrivals: Vec<_> =
                arrivals.iter().map(|&(ms, end)| Arrival { at: at(ms), end: Lsn::new(end) }).collect();
            let status = |&(ms, flush)| {
                let flush = Lsn::new(flush);
                Status { connection: 1, at: at(ms), write: flush, flush, apply: Lsn::INVALID }
            };
            let statuses: Vec<_> = statuses.iter().map(status).collect();
            let waits = waits(&arrivals, &statuses, (at(10), at(100)));
            assert_eq!(
                waits.iter().map(Duration::as_millis).collect::<Vec<_>>(),
                expected.iter().map(|&ms| ms.into()).collect::<Vec<u128>>()
            );
        };
        // Always pending: from one acknowledgement to the next.
        check(&[(1, 10), (2, 20), (3, 30)], &[(20, 10), (25, 20), (35, 30)], &[5, 10]);
        // Idle between them: from the arrival on.
        check(&[(1, 10), (40, 20)], &[(20, 10), (43, 20)], &[3]);
        // One that does not advance is none.
        check(&[(1, 10), (2, 20)], &[(20, 10), (25, 10), (35, 20)], &[15]);
        // Before the window; and still pending at its end.
        check(&[(1, 10), (2, 20), (50, 30)], &[(5, 10), (20, 20)], &[50]);
        // No acknowledgement at all.
        check(&[(1, 10)], &[], &[90]);
        check(&[], &[], &[]);
    }
}
