//! What the agent counts about its own work: raised where the work is done, read by whoever wants to know.
//!
//! Only counting: no name in here is published, nothing is decided by a number. Times are seconds, sizes bytes.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge};

/// The counts of one agent, since its start. Each can be read at any time, from any thread.
#[derive(Clone, Debug)]
pub struct Counters {
    /// WAL received from servers, also what was received more than once.
    pub received_bytes: IntCounter,
    /// WAL given to the operating system.
    pub written_bytes: IntCounter,
    /// Received, and not yet given to the operating system: what waits in memory.
    pub backlog_bytes: IntGauge,
    /// How often reading paused because the backlog was full.
    pub reading_paused: IntCounter,
    /// Statuses sent to servers.
    pub statuses: IntCounter,
    /// How long flushes took: all files and, where due, the directory.
    pub flush_seconds: Histogram,
    /// How long WAL that had arrived waited for an acknowledgement that covers some of it.
    pub acknowledgement_seconds: Histogram,
    /// Segments that were completed: durable, under their final names.
    pub finished_segments: IntCounter,
    /// Segments for which a file had been prepared.
    pub prepared_segments: IntCounter,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            received_bytes: counter("received_bytes"),
            written_bytes: counter("written_bytes"),
            backlog_bytes: IntGauge::new("backlog_bytes", HELP).expect(VALID),
            reading_paused: counter("reading_paused"),
            statuses: counter("statuses"),
            flush_seconds: histogram("flush_seconds"),
            acknowledgement_seconds: histogram("acknowledgement_seconds"),
            finished_segments: counter("finished_segments"),
            prepared_segments: counter("prepared_segments"),
        }
    }
}

const HELP: &str = "see the documentation of Counters";
const VALID: &str = "a constant name that is valid";

fn counter(name: &str) -> IntCounter {
    IntCounter::new(name, HELP).expect(VALID)
}

/// From a fast disk's flush to one that hangs: 50 µs, doubling, up to 26 s.
fn histogram(name: &str) -> Histogram {
    let buckets = prometheus::exponential_buckets(50e-6, 2.0, 20).expect("a positive start and factor");
    Histogram::with_opts(HistogramOpts::new(name, HELP).buckets(buckets)).expect(VALID)
}
