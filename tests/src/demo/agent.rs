//! wal-agent as the demonstration runs it: with a log file, and in the directory of the demonstration.

use super::NAME;
use crate::process;
use crate::receiver::Launch;
use crate::server::Server;
use crate::wait::{self, DEADLINE, Poll};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;
use tokio::time::interval;

/// The agent's directory of WAL inside the demonstration's.
pub(super) fn wal_dir(dir: &Path) -> PathBuf {
    dir.join("wal")
}

/// The running agent. Dropping it kills it, and returns when it is gone.
#[derive(Debug)]
pub(super) struct Agent {
    /// `None` once it is to be left alone.
    child: Option<Child>,
    log: PathBuf,
}

impl Agent {
    /// Starts the agent in synchronous mode, with a slot, on `server`: it writes into `dir`/wal and logs to `dir`/`log`.
    pub(super) fn start(program: &Path, server: &Server, dir: &Path, log: &str) -> Result<Self> {
        let (wal, log) = (wal_dir(dir), dir.join(log));
        fs::create_dir_all(&wal)?;
        let launch = Launch::program(program).name(NAME).server(server).directory(&wal).slot(NAME).synchronous();
        let mut command = launch.arg("-v").into_command();
        // A group of its own: what the terminal tells this program, it tells the agent itself.
        command.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child: Some(child), log })
    }

    /// Does `work` as long as the agent lives.
    ///
    /// # Errors
    /// Those of `work`; or the agent has ended, with the end of its log.
    pub(super) async fn guard<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            ended = self.ended() => bail!("wal-agent ended by itself ({}):\n{}", ended?, self.log_tail()),
        }
    }

    /// Stops it with SIGTERM and waits until it has ended.
    ///
    /// # Errors
    /// It ends with an error, or not at all.
    pub(super) async fn stop(&mut self) -> Result<()> {
        kill_process(process::pid_of(self.child()?), Signal::TERM).context("cannot signal wal-agent")?;
        let status = wait::until("wal-agent to stop", DEADLINE, async || {
            Ok(self.child()?.try_wait()?.map_or(Poll::Pending("it runs".into()), Poll::Ready))
        });
        let status = status.await?;
        ensure!(status.success(), "wal-agent stopped with an error ({status}):\n{}", self.log_tail());
        Ok(())
    }

    /// Leaves it running and returns its process number.
    pub(super) fn leave_running(mut self) -> u32 {
        self.child.take().map_or(0, |child| child.id())
    }

    async fn ended(&mut self) -> Result<ExitStatus> {
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            if let Some(status) = self.child()?.try_wait()? {
                return Ok(status);
            }
        }
    }

    fn child(&mut self) -> Result<&mut Child> {
        self.child.as_mut().context("wal-agent was left alone")
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let skipped = log.lines().count().saturating_sub(10);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
