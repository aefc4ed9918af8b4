//! `wal-agent` or `pg_receivewal` as a process: started with arguments, observed through its stderr, its exit code and
//! the server's pg_stat_replication.

use crate::account::{self, Account};
use crate::agent::{self, Profile};
use crate::postgres::Tools;
use crate::process;
use crate::server::{Replication, Server};
use crate::wait::{self, DEADLINE, Poll};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use wal_agent::wal::Lsn;

/// A receiver that is to be started.
#[derive(Debug)]
pub struct Launch {
    command: std::process::Command,
    /// What it calls itself towards the server; `None` if the scenario leaves it to the program.
    name: Option<String>,
}

/// A receiver that was started. Dropping it kills it.
#[derive(Debug)]
pub struct Receiver {
    child: Child,
    name: Option<String>,
    stdout: Lines,
    stderr: Lines,
    quiet: bool,
}

/// How a program ended, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

/// Lines that a task collects as they come.
#[derive(Debug)]
struct Lines {
    collected: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Launch {
    /// The agent of this checkout.
    ///
    /// # Errors
    /// It does not compile.
    pub fn wal_agent() -> Result<Self> {
        Ok(Self::program(&agent::binary(Profile::Dev)?))
    }

    /// PostgreSQL's own receiver for servers of `major`: of that major, or the nearest newer.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn pg_receivewal(major: u32) -> Result<Self> {
        Ok(Self::program(&Tools::receivewal_for(major)?))
    }

    /// Any program with the same command line. Its environment is free of PG* variables but PGAPPNAME, which is set to
    /// a name of its own: [`Receiver::name`].
    pub fn program(path: &Path) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(1);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let stem = path.file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
        Self { command: process::command(path, None), name: Some(format!("{stem}_{number}")) }
    }

    /// Lets the program choose its own application name.
    #[must_use]
    pub fn unnamed(mut self) -> Self {
        self.name = None;
        self
    }

    /// The application name, instead of one of its own.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// `-h`, `-p`, `-U`: the server's unix socket, as superuser.
    #[must_use]
    pub fn server(self, server: &Server) -> Self {
        let port = server.port().to_string();
        self.arg("-h").arg(server.socket_dir()).args(["-p", &port, "-U", "postgres", "-w"])
    }

    /// `-d`: a connection string.
    #[must_use]
    pub fn dbname(self, conninfo: &str) -> Self {
        self.args(["-d", conninfo])
    }

    /// `-D`: where to write.
    #[must_use]
    pub fn directory(self, dir: &Path) -> Self {
        self.arg("-D").arg(dir)
    }

    /// `-S`: the slot to use.
    #[must_use]
    pub fn slot(self, name: &str) -> Self {
        self.args(["-S", name])
    }

    /// `--synchronous`
    #[must_use]
    pub fn synchronous(self) -> Self {
        self.arg("--synchronous")
    }

    /// `-s`: after how many seconds at the latest the server hears how far it is. Receivers that are not synchronous
    /// need 1 here if the scenario waits for [`Receiver::wait_received`].
    #[must_use]
    pub fn status_interval(self, seconds: u32) -> Self {
        self.arg("-s").arg(seconds.to_string())
    }

    /// One argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Several arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it as the account that servers run as, for which root's privileges do not count. The program must lie where
    /// that account can reach it.
    ///
    /// # Errors
    /// We are root and there is no such account.
    pub fn unprivileged(mut self) -> Result<Self> {
        if let Some(Account { uid, gid }) = account::for_servers()? {
            self.command.uid(uid).gid(gid);
        }
        Ok(self)
    }

    /// The bare command, for whoever wants to run it in another way.
    pub fn into_command(mut self) -> std::process::Command {
        if let Some(name) = &self.name {
            self.command.env("PGAPPNAME", name);
        }
        self.command
    }

    /// Starts it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(self) -> Result<Receiver> {
        let name = self.name.clone();
        let mut command = Command::from(self.into_command());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        let stdout = Lines::collect(child.stdout.take().context("no stdout")?);
        let stderr = Lines::collect(child.stderr.take().context("no stderr")?);
        Ok(Receiver { child, name, stdout, stderr, quiet: false })
    }

    /// Starts it and waits until it ends by itself.
    ///
    /// # Errors
    /// It cannot be started, or runs longer than [`DEADLINE`].
    pub async fn run(self) -> Result<Ended> {
        self.spawn()?.wait_exit(DEADLINE).await
    }
}

impl Receiver {
    /// Its application name, as the server shows it.
    ///
    /// # Panics
    /// It was started [`Launch::unnamed`].
    pub fn name(&self) -> &str {
        self.name.as_deref().expect("a receiver with a name of its own")
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        kill_process(pid.context("it has ended")?, signal).context("cannot signal it")
    }

    /// The most memory that it has had so far, in bytes (Linux); `None` once it has ended.
    pub fn peak_memory(&self) -> Option<u64> {
        self.memory("VmHWM:")
    }

    /// The memory that it has now, in bytes (Linux); `None` once it has ended.
    pub fn resident_memory(&self) -> Option<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The system's.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it with SIGINT and waits until it has ended.
    ///
    /// # Errors
    /// It had ended before, or takes longer than [`DEADLINE`].
    pub async fn stop(self) -> Result<Ended> {
        self.signal(Signal::INT)?;
        self.wait_exit(DEADLINE).await
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// It had ended before.
    pub async fn kill(self) -> Result<Ended> {
        self.signal(Signal::KILL)?;
        self.wait_exit(DEADLINE).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It runs longer than `deadline`.
    pub async fn wait_exit(mut self, deadline: Duration) -> Result<Ended> {
        let status = tokio::time::timeout(deadline, self.child.wait()).await;
        let status =
            status.with_context(|| format!("it still runs after {deadline:?}; stderr:\n{}", self.stderr()))??;
        self.stdout.finish().await?;
        self.stderr.finish().await?;
        Ok(Ended { code: status.code(), stdout: self.stdout.text(0), stderr: self.stderr() })
    }

    /// All that it has said on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text(0)
    }

    /// How many lines it has said on stderr so far: a place to search from.
    pub fn mark(&self) -> usize {
        self.stderr.len()
    }

    /// Waits for a line on stderr that contains `text`, said already or to come, and returns it.
    ///
    /// # Errors
    /// None comes within [`DEADLINE`], or it ends before.
    pub async fn wait_for_line(&mut self, text: &str) -> Result<String> {
        self.wait_for_line_after(0, text).await
    }

    /// [`Receiver::wait_for_line`] among the lines after `mark`.
    ///
    /// # Errors
    /// As [`Receiver::wait_for_line`].
    pub async fn wait_for_line_after(&mut self, mark: usize, text: &str) -> Result<String> {
        wait::until(format!("a line with {text:?}"), DEADLINE, async || {
            // Asked for before the lines are looked at: what it said last is not missed.
            let ended = self.child.try_wait()?;
            if ended.is_some() {
                self.stderr.finish().await?;
            }
            match (self.stderr.find(mark, text), ended) {
                (Some(line), _) => Ok(Poll::Ready(line)),
                (None, Some(status)) => bail!("it ended ({status}) without it; stderr:\n{}", self.stderr()),
                (None, None) => Ok(Poll::Pending(format!("stderr:\n{}", self.stderr.text(mark)))),
            }
        })
        .await
    }

    /// Waits until the server shows it streaming and caught up.
    ///
    /// # Errors
    /// It does not come that far within [`DEADLINE`], or ends.
    pub async fn wait_streaming(&mut self, server: &Server) -> Result<Replication> {
        self.wait_for(server, "to stream", |row| row.state == "streaming").await
    }

    /// Waits until it has told the server that it received everything up to `lsn` (`write_lsn`).
    ///
    /// # Errors
    /// As [`Receiver::wait_streaming`].
    pub async fn wait_received(&mut self, server: &Server, lsn: Lsn) -> Result<Replication> {
        self.wait_for(server, &format!("to receive {lsn}"), |row| row.write >= lsn).await
    }

    /// Waits until it has told the server that everything up to `lsn` is durable (`flush_lsn`).
    ///
    /// # Errors
    /// As [`Receiver::wait_streaming`].
    pub async fn wait_flushed(&mut self, server: &Server, lsn: Lsn) -> Result<Replication> {
        self.wait_for(server, &format!("to flush {lsn}"), |row| row.flush >= lsn).await
    }

    /// Waits until its row of pg_stat_replication fulfils `condition`.
    ///
    /// # Errors
    /// As [`Receiver::wait_streaming`].
    pub async fn wait_for(
        &mut self,
        server: &Server,
        what: &str,
        condition: impl Fn(&Replication) -> bool,
    ) -> Result<Replication> {
        let name = self.name().to_owned();
        wait::until(format!("{name} {what}"), DEADLINE, async || {
            if let Some(status) = self.child.try_wait()? {
                self.stderr.finish().await?;
                bail!("{name} ended ({status}) instead {what}; stderr:\n{}", self.stderr());
            }
            Ok(match server.replication(&name).await? {
                Some(row) if condition(&row) => Poll::Ready(row),
                row => Poll::Pending(format!("{row:?}; stderr:\n{}", self.stderr())),
            })
        })
        .await
    }

    /// Does not print its stderr when it is dropped: for programs; a test shows it only if it fails.
    pub fn quiet(&mut self) {
        self.quiet = true;
    }
}

impl Drop for Receiver {
    #[expect(clippy::print_stderr, reason = "libtest shows it with a failed test, and only then")]
    fn drop(&mut self) {
        if !self.quiet {
            eprintln!("--- stderr of {}:\n{}", self.name.as_deref().unwrap_or("a receiver"), self.stderr());
        }
    }
}

impl Lines {
    fn collect(stream: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let collected = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&collected);
        let reader = tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            // An error means what the end means: nothing more can be read.
            while let Ok(1..) = stream.read_until(b'\n', &mut line).await {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                line.clear();
            }
        });
        Self { collected, reader }
    }

    /// Waits until the stream has ended; called only for a process that has.
    async fn finish(&mut self) -> Result<()> {
        if !self.reader.is_finished() {
            (&mut self.reader).await.context("the reader of its lines failed")?;
        }
        Ok(())
    }

    fn with<T>(&self, f: impl FnOnce(&[String]) -> T) -> T {
        f(&self.collected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn len(&self) -> usize {
        self.with(<[String]>::len)
    }

    fn text(&self, from: usize) -> String {
        self.with(|lines| lines.get(from..).unwrap_or_default().join("\n"))
    }

    fn find(&self, from: usize, text: &str) -> Option<String> {
        self.with(|lines| lines.iter().skip(from).find(|line| line.contains(text)).cloned())
    }
}
