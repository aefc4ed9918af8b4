//! Replication slots: who creates them, what they reserve, and where a stream through one begins.

use crate::common::{names, segment_name, write};
use anyhow::{Result, ensure};
use harness::compare;
use harness::receiver::Launch;
use harness::server::{Server, Stop};
use std::os::unix::fs::symlink;
use std::path::Path;

async fn server(major: u32) -> Result<Server> {
    Server::builder(major).wal_segsize(1).start().await
}

/// An agent with a slot over the unix socket, its directory and `-v`.
fn agent(server: &Server, dir: &Path, slot: &str) -> Result<Launch> {
    Ok(Launch::wal_agent()?.server(server).directory(dir).slot(slot).status_interval(1).arg("-v"))
}

async fn slots(server: &Server) -> Result<String> {
    server.value("SELECT count(*) FROM pg_replication_slots").await
}

/// Where `slot` holds back WAL from: the name of the segment.
async fn restart_segment(server: &Server, slot: &str) -> Result<String> {
    let query = format!("SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '{slot}'");
    Ok(segment_name(server.lsn(&query).await?, 1, server.segment_size()))
}

async fn a_missing_slot_is_created_and_holds_wal_from_the_last_checkpoint(major: u32) -> Result<()> {
    let server = server(major).await?;
    server.sql("CHECKPOINT").await?;
    let reserved = server.current_walfile().await?;
    server.switch_wal().await?;
    server.switch_wal().await?;

    let dir = tempfile::tempdir()?;
    let mut agent = agent(&server, dir.path(), "wal_replica")?.spawn()?;
    agent.wait_for_line("created replication slot \"wal_replica\", which was missing").await?;
    let end = write(&server).await?;
    agent.wait_flushed(&server, end).await?;
    assert_eq!(server.slot("wal_replica", "slot_type").await?.as_deref(), Some("physical"));
    assert_eq!(server.slot("wal_replica", "temporary").await?.as_deref(), Some("f"));
    assert_eq!(agent.stop().await?.code, Some(0));

    // Only a slot that reserves from its creation on gives the two segments that were finished before.
    assert_eq!(names(dir.path())?.first(), Some(&reserved));
    let equal = compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    ensure!(equal.segments == 2 && equal.partials == 1, "{equal:?}");
    // The last status came before the end: the slot holds nothing that is here already.
    ensure!(server.lsn("SELECT restart_lsn FROM pg_replication_slots").await? >= end);
    Ok(())
}

on_majors! { a_missing_slot_is_created_and_holds_wal_from_the_last_checkpoint: pg13 13 pg15 15 pg18 18 }

/// The directory says where to go on, so the slot is met only by START_REPLICATION on 13.
async fn a_slot_lost_later_is_created_again(major: u32) -> Result<()> {
    let server = server(major).await?;
    let dir = tempfile::tempdir()?;
    let mut first = agent(&server, dir.path(), "wal_replica")?.spawn()?;
    first.wait_streaming(&server).await?;
    first.stop().await?;
    server.wait_for("(SELECT NOT active FROM pg_replication_slots)").await?;
    server.sql("SELECT pg_drop_replication_slot('wal_replica')").await?;
    server.switch_wal().await?;

    let mut second = agent(&server, dir.path(), "wal_replica")?.spawn()?;
    second.wait_for_line("created replication slot").await?;
    second.wait_flushed(&server, write(&server).await?).await?;
    assert_eq!(second.stop().await?.code, Some(0));
    ensure!(server.slot("wal_replica", "restart_lsn").await?.is_some());
    compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    Ok(())
}

on_majors! { a_slot_lost_later_is_created_again: pg13 13 pg18 18 }

/// The server of another cluster is left as it was: its identity is checked before anything is created.
async fn no_slot_is_created_for_a_directory_of_another_cluster(major: u32) -> Result<()> {
    let (owner, stranger) = (server(major).await?, server(major).await?);
    let dir = tempfile::tempdir()?;
    let mut receiver = Launch::pg_receivewal(major)?.server(&owner).directory(dir.path()).status_interval(1).spawn()?;
    receiver.wait_received(&owner, write(&owner).await?).await?;
    receiver.stop().await?;
    let before = names(dir.path())?;

    let ended = agent(&stranger, dir.path(), "wal_replica")?.run().await?;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(slots(&stranger).await?, "0");
    assert_eq!(names(dir.path())?, before);
    Ok(())
}

on_majors! { no_slot_is_created_for_a_directory_of_another_cluster: pg13 13 pg18 18 }

/// As in pg_receivewal, whose messages these are.
async fn creating_and_dropping_are_jobs_of_their_own(major: u32) -> Result<()> {
    let server = server(major).await?;
    let dir = tempfile::tempdir()?;
    for (launch, program) in
        [(Launch::pg_receivewal as fn(u32) -> Result<Launch>, "pg_receivewal"), (|_| Launch::wal_agent(), "wal-agent")]
    {
        let run = async |args: &[&str]| {
            launch(major)?.server(&server).slot("one").directory(dir.path()).args(args).run().await
        };
        let created = run(&["--create-slot"]).await?;
        assert_eq!((created.code, created.stderr.as_str()), (Some(0), ""));
        assert_eq!(server.slot("one", "slot_type").await?.as_deref(), Some("physical"));
        assert_eq!(server.slot("one", "restart_lsn").await?, None);

        let again = run(&["--create-slot"]).await?;
        let expected = format!(
            "{program}: error: could not send replication command \"CREATE_REPLICATION_SLOT \"one\" PHYSICAL\": \
             ERROR:  replication slot \"one\" already exists"
        );
        assert_eq!((again.code, again.stderr.as_str()), (Some(1), expected.as_str()));
        assert_eq!(run(&["--create-slot", "--if-not-exists"]).await?.code, Some(0));

        let dropped = run(&["--drop-slot", "-v"]).await?;
        let expected = format!("{program}: dropping replication slot \"one\"");
        assert_eq!((dropped.code, dropped.stderr.as_str()), (Some(0), expected.as_str()));
        assert_eq!(run(&["--drop-slot"]).await?.code, Some(1));
        assert_eq!(slots(&server).await?, "0");
    }
    assert_eq!(names(dir.path())?, Vec::<String>::new());
    Ok(())
}

on_majors! { creating_and_dropping_are_jobs_of_their_own: pg13 13 pg18 18 }

async fn an_empty_directory_begins_where_the_slot_does(major: u32) -> Result<()> {
    let server = server(major).await?;
    server.create_slot("kept", true).await?;
    let reserved = restart_segment(&server, "kept").await?;
    for _ in 0..3 {
        server.switch_wal().await?;
    }
    let dir = tempfile::tempdir()?;
    let mut agent = agent(&server, dir.path(), "kept")?.spawn()?;
    agent.wait_flushed(&server, write(&server).await?).await?;
    let ended = agent.stop().await?;
    ensure!(!ended.stderr.contains("warning"), "{}", ended.stderr);
    assert_eq!(names(dir.path())?.first(), Some(&reserved));
    let equal = compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    ensure!(equal.segments == 3 && equal.partials == 1, "{equal:?}");
    Ok(())
}

on_majors! { an_empty_directory_begins_where_the_slot_does: pg13 13 pg15 15 pg18 18 }

/// Before 15 a slot's position is to be had in SQL only.
#[tokio::test]
async fn where_13_allows_no_sql_streaming_begins_at_the_present_with_a_warning() -> Result<()> {
    let builder = Server::builder(13).wal_segsize(1).hba("host replication all all trust");
    let server = builder.start().await?;
    server.create_slot("kept", true).await?;
    server.switch_wal().await?;
    write(&server).await?;
    let present = server.current_walfile().await?;
    let dir = tempfile::tempdir()?;
    let launch = Launch::wal_agent()?.dbname(&server.tcp_conninfo("127.0.0.1")).directory(dir.path()).slot("kept");
    let mut agent = launch.status_interval(1).spawn()?;
    let warned = agent.wait_for_line("could not learn where replication slot \"kept\" begins").await?;
    ensure!(warned.starts_with("wal-agent: warning: ") && warned.contains("no pg_hba.conf entry"), "{warned}");
    agent.wait_flushed(&server, write(&server).await?).await?;
    agent.stop().await?;
    assert_eq!(names(dir.path())?, [format!("{present}.partial")]);

    // One that is missing is created there, too: START_REPLICATION tells that it is.
    let dir = tempfile::tempdir()?;
    let launch = Launch::wal_agent()?.dbname(&server.tcp_conninfo("127.0.0.1")).directory(dir.path()).slot("missing");
    let mut agent = launch.status_interval(1).spawn()?;
    agent.wait_for_line("created replication slot \"missing\"").await?;
    agent.wait_flushed(&server, write(&server).await?).await?;
    assert_eq!(agent.stop().await?.code, Some(0));
    Ok(())
}

async fn a_slot_that_shall_not_be_created_is_waited_for(major: u32) -> Result<()> {
    let server = server(major).await?;
    let dir = tempfile::tempdir()?;
    let launch = || Ok::<_, anyhow::Error>(agent(&server, dir.path(), "later")?.arg("--no-create-slot"));
    let ended = launch()?.arg("--no-loop").run().await?;
    assert_eq!(ended.code, Some(1));
    ensure!(ended.stderr.contains("wal-agent: error: replication slot \"later\" does not exist"), "{}", ended.stderr);
    assert_eq!(slots(&server).await?, "0");

    let mut agent = launch()?.spawn()?;
    agent.wait_for_line("replication slot \"later\" does not exist").await?;
    assert_eq!(slots(&server).await?, "0");
    server.create_slot("later", true).await?;
    agent.wait_flushed(&server, write(&server).await?).await?;
    assert_eq!(agent.stop().await?.code, Some(0));
    Ok(())
}

on_majors! { a_slot_that_shall_not_be_created_is_waited_for: pg13 13 pg18 18 }

/// Existing scripts rely on it.
async fn under_the_name_of_pg_receivewal_no_slot_is_created(major: u32) -> Result<()> {
    let server = server(major).await?;
    let home = tempfile::tempdir()?;
    let link = home.path().join("pg_receivewal");
    symlink(harness::agent::binary(harness::agent::Profile::Dev)?, &link)?;
    // With an empty directory, and with one that says where to go on.
    for fill in [false, true] {
        let dir = tempfile::tempdir()?;
        if fill {
            let mut receiver = Launch::wal_agent()?.server(&server).directory(dir.path()).status_interval(1).spawn()?;
            receiver.wait_received(&server, write(&server).await?).await?;
            receiver.stop().await?;
        }
        let launch = Launch::program(&link).server(&server).directory(dir.path()).slot("none");
        let ended = launch.arg("--no-loop").run().await?;
        assert_eq!(ended.code, Some(1));
        let lines: Vec<&str> = ended.stderr.lines().collect();
        ensure!(lines.iter().all(|line| line.starts_with("pg_receivewal: error: ")), "{lines:?}");
        ensure!(lines.len() == 2 && lines[0].contains("replication slot \"none\" does not exist"), "{lines:?}");
        assert_eq!(lines[1], "pg_receivewal: error: disconnected");
        assert_eq!(slots(&server).await?, "0");
    }
    Ok(())
}

on_majors! { under_the_name_of_pg_receivewal_no_slot_is_created: pg13 13 pg18 18 }

/// They begin with a digit, or are words of the replication grammar.
async fn names_that_need_quotes_are_quoted(major: u32) -> Result<()> {
    let mut server = server(major).await?;
    let longest = "9".repeat(63);
    for name in ["0", "2nd_replica", "physical", "slot", "timeline", longest.as_str()] {
        let dir = tempfile::tempdir()?;
        let mut streaming = agent(&server, dir.path(), name)?.spawn()?;
        streaming.wait_flushed(&server, write(&server).await?).await?;
        assert_eq!(server.slot(name, "active").await?.as_deref(), Some("t"));
        assert_eq!(streaming.stop().await?.code, Some(0));
        server.wait_for("(SELECT NOT active FROM pg_replication_slots)").await?;
        let ended = Launch::wal_agent()?.server(&server).slot(name).arg("--drop-slot").run().await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let ended = Launch::wal_agent()?.server(&server).slot(name).arg("--create-slot").run().await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        server.sql(&format!("SELECT pg_drop_replication_slot('{name}')")).await?;
    }
    server.stop(Stop::Fast).await
}

on_majors! { names_that_need_quotes_are_quoted: pg13 13 pg15 15 pg18 18 }
