//! PostgreSQL judges what was received: pg_waldump reads all of it, and a server recovers from it up to the last
//! acknowledged commit, whoever was killed when.
//!
//! Each disaster is drawn from a seed, which a failure tells. `WAL_REPLICA_CYCLES` says how many there are for each major,
//! `WAL_REPLICA_SEED` which is the first one's seed.

use crate::common::{names, only_partial};
use anyhow::{Context, Result, ensure};
use harness::compare;
use harness::load::{Load, lost_commits};
use harness::postgres::Tools;
use harness::receiver::{Launch, Receiver};
use harness::server::{Backup, BackupWal, Server, Stop};
use harness::wait::DEADLINE;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use wal_agent::wal::{Lsn, SegmentFile};

/// What the agent calls itself, whichever of them it is.
const STANDBY: &str = "replica";

async fn pg_waldump_reads_all_that_was_written(major: u32) -> Result<()> {
    let mut server = Server::builder(major).wal_segsize(1).start().await?;
    let dir = tempfile::tempdir()?;
    let mut agent = agent(&server, dir.path())?;
    agent.wait_streaming(&server).await?;
    let load = Load::of(2).payload(1500).start(&server).await?;
    load.wait_more(1000).await?;
    let switched = server.switch_wal().await?;
    load.wait_more(100).await?;

    // Up to what it has acknowledged, also when it was killed in the midst of it.
    let flushed = agent.wait_flushed(&server, switched).await?.flush;
    agent.kill().await?;
    let dump = waldump(major, dir.path(), Some(flushed))?;
    ensure!(dump.code == Some(0), "it does not reach {flushed}: {}", dump.stderr);

    // Up to the very last record, which is the one that ends the server.
    let mut agent = self::agent(&server, dir.path())?;
    agent.wait_streaming(&server).await?;
    load.wait_more(100).await?;
    load.stop().await;
    server.stop(Stop::Fast).await?;
    agent.stop().await?;
    let equal = compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    ensure!(equal.segments >= 2, "{equal:?}");
    let dump = waldump(major, dir.path(), None)?;
    let last = dump.stdout.lines().last().unwrap_or_default();
    ensure!(last.contains("CHECKPOINT_SHUTDOWN"), "the last record is {last:?}: {}", dump.stderr);
    Ok(())
}

on_majors! { pg_waldump_reads_all_that_was_written: pg15 15 pg16 16 pg17 17 pg18 18 }

async fn no_acknowledged_commit_is_lost(major: u32) -> Result<()> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().context(name)).transpose();
    // 20 in all: the oldest and the newest major get one more.
    let cycles = number("WAL_REPLICA_CYCLES")?.unwrap_or(if matches!(major, 13 | 18) { 4 } else { 3 });
    let first = number("WAL_REPLICA_SEED")?.unwrap_or_else(|| RandomState::new().hash_one(major) >> 32);
    for seed in first..first + cycles {
        let plan = Plan::draw(seed);
        disaster(major, &plan).await.with_context(|| {
            format!("PostgreSQL {major}, seed {seed} (again: WAL_REPLICA_SEED={seed} WAL_REPLICA_CYCLES=1): {plan:?}")
        })?;
    }
    Ok(())
}

on_each_major! { no_acknowledged_commit_is_lost }

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Agent,
    Server,
    Both,
}

/// A disaster, and what comes before it.
#[derive(Debug)]
struct Plan {
    segment_megabytes: u64,
    clients: u32,
    payload: usize,
    /// Blows that are survived in place, with the commits before each and whether a segment is switched.
    blows: Vec<(usize, bool, Victim)>,
    /// The last one: the data directory is lost with it.
    disaster: (usize, bool, Victim),
}

impl Plan {
    fn draw(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let blow = |dice: &mut Dice| {
            let victim = dice.pick(&[Victim::Agent, Victim::Server, Victim::Both]);
            (dice.pick(&[1, 30, 150]), dice.pick(&[false, true]), victim)
        };
        Self {
            segment_megabytes: dice.pick(&[1, 1, 16]),
            clients: dice.pick(&[1, 3, 6]),
            payload: dice.pick(&[10, 1000, 12_000]),
            blows: (0..dice.pick(&[0, 1, 2])).map(|_| blow(&mut dice)).collect(),
            disaster: blow(&mut dice),
        }
    }
}

/// splitmix64: the same seed, the same throws.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % end
    }
}

async fn disaster(major: u32, plan: &Plan) -> Result<()> {
    let Stage { mut server, mut agent, dir, backup } = Stage::set(major, plan.segment_megabytes, agent).await?;
    server.set("synchronous_standby_names", STANDBY).await?;
    let load = Load::of(plan.clients).payload(plan.payload).start(&server).await?;
    for &(commits, switches, victim) in &plan.blows {
        load.wait_more(commits).await?;
        if switches {
            server.switch_wal().await?;
        }
        if victim != Victim::Agent {
            server.kill();
        }
        if victim != Victim::Server {
            agent.kill().await?;
            agent = self::agent(&server, dir.path())?;
        }
        if victim != Victim::Agent {
            server.start().await?;
        }
    }

    let (commits, switches, victim) = plan.disaster;
    load.wait_more(commits).await?;
    if switches {
        server.switch_wal().await?;
    }
    if victim != Victim::Server {
        agent.signal(Signal::KILL)?;
        agent.wait_exit(DEADLINE).await?;
        server.kill();
    } else {
        server.kill();
        agent.stop().await?;
    }
    let acknowledged = load.stop().await;
    compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    server.destroy()?;

    let recovered = Server::recover_from(backup, dir.path()).await?;
    let lost = lost_commits(&recovered, &acknowledged).await?;
    ensure!(lost.is_empty(), "of {} acknowledged commits {} are lost: {lost:?}", acknowledged.len(), lost.len());
    Ok(())
}

/// Without `--synchronous`, what the slot no longer keeps, and what was reported as flushed, is there all the same.
async fn a_slots_position_is_kept_without_synchronous(major: u32) -> Result<()> {
    let launch = |server: &Server, dir: &Path| -> Result<Receiver> {
        Launch::wal_agent()?.server(server).directory(dir).slot("replica").name(STANDBY).status_interval(1).spawn()
    };
    let Stage { mut server, agent, dir, backup } = Stage::set(major, 1, launch).await?;
    let load = Load::of(2).payload(1000).start(&server).await?;
    server.sql("CREATE TABLE noted (id int)").await?;
    let begin = server.current_lsn().await?;

    // Each row with a position behind its commit, until the slot has left a segment and some rows behind.
    let mut noted: Vec<(u32, Lsn)> = Vec::new();
    let mut safe = Lsn::INVALID;
    while safe.bytes_since(begin) < 1 << 20 || noted.iter().filter(|(_, behind)| *behind <= safe).count() < 20 {
        let id = noted.len() as u32;
        server.sql(&format!("INSERT INTO noted VALUES ({id})")).await?;
        noted.push((id, server.current_lsn().await?));
        let restart = server.lsn("SELECT coalesce(restart_lsn, '0/0') FROM pg_replication_slots").await?;
        let flush = server.replication(STANDBY).await?.map_or(Lsn::INVALID, |row| row.flush);
        safe = safe.max(restart).max(flush);
    }
    agent.signal(Signal::KILL)?;
    agent.wait_exit(DEADLINE).await?;
    load.stop().await;
    server.destroy()?;

    noted.retain(|(_, behind)| *behind <= safe);
    let recovered = Server::recover_from(backup, dir.path()).await?;
    let found: BTreeSet<String> =
        recovered.rows("SELECT id FROM noted").await?.into_iter().flatten().flatten().collect();
    let lost: Vec<_> = noted.iter().filter(|(id, _)| !found.contains(&id.to_string())).collect();
    ensure!(lost.is_empty(), "behind {safe} are missing: {lost:?}");
    Ok(())
}

on_each_major! { a_slots_position_is_kept_without_synchronous }

/// The judge of the disasters can say no: without the segment that was being received, commits are lost.
#[tokio::test]
async fn what_is_taken_away_is_missed() -> Result<()> {
    let Stage { mut server, agent, dir, backup } = Stage::set(17, 1, agent).await?;
    server.set("synchronous_standby_names", STANDBY).await?;
    let load = Load::of(2).start(&server).await?;
    load.wait_more(10).await?;
    server.switch_wal().await?;
    let before = load.acknowledged().len();
    load.wait_more(10).await?;
    server.destroy()?;
    agent.stop().await?;
    let acknowledged = load.stop().await;
    fs::remove_file(dir.path().join(only_partial(dir.path())?))?;
    let recovered = Server::recover_from(backup, dir.path()).await?;
    let lost = lost_commits(&recovered, &acknowledged).await?;
    ensure!(lost.len() >= 10 && lost.len() <= acknowledged.len() - before + 2, "{} lost", lost.len());
    Ok(())
}

/// A server, an agent that streams from it, and a backup that needs what the agent has received.
struct Stage {
    server: Server,
    agent: Receiver,
    dir: TempDir,
    backup: Backup,
}

impl Stage {
    async fn set(
        major: u32,
        segment_megabytes: u64,
        launch: impl FnOnce(&Server, &Path) -> Result<Receiver>,
    ) -> Result<Self> {
        let server = Server::builder(major).wal_segsize(segment_megabytes).start().await?;
        let dir = tempfile::tempdir()?;
        let mut agent = launch(&server, dir.path())?;
        agent.wait_streaming(&server).await?;
        let backup = server.base_backup(BackupWal::None)?;
        Ok(Self { server, agent, dir, backup })
    }
}

/// The agent as `STANDBY`, synchronous, with a slot.
fn agent(server: &Server, dir: &Path) -> Result<Receiver> {
    Launch::wal_agent()?.server(server).directory(dir).slot("replica").name(STANDBY).synchronous().arg("-v").spawn()
}

/// What pg_waldump says about all segments of a receiver's directory, the `.partial` too, up to `end` or the last record.
pub(crate) fn waldump(major: u32, dir: &Path, end: Option<Lsn>) -> Result<harness::receiver::Ended> {
    let size = wal_agent::wal::SegmentSize::new(1 << 20)?;
    let copy = tempfile::tempdir()?;
    let mut first = None;
    for name in names(dir)? {
        let Some(file) = SegmentFile::parse(&name, size) else { continue };
        fs::copy(dir.join(&name), copy.path().join(file.name.file_name(size)))?;
        first = first.or(Some(size.start_of(file.name.segment)));
    }
    let program = Tools::waldump(major)?.context("there is no pg_waldump of this major")?;
    let mut command = Command::new(program);
    command.arg("-p").arg(copy.path()).args(["-t", "1", "-s"]).arg(first.context("no segment")?.to_string());
    if let Some(end) = end {
        command.arg("-e").arg(end.to_string());
    }
    let output = command.output()?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(harness::receiver::Ended {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}
