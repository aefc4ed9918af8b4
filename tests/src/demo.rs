//! The demonstration: a PostgreSQL server is lost with all its data, and nothing that it acknowledged is.
//!
//! This is the whole story, step by step; what a step needs beyond the harness is in the children: [`screen`] shows it,
//! `agent` runs wal-agent with a log file, `report` is the table at the end. It decides nothing about the process it
//! runs in: `cargo xtask demo` does.
//!
//! The server runs with `fsync = on` and `synchronous_commit = on`: latencies are those of a real commit.

pub mod screen;

mod agent;
mod report;

pub use crate::process::kill_children;
pub use report::Proof;

use crate::agent::Profile;
use crate::load::{self, Load};
use crate::postgres::{self, Build, Found, Tools};
use crate::server::{Backup, BackupWal, Server};
use crate::wait::DEADLINE;
use crate::{compare, server};
use agent::Agent;
use anyhow::{Context, Result, anyhow, bail, ensure};
use report::{Received, count, latency, mebibytes, plural};
use screen::{Screen, Step};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// What the agent calls itself, and its slot.
const NAME: &str = "wal_agent";

/// Bytes of text in each row: below where PostgreSQL would move it to another table.
const PAYLOAD: usize = 1500;

/// How often the figures of the running load are renewed.
const TICK: Duration = Duration::from_millis(500);

/// What may be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long clients write.
    pub load: Duration,
    /// How many clients write.
    pub clients: u32,
    /// A fetched PostgreSQL of this major, instead of the one that is on the machine.
    pub major: Option<u32>,
    /// How the agent is built.
    pub profile: Profile,
    /// Leave the recovered server and an agent running.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { load: Duration::from_secs(20), clients: 8, major: None, profile: Profile::Release, keep: false }
    }
}

/// What the story leaves behind when it holds.
#[derive(Debug)]
pub struct Ending {
    /// The figures.
    pub proof: Proof,
    /// With [`Options::keep`]: how to look at what is running, and how to end it.
    pub kept: Option<String>,
}

/// Everything that has to be gone at the end. Fields are dropped from first to last: processes, then the directory that
/// they write to.
struct Stage {
    agent: Option<Agent>,
    server: Option<Server>,
    recovered: Option<Server>,
    dir: TempDir,
}

/// Plays the whole story on `screen`, or as much of it as there is time for until `interrupted` becomes true. Steps block
/// their thread: whoever interrupts has to end their programs, with [`kill_children`].
///
/// In the end no process is left and no file, unless they are to be kept.
///
/// # Errors
/// A promise was broken, or a step could not be taken: the step, the reason, and where the logs are. Or it was
/// interrupted.
pub async fn run(options: &Options, screen: &mut Screen, mut interrupted: watch::Receiver<bool>) -> Result<Ending> {
    server::sweep();
    let dir = tempfile::Builder::new().prefix("wal-replica-demo-").tempdir().context("no temporary directory")?;
    let mut stage = Stage { agent: None, server: None, recovered: None, dir };
    let played = tokio::select! {
        biased;
        Ok(_) = interrupted.wait_for(|interrupted| *interrupted) => Err(anyhow!("interrupted")),
        played = stage.play(options, screen) => played,
    };
    match played {
        Ok(proof) => Ok(Ending { proof, kept: options.keep.then(|| stage.keep()).transpose()? }),
        Err(error) => {
            // A terminal may have ended a step's program a moment before we hear of the same signal. What such a step
            // says is no news.
            let signal = timeout(TICK, interrupted.wait_for(|interrupted| *interrupted)).await;
            if matches!(signal, Ok(Ok(_))) {
                bail!("interrupted: all processes are ended, all files removed");
            }
            bail!("{} failed\n{error:#}\n\n{}", screen.current(), stage.preserve());
        }
    }
}

impl Stage {
    async fn play(&mut self, options: &Options, screen: &mut Screen) -> Result<Proof> {
        let found = find_postgresql(options, screen.step("Find PostgreSQL"))?;
        let program = build_agent(options, screen.step("Build wal-agent"))?;

        let mut step = screen.step("Start a server");
        step.note("initdb, postgres");
        let builder = Server::builder_with(found.build.clone()).quiet().fsync().config("wal_keep_size", "100GB");
        let server = self.server.insert(builder.start().await?);
        step.done(format_args!("in {}, port {}", server.socket_dir().display(), server.port()));

        let mut step = screen.step("Take a backup");
        step.note("pg_basebackup");
        // Recovery gets no WAL but the agent's.
        let backup = server.base_backup(BackupWal::None)?;
        step.done("without WAL: recovery gets only what the agent received");

        let mut step = screen.step("Start wal-agent");
        step.note("waiting for it to be the synchronous standby");
        let agent = self.agent.insert(Agent::start(&program, server, self.dir.path(), "agent.log")?);
        agent.guard(make_synchronous(server)).await?;
        step.done("the only synchronous standby: commits wait for its fsync");

        let mut step = screen.step("Write");
        let load = Load::of(options.clients).payload(PAYLOAD).start(server).await?;
        let start = Instant::now();
        agent.guard(watch(&load, server, &agent::wal_dir(self.dir.path()), options.load, &mut step)).await?;
        let (clients, seconds) = (plural(options.clients as usize, "client"), options.load.as_secs());
        step.done(format_args!("{seconds} s, {clients}: {} commits acknowledged", count(load.count())));

        let step = screen.step("Kill the server");
        server.kill();
        let wrote = start.elapsed();
        let acknowledged = load.stop().await;
        agent.stop().await?;
        step.done("SIGKILL to all its processes, in the middle of the load");

        let mut step = screen.step("Compare the WAL");
        step.note("the agent's files with the dead server's pg_wal");
        let wal_dir = agent::wal_dir(self.dir.path());
        let received = Received::scan(&wal_dir, server.segment_size())?;
        let equal = compare::with_server(&wal_dir, &server.wal_dir(), server.segment_size())
            .context("Promise broken: what the agent has is the server's WAL, byte for byte")?;
        let bytes = mebibytes(equal.bytes);
        step.done(format_args!("{bytes}, byte for byte the same in the server's pg_wal"));

        let step = screen.step("Destroy its data");
        server.destroy()?;
        step.done(format_args!("{} is gone", server.data_dir().display()));

        let mut step = screen.step("Recover");
        step.note("restoring the backup, replaying the agent's WAL");
        let (recovered, took) = recover(found.build, backup, &wal_dir).await?;
        let recovered = self.recovered.insert(recovered);
        let lost = load::lost_commits(recovered, &acknowledged).await;
        let lost = lost.context("Promise broken: no acknowledged commit is lost")?;
        let rows = recovered.value("SELECT count(*) FROM load").await?.parse()?;
        ensure!(
            lost.is_empty(),
            "Promise broken: no acknowledged commit is lost. Of {} the recovered server lacks {}, first {:?}",
            count(acknowledged.len()),
            count(lost.len()),
            &lost[..lost.len().min(5)]
        );
        step.done(format_args!("backup restored, WAL replayed (.partial too) in {:.1} s", took.as_secs_f64()));

        if options.keep {
            let mut step = screen.step("Keep running");
            step.note("waiting for wal-agent to be the synchronous standby");
            let agent = self.agent.insert(Agent::start(&program, recovered, self.dir.path(), "agent-kept.log")?);
            agent.guard(make_synchronous(recovered)).await?;
            step.done("the recovered server, and wal-agent as its synchronous standby");
        }
        Ok(Proof { acknowledged, lost: lost.len(), rows, received, compared: equal.bytes, wrote })
    }

    /// Leaves what runs running, and says how to look at it.
    fn keep(mut self) -> Result<String> {
        let recovered = self.recovered.take().context("nothing was recovered")?;
        let agent = self.agent.take().context("no agent runs")?;
        let psql = recovered.build().bin("psql").map_or_else(Tools::psql, Ok)?;
        let psql =
            format!("{} -h {} -p {} -U postgres", psql.display(), recovered.socket_dir().display(), recovered.port());
        let pid = fs::read_to_string(recovered.data_dir().join("postmaster.pid"))?;
        let postmaster = pid.lines().next().context("an empty postmaster.pid")?.to_owned();
        let pid = agent.leave_running();
        let home = recovered.leave_running();
        self.dir.disable_cleanup(true);
        let dir = self.dir.path();
        let (wal, home, dir) = (agent::wal_dir(dir).display().to_string(), home.display(), dir.display());
        Ok(format!(
            "\nThe recovered server and wal-agent keep running.\n\n  \
               look inside   {psql}\n                \
               TABLE pg_stat_replication;\n                \
               SELECT count(*) FROM load;\n  \
               agent's WAL   ls -la {wal}\n  \
               agent's log   tail -f {dir}/agent-kept.log\n  \
               stop both     kill -INT {postmaster}; kill {pid}\n  \
               then remove   rm -r {dir} {home}"
        ))
    }

    /// Ends all processes, leaves all files in place, and says where they are.
    fn preserve(mut self) -> String {
        self.agent = None;
        self.dir.disable_cleanup(true);
        let mut places = format!("wal-agent's log and WAL are kept in {}", self.dir.path().display());
        let servers = [("server", self.server.take()), ("recovered server", self.recovered.take())];
        for (what, server) in servers {
            let Some(mut server) = server else { continue };
            server.kill();
            // Writing to a String cannot fail.
            let _ = write!(places, "\nlog and data of the {what} are kept in {}", server.leave_running().display());
        }
        places
    }
}

fn find_postgresql(options: &Options, step: Step<'_>) -> Result<Found> {
    let found = match options.major {
        Some(major) => {
            let build = Build::of(major)?;
            Found { build, origin: format!("fetched into {}", postgres::cache_dir()?.display()) }
        }
        None => postgres::find_any()?,
    };
    if found.build.bin("pg_basebackup").is_none() {
        Tools::basebackup_for(found.build.major)?;
    }
    if options.keep && found.build.bin("psql").is_none() {
        Tools::psql()?;
    }
    step.done(format_args!("{}, {}", found.build.version, found.origin));
    Ok(found)
}

fn build_agent(options: &Options, mut step: Step<'_>) -> Result<PathBuf> {
    step.warn_slow("cargo build: the first time takes a minute or two");
    let program = crate::agent::binary(options.profile)?;
    step.done(program.display());
    Ok(program)
}

/// Makes commits wait for the agent, which streams from `server`, and for nobody else.
async fn make_synchronous(server: &Server) -> Result<()> {
    server.wait_streaming(NAME).await?;
    server.set("synchronous_standby_names", NAME).await?;
    server.wait_for_replication(NAME, "to be the synchronous standby", |row| row.sync_state == "sync").await?;
    let standbys = server.replications().await?.len();
    ensure!(standbys == 1, "{standbys} standbys are connected, expected was the agent only");
    Ok(())
}

/// Shows how the load goes for as long as it is to go.
async fn watch(load: &Load, server: &Server, wal_dir: &Path, length: Duration, step: &mut Step<'_>) -> Result<()> {
    let (start, first) = (Instant::now(), Received::scan(wal_dir, server.segment_size())?.start);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut last, mut last_commit) = (0, ticks.tick().await, start);
    while start.elapsed() < length {
        let now = ticks.tick().await;
        let new = load.acknowledged_from(seen);
        if !new.is_empty() {
            last_commit = now;
        }
        ensure!(
            now - last_commit < DEADLINE / 4,
            "Promise broken: commits go on while the agent runs. None was acknowledged for {:?}",
            now - last_commit
        );
        let rate = new.len() as f64 / (now - last).as_secs_f64();
        let flushed = server.replication(NAME).await?.map_or(first, |row| row.flush);
        let (wal, segments) = (flushed.bytes_since(first), server.segment_size().bytes());
        let done = start.elapsed().min(length).as_secs_f64() / length.as_secs_f64();
        step.progress(
            done,
            format_args!(
                "{rate:.0} commits/s, ack {}, {}, {}",
                load::percentile(&new, 50).map_or("-".into(), latency),
                mebibytes(wal),
                plural((wal / segments) as usize, "segment"),
            ),
        );
        (seen, last) = (seen + new.len(), now);
    }
    Ok(())
}

/// The server that comes back from the backup and the agent's files, and how long that took.
async fn recover(build: Build, backup: Backup, wal_dir: &Path) -> Result<(Server, Duration)> {
    let start = Instant::now();
    let recovered = Server::recover_with(Server::builder_with(build).quiet(), backup, wal_dir).await;
    let recovered = recovered.context("Promise broken: a server recovers from the backup and the agent's files")?;
    Ok((recovered, start.elapsed()))
}
