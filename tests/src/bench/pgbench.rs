//! `pgbench`: filling its tables, running it, and reading what it says and logs.

use super::stage::Stage;
use crate::process;
use crate::server::Server;
use crate::wait::DEADLINE;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// What one run is.
#[derive(Clone, Debug)]
pub(super) struct Run<'a> {
    /// What the process is called in names of files: two that run at the same time have two names.
    pub(super) name: &'a str,
    /// Sessions.
    pub(super) clients: u32,
    /// `synchronous_commit` of its sessions.
    pub(super) synchronous_commit: &'a str,
    /// How long it writes.
    pub(super) time: Duration,
    /// A script of its own instead of the built-in one (`-N`: an UPDATE, a SELECT, an INSERT).
    pub(super) script: Option<&'a str>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Transactions in a second.
    pub(super) rate: f64,
    /// What each transaction took, in milliseconds.
    pub(super) latencies: Vec<f64>,
}

/// Creates and fills the tables: some 16 MB for each unit of `scale`.
///
/// # Errors
/// pgbench fails, or is not there.
pub(super) async fn fill(stage: &Stage, server: &Server, scale: u32) -> Result<()> {
    let mut command = command(stage, server)?;
    // Room in each page: rows are updated in place, and one round leaves the tables as it found them for the next.
    command.args(["-i", "-q", "-F", "90", "-s", &scale.to_string()]);
    output(command, 5 * DEADLINE).await.map(drop)
}

impl Run<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// pgbench fails, or its commits are not acknowledged any more.
    pub(super) async fn on(&self, stage: &Stage, server: &Server) -> Result<Outcome> {
        let dir = tempfile::Builder::new().prefix(self.name).tempdir_in(stage.dir())?;
        let (clients, seconds) = (self.clients.to_string(), self.time.as_secs().max(1).to_string());
        let mut command = command(stage, server)?;
        command.env("PGOPTIONS", format!("-c synchronous_commit={}", self.synchronous_commit));
        command.args(["-n", "-c", &clients, "-T", &seconds, "--random-seed=1", "-l"]);
        command.arg("--log-prefix").arg(dir.path().join("log"));
        match self.script {
            None => command.arg("-N"),
            Some(script) => {
                let file = dir.path().join("script");
                fs::write(&file, script)?;
                command.arg("-f").arg(file)
            }
        };
        let said = output(command, self.time + DEADLINE).await?;
        let mut latencies = Vec::new();
        for entry in fs::read_dir(dir.path())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("log") {
                latencies.extend(fs::read_to_string(entry.path())?.lines().filter_map(latency));
            }
        }
        ensure!(!latencies.is_empty(), "pgbench committed nothing:\n{said}");
        let rate = said.lines().find_map(rate).with_context(|| format!("pgbench gives no rate:\n{said}"))?;
        Ok(Outcome { rate, latencies })
    }
}

fn command(stage: &Stage, server: &Server) -> Result<Command> {
    let mut command = process::command(&stage.postgres().program("pgbench")?, None);
    command.arg("-h").arg(server.socket_dir());
    command.args(["-p", &server.port().to_string(), "-U", "postgres", "-d", "postgres"]);
    Ok(command.into())
}

/// What it says on stdout.
async fn output(mut command: Command, deadline: Duration) -> Result<String> {
    let program = Path::new(command.as_std().get_program()).display().to_string();
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = timeout(deadline, command.output()).await;
    let output = output.with_context(|| format!("{program} still runs after {deadline:?}"))??;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{program} failed:\n{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// Milliseconds, from `client transaction microseconds script seconds microseconds`.
fn latency(line: &str) -> Option<f64> {
    Some(line.split(' ').nth(2)?.parse::<f64>().ok()? / 1e3)
}

/// From `tps = 1234.5 (without initial connection time)`.
fn rate(line: &str) -> Option<f64> {
    line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_understood() {
        let check = |line, expected| assert_eq!(rate(line), expected, "{line}");
        check("tps = 1234.5 (without initial connection time)", Some(1234.5));
        check("number of transactions actually processed: 7", None);
        check("tps = many", None);
    }

    #[test]
    fn its_log_is_understood() {
        let check = |line, expected| assert_eq!(latency(line), expected, "{line}");
        check("0 199 2241 0 1175850568 995598", Some(2.241));
        check("0 199 skipped 0 1175850568 995598", None);
        check("", None);
    }
}
