//! Looking closely at when a receiver streams, on a connection that is there already.

use crate::server::Server;
use crate::wait::{self, DEADLINE, Poll};
use anyhow::{Context, Result};
use tokio::time::Instant;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A session that asks which receivers stream.
pub(super) struct Watcher(Client);

impl Watcher {
    /// Connects as soon as `server`, which may be starting, accepts it; with the moment at which it did.
    ///
    /// # Errors
    /// It does not within [`DEADLINE`].
    pub(super) async fn of(server: &Server) -> Result<(Self, Instant)> {
        let what = "the server to accept connections";
        let client = wait::closely(what, DEADLINE, async || match server.connect().await {
            Ok(client) => Ok(Poll::Ready((client, Instant::now()))),
            Err(error) => Ok(Poll::Pending(format!("{error:#}"))),
        });
        client.await.map(|(client, at)| (Self(client), at))
    }

    /// Waits until the receiver `name` streams, and returns when that was seen.
    ///
    /// # Errors
    /// It does not within [`DEADLINE`].
    pub(super) async fn streaming(&self, name: &str) -> Result<Instant> {
        wait::closely(format!("{name} to stream"), DEADLINE, async || {
            let state = self.state(name).await?;
            let streams = state.as_deref() == Some("streaming");
            Ok(if streams { Poll::Ready(Instant::now()) } else { Poll::Pending(format!("{state:?}")) })
        })
        .await
    }

    /// Waits until the receiver `name` is gone.
    ///
    /// # Errors
    /// It is not within [`DEADLINE`].
    pub(super) async fn gone(&self, name: &str) -> Result<()> {
        wait::closely(format!("{name} to be gone"), DEADLINE, async || {
            let state = self.state(name).await?;
            Ok(if state.is_none() { Poll::Ready(()) } else { Poll::Pending(format!("{state:?}")) })
        })
        .await
    }

    async fn state(&self, name: &str) -> Result<Option<String>> {
        let query = format!("SELECT state FROM pg_stat_replication WHERE application_name = '{name}'");
        let messages = self.0.simple_query(&query).await.context("the server does not answer")?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }
}
