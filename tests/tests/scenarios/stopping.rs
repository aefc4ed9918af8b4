//! Ends: the server's, which never waits for us, and the agent's own, which leaves nothing unsaid and waits for nobody.

use crate::common::{write, write_and_find};
use anyhow::{Context, Result, ensure};
use harness::certs::{Authority, ServerTls, write_private};
use harness::compare;
use harness::embedded::Embedded;
use harness::load::Load;
use harness::receiver::{Launch, Receiver};
use harness::server::{Server, Stop};
use harness::slow_disk::SlowDisk;
use harness::tap::{self, Tap};
use harness::wait::DEADLINE;
use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wal_agent::exit::Exit;
use wal_agent::store::FlushMode;
use wal_agent::wal::Lsn;

/// What the agent calls itself.
const STANDBY: &str = "replica";
/// "At once" on a machine that has a lot to do; every timer in this play is longer.
const MOMENT: Duration = Duration::from_secs(3);

async fn time_to_stop(server: &mut Server, stop: Stop) -> Result<Duration> {
    let start = Instant::now();
    server.stop(stop).await?;
    Ok(start.elapsed())
}

async fn a_stopping_server_does_not_wait_for_the_agent(major: u32) -> Result<()> {
    let authority = Authority::new("tests")?;
    let tls = ServerTls { pair: authority.server()?, client_ca: None, crl: None };
    let mut server = Server::builder(major).wal_segsize(1).tls(tls).start().await?;
    let alone = time_to_stop(&mut server, Stop::Fast).await?;
    server.start().await?;

    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root.crt");
    write_private(&root, authority.pem())?;
    let port = server.port();
    let encrypted = format!("host=localhost hostaddr=127.0.0.1 port={port} user=postgres sslmode=verify-full");
    let encrypted = format!("{encrypted} sslrootcert={}", root.display());
    let plain = format!("{} sslmode=disable", server.tcp_conninfo("127.0.0.1"));
    for (name, conninfo, synchronous) in [("a", &plain, false), ("b", &plain, true), ("c", &encrypted, true)] {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir)?;
        let mut agent = Launch::wal_agent()?.name(STANDBY).dbname(conninfo).directory(&dir).slot(name);
        if synchronous {
            agent = agent.synchronous();
        }
        let mut agent = agent.arg("-v").spawn()?;
        for (stop, loaded) in [(Stop::Fast, false), (Stop::Smart, false), (Stop::Fast, true)] {
            agent.wait_streaming(&server).await?;
            let load = if loaded { Some(Load::of(2).payload(1000).start(&server).await?) } else { None };
            match &load {
                Some(load) => load.wait_more(100).await?,
                None => drop(write(&server).await?),
            }
            let took = time_to_stop(&mut server, stop).await?;
            ensure!(
                took < alone + MOMENT,
                "{stop:?} took {took:?}, {alone:?} without an agent ({conninfo}, loaded: {loaded}); {}",
                agent.stderr()
            );
            server.start().await?;
            if let Some(load) = load {
                load.stop().await;
            }
        }
        ensure!(agent.stop().await?.code == Some(0));
        compare::with_server(&dir, &server.wal_dir(), server.segment_size())?;
    }
    Ok(())
}

on_majors! { a_stopping_server_does_not_wait_for_the_agent: pg13 13 pg18 18 }

/// A walsender that shuts down answers each reply with another request: over 50 000 a second were measured.
async fn a_stopping_server_is_not_flooded_while_a_flush_takes_its_time(major: u32) -> Result<()> {
    let flush_takes = Duration::from_secs(2);
    for mode in [FlushMode::Synchronous, FlushMode::Asynchronous] {
        let mut server = Server::builder(major).wal_segsize(1).start().await?;
        let dir = tempfile::tempdir()?;
        let disk = SlowDisk::open(dir.path())?;
        let flushes = disk.flushes();
        let tap = Tap::on(server.port()).await?;
        let conninfo = format!("{} application_name={STANDBY}", tap.conninfo());
        let _agent = Embedded::start(&conninfo, Some("replica"), Arc::new(disk), dir.path(), mode)?;
        server.wait_streaming(STANDBY).await?;
        flushes.take(flush_takes);

        write(&server).await?;
        let before = tap.statuses().len();
        let took = time_to_stop(&mut server, Stop::Fast).await?;
        let statuses = tap.statuses();
        let sent = statuses.len() - before;
        // At least one flush, at most the one under way and the one that holds the shutdown checkpoint.
        ensure!(took >= flush_takes && took < 3 * flush_takes + MOMENT, "{mode:?}: the server stopped after {took:?}");
        ensure!((1..30).contains(&sent), "{mode:?}: {sent} statuses within {took:?}");
        tap::check(&statuses)?;
        flushes.take(Duration::ZERO);
    }
    Ok(())
}

on_majors! { a_stopping_server_is_not_flooded_while_a_flush_takes_its_time: pg13 13 pg18 18 }

/// pg_receivewal's defect 3: it leaves without a word, and the slot keeps what was received since the last one.
async fn the_slot_keeps_nothing_that_was_received_before_the_agent_left(major: u32) -> Result<()> {
    let server = Server::builder(major).wal_segsize(1).config("wal_sender_timeout", "0").start().await?;
    for (slot, signal) in [("interrupted", Signal::INT), ("terminated", Signal::TERM)] {
        let dir = tempfile::tempdir()?;
        let agent = Launch::wal_agent()?.server(&server).directory(dir.path()).slot(slot);
        let mut agent = agent.status_interval(3600).arg("-v").spawn()?;
        agent.wait_streaming(&server).await?;
        let end = write_and_find(&server, dir.path(), slot).await?;
        agent.signal(signal)?;
        let ended = agent.wait_exit(DEADLINE).await?;
        ensure!(ended.code == Some(0), "{ended:?}");
        let kept: Lsn = server.slot(slot, "restart_lsn").await?.context("it keeps nothing")?.parse()?;
        ensure!(kept >= end, "{slot}: received up to {end}, but the slot keeps {kept}");
    }
    Ok(())
}

on_majors! { the_slot_keeps_nothing_that_was_received_before_the_agent_left: pg13 13 pg18 18 }

#[tokio::test]
async fn a_hanging_disk_does_not_hold_the_agent_and_is_not_called_success() -> Result<()> {
    let server = Server::builder(17).wal_segsize(1).start().await?;
    for mode in [FlushMode::Synchronous, FlushMode::Asynchronous] {
        let dir = tempfile::tempdir()?;
        let disk = SlowDisk::open(dir.path())?;
        let flushes = disk.flushes();
        let agent = Embedded::start(&server.socket_conninfo(), None, Arc::new(disk), dir.path(), mode)?;
        let streaming = "(SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming')";
        server.wait_for(streaming).await?;
        flushes.hang();
        write_and_find(&server, dir.path(), "never durable").await?;
        let start = Instant::now();
        let outcome = agent.stop(DEADLINE).await?;
        let took = start.elapsed();
        assert_eq!((outcome, Exit::StopIncomplete.code()), (Err(Exit::StopIncomplete), 6));
        ensure!(took < Duration::from_secs(5), "{mode:?}: it took {took:?}");
        flushes.take(Duration::ZERO);
    }
    Ok(())
}

/// A server whose walsender is stopped, and the agent that streams from it.
async fn with_a_hanging_server() -> Result<(Server, Receiver, tempfile::TempDir)> {
    let server = Server::builder(17).wal_segsize(1).start().await?;
    let dir = tempfile::tempdir()?;
    let agent = Launch::wal_agent()?.server(&server).directory(dir.path()).slot("replica").synchronous().arg("-v");
    let mut agent = agent.spawn()?;
    agent.wait_streaming(&server).await?;
    write(&server).await?;
    let walsender = server.value("SELECT pid FROM pg_stat_replication").await?.parse()?;
    kill_process(Pid::from_raw(walsender).context("no process")?, Signal::STOP)?;
    Ok((server, agent, dir))
}

#[tokio::test]
async fn a_hanging_server_does_not_hold_the_agent() -> Result<()> {
    let (_server, agent, _dir) = with_a_hanging_server().await?;
    let start = Instant::now();
    agent.signal(Signal::TERM)?;
    let ended = agent.wait_exit(DEADLINE).await?;
    // Everything received is durable; only nobody listened to the goodbye.
    ensure!(ended.code == Some(0), "{ended:?}");
    ensure!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_the_agent_at_once() -> Result<()> {
    let (_server, agent, _dir) = with_a_hanging_server().await?;
    // Both are there when it goes on, so that none can come too late; which of them is the second one is open.
    agent.signal(Signal::STOP)?;
    agent.signal(Signal::INT)?;
    agent.signal(Signal::TERM)?;
    agent.signal(Signal::CONT)?;
    let ended = agent.wait_exit(DEADLINE).await?;
    ensure!(matches!(ended.code, Some(130 | 143)), "{ended:?}");
    Ok(())
}
