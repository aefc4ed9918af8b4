//! Receiving what a slot has kept: each receiver in turn, round by round, from an empty directory to its end.
//!
//! Time is that of the whole process, which ends when all is durable. Before each run the last one's directory is removed
//! and the system is told to sync, so that nobody pays for what another left dirty; each run has a slot of its own.

use super::source::Source;
use super::stage::Stage;
use super::usage::{self, Usage};
use super::{Samples, disk};
use crate::process;
use anyhow::{Context, Result};
use rustix::fs::sync;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use wal_agent::wal::Lsn;

/// The slot of the run under way.
const SLOT: &str = "bench_run";

/// How the receiver is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// TCP.
    Plaintext,
    /// TLS 1.3 on TCP.
    Tls,
}

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// The agent.
    Ours,
    /// `pg_receivewal`.
    Theirs,
    /// One that drops what it receives, and sends the same statuses.
    Discard,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The process's own.
    pub usage: Usage,
    /// What the whole machine did during the run and until all was written back.
    pub machine_cpu: Duration,
}

/// All rounds.
#[derive(Debug)]
pub struct CatchUp {
    /// WAL received in each run.
    pub bytes: u64,
    /// The agent's runs.
    pub ours: Vec<Run>,
    /// `pg_receivewal`'s.
    pub theirs: Vec<Run>,
    /// Those of the receiver that discards; none if the ceilings were not asked for.
    pub discard: Vec<Run>,
    /// How long the disk took for the same bytes; empty if the ceilings were not asked for.
    pub disk: Vec<Duration>,
    /// How long the agent and `pg_receivewal` take to start, receive one message and stop.
    pub start_up: [Duration; 2],
    /// The share of one core that is busy while nothing is asked of the server.
    pub idle: f64,
}

/// What takes its turn in a round.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Receive(Receiver),
    Disk,
}

impl CatchUp {
    /// Runs all rounds over `link`.
    pub(super) async fn measure(stage: &Stage, link: Link) -> Result<Self> {
        let source = stage.source().await?;
        let mut measured = Self {
            bytes: source.bytes(),
            ours: Vec::new(),
            theirs: Vec::new(),
            discard: Vec::new(),
            disk: Vec::new(),
            start_up: [Receiver::Ours, Receiver::Theirs].map(|_| Duration::ZERO),
            idle: idle(stage).await?,
        };
        let ceilings = stage.wants("P1") || link == Link::Tls;
        if ceilings {
            stage.helper()?;
        }
        for (receiver, took) in [Receiver::Ours, Receiver::Theirs].into_iter().zip(&mut measured.start_up) {
            stage.doing(format_args!("catch-up over {link}: start and stop of {receiver}"));
            *took = start_and_stop(stage, source, link, receiver).await?;
        }
        let mut turns = vec![Turn::Receive(Receiver::Ours), Turn::Receive(Receiver::Theirs)];
        if ceilings {
            turns.extend([Turn::Receive(Receiver::Discard), Turn::Disk]);
        }
        for round in 1..=stage.rounds() {
            let doing = |what: &str| {
                stage.doing(format_args!("catch-up over {link}, round {round}/{}: {what}", stage.rounds()));
            };
            for turn in &turns {
                match *turn {
                    Turn::Receive(receiver) => {
                        doing(&receiver.to_string());
                        let run = run(stage, source, link, receiver).await?;
                        match receiver {
                            Receiver::Ours => measured.ours.push(run),
                            Receiver::Theirs => measured.theirs.push(run),
                            Receiver::Discard => measured.discard.push(run),
                        }
                    }
                    Turn::Disk => {
                        doing("the disk alone");
                        let (dir, segments) = (prepare(stage)?, source.segments());
                        let size = source.segment_size();
                        let took = tokio::task::spawn_blocking(move || disk::write(&dir, segments, size));
                        measured.disk.push(took.await??);
                    }
                }
            }
            // Nobody always comes first.
            turns.rotate_left(1);
        }
        stage.empty_dir("received")?;
        Ok(measured)
    }

    /// Megabytes (10⁶) a second of each run.
    pub fn rates(&self, runs: &[Run]) -> Samples {
        Samples::new(runs.iter().map(|run| self.rate(run.usage.wall)))
    }

    /// The same for the disk.
    pub fn disk_rates(&self) -> Samples {
        Samples::new(self.disk.iter().map(|took| self.rate(*took)))
    }

    /// WAL received in gigabytes (10⁹).
    pub fn gigabytes(&self) -> f64 {
        self.bytes as f64 / 1e9
    }

    fn rate(&self, took: Duration) -> f64 {
        self.bytes as f64 / 1e6 / took.as_secs_f64()
    }
}

/// The command that has `receiver` fill `dir` until it is beyond `end`.
///
/// # Errors
/// The program cannot be had.
pub async fn command(stage: &Stage, link: Link, receiver: Receiver, dir: &Path, end: Lsn) -> Result<Command> {
    let source = stage.source().await?;
    let program = match receiver {
        Receiver::Ours => stage.agent().to_owned(),
        Receiver::Theirs => stage.postgres().program("pg_receivewal")?,
        Receiver::Discard => stage.helper()?,
    };
    let mut command = process::command(&program, None);
    let (conninfo, end) = (source.conninfo(link), end.to_string());
    if receiver == Receiver::Discard {
        command.args(["bench-discard", &conninfo, SLOT, &source.start().to_string(), &end]);
    } else {
        command.args(["-d", &conninfo, "-S", SLOT, "--endpos", &end, "--no-loop", "-w", "-D"]).arg(dir);
    }
    Ok(command)
}

/// An empty directory, a fresh slot, and nothing that is still to be written.
///
/// # Errors
/// The system's, or the server's.
pub async fn fresh(stage: &Stage, source: &Source) -> Result<PathBuf> {
    source.renew_slot(SLOT).await?;
    prepare(stage)
}

fn prepare(stage: &Stage) -> Result<PathBuf> {
    let dir = stage.empty_dir("received")?;
    sync();
    Ok(dir)
}

async fn run(stage: &Stage, source: &Source, link: Link, receiver: Receiver) -> Result<Run> {
    let dir = fresh(stage, source).await?;
    let command = command(stage, link, receiver, &dir, source.end_position(source.segments())).await?;
    let before = usage::machine_cpu()?;
    let usage = usage::run(command, &stage.dir().join("receiver.log")).await?;
    // What it left dirty is its work, too.
    sync();
    let machine_cpu = usage::machine_cpu()?.saturating_sub(before);
    if receiver != Receiver::Discard {
        source.check(&dir, source.segments()).with_context(|| format!("{receiver} has not received everything"))?;
    }
    Ok(Run { usage, machine_cpu })
}

async fn start_and_stop(stage: &Stage, source: &Source, link: Link, receiver: Receiver) -> Result<Duration> {
    let dir = fresh(stage, source).await?;
    let command = command(stage, link, receiver, &dir, source.start()).await?;
    Ok(usage::run(command, &stage.dir().join("receiver.log")).await?.wall)
}

async fn idle(stage: &Stage) -> Result<f64> {
    stage.doing("catch-up: listening to the idle machine");
    let (before, start) = (usage::machine_cpu()?, Instant::now());
    // reason: what the machine does in a second of waiting is the subject.
    sleep(Duration::from_secs(1)).await;
    let busy = usage::machine_cpu()?.saturating_sub(before);
    Ok(busy.as_secs_f64() / start.elapsed().as_secs_f64())
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "TCP",
            Self::Tls => "TLS",
        })
    }
}

impl std::fmt::Display for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ours => "wal-agent",
            Self::Theirs => "pg_receivewal",
            Self::Discard => "a receiver that discards",
        })
    }
}
