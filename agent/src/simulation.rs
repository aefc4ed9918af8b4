//! The whole agent in simulated time, against a scripted server and a disk in memory that fails and loses power.
//!
//! ```text
//! server ◄─ pipe ─ tap ─ Receiver ─ Store ─ disk (turns and work, one by one) ─ Memory
//!   │               │                        │                                    │
//!   └── log ────────┴──────── oracle ────────┴────────────────────────────────────┘
//! ```
//!
//! A seed decides everything: what arrives when, when each piece of the store's work returns, what fails, where power is
//! lost and what of it survives, when a connection breaks, a server is promoted, shut down, or says other bytes than before.
//! The oracle judges at each step, and never by what the agent thinks of itself. In the end nothing fails any more, and
//! everything has to arrive.

mod dice;
mod disk;
mod files;
mod log;
mod oracle;
mod pipe;
mod plan;
mod play;
mod server;
mod tap;
mod trace;
mod walsender;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// How many schedules a run of the tests explores.
const SCHEDULES: u64 = 500;
/// What matters happens in so many of them at least.
const SELDOM: usize = 10;
/// One seed instead of all.
const SEED: &str = "WAL_REPLICA_SEED";

/// What several parts of a simulation look at, all on one thread.
struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A failure tells all that is needed to see it again.
fn explore(seed: u64) -> Result<play::Played, String> {
    let played = catch_unwind(AssertUnwindSafe(|| play::play(seed)));
    let why = match played {
        Ok(Ok(played)) => return Ok(played),
        Ok(Err(why)) => why,
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (_, text) => text.map_or("panicked".to_owned(), |text| (*text).to_owned()),
        },
    };
    Err(format!("seed {seed}: {why}\nagain: {SEED}={seed} cargo test -p wal-agent --lib simulation\n"))
}

#[test]
fn no_schedule_breaks_an_invariant() {
    if let Ok(seed) = std::env::var(SEED) {
        // What the agent says about it, too.
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).without_time().with_ansi(false);
        let _log = tracing::subscriber::set_default(log.with_test_writer().finish());
        let played = explore(seed.parse().expect("a number")).unwrap_or_else(|failure| panic!("{failure}"));
        return println!("{}{:?} in simulated time, digest {:016X}", played.trace, played.duration, played.digest);
    }
    let next = AtomicU64::new(0);
    let explored = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < SCHEDULES
                {
                    let result = explore(seed).map(|played| played.saw);
                    explored.lock().expect("no thread panics with it").push((seed, result));
                }
            });
        }
    });
    let mut explored = explored.into_inner().expect("no thread panics with it");
    explored.sort();
    let failures: Vec<&String> = explored.iter().filter_map(|(_, result)| result.as_ref().err()).collect();
    // One trace explains more than all of them.
    let rest = failures.iter().skip(1).map(|failure| failure.lines().next().unwrap_or_default());
    let text = failures.first().map(|first| first.as_str()).into_iter().chain(rest).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {SCHEDULES} schedules failed\n{text}", failures.len());
    for (index, (what, _)) in trace::WANTED.iter().enumerate() {
        let times = explored.iter().filter(|(_, result)| result.as_ref().is_ok_and(|saw| saw[index])).count();
        println!("{what}: in {times} of {SCHEDULES} schedules");
        assert!(times >= SELDOM, "only {times} of {SCHEDULES} schedules have {what}");
    }
}

/// Else no failure could be seen again.
#[test]
fn the_same_seed_plays_the_same_run() {
    for seed in 0..8 {
        let digests =
            [explore(seed), explore(seed)].map(|played| played.map(|played| (played.digest, played.duration)));
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
}
