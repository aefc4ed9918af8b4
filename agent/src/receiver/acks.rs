//! What is reported to the server, and when: the acknowledgement policy as a pure state machine.
//!
//! A status leaves
//! - when `flush` has advanced: at once, since commits may wait for it;
//! - when `write` has advanced and its flush takes longer than [`WRITE_PATIENCE`] (`remote_write` does not wait for a disk);
//! - when the server asked: with the flush that answers it, or after [`REPLY_PATIENCE`] with what is true then;
//! - and in any case each heartbeat.
//!
//! Two identical statuses are never closer than [`QUIET`]: a walsender that shuts down answers each with another request.

use crate::{replication::StatusUpdate, wal::Lsn};
use std::time::Duration;
use tokio::time::Instant;

/// How long a new `write` position waits for its flush, to be reported together with it.
const WRITE_PATIENCE: Duration = Duration::from_millis(2);
/// How long a server that asked waits for the flush that answers it.
const REPLY_PATIENCE: Duration = Duration::from_secs(1);
/// The least time between two identical statuses.
const QUIET: Duration = Duration::from_millis(100);

/// What of the directory's state the server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Whether `flush` is reported at all: with a slot, or as a synchronous standby.
    pub(crate) report_flush: bool,
    /// Whether a new `write` position is worth a status of its own.
    pub(crate) report_write: bool,
    /// The longest silence.
    pub(crate) heartbeat: Option<Duration>,
}

/// The state of a connection's acknowledgements.
///
/// `flushed` ≤ `written` ≤ `received`; what was told only grows while the timeline lasts.
#[derive(Debug)]
pub(crate) struct Acks {
    policy: Policy,
    received: Lsn,
    written: Lsn,
    flushed: Lsn,
    /// Since when something was received that is not durable, or the last time that some of it became so.
    unflushed_since: Option<Instant>,
    /// The last status on this timeline.
    told: Option<(StatusUpdate, Instant)>,
    /// How far any status of this connection went, as far as it lies on the present timeline's way.
    highest: StatusUpdate,
    /// Since when something was received that no status has told as written.
    unreported_since: Option<Instant>,
    /// When to look whether what was received has been written: small writes are not announced.
    look_at: Option<Instant>,
    /// The server waits for an answer since then; it had been sent everything up to there.
    asked: Option<(Instant, Lsn)>,
}

impl Acks {
    pub(crate) fn new(policy: Policy, start: Lsn) -> Self {
        Self {
            policy: Policy { heartbeat: policy.heartbeat.map(|interval| interval.max(QUIET)), ..policy },
            received: start,
            written: start,
            flushed: start,
            unflushed_since: None,
            told: None,
            highest: StatusUpdate { write: Lsn::INVALID, flush: Lsn::INVALID },
            unreported_since: None,
            look_at: None,
            asked: None,
        }
    }

    /// The stream goes on at `start` of the timeline that begins at `switch`, in the same segment. What was told up to there
    /// stays true, as those bytes are durable under the old timeline's name. What was received beyond is no part of the
    /// new timeline (a dead primary's unfinished record), so it is taken back, and at once.
    pub(crate) fn restart(&mut self, start: Lsn, switch: Lsn) {
        (self.received, self.written, self.flushed) = (start, start, start);
        (self.unflushed_since, self.unreported_since, self.look_at, self.asked) = (None, None, None, None);
        self.highest = StatusUpdate { write: self.highest.write.min(switch), flush: self.highest.flush.min(switch) };
        self.told = None;
    }

    pub(crate) fn received(&mut self, upto: Lsn, now: Instant) {
        self.received = upto;
        self.unflushed_since.get_or_insert(now);
        self.unreported_since.get_or_insert(now);
        self.look_at.get_or_insert(now + WRITE_PATIENCE);
    }

    /// Takes over how far the store is, which may be less than is known already. Where more is durable than before: for how
    /// long it was waited for.
    pub(crate) fn stored(&mut self, written: Lsn, flushed: Lsn, now: Instant) -> Option<Duration> {
        let since = self.unflushed_since.filter(|_| flushed > self.flushed);
        if since.is_some() {
            self.unflushed_since = (flushed < self.received).then_some(now);
        }
        (self.written, self.flushed) = (self.written.max(written), self.flushed.max(flushed));
        self.look_at = self.look_at.filter(|_| self.written < self.received);
        since.map(|since| now - since)
    }

    pub(crate) fn reply_requested(&mut self, now: Instant) {
        self.asked.get_or_insert((now, self.received));
    }

    /// Whether something was received that is not durable yet.
    pub(crate) fn unflushed(&self) -> bool {
        self.flushed < self.received
    }

    /// The byte behind the last one that the operating system has.
    pub(crate) fn written(&self) -> Lsn {
        self.written
    }

    /// Bytes received but not yet given to the operating system.
    pub(crate) fn backlog(&self) -> u64 {
        self.received.bytes_since(self.written)
    }

    /// The status that is due now, if one is; it counts as told.
    pub(crate) fn due(&mut self, now: Instant) -> Option<StatusUpdate> {
        self.deadline().is_none_or(|deadline| deadline <= now).then(|| self.tell(now))
    }

    /// What is true now, to be sent whatever was told before.
    pub(crate) fn tell(&mut self, now: Instant) -> StatusUpdate {
        let status = self.status();
        self.told = Some((status, now));
        self.highest = status;
        self.unreported_since = (status.write < self.received).then_some(now);
        if self.asked.is_some_and(|(since, upto)| self.answers(upto) || now >= since + REPLY_PATIENCE) {
            self.asked = None;
        }
        status
    }

    /// When the next status is due if nothing happens until then. `None` before the first: that is due at once.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (told, at) = self.told?;
        let status = self.status();
        let quiet = if status == told { at + QUIET } else { at };
        let flush = (status.flush > told.flush).then_some(at);
        let write = self.unreported_since.filter(|_| self.policy.report_write && status.write > told.write);
        let write = write.map(|since| since + WRITE_PATIENCE);
        let reply = self.asked.map(|(since, upto)| {
            let ready = if self.answers(upto) { since } else { since + REPLY_PATIENCE };
            ready.max(quiet)
        });
        let heartbeat = self.policy.heartbeat.map(|interval| at + interval);
        let never = at + Duration::from_secs(24 * 3600);
        Some([flush, write, reply, heartbeat].into_iter().flatten().min().unwrap_or(never))
    }

    /// When to look at the store again, if it does not say anything by itself.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.look_at.filter(|_| self.policy.report_write)
    }

    /// Whether something should have been written by now and is not; asked again, it is so only after another while.
    pub(crate) fn overdue(&mut self, now: Instant) -> bool {
        let overdue = self.look_at().is_some_and(|at| at <= now);
        if overdue {
            self.look_at = Some(now + WRITE_PATIENCE);
        }
        overdue
    }

    fn answers(&self, upto: Lsn) -> bool {
        upto <= if self.policy.report_flush { self.flushed } else { self.written }
    }

    fn status(&self) -> StatusUpdate {
        StatusUpdate {
            write: self.written.max(self.highest.write),
            flush: if self.policy.report_flush { self.flushed.max(self.highest.flush) } else { Lsn::INVALID },
        }
    }
}

#[cfg(test)]
mod tests;
