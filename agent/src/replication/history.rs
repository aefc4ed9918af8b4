//! TIMELINE_HISTORY: how a timeline came about.

use super::{ReplicationError, stream::command};
use crate::{
    wal::{HistoryFile, HistoryName, TimelineId},
    wire::Connection,
};

/// Fetches the history file of `timeline`. Timeline 1 has none.
///
/// # Errors
/// If the server refuses, or does not have it.
pub async fn timeline_history(
    connection: &mut Connection,
    timeline: TimelineId,
) -> Result<HistoryFile, ReplicationError> {
    let sql = format!("TIMELINE_HISTORY {timeline}");
    let answer = command(connection, &sql).await?;
    let row = answer.iter().find(|set| set.rows.len() == 1);
    let row = row.ok_or_else(|| ReplicationError::answer(&sql, "it has no row"))?;
    let expected = HistoryName(timeline).to_string();
    if row.text(0, 0) != Some(expected.as_str()) {
        return Err(ReplicationError::answer(&sql, format!("it is not named {expected}")));
    }
    let content = row.rows.first().and_then(|row| row.get(1)?.as_ref());
    let content = content.ok_or_else(|| ReplicationError::answer(&sql, "it has no content"))?;
    Ok(HistoryFile { timeline, content: content.to_vec() })
}
