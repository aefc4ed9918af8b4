//! PostgreSQL's own test plan for pg_receivewal, group by group, for the agent, for the agent under the name of the
//! program that it replaces, and for that program itself, which shows that the plan is understood.
//!
//! Groups 12 to 14 are about compressed segments.

use crate::common::{names, only_partial, write};
use anyhow::{Context, Result, ensure};
use harness::receiver::{Ended, Launch};
use harness::server::Server;
use harness::{agent, compare};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wal_agent::wal::Lsn;

/// The program under test.
struct Subject {
    path: PathBuf,
    /// Holds the symbolic link, if there is one.
    _dir: Option<TempDir>,
    /// Whether it creates slots that are missing.
    creates_slots: bool,
}

impl Subject {
    fn wal_agent(_: u32) -> Result<Self> {
        Ok(Self { path: agent::binary(agent::Profile::Dev)?, _dir: None, creates_slots: true })
    }

    fn drop_in(_: u32) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("pg_receivewal");
        symlink(agent::binary(agent::Profile::Dev)?, &path)?;
        Ok(Self { path, _dir: Some(dir), creates_slots: false })
    }

    fn pg_receivewal(major: u32) -> Result<Self> {
        let path = harness::postgres::Tools::receivewal_for(major)?;
        Ok(Self { path, _dir: None, creates_slots: false })
    }

    fn launch(&self) -> Launch {
        Launch::program(&self.path)
    }

    async fn run(&self, args: &[&str]) -> Result<Ended> {
        self.launch().args(args).run().await
    }

    /// Runs and expects a failure that says `message`, as this program would.
    async fn fails(&self, args: &[&str], message: &str) -> Result<()> {
        self.expect_failure(self.launch().args(args), message).await
    }

    async fn expect_failure(&self, launch: Launch, message: &str) -> Result<()> {
        let ended = launch.run().await?;
        let expected = format!("{}: error: {message}", self.path.file_name().context("a name")?.display());
        ensure!(ended.code == Some(1) && ended.stderr.contains(&expected), "expected was {expected:?}: {ended:?}");
        Ok(())
    }

    /// Streams until `end` has been passed and expects success.
    async fn stream_to(&self, server: &Server, dir: &Path, end: Lsn, args: &[&str]) -> Result<Ended> {
        let launch = self.launch().server(server).directory(dir).args(["--endpos", &end.to_string()]);
        let ended = launch.args(["--verbose", "--no-loop"]).args(args).run().await?;
        ensure!(ended.code == Some(0), "{ended:?}");
        Ok(ended)
    }
}

/// A test of `$group` for each subject and major listed.
macro_rules! group {
    ($group:ident: $($test:ident $subject:ident $major:literal),+) => {
        mod $group {
            $(#[tokio::test]
            async fn $test() -> anyhow::Result<()> {
                super::$group(super::Subject::$subject($major)?, $major).await
            })+
        }
    };
    (without a server: $($group:ident)+) => {
        $(group! { $group: agent wal_agent 18, drop_in drop_in 18, pg_receivewal pg_receivewal 18 })+
    };
    (with servers: $($group:ident)+) => {
        $(group! { $group:
            agent_13 wal_agent 13, agent_18 wal_agent 18, drop_in_17 drop_in 17, pg_receivewal_17 pg_receivewal 17
        })+
    };
}

group! { without a server: program_help program_version program_options_handling wrong_options }
group! { with servers: slot_creation_and_removal streaming_with_synchronous streaming_from_a_slot timeline_switch }

/// 1
async fn program_help(subject: Subject, _: u32) -> Result<()> {
    let ended = subject.run(&["--help"]).await?;
    ensure!(ended.code == Some(0) && !ended.stdout.is_empty() && ended.stderr.is_empty(), "{ended:?}");
    ensure!(ended.stdout.lines().all(|line| line.chars().count() <= 95), "{}", ended.stdout);
    assert_eq!(subject.run(&["-?"]).await?.stdout, ended.stdout);
    Ok(())
}

/// 2
async fn program_version(subject: Subject, _: u32) -> Result<()> {
    let ended = subject.run(&["--version"]).await?;
    ensure!(ended.code == Some(0) && !ended.stdout.is_empty() && ended.stderr.is_empty(), "{ended:?}");
    assert_eq!(subject.run(&["-V"]).await?.stdout, ended.stdout);
    Ok(())
}

/// 3
async fn program_options_handling(subject: Subject, _: u32) -> Result<()> {
    let ended = subject.run(&["--not-a-valid-option"]).await?;
    ensure!(ended.code == Some(1) && ended.stdout.is_empty(), "{ended:?}");
    ensure!(ended.stderr.contains("unrecognized option '--not-a-valid-option'"), "{ended:?}");
    Ok(())
}

/// 4 to 8
async fn wrong_options(subject: Subject, _: u32) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path().to_str().context("a path")?;
    subject.fails(&[], "no target directory specified").await?;
    let both = ["-D", dir, "--create-slot", "--drop-slot"];
    subject.fails(&both, "cannot use --create-slot together with --drop-slot").await?;
    subject.fails(&["-D", dir, "--create-slot"], "--create-slot needs a slot to be specified using --slot").await?;
    let both = ["-D", dir, "--synchronous", "--no-sync"];
    subject.fails(&both, "cannot use --synchronous together with --no-sync").await?;
    let message =
        "invalid compression specification: compression algorithm \"none\" does not accept a compression level";
    subject.fails(&["-D", dir, "--compress", "none:1"], message).await
}

/// As the plan's server: small segments.
async fn server(major: u32) -> Result<Server> {
    Server::builder(major).wal_segsize(1).start().await
}

/// Finishes a segment and writes to the next one: returns a position in it that streaming can pass.
async fn next_lsn(server: &Server) -> Result<Lsn> {
    server.switch_wal().await?;
    let next = server.lsn("SELECT pg_current_wal_insert_lsn()").await?;
    write(server).await?;
    Ok(next)
}

/// 9 and 10
async fn slot_creation_and_removal(subject: Subject, major: u32) -> Result<()> {
    let server = server(major).await?;
    let run = async |action| subject.launch().server(&server).slot("test").arg(action).run().await;
    assert_eq!(run("--create-slot").await?.code, Some(0));
    assert_eq!(server.slot("test", "slot_type").await?.as_deref(), Some("physical"));
    assert_eq!(server.slot("test", "restart_lsn").await?, None);
    assert_eq!(run("--drop-slot").await?.code, Some(0));
    assert_eq!(server.value("SELECT count(*) FROM pg_replication_slots").await?, "0");
    Ok(())
}

/// 11 and 15
async fn streaming_with_synchronous(subject: Subject, major: u32) -> Result<()> {
    let server = server(major).await?;
    let dir = tempfile::tempdir()?;
    server.sql("CREATE TABLE test_table (x integer)").await?;
    let end = next_lsn(&server).await?;
    subject.stream_to(&server, dir.path(), end, &["--synchronous"]).await?;
    only_partial(dir.path())?;
    check_modes(dir.path())?;
    compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    Ok(())
}

/// Everything is its owner's alone.
fn check_modes(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let (mode, expected) = (fs::metadata(&path)?.permissions().mode(), if path.is_dir() { 0o700 } else { 0o600 });
        ensure!(mode & 0o7777 == expected, "{} has mode {mode:o}", path.display());
        if path.is_dir() {
            check_modes(&path)?;
        }
    }
    Ok(())
}

/// 16
async fn streaming_from_a_slot(subject: Subject, major: u32) -> Result<()> {
    let server = server(major).await?;
    let dir = tempfile::tempdir()?;
    server.sql("CHECKPOINT").await?;
    server.create_slot("archive_slot", true).await?;
    let walfile = "SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots WHERE slot_name = 'archive_slot'";
    let walfile = server.value(walfile).await?;
    write(&server).await?;
    let end = next_lsn(&server).await?;

    let missing = subject.launch().server(&server).directory(dir.path()).slot("nonexistentslot");
    let mut missing = missing.args(["--no-loop", "--no-sync", "--verbose", "--endpos", &end.to_string()]);
    if subject.creates_slots {
        missing = missing.arg("--no-create-slot");
    }
    subject.expect_failure(missing, "replication slot \"nonexistentslot\" does not exist").await?;
    assert_eq!(names(dir.path())?, Vec::<String>::new());

    subject.stream_to(&server, dir.path(), end, &["--slot", "archive_slot", "--no-sync"]).await?;
    ensure!(dir.path().join(walfile).is_file(), "{:?}", names(dir.path())?);
    compare::with_server(dir.path(), &server.wal_dir(), server.segment_size())?;
    Ok(())
}

/// 17
async fn timeline_switch(subject: Subject, major: u32) -> Result<()> {
    let primary = server(major).await?;
    let standby = Server::standby_of(&primary).await?;
    standby.create_slot("archive_slot", true).await?;
    let restart = standby.slot("archive_slot", "restart_lsn").await?.context("it reserves WAL")?;
    primary.switch_wal().await?;
    let end = write(&primary).await?;
    crate::common::wait_replayed(&standby, end).await?;
    let before = primary.value(&format!("SELECT pg_walfile_name('{restart}')")).await?;

    standby.promote().await?;
    let after = standby.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
    write(&standby).await?;
    let end = next_lsn(&standby).await?;

    let dir = tempfile::tempdir()?;
    subject.stream_to(&standby, dir.path(), end, &["--slot", "archive_slot", "--no-sync"]).await?;
    for name in [before.as_str(), after.as_str(), "00000002.history"] {
        ensure!(dir.path().join(name).is_file(), "{name} is missing: {:?}", names(dir.path())?);
    }
    ensure!(before.starts_with("00000001") && after.starts_with("00000002"), "{before} {after}");
    compare::with_server(dir.path(), &standby.wal_dir(), standby.segment_size())?;
    Ok(())
}
