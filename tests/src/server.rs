//! A throwaway PostgreSQL server: a data directory of its own below the system's temporary directory, a port that it
//! keeps, a log that a failed test shows. Dropping it kills it and removes everything.
//!
//! ```text
//! <temp>/walr-XXXXXX/data/        the data directory
//! <temp>/walr-XXXXXX/tls/         certificates, if it has any
//! <temp>/walr-XXXXXX/.s.PGSQL.*   the unix socket, where the superuser `postgres` is always trusted
//! <temp>/walr-XXXXXX/server.log
//! ```

mod backup;
mod builder;
mod home;
mod query;

pub use backup::{Backup, BackupWal};
pub use builder::Builder;
pub use home::sweep;
pub(crate) use home::{Home, sweep_below};
pub use query::Replication;

use crate::account::Account;
use crate::port::Port;
use crate::postgres::Build;
use crate::wait::{self, DEADLINE, Poll};
use crate::{certs, process};
use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Signal, kill_process};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use wal_agent::wal::SegmentSize;

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Waits for all clients (SIGTERM).
    Smart,
    /// Disconnects clients, writes a shutdown checkpoint (SIGINT).
    Fast,
    /// As if it crashed, but in good order (SIGQUIT).
    Immediate,
}

/// A server, running or not.
#[derive(Debug)]
pub struct Server {
    home: Home,
    build: Build,
    account: Option<Account>,
    port: Port,
    segment_size: SegmentSize,
    /// What belongs to this instance and not to its data directory: given on the command line.
    instance: Vec<(String, String)>,
    postmaster: Option<Child>,
    quiet: bool,
}

impl Server {
    /// A new cluster of `major`.
    pub fn builder(major: u32) -> Builder {
        Builder::new(Build::of(major))
    }

    /// A new cluster of the given build.
    pub fn builder_with(build: Build) -> Builder {
        Builder::new(Ok(build))
    }

    /// A new cluster of `major` with all defaults, started.
    ///
    /// # Errors
    /// It cannot be created or started.
    pub async fn start_new(major: u32) -> Result<Self> {
        Self::builder(major).start().await
    }

    /// Starts the server, on the same port and data directory as before, and waits until it accepts connections.
    ///
    /// # Errors
    /// It is running, or does not come up: then the error shows the end of its log.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready(DEADLINE).await
    }

    /// Starts the server without waiting.
    ///
    /// # Errors
    /// It is running, or cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.postmaster.is_none(), "the server is running");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = process::command(&self.build.program("postgres")?, self.account);
        command.arg("-D").arg(self.data_dir());
        for (name, value) in &self.instance {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // The pipe tells when the last of the server's processes has ended: nothing is written to it.
        command.stdout(Stdio::piped()).stderr(log);
        self.postmaster = Some(command.spawn().context("cannot start postgres")?);
        Ok(())
    }

    /// Waits until the server, which was spawned, accepts connections.
    ///
    /// # Errors
    /// It ends, or takes longer than `deadline`.
    pub async fn wait_ready(&mut self, deadline: Duration) -> Result<()> {
        let what = format!("PostgreSQL {} to start", self.build.version);
        let ready = wait::until(what, deadline, async || {
            if let Some(status) = self.postmaster.as_mut().context("the server was not started")?.try_wait()? {
                self.postmaster = None;
                return Err(anyhow!("PostgreSQL {} ended at its start ({status})", self.build.version));
            }
            let state = self.state();
            // "standby": a server in recovery that accepts no connections, or none yet.
            Ok(if state.as_deref() == Some("ready") { Poll::Ready(()) } else { Poll::Pending(format!("{state:?}")) })
        });
        let ready = ready.await;
        ready.with_context(|| format!("its log ends with:\n{}", self.log_tail(30)))
    }

    /// What the last line of postmaster.pid says, if it was written by our process.
    fn state(&self) -> Option<String> {
        let child = self.postmaster.as_ref()?;
        let text = fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        (lines.next()? == child.id().to_string()).then_some(())?;
        Some(lines.nth(6)?.trim().to_owned())
    }

    /// Tells the server to stop and waits until it has.
    ///
    /// # Errors
    /// It is not running, or still is after [`DEADLINE`].
    pub async fn stop(&mut self, stop: Stop) -> Result<()> {
        self.begin_stop(stop)?;
        self.wait_stopped(DEADLINE).await
    }

    /// Tells the server to stop, without waiting.
    ///
    /// # Errors
    /// It is not running.
    pub fn begin_stop(&self, stop: Stop) -> Result<()> {
        let signal = match stop {
            Stop::Smart => Signal::TERM,
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        self.signal(signal)
    }

    /// Sends a signal to the postmaster: SIGHUP to reload, SIGSTOP and SIGCONT to freeze it alone.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.postmaster.as_ref().context("the server is not running")?;
        kill_process(process::pid_of(child), signal).context("cannot signal the postmaster")
    }

    /// Waits until the server has ended, however that came about.
    ///
    /// # Errors
    /// It was not running, or still is after `deadline`.
    pub async fn wait_stopped(&mut self, deadline: Duration) -> Result<()> {
        let ended = wait::until("the server to stop", deadline, async || {
            let status = self.postmaster.as_mut().context("the server is not running")?.try_wait()?;
            Ok(status.map_or(Poll::Pending("it runs".into()), Poll::Ready))
        });
        ended.await.with_context(|| format!("its log ends with:\n{}", self.log_tail(30)))?;
        self.postmaster = None;
        Ok(())
    }

    /// Ends all of the server's processes with SIGKILL; returns when they are gone.
    pub fn kill(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            process::kill_tree(&mut postmaster);
        }
    }

    /// [`Server::kill`], and then its data directory is destroyed: the disaster.
    ///
    /// # Errors
    /// The directory cannot be removed.
    pub fn destroy(&mut self) -> Result<()> {
        self.kill();
        fs::remove_dir_all(self.data_dir()).context("cannot remove the data directory")
    }

    /// Stops fast and starts again.
    ///
    /// # Errors
    /// As [`Server::stop`] and [`Server::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.stop(Stop::Fast).await?;
        self.start().await
    }

    /// Makes a standby a primary on a new timeline and waits until it is.
    ///
    /// # Errors
    /// It is none, or is not promoted in time.
    pub async fn promote(&self) -> Result<()> {
        self.sql("SELECT pg_promote(false)").await?;
        self.wait_for("NOT pg_is_in_recovery()").await
    }

    /// Puts another certificate and key in place and makes the server take them.
    ///
    /// # Errors
    /// They cannot be written, or the server is not running.
    pub fn renew_tls(&self, pair: &certs::Pair) -> Result<()> {
        builder::write_tls(&self.tls_dir(), pair, self.account)?;
        self.signal(Signal::HUP)
    }

    /// Leaves the server running and its directory in place when this process ends, and says where they are.
    pub fn leave_running(mut self) -> PathBuf {
        self.postmaster = None;
        self.quiet = true;
        self.home.keep();
        self.home.path().to_owned()
    }

    /// Whether the postmaster lives.
    pub fn is_running(&mut self) -> bool {
        self.postmaster.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Which PostgreSQL this is.
    pub fn build(&self) -> &Build {
        &self.build
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The server's own WAL.
    pub fn wal_dir(&self) -> PathBuf {
        self.data_dir().join("pg_wal")
    }

    /// The directory of the unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.home.path()
    }

    /// The TCP port, which is also the number of the unix socket.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The cluster's segment size.
    pub fn segment_size(&self) -> SegmentSize {
        self.segment_size
    }

    /// A connection string for the superuser over the unix socket.
    pub fn socket_conninfo(&self) -> String {
        format!("host={} port={} user=postgres", self.socket_dir().display(), self.port())
    }

    /// A connection string for the superuser over TCP to `host`.
    pub fn tcp_conninfo(&self, host: &str) -> String {
        format!("host={host} port={} user=postgres", self.port())
    }

    /// All that the server has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(lines);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("server.log")
    }

    fn tls_dir(&self) -> PathBuf {
        self.home.path().join("tls")
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "libtest shows it with a failed test, and only then")]
    fn drop(&mut self) {
        if !self.quiet {
            eprintln!("--- log of PostgreSQL {}, port {}:\n{}", self.build.version, self.port(), self.log_tail(60));
        }
        self.kill();
    }
}
