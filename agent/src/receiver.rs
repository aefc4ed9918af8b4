//! The life of the stream: connect, find the start, stream timeline after timeline, come back after every trouble.
//!
//! ```text
//! session ─ connect, identify, claim the directory ─► start (pure) ─► stream ─ one timeline ─► next timeline …
//!    ▲                                                                  │  acks (pure): what is reported, when
//!    └───────── trouble: what it was, backoff (pure): how soon ◄────────┘
//! ```
//!
//! One task owns all of it. It never touches a file: the store does, and tells what became of the WAL it was given.

mod acks;
mod backoff;
mod line;
mod report;
mod session;
mod slot_action;
mod start;
mod stop;
mod stream;
mod trouble;

pub use slot_action::{SlotJob, act_on_slot};
pub use stop::{Stop, Stopper};
pub use trouble::Trouble;

use crate::{
    conninfo::{Conninfo, ConninfoError},
    exit::Exit,
    store::{FlushMode, Progress, State, Store, StoreError},
    verbose,
    wal::{Lsn, TimelineId},
};
use backoff::Backoff;
use report::Reporter;
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// After a signal, everything has ended within 5 s; this is what the disk gets of them.
const STOP_PATIENCE: Duration = Duration::from_millis(4200);
/// What the server gets of them, for each of two goodbyes: to the stream and to the connection.
const FAREWELL_PATIENCE: Duration = Duration::from_millis(300);
/// How long a predecessor that is leaving may keep the directory.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(10);
/// How often its lock is tried meanwhile.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
/// A stream that lasts so long is worth its connection, even where the server has nothing to say.
const STEADY: Duration = Duration::from_secs(10);

/// What to stream, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub conninfo: Conninfo,
    /// The replication slot to stream through.
    pub slot: Option<String>,
    /// Whether a slot that is missing is created.
    pub create_missing_slot: bool,
    /// Stop once WAL behind this position has been received.
    pub end_position: Option<Lsn>,
    /// Whether any trouble ends the program.
    pub no_loop: bool,
    /// Time between statuses; `None`: only as often as the server needs them.
    pub status_interval: Option<Duration>,
    /// When WAL is made durable.
    pub flush: FlushMode,
}

/// Streams WAL from a server into a store.
pub struct Receiver {
    settings: Settings,
    renew: Option<Renew>,
    store: Store,
    memory: Memory,
    /// What makes this process's waits different from another's.
    jitter: u64,
}

/// Reads the connection settings anew: password and service files are renewed in place, as certificates are.
type Renew = Box<dyn Fn() -> Result<Conninfo, ConninfoError> + Send>;

/// What is remembered from one connection to the next.
#[derive(Debug, Default)]
struct Memory {
    /// The directory has been found to be this cluster's at least once.
    claimed: bool,
    /// Since when this connection streams.
    streaming_since: Option<Instant>,
    /// The byte behind the last one that any connection brought.
    furthest: Lsn,
    reporter: Reporter,
    /// Why what was received last may not be durable, until a later stream has ended well.
    undurable: Option<String>,
    /// Said once: that the server is newer than this agent.
    newer_version_reported: bool,
    /// Said once each: files that have a segment's name and another size.
    wrong_sizes_reported: Vec<String>,
}

impl Memory {
    /// WAL streams and has come to `written`. Trouble is over once that is further than ever, or has lasted; before, the
    /// same trouble may strike again at the same place.
    fn streaming(&mut self, written: Lsn, timeline: TimelineId, now: Instant) {
        if written > self.furthest || self.steady_at().is_some_and(|at| at <= now) {
            self.reporter.streaming(written, timeline);
        }
    }

    /// When the present stream will have lasted, if that is of interest.
    fn steady_at(&self) -> Option<Instant> {
        self.streaming_since.filter(|_| self.reporter.is_troubled()).map(|since| since + STEADY)
    }
}

impl Receiver {
    /// A receiver that writes to `store`.
    pub fn new(settings: Settings, store: Store) -> Self {
        let jitter = RandomState::new().hash_one(());
        Self { settings, renew: None, store, memory: Memory::default(), jitter }
    }

    /// Has the connection settings read anew for every connection but the first.
    #[must_use]
    pub fn renewing(mut self, read: impl Fn() -> Result<Conninfo, ConninfoError> + Send + 'static) -> Self {
        self.renew = Some(Box::new(read));
        self
    }

    /// Streams until the end position, a signal, or a trouble that no retry can mend. Whatever was received is durable
    /// when this returns `Ok`.
    ///
    /// # Errors
    /// How the program should end; the reason has been logged.
    pub async fn run(mut self, mut stop: Stop) -> Result<(), Exit> {
        if self.settings.flush == FlushMode::NoSync {
            tracing::warn!("--no-sync: WAL is acknowledged before it is durable; a crash of this machine loses it");
        }
        let mut backoff = Backoff::new(self.jitter);
        self.take_lock(&mut stop).await?;
        while !stop.is_requested() {
            let before = self.store.stream();
            let outcome = self.session(&mut stop).await;
            // How an earlier stream ended has been dealt with.
            let began = self.store.stream() != before;
            let closed = if began { self.close_files(&mut stop).await } else { Ok(()) };
            if began {
                self.memory.undurable = closed.as_ref().err().map(Trouble::to_string);
            }
            let Err(trouble) = outcome else { break };
            if stop.is_requested() {
                break;
            }
            if let Some(exit) = trouble.exit(self.settings.no_loop, !self.memory.claimed) {
                tracing::error!("{trouble}");
                if self.settings.no_loop && exit == Exit::Failed {
                    tracing::error!("disconnected");
                }
                return Err(exit);
            }
            if self.has_progressed() {
                backoff.reset();
                self.memory.reporter.forget();
            }
            let wait = backoff.next(trouble.pace());
            self.memory.reporter.trouble(&trouble, wait);
            tokio::select! {
                biased;
                () = sleep(wait) => {}
                () = stop.requested() => verbose!("received interrupt signal, exiting"),
            }
            self.renew_conninfo();
        }
        match self.memory.undurable {
            None => Ok(()),
            Some(why) => {
                tracing::error!("what was received last may not be durable (it was not acknowledged): {why}");
                Err(Exit::StopIncomplete)
            }
        }
    }

    /// Whether the connection that ended was worth its while. A server that breaks each stream at once would otherwise be
    /// connected to without a pause, and reported each time.
    fn has_progressed(&mut self) -> bool {
        let lasted = self.memory.streaming_since.take().is_some_and(|since| since.elapsed() >= STEADY);
        let written = self.store.progress().borrow().written;
        let further = written > self.memory.furthest;
        self.memory.furthest = self.memory.furthest.max(written);
        lasted || further
    }

    /// Waits for a predecessor to leave the directory, if there is one.
    async fn take_lock(&self, stop: &mut Stop) -> Result<(), Exit> {
        let (deadline, mut waiting) = (Instant::now() + PREDECESSOR_PATIENCE, false);
        loop {
            let lock = async { Ok(self.store.lock_if_used().await?) };
            let trouble = match unless_stopped(stop, lock).await {
                Ok(()) | Err(Trouble::Stopped) => return Ok(()),
                Err(trouble) => trouble,
            };
            let in_use = matches!(&trouble, Trouble::Store(error) if matches!(**error, StoreError::InUse { .. }));
            if !in_use && !self.settings.no_loop {
                // A disk may recover: it is tried again with each connection.
                return Ok(());
            }
            if !in_use || Instant::now() >= deadline {
                tracing::error!("{trouble}");
                return Err(trouble.exit(true, true).unwrap_or(Exit::Failed));
            }
            if !std::mem::replace(&mut waiting, true) {
                let patience = PREDECESSOR_PATIENCE.as_secs();
                tracing::info!("waiting up to {patience} s for another wal-agent to leave the directory");
            }
            tokio::select! {
                biased;
                () = sleep(LOCK_INTERVAL) => {}
                () = stop.requested() => return Ok(()),
            }
        }
    }

    /// What was received is made durable whatever ended the stream, and no connection is opened before that.
    async fn close_files(&self, stop: &mut Stop) -> Result<(), Trouble> {
        let (mut progress, stream) = (self.store.progress(), self.store.stream());
        self.store.finish();
        let closed = async {
            loop {
                match &*progress.borrow_and_update() {
                    // The store has yet to come to this stream: what it says is about an earlier one.
                    before if before.stream != stream => {}
                    Progress { state: State::Open, .. } => {}
                    Progress { state: State::Closed, .. } => return Ok(()),
                    Progress { state: State::Failed(error), .. } => return Err(Trouble::Store(error.clone())),
                }
                progress.changed().await.map_err(|_| Trouble::from(StoreError::Gone))?;
            }
        };
        tokio::select! {
            biased;
            closed = closed => closed,
            () = async { stop.requested().await; sleep_until(stop.deadline(STOP_PATIENCE)).await } => Err(Trouble::DiskTooSlow),
        }
    }

    /// What cannot be read now was readable before: the next connection is tried with what there is.
    fn renew_conninfo(&mut self) {
        match self.renew.as_ref().map(|read| read()) {
            Some(Ok(conninfo)) => self.settings.conninfo = conninfo,
            Some(Err(error)) => tracing::warn!("connection settings are not renewed: {error}"),
            None => {}
        }
    }
}

/// Runs `step` unless a stop is requested first.
async fn unless_stopped<T>(stop: &mut Stop, step: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    tokio::select! {
        biased;
        result = step => result,
        () = stop.requested() => Err(Trouble::Stopped),
    }
}

/// Runs a farewell that nobody depends on.
async fn at_most(patience: Duration, step: impl Future) {
    let _ = timeout(patience, step).await;
}

#[cfg(test)]
impl Receiver {
    /// Has every wait repeat itself in a second run.
    pub(crate) fn seeded(self, jitter: u64) -> Self {
        Self { jitter, ..self }
    }
}

#[cfg(test)]
mod tests;
