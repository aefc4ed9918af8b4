//! The threads behind a [`super::Store`]: jobs go in, in order; results go out through replies and [`Progress`].
//!
//! All threads are equal. Whoever is free takes the desk's owner and everything that has arrived, handles it in one turn,
//! puts the owner back, and takes on the work that the turn brought: so a commit's bytes are written and flushed by one
//! thread, without waking another, and what arrives during a flush is written meanwhile, unless it is little and the flush is
//! short. There is one thread more than there can be work at a time, so that one is always free for a turn.
//!
//! The queue has no bound of its own: whoever appends watches [`Progress::written`] and stops in time.
//!
//! [`Progress`]: super::Progress
//! [`Progress::written`]: super::Progress::written

use super::{
    Claim, Inventory, OnDurable, StoreError, StreamId,
    directory::Directory,
    fs::FileSystem,
    spare::Filled,
    work::{FlushError, Work},
    writer::Writer,
};
use crate::wal::{HistoryFile, Lsn, TimelineId};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};
use tokio::sync::oneshot;

/// One flush and one piece of a spare at a time, and somebody who writes meanwhile.
const THREADS: usize = 3;

/// So much WAL is written at once even while a flush is under way, bytes.
const WORTH_WAKING: usize = 64 << 10;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Job {
    LockIfUsed {
        reply: Reply<()>,
    },
    Inspect {
        claim: Claim,
        reply: Reply<Inventory>,
    },
    Claim {
        claim: Claim,
        reply: Reply<()>,
    },
    History {
        history: HistoryFile,
        keep: bool,
        mode: u32,
        reply: Reply<()>,
    },
    Begin {
        stream: StreamId,
        claim: Claim,
        timeline: TimelineId,
        start: Lsn,
        on_durable: OnDurable,
    },
    Append {
        at: Lsn,
        data: Bytes,
        caught_up: bool,
    },
    Flush,
    Finish,
    Flushed {
        stream: StreamId,
        result: Result<(), FlushError>,
    },
    Filled(Filled),
    /// What is not written yet is waited for.
    Hurry,
}

pub(super) struct Engine {
    desk: Mutex<Desk>,
    /// Something may have come onto the desk that a waiting thread can take.
    news: Condvar,
    fs: Arc<dyn FileSystem>,
}

struct Desk {
    jobs: VecDeque<Job>,
    work: VecDeque<Work>,
    /// Away while a thread has its turn.
    owner: Option<Box<Owner>>,
    /// A flush is under way, or about to be.
    flushing: bool,
    /// How many bytes the jobs append, if they are nothing but appends.
    appended: Option<usize>,
    closed: bool,
}

/// The one who touches names and decides; exists once.
pub(super) struct Owner {
    pub(super) directory: Directory,
    pub(super) writer: Writer,
}

/// What a thread can do next.
pub(super) enum Task {
    Turn(Box<Owner>, VecDeque<Job>),
    Work(Work),
}

impl Engine {
    pub(super) fn new(fs: Arc<dyn FileSystem>, owner: Owner) -> Self {
        let owner = Some(Box::new(owner));
        let (jobs, work) = (VecDeque::new(), VecDeque::new());
        let desk = Desk { jobs, work, owner, flushing: false, appended: Some(0), closed: false };
        Self { desk: Mutex::new(desk), news: Condvar::new(), fs }
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        for number in 1..=THREADS {
            let engine = self.clone();
            thread::Builder::new().name(format!("store {number}")).spawn(move || {
                // A thread that panics takes the owner with it: whoever waits must hear that nothing more comes.
                let _closing = CloseOnDrop(&engine);
                while let Some(task) = engine.wait() {
                    engine.perform(task);
                }
            })?;
        }
        Ok(())
    }

    pub(super) fn post(&self, job: Job) {
        let mut desk = self.desk();
        if desk.closed {
            return;
        }
        let wakes = desk.put(job);
        drop(desk);
        if wakes {
            self.news.notify_one();
        }
    }

    /// Nothing is begun any more. Not waited for: a disk that hangs must not keep the process.
    pub(super) fn close(&self) {
        let mut desk = self.desk();
        desk.closed = true;
        desk.jobs.clear();
        desk.work.clear();
        desk.owner = None;
        self.news.notify_all();
    }

    /// Waits for something to do; `None` once the engine is closed.
    fn wait(&self) -> Option<Task> {
        let mut desk = self.desk();
        while !desk.closed {
            if let Some(task) = desk.take() {
                return Some(task);
            }
            desk = self.news.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// What there is to do now, for a test that is all the threads in one.
    #[cfg(test)]
    pub(super) fn try_take(&self) -> Option<Task> {
        self.desk().take()
    }

    pub(super) fn perform(&self, task: Task) {
        match task {
            Task::Work(work) => {
                let flushes = matches!(work, Work::Flush(_));
                let job = work.run(self.fs.as_ref());
                let mut desk = self.desk();
                if flushes {
                    desk.flushing = false;
                }
                // This thread looks at the desk next.
                desk.put(job);
            }
            Task::Turn(mut owner, jobs) => {
                for job in jobs {
                    owner.handle(job);
                }
                let work = owner.advance();
                let mut desk = self.desk();
                for work in work {
                    desk.flushing |= matches!(work, Work::Flush(_));
                    desk.work.push_back(work);
                }
                desk.put_owner(owner);
                let tasks = desk.tasks();
                drop(desk);
                // This thread takes one of them itself.
                for _ in 1..tasks {
                    self.news.notify_one();
                }
            }
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Work comes first: commits wait for it.
    fn take(&mut self) -> Option<Task> {
        if let Some(work) = self.work.pop_front() {
            return Some(Task::Work(work));
        }
        if self.jobs.is_empty() {
            return None;
        }
        // Whatever has arrived meanwhile is written with the same system call, and joins the same flush.
        let owner = self.owner.take()?;
        self.appended = Some(0);
        Some(Task::Turn(owner, mem::take(&mut self.jobs)))
    }

    /// How many tasks there are for threads that sleep.
    fn tasks(&self) -> usize {
        self.work.len() + usize::from(self.has_turn() && !self.leaves_appends())
    }

    fn has_turn(&self) -> bool {
        !self.jobs.is_empty() && self.owner.is_some()
    }

    /// Whether all there is to do is a little WAL that the thread which flushes writes when it comes back, right before it
    /// flushes again: to wake another thread for it would cost more than it gains.
    fn leaves_appends(&self) -> bool {
        self.flushing && self.appended.is_some_and(|bytes| bytes < WORTH_WAKING)
    }

    /// Whether a thread has to be woken for it. Who has the owner looks at the queue before it rests.
    fn put(&mut self, job: Job) -> bool {
        // One is enough, however often it is said while a thread cannot come.
        let said = matches!((&job, self.jobs.back()), (Job::Hurry, Some(Job::Hurry)));
        if self.closed || said {
            return false;
        }
        self.appended = match (&job, self.appended) {
            (Job::Append { data, .. }, Some(bytes)) => Some(bytes + data.len()),
            _ => None,
        };
        self.jobs.push_back(job);
        self.owner.is_some() && !self.leaves_appends()
    }

    /// After the end it goes, and with it the directory's lock.
    fn put_owner(&mut self, owner: Box<Owner>) {
        if !self.closed {
            self.owner = Some(owner);
        }
    }
}

impl Owner {
    fn handle(&mut self, job: Job) {
        let Self { directory, writer } = self;
        // An asker that no longer waits has gone on to something else.
        match job {
            Job::LockIfUsed { reply } => drop(reply.send(directory.lock_if_used())),
            Job::Inspect { claim, reply } => drop(reply.send(directory.inspect(&claim))),
            Job::Claim { claim, reply } => drop(reply.send(directory.claim(&claim))),
            Job::History { history, keep, mode, reply } => drop(reply.send(directory.history(&history, keep, mode))),
            Job::Begin { stream, claim, timeline, start, on_durable } => {
                writer.begin(directory, stream, claim, timeline, start, on_durable);
            }
            Job::Append { at, data, caught_up } => writer.append(at, data, caught_up),
            Job::Flush => writer.flush(),
            Job::Finish => writer.finish(directory),
            Job::Flushed { stream, result } => writer.flushed(directory, stream, result),
            Job::Filled(filled) => writer.filled(directory, filled),
            Job::Hurry => writer.hurry(),
        }
    }

    fn advance(&mut self) -> impl Iterator<Item = Work> {
        let flush = self.writer.advance(&self.directory);
        let fill = self.writer.prepare();
        flush.map(Work::Flush).into_iter().chain(fill.map(Work::Fill))
    }
}

struct CloseOnDrop<'a>(&'a Engine);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests;
