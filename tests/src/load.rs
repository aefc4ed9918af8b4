//! Write load: clients that note each acknowledged commit, and the question which of them a server still has.

use crate::server::Server;
use crate::wait::{self, DEADLINE, Poll};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

/// A commit that the server has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The row that was inserted.
    pub id: i64,
    /// When the acknowledgement came.
    pub at: Instant,
    /// How long it took.
    pub latency: Duration,
}

/// Load that is to be started.
#[derive(Clone, Debug)]
pub struct Settings {
    clients: u32,
    payload: usize,
    pause: Duration,
    session: String,
}

/// Clients at work. Dropping it stops them.
#[derive(Debug)]
pub struct Load {
    acknowledged: Arc<Mutex<Vec<Commit>>>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

/// Before a client tries to connect again.
const RECONNECT: Duration = Duration::from_millis(50);

impl Load {
    /// `clients` clients, each inserting rows of some 100 bytes as fast as it can.
    pub fn of(clients: u32) -> Settings {
        Settings { clients, payload: 100, pause: Duration::ZERO, session: String::new() }
    }

    /// The acknowledged commits so far, in the order of their acknowledgement.
    pub fn acknowledged(&self) -> Vec<Commit> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The acknowledged commits from the `first` on, which is counted from 0.
    pub fn acknowledged_from(&self, first: usize) -> Vec<Commit> {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.get(first..).unwrap_or_default().to_vec()
    }

    /// How many commits have been acknowledged so far.
    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until `commits` more have been acknowledged than now.
    ///
    /// # Errors
    /// They are not within [`DEADLINE`].
    pub async fn wait_more(&self, commits: usize) -> Result<()> {
        let wanted = self.acknowledged().len() + commits;
        wait::until(format!("{wanted} commits"), DEADLINE, async || {
            let now = self.acknowledged().len();
            Ok(if now >= wanted { Poll::Ready(()) } else { Poll::Pending(format!("{now} are acknowledged")) })
        })
        .await
    }

    /// Lets each client finish its commit and returns all that were acknowledged. A commit that is not acknowledged
    /// within a second (the server may be gone, or wait for a receiver that is) is given up.
    pub async fn stop(mut self) -> Vec<Commit> {
        self.stop.send_replace(true);
        let finished = async { while self.clients.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(1), finished).await.is_err() {
            self.clients.shutdown().await;
        }
        self.acknowledged()
    }
}

impl Settings {
    /// Bytes of payload in each row.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// What each client waits between its commits.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// What each client sets for its session, such as `synchronous_commit = remote_write`.
    #[must_use]
    pub fn set(mut self, parameter: &str) -> Self {
        self.session = format!("{} SET {parameter};", self.session);
        self
    }

    /// Creates the table `load` where it is missing, and starts. Clients that lose the server connect again until they
    /// are stopped, to the same socket.
    ///
    /// # Errors
    /// The table cannot be created.
    pub async fn start(self, server: &Server) -> Result<Load> {
        // A synchronous standby may not be there yet: creating the table does not wait for it.
        let create = "SET synchronous_commit = local; \
                      CREATE TABLE IF NOT EXISTS load (id bigint PRIMARY KEY, payload text NOT NULL)";
        server.sql(create).await?;
        // Numbers of their own for each load: a row that was lost is not hidden by a later one.
        static LOADS: AtomicI64 = AtomicI64::new(0);
        let first = LOADS.fetch_add(1, Ordering::Relaxed) << 40;
        let (stop, stopped) = watch::channel(false);
        let acknowledged = Arc::<Mutex<Vec<Commit>>>::default();
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let client = Inserter {
                conninfo: server.socket_conninfo() + " application_name=load",
                settings: self.clone(),
                next: first + i64::from(number),
                acknowledged: Arc::clone(&acknowledged),
            };
            let mut stopped = stopped.clone();
            clients.spawn(async move { client.run(&mut stopped).await });
        }
        Ok(Load { acknowledged, stop, clients })
    }
}

/// One client.
struct Inserter {
    conninfo: String,
    settings: Settings,
    /// Its next row: clients count in steps of their number.
    next: i64,
    acknowledged: Arc<Mutex<Vec<Commit>>>,
}

impl Inserter {
    async fn run(mut self, stopped: &mut watch::Receiver<bool>) {
        while !*stopped.borrow() {
            // What goes wrong here (the server is down, or was killed) is a part of scenarios.
            if let Ok(client) = self.connect().await {
                while !*stopped.borrow() && self.insert(&client).await.is_ok() {
                    if !self.settings.pause.is_zero() {
                        let _ = tokio::time::timeout(self.settings.pause, stopped.wait_for(|stop| *stop)).await;
                    }
                }
            }
            let _ = tokio::time::timeout(RECONNECT, stopped.wait_for(|stop| *stop)).await;
        }
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.conninfo, NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&self.settings.session).await?;
        Ok(client)
    }

    async fn insert(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        // A row whose acknowledgement got lost may be there all the same: its number is never used again.
        let id = self.next;
        self.next += i64::from(self.settings.clients);
        let insert = format!("INSERT INTO load VALUES ({id}, repeat('x', {}))", self.settings.payload);
        let start = Instant::now();
        client.batch_execute(&insert).await?;
        let commit = Commit { id, at: Instant::now(), latency: start.elapsed() };
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(commit);
        Ok(())
    }
}

/// The acknowledged commits that `server` does not have.
///
/// # Errors
/// The server's.
pub async fn lost_commits(server: &Server, acknowledged: &[Commit]) -> Result<Vec<i64>> {
    let mut found = BTreeSet::new();
    for row in server.rows("SELECT id FROM load").await? {
        let id = row.into_iter().next().flatten().context("a row without a number")?;
        found.insert(id.parse::<i64>()?);
    }
    Ok(acknowledged.iter().map(|commit| commit.id).filter(|id| !found.contains(id)).collect())
}

/// The latency that `percent` of `commits` did not exceed.
pub fn percentile(commits: &[Commit], percent: usize) -> Option<Duration> {
    let mut latencies: Vec<Duration> = commits.iter().map(|commit| commit.latency).collect();
    latencies.sort_unstable();
    latencies.get(rank(latencies.len(), percent)).copied()
}

/// Where among `count` sorted values the one stands that `percent` of them do not exceed.
pub(crate) fn rank(count: usize, percent: usize) -> usize {
    (count * percent).div_ceil(100).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let commit = |ms| Commit { id: 1, at: Instant::now(), latency: Duration::from_millis(ms) };
        let commits: Vec<Commit> = (1..=200).rev().map(commit).collect();
        let ms = |percent| percentile(&commits, percent).map(|latency| latency.as_millis());
        assert_eq!((ms(0), ms(50), ms(99), ms(100)), (Some(1), Some(100), Some(198), Some(200)));
        assert_eq!(percentile(&[], 50), None);
    }
}
