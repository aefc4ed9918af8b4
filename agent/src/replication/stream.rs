//! START_REPLICATION, and what a server says at the end of a timeline.

use super::{ReplicationError, quoted};
use crate::{
    wal::{Lsn, TimelineId},
    wire::{Connection, CopyStart, ResultSet},
};

/// The answer to START_REPLICATION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// WAL follows.
    Streaming,
    /// The start is the very point where the server left this timeline: there is nothing to stream on it.
    Ended(NextTimeline),
}

/// Where the WAL goes on after a timeline's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextTimeline {
    /// The timeline that the server went over to.
    pub timeline: TimelineId,
    /// The switch point.
    pub start: Lsn,
}

/// Asks for the WAL of `timeline` from `start` on, through `slot` if there is one.
///
/// # Errors
/// If the server refuses.
pub async fn start_replication(
    connection: &mut Connection,
    slot: Option<&str>,
    start: Lsn,
    timeline: TimelineId,
) -> Result<Started, ReplicationError> {
    let slot = slot.map(|name| format!(" SLOT {}", quoted(name))).unwrap_or_default();
    let sql = format!("START_REPLICATION{slot} {start} TIMELINE {timeline}");
    match connection.start_copy_both(&sql).await {
        Ok(CopyStart::Both) => Ok(Started::Streaming),
        Ok(CopyStart::Results(answer)) => match end_of_timeline(&answer)? {
            Some(next) => Ok(Started::Ended(next)),
            None => Err(ReplicationError::answer(&sql, "neither WAL nor a next timeline")),
        },
        Err(source) => Err(ReplicationError::Command { command: sql, source }),
    }
}

/// What the server said when a stream ended: the next timeline, or nothing (it shuts down).
///
/// # Errors
/// If there is a row that names no timeline and switch point.
pub fn end_of_timeline(answer: &[ResultSet]) -> Result<Option<NextTimeline>, ReplicationError> {
    let Some(row) = answer.iter().find(|set| !set.rows.is_empty()) else { return Ok(None) };
    let timeline = row.text(0, 0).and_then(|text| text.parse().ok()).and_then(TimelineId::new);
    let start = row.text(0, 1).and_then(|text| text.parse().ok());
    match (timeline, start) {
        (Some(timeline), Some(start)) => Ok(Some(NextTimeline { timeline, start })),
        _ => Err(ReplicationError::answer("START_REPLICATION", "its end names no next timeline and switch point")),
    }
}

pub(super) async fn command(connection: &mut Connection, sql: &str) -> Result<Vec<ResultSet>, ReplicationError> {
    connection.query(sql).await.map_err(|source| ReplicationError::Command { command: sql.to_owned(), source })
}
