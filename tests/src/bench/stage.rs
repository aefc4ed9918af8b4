//! What every figure gets: the programs, a place on one file system, how much to measure, and where to say how far it is.
//!
//! What several figures share (the server with its WAL, the runs of a catch-up) is made when it is first asked for and
//! kept until the stage is dropped; then all of it is gone. What a figure starts for itself it ends itself.

use super::Options;
use super::catch_up::{CatchUp, Link};
use super::progress::Progress;
use super::source::Source;
use crate::agent::{self, Profile};
use crate::postgres::{Build, Tools};
use crate::server::{self, Builder, Home, Server};
use anyhow::{Context, Result, ensure};
use rustix::fs::statvfs;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tokio::sync::OnceCell;
use wal_agent::wal::SegmentSize;

/// Everything that figures share. Fields are dropped from first to last: the server before its directory.
#[derive(Debug)]
pub struct Stage {
    source: OnceCell<Source>,
    catch_ups: [OnceCell<CatchUp>; 2],
    options: Options,
    agent: PathBuf,
    helper: OnceLock<PathBuf>,
    build: Build,
    progress: Progress,
    scratch: Home,
}

impl Stage {
    /// Finds and builds the programs, and makes the directory.
    pub(super) fn new(options: Options, progress: Progress) -> Result<Self> {
        let base = options.base()?;
        fs::create_dir_all(&base).with_context(|| format!("cannot create {}", base.display()))?;
        server::sweep_below(&base);
        // The server's WAL and tables, and one receiver's directory.
        let needed = u64::from(options.segments) * SegmentSize::DEFAULT.bytes() * 5;
        let free = statvfs(&base).map(|stat| stat.f_bavail * stat.f_frsize)?;
        let gigabytes = |bytes: u64| bytes.div_ceil(1_000_000_000);
        ensure!(
            free > needed,
            "{} has {} GB free, and {} are needed: --dir names another place",
            base.display(),
            gigabytes(free),
            gigabytes(needed)
        );
        let scratch = Home::new(&base, None)?;
        progress.doing("building wal-agent as it is shipped: the first time takes a minute or two");
        let agent = agent::binary(options.profile)?;
        progress.doing("looking for PostgreSQL");
        let build = Tools::complete()?;
        Ok(Self {
            source: OnceCell::new(),
            catch_ups: Default::default(),
            options,
            agent,
            helper: OnceLock::new(),
            build,
            progress,
            scratch,
        })
    }

    /// The agent's program, as it is measured.
    pub fn agent(&self) -> &Path {
        &self.agent
    }

    /// How the agent was built.
    pub(super) fn agent_build(&self) -> &'static str {
        match self.options.profile {
            _ if std::env::var_os("WAL_AGENT_BIN").is_some() => "WAL_AGENT_BIN",
            Profile::Dev => "debug",
            Profile::Release => "release",
            Profile::Shipped => "release, static",
        }
    }

    /// This very program, `xtask`, as optimised as the agent: for what must not be slower than it.
    ///
    /// # Errors
    /// It does not compile.
    pub fn helper(&self) -> Result<PathBuf> {
        if let Some(helper) = self.helper.get() {
            return Ok(helper.clone());
        }
        self.doing("building xtask as optimised as wal-agent: the first time takes some minutes");
        let helper = agent::xtask(self.options.profile)?;
        Ok(self.helper.get_or_init(|| helper).clone())
    }

    /// PostgreSQL: the server with TLS, and all its tools.
    pub fn postgres(&self) -> &Build {
        &self.build
    }

    /// A server for measuring, on the file system of everything else, with `fsync = on` and nothing that writes or syncs by
    /// itself.
    pub fn server(&self) -> Builder {
        let builder = Server::builder_with(self.build.clone()).quiet().below(self.scratch.base()).fsync();
        let settings = [
            ("shared_buffers", "128MB"),
            ("max_wal_size", "64GB"),
            ("checkpoint_timeout", "1d"),
            ("wal_keep_size", "0"),
            ("log_replication_commands", "off"),
            ("max_connections", "100"),
        ];
        settings.into_iter().fold(builder, |builder, (name, value)| builder.config(name, value))
    }

    /// The directory for all that is written. Figures make their own below it and remove it.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// A new, empty directory: what has this name is removed before.
    ///
    /// # Errors
    /// The system's.
    pub fn empty_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir().join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// How many rounds.
    pub fn rounds(&self) -> u32 {
        self.options.rounds
    }

    /// Whether an impression in little time is wanted.
    pub fn quick(&self) -> bool {
        self.options.quick
    }

    /// How many segments of WAL are caught up with.
    pub fn segments(&self) -> u64 {
        self.options.segments.into()
    }

    /// Whether the figure `id` is to be measured.
    pub fn wants(&self, id: &str) -> bool {
        self.options.wants(id)
    }

    /// Says what begins now, such as `P3  round 2/5  8 clients  pg_receivewal`.
    pub fn doing(&self, what: impl Display) {
        self.progress.doing(what);
    }

    /// Says how far it is, where something can move: a line of its own would be too much.
    pub fn moving(&self, what: impl Display) {
        self.progress.moving(what);
    }

    /// Says what is to stay on the screen.
    pub fn say(&self, line: impl Display) {
        self.progress.say(line);
    }

    /// The server with its WAL.
    ///
    /// # Errors
    /// It cannot be prepared.
    pub async fn source(&self) -> Result<&Source> {
        self.source.get_or_try_init(|| Source::prepare(self)).await
    }

    /// The measured catch-ups over `link`.
    ///
    /// # Errors
    /// One of them fails.
    pub async fn catch_up(&self, link: Link) -> Result<&CatchUp> {
        self.catch_ups[link as usize].get_or_try_init(|| CatchUp::measure(self, link)).await
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }
}
