//! One timeline's stream: bytes to the store, statuses to the server, until one of the two or the user ends it.

use super::{
    FAREWELL_PATIENCE, Memory, STOP_PATIENCE, Settings, Stop, Trouble, acks::Acks, at_most, start::Position,
    unless_stopped,
};
use crate::{
    replication::{Message, NextTimeline, StatusUpdate, end_of_timeline},
    store::{FlushMode, Progress, State, Store, StoreError, StreamId},
    verbose,
    wal::{Lsn, TimelineId},
    wire::{Connection, CopyEvent, WireError},
};
use bytes::Bytes;
use std::{
    future::pending,
    pin::pin,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// What may be received and not yet written. Beyond it, reading waits for the disk, and so does the server.
const MAX_BACKLOG: u64 = 4 << 20;
/// How often WAL is flushed without `--synchronous` where neither `-s` nor the server says.
const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(10);

/// How a stream ended in good order; everything received is durable.
pub(super) enum End {
    /// The server went over to another timeline.
    Timeline { next: NextTimeline, received: Lsn },
    /// A signal came, or the end position was passed.
    Stopped,
}

pub(super) struct Stream<'a> {
    connection: &'a mut Connection,
    store: &'a Store,
    progress: watch::Receiver<Progress>,
    id: StreamId,
    acks: &'a mut Acks,
    settings: &'a Settings,
    memory: &'a mut Memory,
    /// Whether the server has sent anything on this stream.
    heard: bool,
    /// Whether reading waits for the disk.
    paused: bool,
    timeline: TimelineId,
    /// The byte behind the last one received.
    received: Lsn,
    /// When what was received is flushed next without anybody asking for it.
    flush_at: Instant,
    /// Set once nothing more is read: the store is finishing.
    leaving: Option<Leaving>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// The server has sent CopyDone.
    TimelineEnded,
    Stopped,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        connection: &'a mut Connection,
        store: &'a Store,
        id: StreamId,
        acks: &'a mut Acks,
        settings: &'a Settings,
        memory: &'a mut Memory,
        start: Position,
    ) -> Self {
        let progress = store.progress();
        let Position { timeline, lsn: received } = start;
        let mut stream = Self {
            connection,
            store,
            progress,
            id,
            acks,
            settings,
            memory,
            heard: false,
            paused: false,
            timeline,
            received,
            flush_at: Instant::now(),
            leaving: None,
        };
        stream.flush_at += stream.flush_interval();
        stream
    }

    /// Not cancel-safe: it ends by itself once `stop` is requested.
    pub(super) async fn run(mut self, stop: &mut Stop) -> Result<End, Trouble> {
        self.stop_behind_end_position();
        loop {
            let now = Instant::now();
            if self.heard {
                self.memory.streaming(self.acks.written(), self.timeline, now);
            }
            if let Some(status) = self.acks.due(now) {
                self.send(status);
            }
            if now >= self.flush_at {
                self.store.flush();
                self.flush_at = now + self.flush_interval();
            }
            if let Some(leaving) = self.leaving
                && self.is_closed()
            {
                // What the store did last may not have been looked at yet, and the final status must tell it.
                self.stored()?;
                return self.farewell(leaving, stop).await;
            }
            let steady_at = self.memory.steady_at().filter(|_| self.heard);
            let deadlines = [self.acks.deadline(), Some(self.flush_at), steady_at];
            let wake = deadlines.into_iter().flatten().min().unwrap_or(now);
            let reads = self.reads();
            let (stopping, stop_deadline) = (stop.is_requested(), stop.deadline(STOP_PATIENCE));
            tokio::select! {
                // News of the disk first: an acknowledgement never waits for the socket to drain. There is little of it.
                biased;
                changed = self.progress.changed() => {
                    changed.map_err(|_| Trouble::from(StoreError::Gone))?;
                    self.stored()?;
                }
                () = sleep_until(wake) => {}
                () = stop.requested(), if self.leaving != Some(Leaving::Stopped) => {
                    verbose!("received interrupt signal, exiting");
                    self.leave(Leaving::Stopped);
                }
                () = sleep_until(stop_deadline), if stopping => return Err(Trouble::DiskTooSlow),
                event = receive(self.connection, reads) => self.received(event.map_err(lost)?)?,
            }
        }
    }

    fn received(&mut self, event: CopyEvent) -> Result<(), Trouble> {
        match event {
            CopyEvent::Data(payload) => {
                self.heard = true;
                match Message::parse(payload)? {
                    Message::Wal { start, server_end, data } => return self.wal(start, server_end, data),
                    Message::KeepAlive { reply_requested, .. } if reply_requested => self.reply_requested(),
                    Message::KeepAlive { .. } => {}
                }
            }
            CopyEvent::Done => self.leave(Leaving::TimelineEnded),
            CopyEvent::Finished => return Err(Trouble::ServerEnded),
        }
        Ok(())
    }

    fn reply_requested(&mut self) {
        self.acks.reply_requested(Instant::now());
        // With --synchronous, a flush is under way or due anyway.
        if self.acks.unflushed() && self.settings.flush != FlushMode::Synchronous {
            self.store.flush();
        }
    }

    fn wal(&mut self, start: Lsn, server_end: Lsn, data: Bytes) -> Result<(), Trouble> {
        if start != self.received {
            return Err(Trouble::Misplaced { at: start, expected: self.received });
        }
        // The message was refused if this ran over the end of the log.
        let len = data.len() as u64;
        self.received = Lsn::new(start.get() + len);
        self.store.append(start, data, server_end <= self.received);
        self.acks.received(self.received, Instant::now());
        let counters = self.store.counters();
        counters.received_bytes.inc_by(len);
        counters.backlog_bytes.set(self.acks.backlog().cast_signed());
        self.stop_behind_end_position();
        Ok(())
    }

    fn stop_behind_end_position(&mut self) {
        if self.leaving.is_none() && self.settings.end_position.is_some_and(|end| end < self.received) {
            verbose!("stopped log streaming at {} (timeline {})", self.received, self.timeline);
            self.leave(Leaving::Stopped);
        }
    }

    fn leave(&mut self, leaving: Leaving) {
        self.store.finish();
        self.leaving = Some(leaving);
    }

    /// Takes over what the store has done, unless it is an earlier stream's.
    fn stored(&mut self) -> Result<(), Trouble> {
        let progress = self.progress.borrow_and_update();
        if progress.stream != self.id {
            return Ok(());
        }
        if let State::Failed(error) = &progress.state {
            return Err(Trouble::Store(error.clone()));
        }
        let counters = self.store.counters();
        if let Some(waited) = self.acks.stored(progress.written, progress.flushed, Instant::now()) {
            counters.acknowledgement_seconds.observe(waited.as_secs_f64());
        }
        counters.backlog_bytes.set(self.acks.backlog().cast_signed());
        Ok(())
    }

    fn is_closed(&self) -> bool {
        let progress = self.progress.borrow();
        progress.stream == self.id && matches!(progress.state, State::Closed)
    }

    /// The final status precedes CopyDone, so that the slot keeps no WAL that is already here.
    async fn farewell(self, leaving: Leaving, stop: &mut Stop) -> Result<End, Trouble> {
        let Self { connection, acks, received, .. } = self;
        let status = acks.tell(Instant::now());
        connection.send_copy_data(&status.encode(SystemTime::now()));
        connection.send_copy_done();
        if leaving == Leaving::Stopped {
            at_most(FAREWELL_PATIENCE, connection.finish_copy()).await;
            return Ok(End::Stopped);
        }
        let answer = unless_stopped(stop, async { connection.finish_copy().await.map_err(lost) }).await?;
        match end_of_timeline(&answer)? {
            Some(next) => Ok(End::Timeline { next, received }),
            None => Err(Trouble::ServerEnded),
        }
    }

    /// Whether more is read now: not while the disk is behind, nor once the stream has ended.
    fn reads(&mut self) -> bool {
        let full = self.acks.backlog() >= MAX_BACKLOG;
        if full && !self.paused {
            self.store.counters().reading_paused.inc();
        }
        self.paused = full;
        self.leaving.is_none() && !full
    }

    fn send(&mut self, status: StatusUpdate) {
        self.store.counters().statuses.inc();
        tracing::trace!(write = %status.write, flush = %status.flush, "status");
        self.connection.send_copy_data(&status.encode(SystemTime::now()));
    }

    fn flush_interval(&self) -> Duration {
        self.settings.status_interval.unwrap_or(DEFAULT_FLUSH_INTERVAL)
    }
}

/// The next event; while reading is paused, only what is queued leaves. Cancel-safe.
async fn receive(connection: &mut Connection, reads: bool) -> Result<CopyEvent, WireError> {
    if reads {
        return connection.next().await;
    }
    connection.flush().await?;
    pending().await
}

/// Awaits what has to be done before anything is read, and reports meanwhile: the server streams already, and counts.
pub(super) async fn reporting<T>(connection: &mut Connection, acks: &mut Acks, step: impl Future<Output = T>) -> T {
    let mut step = pin!(step);
    loop {
        if let Some(status) = acks.due(Instant::now()) {
            connection.send_copy_data(&status.encode(SystemTime::now()));
        }
        let wake = acks.deadline().unwrap_or_else(Instant::now);
        let send = async {
            // Why nothing can be sent is what the server said last, which is read when its turn comes.
            let _ = connection.flush().await;
            pending::<()>().await
        };
        tokio::select! {
            biased;
            done = &mut step => return done,
            () = send => {}
            () = sleep_until(wake) => {}
        }
    }
}

fn lost(error: WireError) -> Trouble {
    match error {
        WireError::Server(_) => Trouble::Terminated(error),
        _ => Trouble::Wire(error),
    }
}

#[cfg(test)]
mod tests;
