//! [`Store`]: the handle to a directory, for a task that never waits for a disk.

use super::{
    Claim, FlushMode, Inventory, OnDurable, Progress, StoreError, StreamId,
    directory::Directory,
    engine::{Engine, Job, Owner, Reply},
    fs::FileSystem,
    writer::Writer,
};
use crate::{
    counters::Counters,
    wal::{HistoryFile, Lsn, TimelineId},
};
use bytes::Bytes;
use std::{fmt, io, path::PathBuf, sync::Arc};
use tokio::sync::{oneshot, watch};

/// The way to a directory. When this is dropped, the threads behind it end, and with them the lock.
pub struct Store {
    engine: Arc<Engine>,
    progress: watch::Receiver<Progress>,
    counters: Counters,
    streams: u64,
}

impl Store {
    /// Starts the threads that own `fs`. `path` is its name in messages.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn spawn(fs: Arc<dyn FileSystem>, path: PathBuf, mode: FlushMode) -> io::Result<Self> {
        let store = Self::new(fs, path, mode);
        store.engine.start()?;
        Ok(store)
    }

    /// A store without threads, and the hand that does their work, step by step.
    #[cfg(test)]
    pub(crate) fn by_hand(fs: Arc<dyn FileSystem>, path: PathBuf, mode: FlushMode) -> (Self, Hand) {
        let store = Self::new(fs, path, mode);
        let hand = Hand(store.engine.clone());
        (store, hand)
    }

    fn new(fs: Arc<dyn FileSystem>, path: PathBuf, mode: FlushMode) -> Self {
        let (sender, progress) = watch::channel(Progress::default());
        let counters = Counters::default();
        let writer = Writer::new(mode, Arc::new(sender), counters.clone());
        let owner = Owner { directory: Directory::new(fs.clone(), path), writer };
        Self { engine: Arc::new(Engine::new(fs, owner)), progress, counters, streams: 0 }
    }

    /// Takes the directory's lock if an agent has used it before; never creates anything.
    ///
    /// # Errors
    /// [`StoreError::InUse`], or what the system reports.
    pub async fn lock_if_used(&self) -> Result<(), StoreError> {
        self.ask(|reply| Job::LockIfUsed { reply }).await
    }

    /// Whether the directory may be used for the server's cluster, and what is in it. Nothing in it is changed.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::ForeignCluster`], [`StoreError::ForeignSegmentSize`] and others.
    pub async fn inspect(&self, claim: Claim) -> Result<Inventory, StoreError> {
        self.ask(|reply| Job::Inspect { claim, reply }).await
    }

    /// Makes the directory this agent's and the server's cluster's, if it is not yet.
    ///
    /// # Errors
    /// As [`Store::inspect`]: another agent may have come first.
    pub async fn claim(&self, claim: Claim) -> Result<(), StoreError> {
        self.ask(|reply| Job::Claim { claim, reply }).await
    }

    /// Compares the server's history with the one that is kept; with `keep`, one that is not there yet is written.
    ///
    /// # Errors
    /// [`StoreError::HistoryConflict`], or what the system reports.
    pub async fn history(&self, history: HistoryFile, keep: bool, mode: u32) -> Result<(), StoreError> {
        self.ask(|reply| Job::History { history, keep, mode, reply }).await
    }

    /// Begins a stream at `start`, the beginning of a segment. An unfinished earlier one is abandoned as it is.
    pub fn begin(&mut self, claim: Claim, timeline: TimelineId, start: Lsn, on_durable: OnDurable) -> StreamId {
        self.streams += 1;
        let stream = self.stream();
        self.engine.post(Job::Begin { stream, claim, timeline, start, on_durable });
        stream
    }

    /// Hands over the WAL from `at` on, which must follow what was handed over before. `caught_up`: the server has no more.
    pub fn append(&self, at: Lsn, data: Bytes, caught_up: bool) {
        self.engine.post(Job::Append { at, data, caught_up });
    }

    /// Has WAL that was handed over and is not written yet written now, whatever it waits for, and announced.
    pub fn hurry(&self) {
        self.engine.post(Job::Hurry);
    }

    /// Asks for everything handed over so far to be made durable.
    pub fn flush(&self) {
        self.engine.post(Job::Flush);
    }

    /// Asks for everything to be made durable and all files to be closed; [`super::State::Closed`] follows.
    pub fn finish(&self) {
        self.engine.post(Job::Finish);
    }

    /// The stream that was begun last. As long as [`Progress::stream`] is another, the store has yet to come to it.
    pub fn stream(&self) -> StreamId {
        StreamId(self.streams)
    }

    /// What has become of the WAL that was handed over.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// What is counted here, and by whoever uses this store.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.engine.post(job(reply));
        answer.await.unwrap_or(Err(StoreError::Gone))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.engine.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// All threads of a [`Store`] in one, which works only when told to.
#[cfg(test)]
pub(crate) struct Hand(Arc<Engine>);

/// Something that a [`Hand`] has taken up and not yet done.
#[cfg(test)]
pub(crate) struct Held(super::engine::Task);

#[cfg(test)]
impl Hand {
    /// Takes up what a free thread would: a turn with everything that has arrived, or a piece of work.
    pub(crate) fn take(&self) -> Option<Held> {
        self.0.try_take().map(Held)
    }

    /// Does it. What comes of it can be taken up next.
    pub(crate) fn perform(&self, Held(task): Held) {
        self.0.perform(task);
    }
}

#[cfg(test)]
impl Held {
    /// Whether it is a turn: there is at most one at a time, and work may lie beside it.
    pub(crate) fn is_turn(&self) -> bool {
        matches!(self.0, super::engine::Task::Turn(..))
    }
}
