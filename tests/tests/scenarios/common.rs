//! What several subjects need: one test for each major, two receivers side by side, and looks into a directory.

use anyhow::{Context, Result, ensure};
use harness::compare::{self, Equal};
use harness::receiver::{Launch, Receiver};
use harness::server::Server;
use harness::wait::{self, DEADLINE, Poll};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use wal_agent::wal::{Lsn, SegmentSize};

/// Makes one test of the function `$check` for each major, so that a failure names it: `check::pg13`.
macro_rules! on_majors {
    ($check:ident: $($test:ident $major:literal)+) => {
        mod $check {
            $(#[tokio::test]
            async fn $test() -> anyhow::Result<()> {
                super::$check($major).await
            })+
        }
    };
}

/// [`on_majors!`] with all of them.
macro_rules! on_each_major {
    ($check:ident) => {
        on_majors! { $check: pg13 13 pg14 14 pg15 15 pg16 16 pg17 17 pg18 18 }
    };
}

/// `wal-agent` and `pg_receivewal`, each with a directory of its own, on the same server.
pub(crate) struct Pair {
    pub(crate) agent: Receiver,
    pub(crate) reference: Receiver,
    pub(crate) agent_dir: TempDir,
    pub(crate) reference_dir: TempDir,
}

impl Pair {
    /// Starts both and waits until `server` streams to them.
    pub(crate) async fn start(server: &Server, agent: Launch, reference: Launch) -> Result<Self> {
        let (agent_dir, reference_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let spawn = |launch: Launch, dir: &TempDir| launch.directory(dir.path()).status_interval(1).arg("-v").spawn();
        let (agent, reference) = (spawn(agent, &agent_dir)?, spawn(reference, &reference_dir)?);
        let mut pair = Self { agent, reference, agent_dir, reference_dir };
        pair.wait_streaming(server).await?;
        Ok(pair)
    }

    /// Both over the unix socket of `server`, without slots.
    pub(crate) async fn of(server: &Server) -> Result<Self> {
        let reference = Launch::pg_receivewal(server.build().major)?;
        Self::start(server, Launch::wal_agent()?.server(server), reference.server(server)).await
    }

    pub(crate) async fn wait_streaming(&mut self, server: &Server) -> Result<()> {
        self.agent.wait_streaming(server).await?;
        self.reference.wait_streaming(server).await?;
        Ok(())
    }

    pub(crate) async fn wait_received(&mut self, server: &Server, lsn: Lsn) -> Result<()> {
        self.agent.wait_received(server, lsn).await?;
        self.reference.wait_received(server, lsn).await?;
        Ok(())
    }

    /// Stops both and compares what they have; then also what the agent has with what `server` has.
    pub(crate) async fn stop_and_compare(self, server: &Server) -> Result<Equal> {
        let Self { agent, reference, agent_dir, reference_dir } = self;
        for receiver in [agent, reference] {
            let ended = receiver.stop().await?;
            ensure!(ended.code == Some(0), "{ended:?}");
        }
        let size = server.segment_size();
        compare::with_server(agent_dir.path(), &server.wal_dir(), size)?;
        compare::receivers(agent_dir.path(), reference_dir.path(), size)
    }
}

/// The names in a receiver's directory, in order, without our own entry.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != ".wal-agent");
    names.sort();
    Ok(names)
}

/// The one `.partial` in `dir`.
pub(crate) fn only_partial(dir: &Path) -> Result<String> {
    let mut partials = names(dir)?;
    partials.retain(|name| name.ends_with(".partial"));
    ensure!(partials.len() == 1, "one partial segment was expected: {partials:?}");
    Ok(partials.remove(0))
}

/// Writes a little WAL and returns its end.
pub(crate) async fn write(server: &Server) -> Result<Lsn> {
    server.sql("SELECT pg_logical_emit_message(true, 'scenario', repeat('wal ', 5000))").await?;
    server.flush_lsn().await
}

/// The name of the segment that contains `lsn` on `timeline`.
pub(crate) fn segment_name(lsn: Lsn, timeline: u32, size: SegmentSize) -> String {
    let timeline = wal_agent::wal::TimelineId::new(timeline).expect("a timeline");
    wal_agent::wal::SegmentName { segment: size.segment_of(lsn), timeline }.file_name(size)
}

/// A connection string for whichever of two servers is the primary.
pub(crate) fn whichever_is_primary(one: &Server, other: &Server) -> String {
    format!(
        "host={},{} port={},{} user=postgres target_session_attrs=read-write",
        one.socket_dir().display(),
        other.socket_dir().display(),
        one.port(),
        other.port()
    )
}

/// Waits until `standby` has replayed everything before `lsn`.
pub(crate) async fn wait_replayed(standby: &Server, lsn: Lsn) -> Result<()> {
    standby.wait_for(&format!("pg_last_wal_replay_lsn() >= '{lsn}'")).await
}

/// The end of the segment whose WAL ends at `lsn`: what follows a switch.
pub(crate) fn segment_end(lsn: Lsn, size: SegmentSize) -> Lsn {
    if size.offset_of(lsn) == 0 { lsn } else { size.end_of(size.segment_of(lsn)) }
}

/// Writes WAL that contains `marker`, waits until it is in one of the directory's files, and returns its end. Where no
/// status is sent, nothing else tells how far a receiver is.
pub(crate) async fn write_and_find(server: &Server, dir: &Path, marker: &str) -> Result<Lsn> {
    server.sql(&format!("SELECT pg_logical_emit_message(true, 'marker', '{marker}')")).await?;
    let end = server.flush_lsn().await?;
    wait::until(format!("{marker:?} to be received"), DEADLINE, async || {
        let found = names(dir)?.iter().any(|name| {
            // It may be renamed meanwhile: then it is found the next time.
            let content = fs::read(dir.join(name)).unwrap_or_default();
            content.windows(marker.len()).any(|window| window == marker.as_bytes())
        });
        Ok(if found { Poll::Ready(()) } else { Poll::Pending("it is not".into()) })
    })
    .await?;
    Ok(end)
}
