//! Asking a running server: always over its unix socket, as the superuser, each time on a connection of its own.

use super::Server;
use crate::wait::{self, DEADLINE, Poll};
use anyhow::{Context, Result, anyhow};
use std::time::Duration;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use wal_agent::wal::Lsn;

/// A row of pg_stat_replication. Positions that the server shows as NULL are [`Lsn::INVALID`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// `application_name`
    pub application_name: String,
    /// `state`: `streaming` when it has caught up.
    pub state: String,
    /// `sync_state`: `async`, `potential`, `sync` or `quorum`.
    pub sync_state: String,
    /// `sent_lsn`
    pub sent: Lsn,
    /// `write_lsn`
    pub write: Lsn,
    /// `flush_lsn`
    pub flush: Lsn,
    /// `replay_lsn`
    pub replay: Lsn,
}

impl Server {
    /// A connection that its own task serves; it ends when the client is dropped.
    ///
    /// # Errors
    /// The server does not accept it.
    pub async fn connect(&self) -> Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.socket_conninfo(), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs one or more statements.
    ///
    /// # Errors
    /// The server's, with its whole text.
    pub async fn sql(&self, statements: &str) -> Result<()> {
        self.rows(statements).await.map(drop)
    }

    /// All rows that `query` returns, as text.
    ///
    /// # Errors
    /// The server's, with its whole text.
    pub async fn rows(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = self.connect().await?.simple_query(query).await.map_err(explain);
        let messages = messages.with_context(|| format!("in {query:?}"))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The first column of the first row, as text.
    ///
    /// # Errors
    /// The server's; or there is no row, or the value is NULL.
    pub async fn value(&self, query: &str) -> Result<String> {
        let value = self.rows(query).await?.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        value.with_context(|| format!("no value from {query:?}"))
    }

    /// Waits until the SQL expression `condition` is true.
    ///
    /// # Errors
    /// It is not within [`DEADLINE`], or the server reports an error.
    pub async fn wait_for(&self, condition: &str) -> Result<()> {
        self.wait_for_within(condition, DEADLINE).await
    }

    /// [`Server::wait_for`] with a deadline of its own.
    ///
    /// # Errors
    /// As [`Server::wait_for`].
    pub async fn wait_for_within(&self, condition: &str, deadline: Duration) -> Result<()> {
        let query = format!("SELECT {condition}");
        wait::until(condition, deadline, async || {
            let rows = self.rows(&query).await?;
            let value = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
            Ok(if value.as_deref() == Some("t") { Poll::Ready(()) } else { Poll::Pending(format!("{value:?}")) })
        })
        .await
    }

    /// Sets a parameter with ALTER SYSTEM and reloads.
    ///
    /// # Errors
    /// The server's.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        let value = value.replace('\'', "''");
        // Separate queries: ALTER SYSTEM refuses to run in the transaction of several statements.
        self.sql(&format!("ALTER SYSTEM SET {name} = '{value}'")).await?;
        self.sql("SELECT pg_reload_conf()").await
    }

    /// The end of what was inserted; on a standby, of what was received.
    ///
    /// # Errors
    /// The server's.
    pub async fn current_lsn(&self) -> Result<Lsn> {
        let query = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END";
        self.lsn(query).await
    }

    /// The end of what is flushed on the primary.
    ///
    /// # Errors
    /// The server's.
    pub async fn flush_lsn(&self) -> Result<Lsn> {
        self.lsn("SELECT pg_current_wal_flush_lsn()").await
    }

    /// Switches to a new segment, after writing something so that there is one; returns the end of the old one's WAL.
    ///
    /// # Errors
    /// The server's.
    pub async fn switch_wal(&self) -> Result<Lsn> {
        self.sql("SELECT pg_logical_emit_message(false, 'switch', 'wal')").await?;
        self.lsn("SELECT pg_switch_wal()").await
    }

    /// The name of the segment that is being written.
    ///
    /// # Errors
    /// The server's.
    pub async fn current_walfile(&self) -> Result<String> {
        self.value("SELECT pg_walfile_name(pg_current_wal_lsn())").await
    }

    /// The position that `query` returns.
    ///
    /// # Errors
    /// The server's; or it is no position.
    pub async fn lsn(&self, query: &str) -> Result<Lsn> {
        Ok(self.value(query).await?.parse()?)
    }

    /// All receivers that are connected.
    ///
    /// # Errors
    /// The server's.
    pub async fn replications(&self) -> Result<Vec<Replication>> {
        let query = "SELECT application_name, state, sync_state, sent_lsn, write_lsn, flush_lsn, replay_lsn \
                     FROM pg_stat_replication WHERE state IS NOT NULL ORDER BY pid";
        let rows = self.rows(query).await?;
        let parse = |row: Vec<Option<String>>| {
            let text = |i: usize| row.get(i).cloned().flatten();
            let lsn = |i: usize| text(i).map_or(Ok(Lsn::INVALID), |lsn| lsn.parse());
            Ok(Replication {
                application_name: text(0).unwrap_or_default(),
                state: text(1).unwrap_or_default(),
                sync_state: text(2).unwrap_or_default(),
                sent: lsn(3)?,
                write: lsn(4)?,
                flush: lsn(5)?,
                replay: lsn(6)?,
            })
        };
        rows.into_iter().map(parse).collect()
    }

    /// The receiver that calls itself `application_name`, if it is connected.
    ///
    /// # Errors
    /// The server's.
    pub async fn replication(&self, application_name: &str) -> Result<Option<Replication>> {
        Ok(self.replications().await?.into_iter().find(|row| row.application_name == application_name))
    }

    /// Waits until the receiver `application_name` fulfils `condition`.
    ///
    /// # Errors
    /// It does not within [`DEADLINE`]; the error shows its last row. Or the server reports an error.
    pub async fn wait_for_replication(
        &self,
        application_name: &str,
        what: &str,
        condition: impl Fn(&Replication) -> bool,
    ) -> Result<Replication> {
        wait::until(format!("{application_name} {what}"), DEADLINE, async || {
            let row = self.replication(application_name).await?;
            Ok(match row {
                Some(row) if condition(&row) => Poll::Ready(row),
                row => Poll::Pending(format!("{row:?}")),
            })
        })
        .await
    }

    /// Waits until the receiver `application_name` streams and has caught up.
    ///
    /// # Errors
    /// As [`Server::wait_for_replication`].
    pub async fn wait_streaming(&self, application_name: &str) -> Result<Replication> {
        self.wait_for_replication(application_name, "to stream", |row| row.state == "streaming").await
    }

    /// A column of pg_replication_slots, as text; `None` if it is NULL.
    ///
    /// # Errors
    /// The server's; or there is no such slot.
    pub async fn slot(&self, name: &str, column: &str) -> Result<Option<String>> {
        let rows = self.rows(&format!("SELECT {column} FROM pg_replication_slots WHERE slot_name = '{name}'")).await?;
        let row = rows.into_iter().next().with_context(|| format!("there is no slot {name}"))?;
        Ok(row.into_iter().next().flatten())
    }

    /// Creates a physical slot, which reserves WAL at once if `reserve`.
    ///
    /// # Errors
    /// The server's.
    pub async fn create_slot(&self, name: &str, reserve: bool) -> Result<()> {
        self.sql(&format!("SELECT pg_create_physical_replication_slot('{name}', {reserve})")).await
    }
}

/// tokio-postgres says only "db error": the server's words are behind it.
fn explain(error: tokio_postgres::Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(db) => anyhow!("{}: {} ({})", db.severity(), db.message(), db.code().code()),
        None => error.into(),
    }
}
