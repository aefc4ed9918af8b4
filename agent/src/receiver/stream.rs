//! One timeline's stream: bytes to the store, statuses to the server, until one of the two or the user ends it.

use super::{
    FAREWELL_PATIENCE, Memory, STOP_PATIENCE, Settings, Stop, Trouble,
    acks::Acks,
    at_most,
    line::{Ends, Line},
    start::Position,
    unless_stopped,
};
use crate::{
    replication::{Message, NextTimeline, end_of_timeline},
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
/// The same for messages, each of which costs some memory beside its bytes: a server that sends few bytes at a time.
const MAX_MESSAGES: u32 = 16 << 10;
/// How often the store is looked at while reading is paused.
const PAUSED_LOOK: Duration = Duration::from_millis(10);
/// How often WAL is flushed without `--synchronous` where neither `-s` nor the server says.
const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(10);

/// How a stream ended in good order; everything received is durable.
pub(super) enum End {
    /// The server went over to another timeline, on the same connection.
    Timeline { next: NextTimeline, received: Lsn, ends: Box<(Connection, Acks)> },
    /// A signal came, or the end position was passed; goodbye has been said.
    Stopped,
}

pub(super) struct Stream<'a> {
    line: &'a Line,
    store: &'a Store,
    progress: watch::Receiver<Progress>,
    id: StreamId,
    settings: &'a Settings,
    memory: &'a mut Memory,
    /// Whether the server has sent anything on this stream.
    heard: bool,
    /// Whether reading waits for the disk.
    paused: bool,
    /// How many messages have come since everything was written.
    messages: u32,
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
        line: &'a Line,
        store: &'a Store,
        id: StreamId,
        settings: &'a Settings,
        memory: &'a mut Memory,
        start: Position,
    ) -> Self {
        let progress = store.progress();
        let Position { timeline, lsn: received } = start;
        let mut stream = Self {
            line,
            store,
            progress,
            id,
            settings,
            memory,
            heard: false,
            paused: false,
            messages: 0,
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
            // Whether the store has finished is looked at first: what it did last must be in the final status.
            let closed = self.is_closed();
            self.stored(now)?;
            if let Some(leaving) = self.leaving
                && closed
            {
                return self.farewell(leaving, stop).await;
            }
            if now >= self.flush_at {
                self.store.flush();
                self.flush_at = now + self.flush_interval();
            }
            let (overdue, acks_wake, written, backlog) = self.with_ends(|ends| {
                if let Some(status) = ends.acks.due(now) {
                    ends.send(status);
                }
                let Ends { acks, .. } = ends;
                (acks.overdue(now), [acks.deadline(), acks.look_at()], acks.written(), acks.backlog())
            })?;
            if overdue {
                self.store.hurry();
            }
            if self.heard {
                self.memory.streaming(written, self.timeline, now);
            }
            let steady_at = self.memory.steady_at().filter(|_| self.heard);
            let reads = self.reads(backlog);
            let paused = self.paused.then(|| now + PAUSED_LOOK);
            let deadlines = acks_wake.into_iter().chain([Some(self.flush_at), steady_at, paused]);
            let wake = deadlines.flatten().min().unwrap_or(now);
            let (stopping, stop_deadline) = (stop.is_requested(), stop.deadline(STOP_PATIENCE));
            tokio::select! {
                // News of the disk first: nothing that is due waits for the socket to drain. There is little of it.
                biased;
                changed = self.progress.changed() => changed.map_err(|_| Trouble::from(StoreError::Gone))?,
                () = sleep_until(wake) => {}
                // Also where the end position has been passed: from now on, there is a deadline.
                () = stop.requested(), if self.leaving != Some(Leaving::Stopped) || !stopping => {
                    verbose!("received interrupt signal, exiting");
                    if self.leaving != Some(Leaving::Stopped) {
                        self.leave(Leaving::Stopped);
                    }
                }
                () = sleep_until(stop_deadline), if stopping => return Err(Trouble::DiskTooSlow),
                event = self.line.receive(reads) => self.received(event.map_err(lost)?)?,
            }
        }
    }

    fn received(&mut self, event: CopyEvent) -> Result<(), Trouble> {
        match event {
            CopyEvent::Data(payload) => {
                self.heard = true;
                match Message::parse(payload)? {
                    Message::Wal { start, server_end, data } => return self.wal(start, server_end, data),
                    Message::KeepAlive { reply_requested, .. } if reply_requested => self.reply_requested()?,
                    Message::KeepAlive { .. } => {}
                }
            }
            CopyEvent::Done => self.leave(Leaving::TimelineEnded),
            CopyEvent::Finished => return Err(Trouble::ServerEnded),
        }
        Ok(())
    }

    fn reply_requested(&mut self) -> Result<(), Trouble> {
        let unflushed = self.with_ends(|Ends { acks, .. }| {
            acks.reply_requested(Instant::now());
            acks.unflushed()
        })?;
        // With --synchronous, a flush is under way or due anyway.
        if unflushed && self.settings.flush != FlushMode::Synchronous {
            self.store.flush();
        }
        Ok(())
    }

    fn wal(&mut self, start: Lsn, server_end: Lsn, data: Bytes) -> Result<(), Trouble> {
        if start != self.received {
            return Err(Trouble::Misplaced { at: start, expected: self.received });
        }
        if data.is_empty() {
            return Ok(());
        }
        self.messages += 1;
        // The message was refused if this ran over the end of the log.
        let len = data.len() as u64;
        self.received = Lsn::new(start.get() + len);
        // Before the store has it: its flush may return at any time from then on.
        let received = self.received;
        self.with_ends(|ends| ends.received(received, len))?;
        self.store.append(start, data, server_end <= received);
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
    fn stored(&mut self, now: Instant) -> Result<(), Trouble> {
        let progress = self.progress.borrow_and_update();
        if progress.stream != self.id {
            return Ok(());
        }
        if let State::Failed(error) = &progress.state {
            return Err(Trouble::Store(error.clone()));
        }
        let (written, flushed) = (progress.written, progress.flushed);
        drop(progress);
        self.with_ends(|ends| ends.stored(written, flushed, now))
    }

    /// Nobody but this stream takes the ends of its line.
    fn with_ends<T>(&self, look: impl FnOnce(&mut Ends) -> T) -> Result<T, Trouble> {
        self.line.with(look).ok_or_else(|| StoreError::Gone.into())
    }

    fn is_closed(&self) -> bool {
        let progress = self.progress.borrow();
        progress.stream == self.id && matches!(progress.state, State::Closed)
    }

    /// The final status precedes CopyDone, so that the slot keeps no WAL that is already here.
    async fn farewell(self, leaving: Leaving, stop: &mut Stop) -> Result<End, Trouble> {
        let Some((mut connection, mut acks)) = self.line.take() else { return Err(StoreError::Gone.into()) };
        let status = acks.tell(Instant::now());
        connection.send_copy_data(&status.encode(SystemTime::now()));
        connection.send_copy_done();
        if leaving == Leaving::Stopped {
            at_most(FAREWELL_PATIENCE, connection.finish_copy()).await;
            at_most(FAREWELL_PATIENCE, connection.close()).await;
            return Ok(End::Stopped);
        }
        let answer = unless_stopped(stop, async { connection.finish_copy().await.map_err(lost) }).await?;
        match end_of_timeline(&answer)? {
            Some(next) => Ok(End::Timeline { next, received: self.received, ends: Box::new((connection, acks)) }),
            None => Err(Trouble::ServerEnded),
        }
    }

    /// Whether more is read now: not while the disk is behind, nor once the stream has ended.
    fn reads(&mut self, backlog: u64) -> bool {
        if backlog == 0 {
            self.messages = 0;
        }
        let full = backlog >= MAX_BACKLOG || self.messages >= MAX_MESSAGES;
        if full && !self.paused {
            self.store.counters().reading_paused.inc();
        }
        self.paused = full;
        self.leaving.is_none() && !full
    }

    fn flush_interval(&self) -> Duration {
        self.settings.status_interval.unwrap_or(DEFAULT_FLUSH_INTERVAL)
    }
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
