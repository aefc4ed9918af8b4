//! Base backups, and servers that come back from them.

use super::home::Home;
use super::{Builder, Server};
use crate::account::{self, Account};
use crate::postgres::{Build, Tools};
use crate::{process, wait};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use wal_agent::wal::SegmentSize;

/// Which WAL a base backup contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupWal {
    /// None: whatever recovery needs must come from a receiver that streamed before the backup began.
    None,
    /// What was written while it was taken.
    Stream,
}

/// A base backup, ready to become a server's data directory.
#[derive(Debug)]
pub struct Backup {
    home: Home,
    build: Build,
    account: Option<Account>,
    segment_size: SegmentSize,
}

impl Server {
    /// Takes a base backup with the pg_basebackup that fits.
    ///
    /// # Errors
    /// It cannot be had or fails.
    pub fn base_backup(&self, wal: BackupWal) -> Result<Backup> {
        let home = self.home.beside(self.account)?;
        let program = match self.build.bin("pg_basebackup") {
            Some(program) => program,
            None => Tools::basebackup_for(self.build.major)?,
        };
        let method = match wal {
            BackupWal::None => "none",
            BackupWal::Stream => "stream",
        };
        let mut command = process::command(&program, self.account);
        command.arg("-D").arg(home.path().join("data")).args(["-X", method, "-c", "fast", "--no-sync"]);
        command.arg("-d").arg(self.socket_conninfo());
        process::run(&mut command)?;
        Ok(Backup { home, build: self.build.clone(), account: self.account, segment_size: self.segment_size })
    }

    /// The `primary_conninfo` that `pg_basebackup -R` writes for a standby that uses `conninfo`. There is no
    /// `pg_basebackup` of 13 and 14.
    ///
    /// # Errors
    /// The backup fails, or holds no such line.
    pub fn primary_conninfo(&self, conninfo: &str) -> Result<String> {
        let home = self.home.beside(self.account)?;
        let data = home.path().join("data");
        let mut command = process::command(&Tools::basebackup_for(self.build.major)?, self.account);
        command.arg("-D").arg(&data).args(["-R", "-X", "none", "-c", "fast", "--no-sync", "-d", conninfo]);
        process::run(&mut command)?;
        let settings = fs::read_to_string(data.join("postgresql.auto.conf"))?;
        let line = settings.lines().find_map(|line| line.strip_prefix("primary_conninfo = '")?.strip_suffix('\''));
        Ok(line.context("pg_basebackup -R wrote no primary_conninfo")?.replace("''", "'"))
    }

    /// A hot standby of `primary` with its settings, started and streaming under the application name
    /// `standby_<port of the primary>`.
    ///
    /// # Errors
    /// As [`Builder::start_standby_of`].
    pub async fn standby_of(primary: &Self) -> Result<Self> {
        Self::builder_with(primary.build.clone()).start_standby_of(primary).await
    }

    /// A server from `backup` and the segments of a receiver's directory, its `.partial` too: replayed to the end of the
    /// newest timeline, promoted, running.
    ///
    /// `wal_dir` is copied first: recovery reads the copy, as another account may have to.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn recover_from(backup: Backup, wal_dir: &Path) -> Result<Self> {
        let builder = Self::builder_with(backup.build.clone());
        Self::recover_with(builder, backup, wal_dir).await
    }

    /// [`Server::recover_from`] with the build and the settings of `builder`; what is not set there is as in the backup.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn recover_with(builder: Builder, backup: Backup, wal_dir: &Path) -> Result<Self> {
        let mut server = builder.create_from(backup)?;
        let archive = server.home.path().join("archive");
        copy_files(wal_dir, &archive)?;
        account::give(&archive, server.account)?;
        let archive = archive.display();
        let restore = format!("cp \"{archive}/%f\" \"%p\" || cp \"{archive}/%f.partial\" \"%p\"");
        server.instance.push(("restore_command".into(), restore));
        server.instance.push(("recovery_target_timeline".into(), "latest".into()));
        let signal = server.data_dir().join("recovery.signal");
        fs::write(&signal, "")?;
        account::give(&signal, server.account)?;
        server.start().await?;
        // The server opens for reading as soon as it is consistent: only the end of recovery is what was asked for.
        server.wait_for_within("NOT pg_is_in_recovery()", 4 * wait::DEADLINE).await?;
        Ok(server)
    }
}

impl Backup {
    /// The backup's files: a data directory.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The segment size of the cluster.
    pub fn segment_size(&self) -> SegmentSize {
        self.segment_size
    }

    /// Where its directory was made.
    pub(super) fn base(&self) -> &Path {
        self.home.base()
    }

    /// Another copy, to recover from the same backup more than once.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn copy(&self) -> Result<Self> {
        let home = self.home.beside(self.account)?;
        let to = home.path().join("data");
        process::run(std::process::Command::new("cp").arg("-a").arg(self.dir()).arg(&to))?;
        Ok(Self { home, build: self.build.clone(), account: self.account, segment_size: self.segment_size })
    }

    pub(super) fn move_to(self, data_dir: &Path) -> Result<()> {
        fs::rename(self.dir(), data_dir).context("cannot move the backup into its place")
    }
}

/// Copies the files of a flat directory into a new one.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
