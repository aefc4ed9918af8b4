//! Where a stream goes on after it was interrupted: by a stop, a kill, damage, another receiver, a failover.

use crate::common::{names, only_partial, wait_replayed, whichever_is_primary, write};
use anyhow::{Context, Result, ensure};
use harness::compare::{self, Equal};
use harness::load::Load;
use harness::receiver::{Ended, Launch};
use harness::server::Server;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wal_agent::wal::Lsn;

async fn server(major: u32) -> Result<Server> {
    Server::builder(major).wal_segsize(1).start().await
}

/// Streams with `launch` until what is written meanwhile has been received, and stops.
async fn receive(server: &Server, dir: &Path, launch: Launch) -> Result<Ended> {
    let mut receiver = launch.server(server).directory(dir).status_interval(1).arg("-v").spawn()?;
    receiver.wait_streaming(server).await?;
    receiver.wait_received(server, write(server).await?).await?;
    let ended = receiver.stop().await?;
    ensure!(ended.code == Some(0), "{ended:?}");
    Ok(ended)
}

async fn receive_with_agent(server: &Server, dir: &Path) -> Result<Ended> {
    receive(server, dir, Launch::wal_agent()?).await
}

fn compare_with(server: &Server, dir: &Path) -> Result<Equal> {
    compare::with_server(dir, &server.wal_dir(), server.segment_size())
}

/// What was received into a file: all before its last zeros.
fn received(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    Ok(bytes)
}

fn set_len(path: &Path, len: u64) -> Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(len).context("cannot change its size")
}

async fn a_stopped_stream_goes_on_in_the_same_file(major: u32) -> Result<()> {
    let server = server(major).await?;
    let dir = tempfile::tempdir()?;
    receive_with_agent(&server, dir.path()).await?;
    let partial = dir.path().join(only_partial(dir.path())?);
    let (kept, inode) = (received(&partial)?, fs::metadata(&partial)?.ino());

    receive_with_agent(&server, dir.path()).await?;
    let now = received(&partial)?;
    ensure!(kept.len() > 20_000 && now.len() > kept.len() && now.starts_with(&kept));
    assert_eq!(fs::metadata(&partial)?.ino(), inode);
    compare_with(&server, dir.path())?;
    Ok(())
}

on_majors! { a_stopped_stream_goes_on_in_the_same_file: pg13 13 pg18 18 }

/// What a crash between a segment's last flush and its rename leaves.
#[tokio::test]
async fn after_a_kill_with_two_partials_none_is_forgotten() -> Result<()> {
    let server = server(17).await?;
    let dir = tempfile::tempdir()?;
    let launch = Launch::wal_agent()?.server(&server).directory(dir.path()).synchronous();
    let mut receiver = launch.spawn()?;
    receiver.wait_streaming(&server).await?;
    let load = Load::of(2).start(&server).await?;
    load.wait_more(50).await?;
    let switched = server.switch_wal().await?;
    load.wait_more(50).await?;
    receiver.wait_flushed(&server, switched).await?;
    receiver.wait_flushed(&server, server.flush_lsn().await?).await?;
    receiver.kill().await?;
    load.stop().await;

    // The kernel keeps what a killed process wrote: the rename is undone by hand, and half of the flush as well.
    let finished = names(dir.path())?.into_iter().rfind(|name| !name.ends_with(".partial")).context("a segment")?;
    let (finished, partial) = (dir.path().join(&finished), dir.path().join(format!("{finished}.partial")));
    fs::rename(&finished, &partial)?;
    let size = fs::metadata(&partial)?.len();
    set_len(&partial, 8192)?;
    set_len(&partial, size)?;
    ensure!(names(dir.path())?.iter().filter(|name| name.ends_with(".partial")).count() == 2);

    receive_with_agent(&server, dir.path()).await?;
    ensure!(finished.is_file() && !partial.exists(), "{:?}", names(dir.path())?);
    only_partial(dir.path())?;
    compare_with(&server, dir.path())?;
    Ok(())
}

/// pg_receivewal refuses each but the empty one for ever.
#[tokio::test]
async fn a_partial_of_a_wrong_size_is_healed() -> Result<()> {
    let server = server(18).await?;
    let size = server.segment_size().bytes();
    for len in [0, 1, 10_000, size - 1, size + 8192] {
        let dir = tempfile::tempdir()?;
        receive_with_agent(&server, dir.path()).await?;
        let partial = dir.path().join(only_partial(dir.path())?);
        set_len(&partial, len)?;
        receive_with_agent(&server, dir.path()).await?;
        ensure!(fs::metadata(&partial)?.len() == size, "it was cut to {len}");
        compare_with(&server, dir.path()).with_context(|| format!("cut to {len}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_finished_file_of_a_wrong_size_is_skipped_with_a_warning_and_received_again() -> Result<()> {
    let server = server(18).await?;
    for (launch, program) in
        [(Launch::wal_agent as fn() -> Result<Launch>, "wal-agent"), (|| Launch::pg_receivewal(18), "pg_receivewal")]
    {
        let dir = tempfile::tempdir()?;
        for _ in 0..2 {
            receive(&server, dir.path(), launch()?).await?;
            server.switch_wal().await?;
        }
        receive(&server, dir.path(), launch()?).await?;
        fs::remove_file(dir.path().join(only_partial(dir.path())?))?;
        let finished = names(dir.path())?.pop().context("a segment")?;
        set_len(&dir.path().join(&finished), 12_345)?;

        let ended = receive(&server, dir.path(), launch()?).await?;
        let expected = format!("{program}: warning: segment file \"{finished}\" has incorrect size 12345, skipping");
        assert_eq!(ended.stderr.lines().filter(|line| *line == expected).count(), 1, "{}", ended.stderr);
        let equal = compare_with(&server, dir.path())?;
        assert_eq!((equal.segments, equal.partials), (2, 1));
    }
    Ok(())
}

/// The drop-in goes both ways, and nobody has to convert anything.
async fn receivers_take_turns_in_one_directory(major: u32) -> Result<()> {
    let server = server(major).await?;
    let dir = tempfile::tempdir()?;
    let turns: [fn(u32) -> Result<Launch>; 5] = [
        Launch::pg_receivewal,
        |_| Launch::wal_agent(),
        Launch::pg_receivewal,
        |_| Launch::wal_agent(),
        Launch::pg_receivewal,
    ];
    for (turn, launch) in turns.into_iter().enumerate() {
        receive(&server, dir.path(), launch(major)?).await.with_context(|| format!("turn {turn}"))?;
        // Every second turn finds a whole segment at the end, the others half of one.
        if turn % 2 == 1 {
            server.switch_wal().await?;
        }
        let equal = compare_with(&server, dir.path()).with_context(|| format!("after turn {turn}"))?;
        assert_eq!((equal.segments, equal.partials), (turn / 2, 1), "after turn {turn}");
    }
    Ok(())
}

on_majors! { receivers_take_turns_in_one_directory: pg13 13 pg15 15 pg18 18 }

/// A primary dies with WAL that its standby never got: it is kept, but not followed.
#[tokio::test]
async fn a_divergent_tail_is_left_behind_for_good() -> Result<()> {
    let mut primary = server(17).await?;
    let mut standby = Server::standby_of(&primary).await?;
    let conninfo = whichever_is_primary(&primary, &standby);
    let dir = tempfile::tempdir()?;
    let launch = || Ok::<_, anyhow::Error>(Launch::wal_agent()?.dbname(&conninfo).directory(dir.path()).arg("-v"));
    let mut receiver = launch()?.status_interval(1).spawn()?;
    receiver.wait_received(&primary, write(&primary).await?).await?;
    wait_replayed(&standby, primary.flush_lsn().await?).await?;
    standby.kill();

    // More than two segments that only the agent has.
    for _ in 0..3 {
        write(&primary).await?;
        primary.switch_wal().await?;
    }
    receiver.wait_received(&primary, write(&primary).await?).await?;
    let mark = receiver.mark();
    primary.destroy()?;
    receiver.wait_for_line_after(mark, "disconnected").await?;
    let tail = contents(dir.path())?;
    ensure!(tail.len() == 4, "{:?}", tail.keys());

    standby.start().await?;
    standby.promote().await?;
    receiver.wait_streaming(&standby).await?;
    receiver.wait_received(&standby, write(&standby).await?).await?;
    assert_eq!(receiver.stop().await?.code, Some(0));
    check_tail(&standby, dir.path(), &tail)?;

    // PostgreSQL's receiver chooses the tail each time, because its numbers are the highest.
    let stuck = Launch::pg_receivewal(17)?.server(&standby).directory(dir.path()).arg("--no-loop").run().await?;
    ensure!(stuck.code == Some(1) && stuck.stderr.contains("is not in this server's history"), "{stuck:?}");

    standby.switch_wal().await?;
    let mut receiver = launch()?.status_interval(1).spawn()?;
    receiver.wait_streaming(&standby).await?;
    receiver.wait_received(&standby, write(&standby).await?).await?;
    let ended = receiver.stop().await?;
    ensure!(ended.code == Some(0) && !ended.stderr.contains("(timeline 1)"), "{ended:?}");
    check_tail(&standby, dir.path(), &tail)
}

/// All files of the old timeline are as they were, all others the server's.
fn check_tail(server: &Server, dir: &Path, tail: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for (path, bytes) in tail {
        ensure!(fs::read(path)? == *bytes, "{} is another", path.display());
    }
    let present = tempfile::tempdir()?;
    for name in names(dir)?.iter().filter(|name| name.starts_with("00000002")) {
        fs::copy(dir.join(name), present.path().join(name))?;
    }
    let equal = compare_with(server, present.path())?;
    ensure!(equal.histories == 1 && equal.partials == 1, "{equal:?}");
    Ok(())
}

/// All segments in `dir`.
fn contents(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    names(dir)?.into_iter().map(|name| dir.join(name)).map(|path| Ok((path.clone(), fs::read(path)?))).collect()
}

/// A primary whose last WAL is a switch of segments, and its standby, which has replayed exactly that. The primary is
/// gone, so that nothing follows.
async fn standby_at_a_boundary(major: u32) -> Result<(Server, Vec<tempfile::TempDir>, Lsn)> {
    let mut primary = server(major).await?;
    let standby = Server::standby_of(&primary).await?;
    let dirs = vec![tempfile::tempdir()?, tempfile::tempdir()?];
    let size = standby.segment_size();
    receive_with_agent(&primary, dirs[0].path()).await?;
    receive(&primary, dirs[1].path(), Launch::pg_receivewal(major)?).await?;
    let replayed = loop {
        let end = primary.switch_wal().await?;
        let boundary = size.end_of(size.segment_of(end));
        wait_replayed(&standby, boundary).await?;
        let replayed = standby.lsn("SELECT pg_last_wal_receive_lsn()").await?;
        // Rarely the primary's own housekeeping follows at once.
        if replayed == boundary {
            break replayed;
        }
    };
    primary.kill();
    Ok((standby, dirs, replayed))
}

/// pg_receivewal asks for the old timeline at its very end, and takes the answer for an error with no text, for ever.
async fn a_switch_point_on_a_segment_boundary_is_no_wedge(major: u32) -> Result<()> {
    let (standby, dirs, boundary) = standby_at_a_boundary(major).await?;
    let [agent_dir, reference_dir] = [&dirs[0], &dirs[1]].map(|dir| dir.path());
    // Both have all of the old timeline: nothing but whole segments.
    for (dir, launch) in [(agent_dir, Launch::wal_agent()?), (reference_dir, Launch::pg_receivewal(major)?)] {
        let launch = launch.server(&standby).directory(dir).status_interval(1).arg("-v");
        let mut receiver = launch.spawn()?;
        receiver.wait_received(&standby, boundary).await?;
        receiver.stop().await?;
        ensure!(!names(dir)?.iter().any(|name| name.ends_with(".partial")), "{:?}", names(dir)?);
    }
    let live = tempfile::tempdir()?;
    let mut follower = Launch::wal_agent()?.server(&standby).directory(live.path()).status_interval(1).spawn()?;
    follower.wait_streaming(&standby).await?;

    standby.promote().await?;
    let history = fs::read_to_string(standby.wal_dir().join("00000002.history"))?;
    ensure!(history.contains(&format!("1\t{boundary}\t")), "the switch point is no boundary: {history:?}");
    follower.wait_received(&standby, write(&standby).await?).await?;
    follower.stop().await?;
    compare_with(&standby, live.path())?;

    receive_with_agent(&standby, agent_dir).await?;
    let equal = compare_with(&standby, agent_dir)?;
    ensure!(equal.segments >= 1 && equal.partials == 1 && equal.histories == 1, "{equal:?}");

    let stuck = Launch::pg_receivewal(major)?.server(&standby).directory(reference_dir).arg("--no-loop").run().await?;
    let expected = "error: could not send replication command \"START_REPLICATION\": \n";
    ensure!(stuck.code == Some(1) && stuck.stderr.contains(expected), "{stuck:?}");
    Ok(())
}

on_majors! { a_switch_point_on_a_segment_boundary_is_no_wedge: pg13 13 pg18 18 }
