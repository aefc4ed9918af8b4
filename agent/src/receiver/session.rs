//! One connection: who is there, where to start, and then timeline after timeline.

use super::{
    Receiver, Settings, Stop, Trouble,
    acks::{Acks, Policy},
    line::Line,
    start::{Position, Resume, resume},
    stream::{End, Stream, reporting},
    unless_stopped,
};
use crate::{
    replication::{self, NextTimeline, Slot, Started, Support, System},
    store::{Claim, FlushMode, Identity, Inventory},
    verbose,
    wal::{HistoryFile, PageMagic, TimelineHistory, TimelineId},
    wire::{Connection, Purpose},
};
use std::time::Duration;
use tokio::time::Instant;

/// What was learned before streaming.
struct Prepared {
    connection: Connection,
    system: System,
    claim: Claim,
    sender_timeout: Option<Duration>,
    start: Position,
}

impl Receiver {
    /// Streams over one connection until it ends, a stop is requested, or the end position is reached.
    pub(super) async fn session(&mut self, stop: &mut Stop) -> Result<(), Trouble> {
        let prepared = unless_stopped(stop, self.prepare()).await;
        let Prepared { mut connection, system, claim, sender_timeout, start } = match prepared {
            Err(Trouble::Stopped) => {
                verbose!("received interrupt signal, exiting");
                return Ok(());
            }
            prepared => prepared?,
        };
        let size = claim.identity.segment_size;
        let mut position = start;
        let mut acks = Acks::new(self.policy(sender_timeout), position.lsn);
        loop {
            let history = unless_stopped(stop, self.history(&mut connection, position.timeline)).await?;
            verbose!("starting log streaming at {} (timeline {})", position.lsn, position.timeline);
            let started = self.start_streaming(&mut connection, &system, position);
            let started = unless_stopped(stop, started).await?;
            let occupied = unless_stopped(stop, self.occupy(&claim, history));
            let (next, received) = match started {
                Started::Ended(next) => {
                    occupied.await?;
                    (next, position.lsn)
                }
                Started::Streaming => {
                    reporting(&mut connection, &mut acks, occupied).await?;
                    self.memory.streaming_since = Some(Instant::now());
                    let line = Line::new(connection, acks, self.store.counters());
                    let stream = self.store.begin(claim, position.timeline, position.lsn, line.on_durable());
                    let Self { store, settings, memory, .. } = &mut *self;
                    let ended = Stream::new(&line, store, stream, settings, memory, position).run(stop).await;
                    // A flush may hang on the disk and hold the line: the server must not be held with it.
                    drop(line.take());
                    match ended? {
                        End::Stopped => return Ok(()),
                        End::Timeline { next, received, ends } => {
                            (connection, acks) = *ends;
                            (next, received)
                        }
                    }
                }
            };
            if received < next.start {
                let NextTimeline { timeline: next, start } = next;
                return Err(Trouble::NextStart { current: position.timeline, received, next, start });
            }
            if next.timeline <= position.timeline {
                return Err(Trouble::NextTimeline { next: next.timeline, current: position.timeline });
            }
            verbose!("switched to timeline {} at {}", next.timeline, next.start);
            position = Position { timeline: next.timeline, lsn: size.floor(next.start) };
            acks.restart(position.lsn, next.start);
        }
    }

    /// Everything before START_REPLICATION. Nothing is written yet: where the server refuses, the directory is left alone.
    async fn prepare(&mut self) -> Result<Prepared, Trouble> {
        let mut connection = Connection::connect(&self.settings.conninfo, Purpose::Replication).await?;
        let system = replication::identify_system(&mut connection).await?;
        let mode = replication::data_directory_mode(&mut connection).await?;
        let segment_size = replication::segment_size(&mut connection).await?;
        let sender_timeout = replication::sender_timeout(&mut connection).await?;
        if system.version.support() == Support::Newer && !self.memory.newer_version_reported {
            tracing::warn!("server version {} is newer than this agent; its WAL is taken as it comes", system.version);
            self.memory.newer_version_reported = true;
        }
        let claim = Claim {
            identity: Identity { system: system.identifier, segment_size },
            mode,
            magic: PageMagic::of_major(system.version.major()),
        };
        let held = self.store.inspect(claim).await?;
        self.memory.claimed = true;
        self.report_wrong_sizes(&held);

        let history = self.present_history(&mut connection, system.timeline, &claim).await?;
        let slot = self.slot(&mut connection, &system).await?;
        let start = match resume(&held, &history, segment_size) {
            Resume::At(position) => position,
            Resume::ServerIsBehind(timeline) => {
                return Err(Trouble::ServerIsBehind { held: timeline, server: system.timeline });
            }
            Resume::Anywhere => {
                let (lsn, timeline) = match self.reserved_from(&mut connection, &system, slot).await? {
                    Some(Slot::Reserved { restart, timeline }) => {
                        (restart, timeline.unwrap_or_else(|| history.timeline_at(restart)))
                    }
                    _ => (system.flushed, system.timeline),
                };
                Position { timeline, lsn: segment_size.floor(lsn) }
            }
        };
        Ok(Prepared { connection, system, claim, sender_timeout, start })
    }

    fn policy(&self, sender_timeout: Option<Duration>) -> Policy {
        let Settings { status_interval, flush, slot, .. } = &self.settings;
        let synchronous = *flush == FlushMode::Synchronous;
        // The server gives up a receiver that it has not heard of for its timeout: three chances in each.
        let heartbeat = status_interval.iter().copied().chain(sender_timeout.map(|timeout| timeout / 3)).min();
        Policy { report_flush: slot.is_some() || synchronous, report_write: synchronous, heartbeat }
    }

    /// How the server came to its present timeline; what is kept of it must agree.
    async fn present_history(
        &self,
        connection: &mut Connection,
        timeline: TimelineId,
        claim: &Claim,
    ) -> Result<TimelineHistory, Trouble> {
        if timeline == TimelineId::FIRST {
            return Ok(TimelineHistory::root(timeline));
        }
        let file = replication::timeline_history(connection, timeline).await?;
        let history = TimelineHistory::parse(timeline, &file.content);
        let history = history.map_err(|source| Trouble::History { timeline, source })?;
        self.store.history(file, false, claim.mode).await?;
        Ok(history)
    }

    /// The history of a timeline that is about to be streamed. One that the server does not have is done without.
    async fn history(&self, connection: &mut Connection, timeline: TimelineId) -> Result<Option<HistoryFile>, Trouble> {
        if timeline == TimelineId::FIRST {
            return Ok(None);
        }
        match replication::timeline_history(connection, timeline).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.server().is_some() => {
                tracing::warn!("history of timeline {timeline} cannot be had: {error}");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the directory, now that the server streams, and keeps the timeline's history.
    async fn occupy(&self, claim: &Claim, history: Option<HistoryFile>) -> Result<(), Trouble> {
        self.store.claim(*claim).await?;
        if let Some(file) = history {
            self.store.history(file, true, claim.mode).await?;
        }
        Ok(())
    }

    /// The state of our slot, which is created if it is missing and that is wanted. `None`: no slot, or no way to tell.
    async fn slot(&self, connection: &mut Connection, system: &System) -> Result<Option<Slot>, Trouble> {
        let Some(name) = &self.settings.slot else { return Ok(None) };
        match replication::read_slot(connection, &system.version, name).await? {
            Some(Slot::Missing) => {
                self.create_slot(connection, system, name).await?;
                Ok(replication::read_slot(connection, &system.version, name).await?)
            }
            slot => Ok(slot),
        }
    }

    /// From where the slot reserves WAL. Servers before 15 tell only in SQL, which `pg_hba.conf` may not allow.
    async fn reserved_from(
        &self,
        connection: &mut Connection,
        system: &System,
        known: Option<Slot>,
    ) -> Result<Option<Slot>, Trouble> {
        let (Some(name), None) = (&self.settings.slot, known) else { return Ok(known) };
        match self.slot_by_sql(name).await {
            Ok(Slot::Missing) => {
                self.create_slot(connection, system, name).await?;
                Ok(self.slot_by_sql(name).await.ok())
            }
            Ok(slot) => Ok(Some(slot)),
            Err(trouble) => {
                tracing::warn!(
                    "could not learn where replication slot \"{name}\" begins, \
                     so streaming begins at the server's present position: {trouble}"
                );
                Ok(None)
            }
        }
    }

    async fn slot_by_sql(&self, name: &str) -> Result<Slot, Trouble> {
        let conninfo = &self.settings.conninfo;
        let database = conninfo.dbname.as_deref().filter(|name| *name != "replication").unwrap_or("postgres");
        let mut connection = Connection::connect(conninfo, Purpose::Sql { database }).await?;
        let slot = replication::restart_lsn_by_sql(&mut connection, name).await?;
        connection.close().await;
        Ok(slot)
    }

    async fn create_slot(&self, connection: &mut Connection, system: &System, name: &str) -> Result<(), Trouble> {
        if !self.settings.create_missing_slot {
            return Err(Trouble::SlotMissing(name.to_owned()));
        }
        match replication::create_slot(connection, &system.version, name, true).await {
            Err(error) if error.is_duplicate_slot() => Ok(()),
            created => {
                created?;
                tracing::info!("created replication slot \"{name}\", which was missing");
                Ok(())
            }
        }
    }

    async fn start_streaming(
        &self,
        connection: &mut Connection,
        system: &System,
        position: Position,
    ) -> Result<Started, Trouble> {
        let slot = self.settings.slot.as_deref();
        let started = replication::start_replication(connection, slot, position.lsn, position.timeline).await;
        match (started, slot) {
            // Before 15 there was no way to ask for it.
            (Err(error), Some(name)) if error.is_missing_slot() && self.settings.create_missing_slot => {
                self.create_slot(connection, system, name).await?;
                Ok(replication::start_replication(connection, slot, position.lsn, position.timeline).await?)
            }
            (started, _) => Ok(started?),
        }
    }

    fn report_wrong_sizes(&mut self, held: &Inventory) {
        for file in &held.wrong_size {
            if !self.memory.wrong_sizes_reported.contains(&file.name) {
                tracing::warn!("segment file \"{}\" has incorrect size {}, skipping", file.name, file.len);
                self.memory.wrong_sizes_reported.push(file.name.clone());
            }
        }
    }
}
