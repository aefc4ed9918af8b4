//! One run of a program, measured from its start to its end: how long, at what cost, how much written.
//!
//! A process that has ended keeps its accounts in /proc until it is waited for: they are read then, and are complete.

use crate::process;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use tokio::time::Instant;

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// From the start of the process to its end.
    pub wall: Duration,
    /// Its own CPU time, user and system, in steps of a clock tick.
    pub cpu: Duration,
    /// `write_bytes` of its `/proc/PID/io`: what it made dirty, which is what goes to the disk. Less what was truncated
    /// before it went there.
    pub written: u64,
}

/// A child that does not outlive what waits for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless what waited for it was given up.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` to its end, with its output in the file `log`.
///
/// # Errors
/// It cannot be started or fails: then the error holds the end of its output.
pub async fn run(mut command: Command, log: &Path) -> Result<Usage> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = File::create(log)?;
    command.stdout(output.try_clone()?).stderr(output);
    let start = Instant::now();
    let mut running = Running(command.spawn().with_context(|| format!("cannot run {program}"))?);
    let pid = process::pid_of(&running.0);
    let ended = tokio::task::spawn_blocking(move || {
        let ended = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        ended.map(|_| Instant::now())
    });
    let end = ended.await?.with_context(|| format!("cannot wait for {program}"))?;
    let usage = accounts(pid, end - start);
    let status = running.0.wait()?;
    if !status.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        let skipped = text.lines().count().saturating_sub(10);
        bail!("{program} failed ({status}):\n{}", text.lines().skip(skipped).collect::<Vec<_>>().join("\n"));
    }
    usage
}

fn accounts(pid: Pid, wall: Duration) -> Result<Usage> {
    let read = |name: &str| {
        let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    };
    let cpu = cpu_of_stat(&read("stat")?).context("/proc/PID/stat is not understood")?;
    let written = written_of_io(&read("io")?).context("/proc/PID/io is not understood")?;
    Ok(Usage { wall, cpu: ticks(cpu), written })
}

/// The CPU time that this machine has spent since it booted on anything at all.
///
/// # Errors
/// The system does not say it.
pub fn machine_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    Ok(ticks(busy_of_stat(&stat).context("/proc/stat is not understood")?))
}

fn ticks(number: u64) -> Duration {
    Duration::from_secs(number) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100)
}

/// utime and stime, from `pid (name) state …`: the 14th and 15th field. A name may contain anything.
fn cpu_of_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn written_of_io(io: &str) -> Option<u64> {
    let value = |name| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(value("write_bytes:")?.saturating_sub(value("cancelled_write_bytes:")?))
}

/// `cpu user nice system idle iowait irq softirq …`: all but waiting, and but what other guests of the host took.
fn busy_of_stat(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields = line.split_whitespace().map(|field| field.parse().ok()).collect::<Option<Vec<u64>>>()?;
    match fields.as_slice() {
        [user, nice, system, _idle, _iowait, irq, softirq, ..] => Some(user + nice + system + irq + softirq),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_as_the_kernel_writes_them() {
        let stat = "12 (a ) R 7) Z 1 12 12 0 -1 4227084 1 2 3 4 50 25 8 9 20 0 1 0 100 0 0";
        assert_eq!(cpu_of_stat(stat), Some(75));
        let io = "rchar: 1\nwchar: 2\nsyscr: 3\nread_bytes: 4\nwrite_bytes: 500\ncancelled_write_bytes: 20\n";
        assert_eq!(written_of_io(io), Some(480));
        let stat = "cpu  10 1 5 1000 200 2 3 77 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_of_stat(stat), Some(21));
        assert_eq!((cpu_of_stat("1"), written_of_io(""), busy_of_stat("cpu  1 2")), (None, None, None));
    }

    #[tokio::test]
    async fn a_run_is_accounted_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        let usage = run(command, &log).await.unwrap();
        assert!(usage.cpu > Duration::ZERO && usage.wall > Duration::ZERO, "{usage:?}");

        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo out of luck >&2; exit 3"]);
        let error = run(command, &log).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("out of luck"), "{error}");
    }
}
