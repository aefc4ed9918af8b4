//! Attacks on what is acknowledged and kept: streams that break again and again, records that are never finished,
//! timelines in a row.

use crate::common::{names, wait_replayed, write};
use anyhow::{Context, Result, bail, ensure};
use harness::compare;
use harness::load::Load;
use harness::receiver::{Launch, Receiver};
use harness::server::{Builder, Server, Stop};
use harness::tap::{self, Status, Tap};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use tokio::task::JoinHandle;
use wal_agent::wal::Lsn;

fn server(major: u32) -> Builder {
    // Whatever is written meanwhile is there to be compared with.
    Server::builder(major).wal_segsize(1).config("wal_keep_size", "1GB")
}

/// A synchronous agent that streams through `tap`.
fn agent(tap: &Tap, dir: &Path) -> Result<Receiver> {
    Launch::wal_agent()?.dbname(&tap.conninfo()).directory(dir).synchronous().status_interval(1).arg("-v").spawn()
}

/// Writes a record of as many megabytes, which ends with the server if it must.
pub(crate) async fn write_long_record(server: &Server, megabytes: usize) -> Result<JoinHandle<()>> {
    let client = server.connect().await?;
    let statement = format!("SELECT pg_logical_emit_message(true, 'long', repeat('w', {}))", megabytes << 20);
    Ok(tokio::spawn(async move { drop(client.batch_execute(&statement).await) }))
}

/// A stream may end before the store has heard of it, or while a flush or a rename is under way.
#[tokio::test]
async fn streams_that_are_cut_again_and_again_lose_nothing() -> Result<()> {
    let mut server = server(17).start().await?;
    let dir = tempfile::tempdir()?;
    let tap = Tap::on(server.port()).await?;
    let mut agent = agent(&tap, dir.path())?;
    agent.wait_streaming(&server).await?;
    let load = Load::of(2).payload(3000).start(&server).await?;
    for round in 0..40 {
        server.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_replication").await?;
        if round % 3 == 0 {
            server.switch_wal().await?;
        }
    }
    load.stop().await;
    agent.wait_flushed(&server, server.flush_lsn().await?).await?;
    assert_eq!(agent.stop().await?.code, Some(0));
    tap::check(&tap.statuses())?;
    server.stop(Stop::Fast).await?;
    compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    Ok(())
}

/// The unfinished record was streamed, and stays: recovery writes behind it on the same timeline, and never over it.
async fn crash_recovery_is_followed_in_the_same_files(major: u32) -> Result<()> {
    let mut server = server(major).start().await?;
    let dir = tempfile::tempdir()?;
    let tap = Tap::on(server.port()).await?;
    let mut agent = agent(&tap, dir.path())?;
    agent.wait_streaming(&server).await?;
    for _ in 0..2 {
        let before = server.flush_lsn().await?;
        let record = write_long_record(&server, 50).await?;
        agent.wait_received(&server, Lsn::new(before.get() + 2_000_000)).await?;
        server.stop(Stop::Immediate).await?;
        server.start().await?;
        record.await?;
    }
    agent.wait_flushed(&server, write(&server).await?).await?;
    let ended = agent.stop().await?;
    ensure!(ended.code == Some(0) && !ended.stderr.contains("differs"), "{}", ended.stderr);
    tap::check(&tap.statuses())?;
    server.stop(Stop::Fast).await?;
    compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    Ok(())
}

on_majors! { crash_recovery_is_followed_in_the_same_files: pg13 13 pg18 18 }

/// The standby streams a part of a record that its primary never finishes. Once promoted it writes over that part: what
/// was acknowledged of it must not release a commit of the new timeline.
async fn an_unfinished_record_acknowledges_nothing_on_the_next_timeline(major: u32) -> Result<()> {
    // Where the primary dies is chance; one death in the middle of a record, streamed in time, is what is looked for.
    for _ in 0..30 {
        let dir = tempfile::tempdir()?;
        let (statuses, end) = promote_in_the_middle_of_a_record(major, dir.path()).await?;
        let history = fs::read_to_string(dir.path().join("00000002.history"))?;
        let switch: Lsn = history.split('\t').nth(1).context("a switch point")?.parse()?;
        if statuses.iter().any(|status| status.connection > 1) {
            // The standby removed its part of the record before it was streamed, and so broke the stream.
            continue;
        }
        // The first of the new timeline is the one that goes back.
        let Some(back) = statuses.windows(2).position(|pair| pair[1].write < pair[0].write) else {
            ensure!(statuses.iter().all(|status| status.write <= end), "{switch}: {statuses:?}");
            // The primary died between two records.
            continue;
        };
        let (old, new) = statuses.split_at(back + 1);
        ensure!(new[0].write <= switch && new.iter().all(|status| status.write <= end), "{switch}: {new:?}");
        tap::check(old)?;
        return tap::check(new);
    }
    bail!("the primary never died in the middle of a record")
}

/// What an agent told a standby that was promoted so, and how far the standby's own WAL goes in the end.
async fn promote_in_the_middle_of_a_record(major: u32, dir: &Path) -> Result<(Vec<Status>, Lsn)> {
    let mut primary = server(major).start().await?;
    let standby = Server::standby_of(&primary).await?;
    let tap = Tap::on(standby.port()).await?;
    let mut agent = agent(&tap, dir)?;
    let before = write(&primary).await?;
    wait_replayed(&standby, before).await?;
    agent.wait_received(&standby, before).await?;
    let record = write_long_record(&primary, 100).await?;
    agent.wait_received(&standby, Lsn::new(before.get() + 2_000_000)).await?;
    primary.kill();
    record.await?;
    standby.promote().await?;
    agent.wait_for_line("(timeline 2)").await?;
    agent.wait_flushed(&standby, write(&standby).await?).await?;
    assert_eq!(agent.stop().await?.code, Some(0));
    Ok((tap.statuses(), standby.flush_lsn().await?))
}

on_majors! { an_unfinished_record_acknowledges_nothing_on_the_next_timeline: pg13 13 pg18 18 }

/// One that was there all the time, and one that comes when all is over, have the same.
async fn timelines_in_a_row_are_followed_one_by_one(major: u32) -> Result<()> {
    let mut server = server(major).start().await?;
    let (live, late) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let launch = |dir: &Path| Ok::<_, anyhow::Error>(Launch::wal_agent()?.server(&server).directory(dir).synchronous());
    let (present, follower) = (launch(live.path())?, launch(late.path())?);
    let again = launch(late.path())?;
    let (mut present, mut follower) = (present.spawn()?, follower.spawn()?);
    let end = write(&server).await?;
    present.wait_flushed(&server, end).await?;
    follower.wait_flushed(&server, end).await?;
    follower.stop().await?;
    for timeline in 2..6 {
        if timeline == 4 {
            server.switch_wal().await?;
        }
        server.stop(Stop::Fast).await?;
        become_standby(&server)?;
        server.start().await?;
        if timeline % 2 == 0 {
            present.wait_streaming(&server).await?;
        }
        server.promote().await?;
    }
    let mut follower = again.spawn()?;
    let end = write(&server).await?;
    for receiver in [&mut present, &mut follower] {
        receiver.wait_flushed(&server, end).await?;
    }
    for (receiver, dir) in [(present, &live), (follower, &late)] {
        assert_eq!(receiver.stop().await?.code, Some(0));
        let equal = compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
        ensure!(equal.histories == 4 && equal.partials == 5, "{equal:?}");
    }
    assert_eq!(names(live.path())?, names(late.path())?);
    Ok(())
}

on_majors! { timelines_in_a_row_are_followed_one_by_one: pg13 13 pg18 18 }

/// At its next start the stopped server waits for a promotion.
pub(crate) fn become_standby(server: &Server) -> Result<()> {
    let signal = server.data_dir().join("standby.signal");
    fs::write(&signal, "")?;
    let owner = fs::metadata(server.data_dir())?;
    chown(&signal, Some(owner.uid()), Some(owner.gid())).context("cannot give it to the server")
}
