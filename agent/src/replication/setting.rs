//! SHOW: the server's settings that a receiver depends on.

use super::{ReplicationError, stream::command};
use crate::{wal::SegmentSize, wire::Connection};
use std::time::Duration;

/// The cluster's `wal_segment_size`.
///
/// # Errors
/// If the server refuses, or names a size that no server has.
pub async fn segment_size(connection: &mut Connection) -> Result<SegmentSize, ReplicationError> {
    let (sql, value) = show(connection, "wal_segment_size").await?;
    let bytes = parse_bytes(&value).ok_or_else(|| ReplicationError::answer(&sql, format!("{value:?} is no size")))?;
    SegmentSize::new(bytes).map_err(|error| ReplicationError::answer(&sql, error.to_string()))
}

/// The permissions for new files: 0640 where the server's data directory is open to its group, else 0600.
///
/// # Errors
/// If the server refuses, or answers with something else than a mode.
pub async fn data_directory_mode(connection: &mut Connection) -> Result<u32, ReplicationError> {
    let (sql, value) = show(connection, "data_directory_mode").await?;
    let mode = u32::from_str_radix(&value, 8);
    let mode = mode.map_err(|_| ReplicationError::answer(&sql, format!("{value:?} is no mode")))?;
    Ok(if mode & 0o750 == 0o750 { 0o640 } else { 0o600 })
}

/// After how long a silence the server gives this connection up (`wal_sender_timeout`); `None`: never.
///
/// # Errors
/// If the server refuses, or answers with something else than a duration.
pub async fn sender_timeout(connection: &mut Connection) -> Result<Option<Duration>, ReplicationError> {
    let (sql, value) = show(connection, "wal_sender_timeout").await?;
    let timeout = parse_duration(&value);
    let timeout = timeout.ok_or_else(|| ReplicationError::answer(&sql, format!("{value:?} is no duration")))?;
    Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
}

async fn show(connection: &mut Connection, name: &str) -> Result<(String, String), ReplicationError> {
    let sql = format!("SHOW {name}");
    let answer = command(connection, &sql).await?;
    let value = answer.iter().find_map(|set| set.text(0, 0)).map(str::to_owned);
    let value = value.ok_or_else(|| ReplicationError::answer(&sql, "it has no value"))?;
    Ok((sql, value))
}

/// A number, then letters: how PostgreSQL writes settings with a unit.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "kB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_servers_show_them() {
        for (text, bytes) in
            [("1MB", Some(1 << 20)), ("16MB", Some(16 << 20)), ("1GB", Some(1 << 30)), ("5", Some(5)), ("1XB", None)]
        {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
        for text in ["", "MB", "99999999999999999999MB", "18446744073709551615GB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn durations_as_servers_show_them() {
        let check = |text, ms| assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        check("1min", 60_000);
        check("5s", 5000);
        check("1500ms", 1500);
        check("0", 0);
        check("2h", 7_200_000);
        assert_eq!(parse_duration("5 lightyears"), None);
    }
}
