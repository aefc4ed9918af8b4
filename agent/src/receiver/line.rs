//! What the protocol's task and the threads that flush share while WAL streams: the connection, and what was told on it.
//!
//! A commit waits for the acknowledgement of its flush. So the thread whose flush has returned sends it itself, instead of
//! waking the task to do it: on an idle machine that alone costs as much as a quarter of a flush. Everything else is the
//! task's. The lock is held for as long as it takes to copy what a socket has, never while anything is awaited.

use super::acks::Acks;
use crate::{
    counters::Counters,
    replication::StatusUpdate,
    store::OnDurable,
    wal::Lsn,
    wire::{Connection, CopyEvent, WireError},
};
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::SystemTime,
};
use tokio::time::Instant;

#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Option<Ends>>>);

/// Both ends of the line; gone once the stream has ended, whatever flush is still under way.
pub(super) struct Ends {
    pub(super) connection: Connection,
    pub(super) acks: Acks,
    /// The task, which goes on with what a socket does not take at once.
    task: Waker,
    counters: Counters,
}

impl Line {
    pub(super) fn new(connection: Connection, acks: Acks, counters: &Counters) -> Self {
        let counters = counters.clone();
        Self(Arc::new(Mutex::new(Some(Ends { connection, acks, task: Waker::noop().clone(), counters }))))
    }

    /// What the store calls from the thread whose flush has returned.
    pub(super) fn on_durable(&self) -> OnDurable {
        let line = self.clone();
        Arc::new(move |upto| line.lock().as_mut().is_some_and(|ends| ends.durable(upto)))
    }

    /// Takes both ends away: from now on nothing but their owner sends.
    pub(super) fn take(&self) -> Option<(Connection, Acks)> {
        self.lock().take().map(|Ends { connection, acks, counters, .. }| {
            counters.backlog_bytes.set(0);
            (connection, acks)
        })
    }

    /// Looks at the ends, or changes them; `None` if they have been taken.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Ends) -> T) -> Option<T> {
        self.lock().as_mut().map(look)
    }

    /// The next event; while reading is paused, only what is queued leaves. Cancel-safe.
    pub(super) async fn receive(&self, reads: bool) -> Result<CopyEvent, WireError> {
        poll_fn(|cx| match self.lock().as_mut() {
            Some(ends) => ends.poll_receive(cx, reads),
            None => Poll::Pending,
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ends>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    /// Queues a status; it leaves while the task awaits anything.
    pub(super) fn send(&mut self, status: StatusUpdate) {
        tracing::trace!(write = %status.write, flush = %status.flush, "status");
        self.counters.statuses.inc();
        self.connection.send_copy_data(&status.encode(SystemTime::now()));
    }

    /// The last `len` bytes before `upto` have come.
    pub(super) fn received(&mut self, upto: Lsn, len: u64) {
        self.acks.received(upto, Instant::now());
        self.counters.received_bytes.inc_by(len);
        self.count_backlog();
    }

    /// Takes over how far the store is.
    pub(super) fn stored(&mut self, written: Lsn, flushed: Lsn, now: Instant) {
        if let Some(waited) = self.acks.stored(written, flushed, now) {
            self.counters.acknowledgement_seconds.observe(waited.as_secs_f64());
        }
        self.count_backlog();
    }

    /// Acknowledges a flush at once, as far as the socket takes it: whether there is nothing left to do about it.
    fn durable(&mut self, upto: Lsn) -> bool {
        let now = Instant::now();
        self.stored(upto, upto, now);
        let Some(status) = self.acks.due(now) else { return false };
        self.send(status);
        let mut context = Context::from_waker(&self.task);
        // An error is the task's to find, with what the server may have said about it.
        matches!(self.connection.poll_flush(&mut context), Poll::Ready(Ok(())))
    }

    fn count_backlog(&self) {
        self.counters.backlog_bytes.set(self.acks.backlog().cast_signed());
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Result<CopyEvent, WireError>> {
        self.task.clone_from(cx.waker());
        if reads {
            return self.connection.poll_next(cx);
        }
        match self.connection.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        receiver::acks::Policy,
        wire::testing::{connected, read_message},
    };
    use std::thread;

    const POLICY: Policy = Policy { report_flush: true, report_write: true, heartbeat: None };

    fn line() -> (Line, tokio::io::DuplexStream) {
        let (connection, server) = connected();
        let line = Line::new(connection, Acks::new(POLICY, Lsn::new(1000)), &Counters::default());
        line.with(|ends| ends.acks.received(Lsn::new(1100), Instant::now())).unwrap();
        (line, server)
    }

    #[tokio::test]
    async fn an_acknowledgement_leaves_although_the_task_sleeps() {
        let (line, mut server) = line();
        let told = line.on_durable();
        assert!(thread::spawn(move || told(Lsn::new(1100))).join().unwrap(), "it is dealt with");
        let (kind, status) = read_message(&mut server).await;
        assert_eq!((kind, &status[1..17]), (b'd', &1100_u64.to_be_bytes().repeat(2)[..]));
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_is_left_to_the_task() {
        let (line, mut server) = line();
        let filler = vec![0; 1 << 17];
        line.with(|ends| ends.connection.send_copy_data(&filler)).unwrap();
        assert!(!(line.on_durable())(Lsn::new(1100)), "the task has to go on with it");
        let sent = async {
            read_message(&mut server).await;
            read_message(&mut server).await.1
        };
        let status = tokio::select! {
            status = sent => status,
            event = line.receive(false) => panic!("{event:?}"),
        };
        assert_eq!(status[1..17], 1100_u64.to_be_bytes().repeat(2));
    }

    #[tokio::test]
    async fn nothing_is_sent_once_the_ends_are_taken() {
        let (line, mut server) = line();
        drop(line.take());
        assert!(!(line.on_durable())(Lsn::new(1100)));
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut server, &mut rest).await.unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    }
}
