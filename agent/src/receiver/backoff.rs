//! How long to wait before the next attempt: a pure function of what went wrong and how often.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::Duration,
};

/// How soon a failure is worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The server is away or starting: it may be back any moment, and commits may be waiting for us.
    Eager,
    /// Somebody has to change something: credentials, certificates, a partner, a disk.
    Patient,
}

/// Counts attempts since the last progress.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
    pace: Option<Pace>,
    jitter: u64,
}

/// After so many attempts an eager wait grows no more.
const SETTLED: u32 = 4;

impl Pace {
    const fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Eager => (Duration::from_millis(100), Duration::from_millis(500)),
            Self::Patient => (Duration::from_millis(100), Duration::from_secs(30)),
        }
    }
}

impl Backoff {
    /// `jitter` makes the waits differ from those of others who lost the same server.
    pub(crate) fn new(jitter: u64) -> Self {
        Self { jitter, ..Self::default() }
    }

    /// There was progress: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How long to wait now: nothing at first, then doubling up to the pace's bound, with jitter.
    pub(crate) fn next(&mut self, pace: Pace) -> Duration {
        if self.pace.replace(pace).is_some_and(|before| before != pace) {
            // A long absence of the server is no reason to be slow about what comes after its return.
            self.attempts = self.attempts.min(SETTLED);
        }
        let random = BuildHasherDefault::<DefaultHasher>::default().hash_one((self.jitter, self.attempts));
        let wait = delay(pace, self.attempts, random);
        self.attempts = self.attempts.saturating_add(1);
        wait
    }
}

/// Between three quarters of the nominal delay and all of it, as `random` says.
fn delay(pace: Pace, attempts: u32, random: u64) -> Duration {
    let (first, most) = pace.bounds();
    let Some(doublings) = attempts.checked_sub(1) else { return Duration::ZERO };
    let nominal = first.saturating_mul(1 << doublings.min(16)).min(most);
    nominal.mul_f64(0.75 + 0.25 * (random >> 32) as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_at_once_and_no_wait_is_longer_than_its_bound() {
        for (pace, most) in [(Pace::Eager, 500), (Pace::Patient, 30_000)] {
            let nominal = |attempts| delay(pace, attempts, u64::MAX).as_millis();
            assert_eq!([nominal(0), nominal(1), nominal(2), nominal(3)], [0, 100, 200, 400]);
            assert_eq!(nominal(u32::MAX), most);
            assert_eq!(delay(pace, 2, 0).as_millis(), 150, "jitter");
        }
    }

    #[test]
    fn a_new_kind_of_trouble_does_not_begin_with_the_longest_wait() {
        let mut backoff = Backoff::default();
        for _ in 0..1000 {
            backoff.next(Pace::Eager);
        }
        assert!((500..=1000).contains(&backoff.next(Pace::Patient).as_millis()), "the server is back, and refuses us");
        for _ in 0..1000 {
            // Two troubles that take turns are no reason to hurry.
            assert!(backoff.next(Pace::Eager) >= Duration::from_millis(375));
            assert!(backoff.next(Pace::Patient) >= Duration::from_millis(500));
        }
    }

    #[test]
    fn progress_makes_the_next_failure_a_first_one() {
        let mut backoff = Backoff::default();
        assert!(backoff.next(Pace::Eager).is_zero() && !backoff.next(Pace::Eager).is_zero());
        backoff.reset();
        assert!(backoff.next(Pace::Eager).is_zero());
    }
}
