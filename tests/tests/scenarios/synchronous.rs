//! The agent as the only synchronous standby: no commit waits longer for it than for the disk.
//!
//! Status interval and server are set so that no timer ever sends a status: what is acknowledged was acknowledged for its
//! own sake.

use crate::common::{segment_end, wait_replayed, write};
use anyhow::{Result, ensure};
use harness::embedded::Embedded;
use harness::load::{Load, percentile};
use harness::receiver::Launch;
use harness::server::{Builder, Server};
use harness::slow_disk::SlowDisk;
use harness::tap::{self, Tap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wal_agent::store::FlushMode;

/// What the agent calls itself.
const STANDBY: &str = "replica";

fn server_without_timers(major: u32) -> Builder {
    Server::builder(major).wal_segsize(1).config("wal_sender_timeout", "0")
}

fn agent() -> Result<Launch> {
    Ok(Launch::wal_agent()?.name(STANDBY).slot("replica").synchronous().status_interval(3600).arg("-v"))
}

/// Makes the agent, which streams, the only synchronous standby.
async fn depend_on_agent(server: &Server) -> Result<()> {
    server.set("synchronous_standby_names", STANDBY).await?;
    server.wait_for_replication(STANDBY, "to be synchronous", |row| row.sync_state == "sync").await?;
    Ok(())
}

async fn commits_return_at_once(major: u32) -> Result<()> {
    let server = server_without_timers(major).start().await?;
    let dir = tempfile::tempdir()?;
    let mut agent = agent()?.server(&server).directory(dir.path()).spawn()?;
    agent.wait_streaming(&server).await?;
    depend_on_agent(&server).await?;
    for level in ["remote_write", "on"] {
        let load = Load::of(2).set(&format!("synchronous_commit = {level}")).start(&server).await?;
        for _ in 0..5 {
            load.wait_more(20).await?;
            server.switch_wal().await?;
        }
        load.wait_more(20).await?;
        let commits = load.stop().await;
        let median = percentile(&commits, 50);
        ensure!(median < Some(Duration::from_millis(100)), "{level}: half of the commits took longer than {median:?}");
    }

    // pg_receivewal's defect 2: where the stream pauses at the end of a segment, this end was not acknowledged.
    let start = Instant::now();
    for _ in 0..5 {
        let end = segment_end(server.switch_wal().await?, server.segment_size());
        agent.wait_flushed(&server, end).await?;
    }
    ensure!(start.elapsed() < Duration::from_secs(5), "segments' ends were acknowledged after {:?}", start.elapsed());
    Ok(())
}

on_majors! { commits_return_at_once: pg13 13 pg15 15 pg18 18 }

/// pg_receivewal's defect 1: it acknowledges only when there is nothing left to read.
async fn acknowledgements_keep_coming_while_data_does(major: u32) -> Result<()> {
    let server = server_without_timers(major).start().await?;
    server.create_slot("replica", true).await?;
    let backlog = "SELECT pg_logical_emit_message(true, 'backlog', repeat('x', 1 << 20)) FROM generate_series(1, 96)";
    server.sql(backlog).await?;
    let end = server.flush_lsn().await?;

    let tap = Tap::on(server.port()).await?;
    let dir = tempfile::tempdir()?;
    let conninfo = format!("{} application_name={STANDBY}", tap.conninfo());
    let _agent = agent()?.dbname(&conninfo).directory(dir.path()).spawn()?;
    let statuses = tap.wait_for("the backlog to be acknowledged", |statuses| {
        statuses.last().is_some_and(|status| status.flush >= end)
    });
    let statuses = statuses.await?;
    tap::check(&statuses)?;
    let advances = statuses.windows(2).filter(|pair| pair[0].flush < pair[1].flush).count();
    ensure!(advances >= 15, "96 MB were acknowledged in {advances} steps");

    // Small commits return while others keep the stream busy: 4 MB each, and the next follows as soon as it is durable.
    depend_on_agent(&server).await?;
    let mut bulk = JoinSet::new();
    for _ in 0..3 {
        let client = server.connect().await?;
        bulk.spawn(async move {
            let message = "SELECT pg_logical_emit_message(true, 'bulk', repeat('x', 4 << 20))";
            while client.simple_query(message).await.is_ok() {}
        });
    }
    let load = Load::of(1).start(&server).await?;
    load.wait_more(20).await?;
    ensure!(bulk.try_join_next().is_none(), "a session with bulk failed");
    tap::check(&tap.statuses())
}

on_majors! { acknowledgements_keep_coming_while_data_does: pg13 13 pg18 18 }

async fn remote_write_does_not_wait_for_a_slow_disk(major: u32) -> Result<()> {
    let flush_takes = Duration::from_millis(500);
    let server = server_without_timers(major).start().await?;
    let dir = tempfile::tempdir()?;
    let disk = SlowDisk::open(dir.path())?;
    let flushes = disk.flushes();
    let conninfo = format!("{} application_name={STANDBY}", server.socket_conninfo());
    let agent = Embedded::start(&conninfo, None, Arc::new(disk), dir.path(), FlushMode::Synchronous)?;
    server.wait_streaming(STANDBY).await?;
    depend_on_agent(&server).await?;
    flushes.take(flush_takes);

    let load = Load::of(2).set("synchronous_commit = remote_write").start(&server).await?;
    load.wait_more(100).await?;
    let commits = load.stop().await;
    let most = percentile(&commits, 75);
    ensure!(most < Some(Duration::from_millis(50)), "a quarter of the commits took longer than {most:?}");

    // The disk is as slow as was said: whoever waits for it notices.
    let load = Load::of(1).set("synchronous_commit = on").start(&server).await?;
    load.wait_more(2).await?;
    let least = percentile(&load.stop().await, 0);
    ensure!(least >= Some(flush_takes), "a flush took {least:?}");
    flushes.take(Duration::ZERO);
    assert_eq!(agent.stop(Duration::from_secs(10)).await?, Ok(()));
    Ok(())
}

on_majors! { remote_write_does_not_wait_for_a_slow_disk: pg13 13 pg18 18 }

/// pg_receivewal's defect 4: on a new timeline it reports what it flushed of the old one, beyond what it has written.
async fn positions_never_go_back_nor_flush_beyond_write_across_a_promotion(major: u32) -> Result<()> {
    let primary = server_without_timers(major).start().await?;
    let standby = Server::standby_of(&primary).await?;
    standby.wait_for("pg_last_wal_receive_lsn() IS NOT NULL").await?;
    let (through, quiet) = (Tap::on(standby.port()).await?, Tap::on(standby.port()).await?);
    let dirs = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut one = agent()?.dbname(&through.conninfo()).directory(dirs.0.path()).spawn()?;
    let other = Launch::wal_agent()?.name("other").slot("other").status_interval(1);
    let mut other = other.dbname(&quiet.conninfo()).directory(dirs.1.path()).spawn()?;
    for agent in [&mut one, &mut other] {
        agent.wait_streaming(&standby).await?;
    }

    let end = write(&primary).await?;
    wait_replayed(&standby, end).await?;
    for agent in [&mut one, &mut other] {
        agent.wait_flushed(&standby, end).await?;
    }
    standby.promote().await?;
    // In the segment that both timelines share, and beyond.
    for _ in 0..2 {
        let end = write(&standby).await?;
        for agent in [&mut one, &mut other] {
            let row = agent.wait_flushed(&standby, end).await?;
            ensure!(row.flush <= row.write, "{row:?}");
        }
        standby.switch_wal().await?;
    }
    for tap in [through, quiet] {
        let statuses = tap.statuses();
        tap::check(&statuses)?;
        ensure!(
            statuses.iter().all(|status| status.connection == 1),
            "it came back instead of following: {statuses:?}"
        );
    }
    Ok(())
}

on_majors! { positions_never_go_back_nor_flush_beyond_write_across_a_promotion: pg13 13 pg18 18 }
