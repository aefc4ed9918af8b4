//! What happened in a run, in order: the same seed makes the same trace.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};
use tokio::time::Instant;

/// One thing that happened. Positions are bytes from the beginning of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    Starts,
    Dials { accepted: bool },
    Asks(String),
    Streams { timeline: u32, from: u64 },
    Sends { upto: u64 },
    SendsAnotherByte { at: u64 },
    AsksForReply,
    Tells { write: u64, flush: u64 },
    ServerLeaves(&'static str),
    AgentLeaves,
    Disconnects,
    Promotes { timeline: u32, switch: u64 },
    DiskTurns,
    DiskWorks,
    DiskStalls { milliseconds: u64 },
    Fails(crate::store::memory::Op),
    PowerFails,
    IsKilled,
    IsStopped,
    Ends(String),
}

pub(super) struct Trace {
    begin: Instant,
    events: Vec<(Duration, Event)>,
}

impl Trace {
    pub(super) fn begin() -> Self {
        Self { begin: Instant::now(), events: Vec::new() }
    }

    pub(super) fn note(&mut self, event: Event) {
        self.events.push((self.begin.elapsed(), event));
    }

    /// How much happened.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// How long it took, in simulated time.
    pub(super) fn duration(&self) -> Duration {
        self.events.last().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// Equal for equal traces.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.events.hash(&mut hasher);
        hasher.finish()
    }
}

/// The end of it, which is what explains a failure.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        for (at, event) in self.events.iter().skip(self.events.len().saturating_sub(SHOWN)) {
            writeln!(f, "{:>12.6} {event:X?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
