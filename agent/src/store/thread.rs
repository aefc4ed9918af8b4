//! [`Store`]: the handle to the thread that owns the directory, and that thread's loop.
//!
//! Jobs go in through one queue, in order; answers come back as values. The queue has no bound of its own: whoever
//! appends watches [`Progress::written`] and stops in time. A second thread does nothing but wait for flushes.

use super::{
    Claim, FlushMode, Inventory, Progress, State, StoreError, StreamId,
    directory::Directory,
    flusher::{FlushError, FlushTask},
    fs::FileSystem,
    writer::Writer,
};
use crate::wal::{HistoryFile, Lsn, TimelineId};
use bytes::Bytes;
use std::{
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
};
use tokio::sync::{oneshot, watch};

/// The way to a directory. The thread behind it ends when this is dropped, and with it the lock.
#[derive(Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    progress: watch::Receiver<Progress>,
    streams: u64,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    LockIfUsed { reply: Reply<()> },
    Inspect { claim: Claim, reply: Reply<Inventory> },
    Claim { claim: Claim, reply: Reply<()> },
    History { history: HistoryFile, keep: bool, mode: u32, reply: Reply<()> },
    Begin { stream: StreamId, claim: Claim, timeline: TimelineId, start: Lsn },
    Append { at: Lsn, data: Bytes },
    Flush,
    Finish,
    Flushed { stream: StreamId, result: Result<(), FlushError> },
    Quit,
}

impl Store {
    /// Starts the threads that own `fs`. `path` is its name in messages.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn spawn(fs: Arc<dyn FileSystem>, path: PathBuf, mode: FlushMode) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let (flushes, flush_queue) = mpsc::channel();
        let nothing = Progress {
            stream: StreamId::default(),
            written: Lsn::INVALID,
            flushed: Lsn::INVALID,
            state: State::Closed,
        };
        let (sender, progress) = watch::channel(nothing);

        let (answers, flush_fs) = (jobs.clone(), fs.clone());
        thread::Builder::new().name("flush".into()).spawn(move || {
            while let Ok((stream, task)) = flush_queue.recv() {
                let task: FlushTask = task;
                let result = task.run(flush_fs.as_ref());
                if answers.send(Job::Flushed { stream, result }).is_err() {
                    break;
                }
            }
        })?;
        thread::Builder::new().name("store".into()).spawn(move || {
            let mut owner = Owner { directory: Directory::new(fs, path), writer: Writer::new(mode, sender) };
            owner.run(&queue, &flushes);
        })?;
        Ok(Self { jobs, progress, streams: 0 })
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
    pub fn begin(&mut self, claim: Claim, timeline: TimelineId, start: Lsn) -> StreamId {
        self.streams += 1;
        let stream = self.stream();
        self.send(Job::Begin { stream, claim, timeline, start });
        stream
    }

    /// Hands over the WAL from `at` on, which must follow what was handed over before.
    pub fn append(&self, at: Lsn, data: Bytes) {
        self.send(Job::Append { at, data });
    }

    /// Asks for everything handed over so far to be made durable.
    pub fn flush(&self) {
        self.send(Job::Flush);
    }

    /// Asks for everything to be made durable and all files to be closed; [`State::Closed`] follows.
    pub fn finish(&self) {
        self.send(Job::Finish);
    }

    /// The stream that was begun last. As long as [`Progress::stream`] is another, the store has yet to come to it.
    pub fn stream(&self) -> StreamId {
        StreamId(self.streams)
    }

    /// What has become of the WAL that was handed over.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// A thread that is gone has closed the progress channel, which is where its absence is noticed.
    fn send(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(job(reply));
        answer.await.unwrap_or(Err(StoreError::Gone))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Not waited for: a disk that hangs must not keep the process.
        self.send(Job::Quit);
    }
}

struct Owner {
    directory: Directory,
    writer: Writer,
}

impl Owner {
    fn run(&mut self, queue: &mpsc::Receiver<Job>, flushes: &mpsc::Sender<(StreamId, FlushTask)>) {
        while let Ok(first) = queue.recv() {
            // Whatever has arrived meanwhile is written with the same system call, and joins the same flush.
            for job in std::iter::once(first).chain(queue.try_iter()) {
                if matches!(job, Job::Quit) {
                    return;
                }
                self.handle(job);
            }
            if let Some(flush) = self.writer.advance(&self.directory)
                && flushes.send(flush).is_err()
            {
                return;
            }
        }
    }

    fn handle(&mut self, job: Job) {
        let Self { directory, writer } = self;
        // An asker that no longer waits has gone on to something else.
        match job {
            Job::LockIfUsed { reply } => drop(reply.send(directory.lock_if_used())),
            Job::Inspect { claim, reply } => drop(reply.send(directory.inspect(&claim))),
            Job::Claim { claim, reply } => drop(reply.send(directory.claim(&claim))),
            Job::History { history, keep, mode, reply } => drop(reply.send(directory.history(&history, keep, mode))),
            Job::Begin { stream, claim, timeline, start } => writer.begin(stream, claim, timeline, start),
            Job::Append { at, data } => writer.append(at, data),
            Job::Flush => writer.flush(),
            Job::Finish => writer.finish(),
            Job::Flushed { stream, result } => writer.flushed(directory, stream, result),
            Job::Quit => {}
        }
    }
}
