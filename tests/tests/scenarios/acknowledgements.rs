//! What is reported without `--synchronous`, and when: as pg_receivewal, and never later.

use crate::common::{segment_end, write, write_and_find};
use anyhow::{Result, ensure};
use harness::receiver::Launch;
use harness::server::Server;
use harness::tap::{self, Tap};
use std::time::Duration;
use wal_agent::wal::Lsn;

async fn without_a_slot_nothing_is_reported_as_flushed(major: u32) -> Result<()> {
    let server = Server::builder(major).wal_segsize(1).start().await?;
    let dir = tempfile::tempdir()?;
    let mut agent = Launch::wal_agent()?.server(&server).directory(dir.path()).status_interval(1).spawn()?;
    for _ in 0..2 {
        let end = segment_end(server.switch_wal().await?, server.segment_size());
        let row = agent.wait_received(&server, end).await?;
        assert_eq!(row.flush, Lsn::INVALID, "{row:?}");
        let end = write(&server).await?;
        agent.wait_received(&server, end).await?;
    }
    Ok(())
}

on_majors! { without_a_slot_nothing_is_reported_as_flushed: pg13 13 pg18 18 }

async fn with_a_slot_flush_follows_segments_and_requests(major: u32) -> Result<()> {
    let server = Server::builder(major).wal_segsize(1).config("wal_sender_timeout", "0").start().await?;
    let dir = tempfile::tempdir()?;
    let agent = Launch::wal_agent()?.server(&server).directory(dir.path()).slot("replica");
    let mut agent = agent.status_interval(3600).spawn()?;
    agent.wait_streaming(&server).await?;

    // A finished segment, at once.
    let end = segment_end(server.switch_wal().await?, server.segment_size());
    agent.wait_flushed(&server, end).await?;
    assert_eq!(server.lsn("SELECT restart_lsn FROM pg_replication_slots").await?, end);

    // What is in an unfinished one, when the server asks: it does after half of its timeout.
    let marked = write_and_find(&server, dir.path(), "unfinished").await?;
    let row = server.wait_streaming(agent.name()).await?;
    assert_eq!(row.flush, end, "nobody has asked yet");
    server.set("wal_sender_timeout", "2s").await?;
    agent.wait_flushed(&server, marked).await?;
    ensure!(server.lsn("SELECT restart_lsn FROM pg_replication_slots").await? >= marked);
    Ok(())
}

on_majors! { with_a_slot_flush_follows_segments_and_requests: pg13 13 pg18 18 }

async fn with_a_slot_flush_follows_the_status_interval(major: u32) -> Result<()> {
    let server = Server::builder(major).wal_segsize(1).config("wal_sender_timeout", "0").start().await?;
    let dir = tempfile::tempdir()?;
    let agent = Launch::wal_agent()?.server(&server).directory(dir.path()).slot("replica");
    let mut agent = agent.status_interval(1).spawn()?;
    agent.wait_streaming(&server).await?;
    for _ in 0..3 {
        let end = write(&server).await?;
        agent.wait_flushed(&server, end).await?;
    }
    Ok(())
}

on_majors! { with_a_slot_flush_follows_the_status_interval: pg13 13 pg18 18 }

#[tokio::test]
async fn no_sync_warns_and_reports_as_if_it_had_synced() -> Result<()> {
    let server = Server::builder(17).wal_segsize(1).start().await?;
    let (with, without) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let launch = || Ok::<_, anyhow::Error>(Launch::wal_agent()?.server(&server).status_interval(1).arg("--no-sync"));
    let mut slot = launch()?.directory(with.path()).slot("replica").spawn()?;
    let mut no_slot = launch()?.directory(without.path()).spawn()?;
    slot.wait_for_line("warning: --no-sync").await?;
    slot.wait_streaming(&server).await?;
    let end = write(&server).await?;
    let end = segment_end(server.switch_wal().await?, server.segment_size()).max(end);
    slot.wait_flushed(&server, end).await?;
    let end = write(&server).await?;
    slot.wait_flushed(&server, end).await?;
    let row = no_slot.wait_received(&server, end).await?;
    assert_eq!(row.flush, Lsn::INVALID, "{row:?}");
    Ok(())
}

/// With `-s 0`, pg_receivewal says nothing of itself, and depends on the server's asking.
async fn an_idle_agent_without_status_interval_stays_connected(major: u32) -> Result<()> {
    let timeout = Duration::from_secs(3);
    let server = Server::builder(major).config("wal_sender_timeout", "3s").start().await?;
    let tap = Tap::on(server.port()).await?;
    let dir = tempfile::tempdir()?;
    let mut agent = Launch::wal_agent()?.dbname(&tap.conninfo()).directory(dir.path()).status_interval(0).spawn()?;
    agent.wait_streaming(&server).await?;
    let since = |statuses: &[tap::Status]| match statuses {
        [first, .., last] => last.at - first.at,
        _ => Duration::ZERO,
    };
    let statuses = tap.wait_for("two timeouts to pass", |statuses| since(statuses) > 2 * timeout).await?;
    tap::check(&statuses)?;
    ensure!(statuses.iter().all(|status| status.connection == 1), "it was disconnected: {statuses:?}");
    ensure!(!server.log().contains("terminating walsender process due to replication timeout"));
    Ok(())
}

on_majors! { an_idle_agent_without_status_interval_stays_connected: pg13 13 pg18 18 }
