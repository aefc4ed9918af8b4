//! What happened in a run, in order: the same seed makes the same trace.

use crate::store::memory::Op;
use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};
use tokio::time::Instant;

/// One thing that happened. Positions are bytes from the beginning of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    Starts { acknowledged: bool },
    Dials { accepted: bool },
    Asks(String),
    Streams { timeline: u32, from: u64 },
    Sends { upto: u64 },
    SendsAnotherByte { at: u64 },
    AsksForReply,
    BacklogIsFull,
    Tells { write: u64, flush: u64 },
    ServerLeaves(&'static str),
    AgentLeaves,
    Disconnects,
    Promotes { timeline: u32, switch: u64, divergent: bool },
    DiskTurns,
    DiskWorks,
    SpareIsUsed,
    DiskStalls { milliseconds: u64 },
    Fails(Op),
    PowerFails,
    IsKilled,
    IsStopped,
    Ends(String),
}

type Wanted = (&'static str, fn(&Event) -> bool);

/// What has to happen in some runs, or all of them prove little.
pub(super) const WANTED: [Wanted; 18] = [
    ("a server that refuses", |event| matches!(event, Event::Dials { accepted: false })),
    ("a server that breaks off", |event| matches!(event, Event::ServerLeaves("in the middle"))),
    ("a server that ends with an error", |event| matches!(event, Event::ServerLeaves("with an error"))),
    ("a shutdown", |event| matches!(event, Event::ServerLeaves("to shut down"))),
    ("a timeline's end", |event| matches!(event, Event::ServerLeaves("the timeline"))),
    ("a promotion", |event| matches!(event, Event::Promotes { .. })),
    ("a tail that a promotion makes divergent", |event| matches!(event, Event::Promotes { divergent: true, .. })),
    ("another byte than before", |event| matches!(event, Event::SendsAnotherByte { .. })),
    ("a full backlog", |event| matches!(event, Event::BacklogIsFull)),
    ("a spare that becomes a segment", |event| matches!(event, Event::SpareIsUsed)),
    ("a disk that hangs", |event| matches!(event, Event::DiskStalls { .. })),
    ("a write that fails", |event| matches!(event, Event::Fails(Op::Write))),
    ("a sync that fails", |event| matches!(event, Event::Fails(Op::Sync))),
    ("a sync of a directory that fails", |event| matches!(event, Event::Fails(Op::SyncDirectory))),
    ("a rename that fails", |event| matches!(event, Event::Fails(Op::Rename))),
    ("a loss of power", |event| matches!(event, Event::PowerFails)),
    ("a kill", |event| matches!(event, Event::IsKilled)),
    ("a second start on WAL that is acknowledged", |event| matches!(event, Event::Starts { acknowledged: true })),
];

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

    /// Which of [`WANTED`] happened.
    pub(super) fn saw(&self) -> [bool; WANTED.len()] {
        WANTED.map(|(_, wanted)| self.events.iter().any(|(_, event)| wanted(event)))
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
