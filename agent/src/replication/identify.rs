//! IDENTIFY_SYSTEM: which cluster, which timeline, how far.

use super::{ReplicationError, Version};
use crate::{
    wal::{Lsn, SystemIdentifier, TimelineId},
    wire::{Connection, ResultSet},
};

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The cluster.
    pub identifier: SystemIdentifier,
    /// The timeline that it is on.
    pub timeline: TimelineId,
    /// How far its WAL is flushed (on a standby: received or replayed).
    pub flushed: Lsn,
    /// Its version.
    pub version: Version,
}

const COMMAND: &str = "IDENTIFY_SYSTEM";

/// Asks the server who it is.
///
/// # Errors
/// If the server refuses, is too old, or the connection turns out not to be one for replication.
pub async fn identify_system(connection: &mut Connection) -> Result<System, ReplicationError> {
    let version = connection.parameter("server_version").unwrap_or_default();
    let version: Version = version.parse().map_err(|error| ReplicationError::answer("startup", format!("{error}")))?;
    if version.support() == super::Support::TooOld {
        return Err(ReplicationError::TooOld(version));
    }
    if connection.parameter("integer_datetimes") != Some("on") {
        return Err(ReplicationError::FloatingPointTimes);
    }
    let answer = super::stream::command(connection, COMMAND).await?;
    read(&answer, version)
}

fn read(answer: &[ResultSet], version: Version) -> Result<System, ReplicationError> {
    let missing = |what| ReplicationError::answer(COMMAND, format!("it has no {what}"));
    let row = answer.iter().find(|set| set.rows.len() == 1).ok_or_else(|| missing("row"))?;
    let text = |column| row.text(0, column);
    if let Some(database) = text(3) {
        return Err(ReplicationError::NotReplication(database.to_owned()));
    }
    let identifier = text(0).and_then(|text| text.parse().ok()).map(SystemIdentifier::new);
    let timeline = text(1).and_then(|text| text.parse().ok()).and_then(TimelineId::new);
    Ok(System {
        identifier: identifier.ok_or_else(|| missing("system identifier"))?,
        timeline: timeline.ok_or_else(|| missing("timeline"))?,
        flushed: text(2).and_then(|text| text.parse().ok()).ok_or_else(|| missing("WAL position"))?,
        version,
    })
}
