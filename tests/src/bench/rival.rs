//! The two that are compared, and what a figure does with both of them alike: a slot, a directory, a process.

use super::stage::Stage;
use super::{Goal, Part, Samples};
use crate::receiver::{Launch, Receiver};
use crate::server::{Builder, Server};
use crate::wait::{self, DEADLINE, Poll};
use anyhow::{Context, Result};
use std::fmt::{self, Display};
use std::fs;
use std::path::PathBuf;

/// A contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rival {
    /// The agent as it is shipped.
    Ours,
    /// `pg_receivewal`.
    Theirs,
}

impl Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "wal-agent",
            Self::Theirs => "pg_receivewal",
        })
    }
}

/// One value of each in each round.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// A contestant with its slot, in a directory of its own.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) receiver: Receiver,
    slot: &'static str,
    dir: PathBuf,
}

impl Rival {
    /// Both, in an order that changes from round to round.
    pub(super) fn both(round: u32) -> [Self; 2] {
        if round.is_multiple_of(2) { [Self::Ours, Self::Theirs] } else { [Self::Theirs, Self::Ours] }
    }

    /// Its slot, and what it calls itself where both run at the same time.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }

    /// Its program, without arguments, and with its own application name.
    ///
    /// # Errors
    /// There is no such program.
    pub(super) fn launch(self, stage: &Stage) -> Result<Launch> {
        Ok(Launch::program(&self.program(stage)?).unnamed())
    }

    /// Its program.
    ///
    /// # Errors
    /// There is no such program.
    pub(super) fn program(self, stage: &Stage) -> Result<PathBuf> {
        match self {
            Self::Ours => Ok(stage.agent().to_owned()),
            Self::Theirs => stage.postgres().program("pg_receivewal"),
        }
    }

    /// Starts it as `launch` says, with a slot and an empty directory of its own in addition, and waits until it streams
    /// and has caught up.
    ///
    /// # Errors
    /// It does not.
    pub(super) async fn start(self, stage: &Stage, server: &Server, launch: Launch) -> Result<Running> {
        let (slot, dir) = (self.name(), stage.empty_dir(self.name())?);
        server.create_slot(slot, true).await?;
        let running = Running::spawn(self, launch, dir)?;
        wait::until(format!("{slot} to stream"), DEADLINE, async || {
            let rows = server.replications().await?;
            let streams = rows.iter().any(|row| row.state == "streaming");
            let state = || format!("{rows:?}; stderr:\n{}", running.receiver.stderr());
            Ok(if streams { Poll::Ready(()) } else { Poll::Pending(state()) })
        })
        .await?;
        Ok(running)
    }
}

impl Running {
    /// Starts it on its slot and in `dir`, and does not wait.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn spawn(rival: Rival, launch: Launch, dir: PathBuf) -> Result<Self> {
        let slot = rival.name();
        let mut receiver = launch.slot(slot).directory(&dir).spawn()?;
        receiver.quiet();
        Ok(Self { receiver, slot, dir })
    }

    /// Kills it, and removes its slot and what it wrote.
    ///
    /// # Errors
    /// It had ended before; or the server's.
    pub(super) async fn end(self, server: &Server) -> Result<()> {
        let Self { receiver, slot, dir } = self;
        let said = receiver.stderr();
        receiver.kill().await.with_context(|| format!("{slot} had ended by itself:\n{said}"))?;
        server.wait_for(&format!("NOT (SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}')")).await?;
        server.sql(&format!("SELECT pg_drop_replication_slot('{slot}')")).await?;
        fs::remove_dir_all(dir).context("cannot remove what it received")
    }
}

impl Pair {
    /// Adds a round's value.
    pub(super) fn add(&mut self, rival: Rival, value: f64) {
        match rival {
            Rival::Ours => self.ours.push(value),
            Rival::Theirs => self.theirs.push(value),
        }
    }

    /// What was measured as a part of a figure.
    pub(super) fn part(self, name: impl Into<String>, unit: &'static str, goal: Goal) -> Part {
        Part::new(name, unit, Samples::new(self.ours), goal).theirs(Samples::new(self.theirs))
    }
}

/// How many rounds: in an impression one, or most of it would be waiting for pg_receivewal.
pub(super) fn rounds(stage: &Stage) -> u32 {
    if stage.quick() { 1 } else { stage.rounds() }
}

/// Says what begins now in a round, which is counted from 0.
pub(super) fn doing(stage: &Stage, figure: &str, round: u32, what: impl Display) {
    stage.doing(format_args!("{figure}, round {}/{}: {what}", round + 1, rounds(stage)));
}

/// A server whose tables are in its memory, and which has WAL segments to use again after a checkpoint.
pub(super) fn server(stage: &Stage) -> Builder {
    stage.server().config("shared_buffers", "512MB").config("min_wal_size", "4GB")
}
