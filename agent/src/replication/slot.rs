//! READ_, CREATE_ and DROP_REPLICATION_SLOT.

use super::{ReplicationError, Version, quoted, stream::command};
use crate::{
    wal::{Lsn, TimelineId},
    wire::{Connection, ResultSet},
};

/// A replication slot as the server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// There is none of this name.
    Missing,
    /// A physical slot that reserves no WAL: never used, or invalidated.
    Unreserved,
    /// A physical slot that holds WAL back.
    Reserved {
        /// The first byte that it holds.
        restart: Lsn,
        /// On which timeline; servers before 15 do not say.
        timeline: Option<TimelineId>,
    },
}

/// Reads a slot. `None`: this server has no command for that (before 15).
///
/// # Errors
/// If the server refuses, as it does for a logical slot.
pub async fn read_slot(
    connection: &mut Connection,
    version: &Version,
    name: &str,
) -> Result<Option<Slot>, ReplicationError> {
    if !version.reads_slots() {
        return Ok(None);
    }
    let sql = format!("READ_REPLICATION_SLOT {}", quoted(name));
    let answer = command(connection, &sql).await?;
    let row = answer.iter().find(|set| set.rows.len() == 1);
    let row = row.ok_or_else(|| ReplicationError::answer(&sql, "it has no row"))?;
    if row.text(0, 0).is_none() {
        return Ok(Some(Slot::Missing));
    }
    reservation(row, 1, 2).map(Some).map_err(|why| ReplicationError::answer(&sql, why))
}

/// Reads a slot with SQL, over an ordinary connection: the only way on servers before 15.
///
/// # Errors
/// If the server refuses, or the slot is a logical one.
pub async fn restart_lsn_by_sql(connection: &mut Connection, name: &str) -> Result<Slot, ReplicationError> {
    let literal = postgres_protocol::escape::escape_literal(name);
    let sql = format!(
        "SELECT restart_lsn, NULL FROM pg_catalog.pg_replication_slots \
         WHERE slot_name OPERATOR(pg_catalog.=) {literal} AND slot_type OPERATOR(pg_catalog.=) 'physical'"
    );
    let answer = command(connection, &sql).await?;
    match answer.iter().find(|set| !set.rows.is_empty()) {
        None => Ok(Slot::Missing),
        Some(row) => reservation(row, 0, 1).map_err(|why| ReplicationError::answer(&sql, why)),
    }
}

fn reservation(row: &ResultSet, restart: usize, timeline: usize) -> Result<Slot, String> {
    let Some(text) = row.text(0, restart) else { return Ok(Slot::Unreserved) };
    let restart = text.parse().map_err(|error| format!("{error}"))?;
    Ok(Slot::Reserved {
        restart,
        timeline: row.text(0, timeline).and_then(|text| text.parse().ok()).and_then(TimelineId::new),
    })
}

/// Creates a physical slot; with `reserve`, WAL is held back from the last checkpoint on.
///
/// # Errors
/// If the server refuses; [`ReplicationError::is_duplicate_slot`] tells that there is a slot of this name.
pub async fn create_slot(
    connection: &mut Connection,
    version: &Version,
    name: &str,
    reserve: bool,
) -> Result<(), ReplicationError> {
    command(connection, &create_command(version, name, reserve)).await.map(drop)
}

fn create_command(version: &Version, name: &str, reserve: bool) -> String {
    let options = match (reserve, version.reads_slots()) {
        (false, _) => "",
        (true, true) => " (RESERVE_WAL)",
        (true, false) => " RESERVE_WAL",
    };
    format!("CREATE_REPLICATION_SLOT {} PHYSICAL{options}", quoted(name))
}

/// Drops a slot, which must not be in use.
///
/// # Errors
/// If the server refuses.
pub async fn drop_slot(connection: &mut Connection, name: &str) -> Result<(), ReplicationError> {
    command(connection, &format!("DROP_REPLICATION_SLOT {}", quoted(name))).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_major_gets_its_own_grammar() {
        let check = |version: &str, reserve, expected| {
            let version = version.parse().expect("a version");
            assert_eq!(create_command(&version, "a\"b", reserve), expected);
        };
        check("14.23", true, "CREATE_REPLICATION_SLOT \"a\"\"b\" PHYSICAL RESERVE_WAL");
        check("15.18", true, "CREATE_REPLICATION_SLOT \"a\"\"b\" PHYSICAL (RESERVE_WAL)");
        check("18.4", false, "CREATE_REPLICATION_SLOT \"a\"\"b\" PHYSICAL");
    }
}
