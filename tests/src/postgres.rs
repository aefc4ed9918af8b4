//! The programs of each supported major, wherever they come from.
//!
//! Servers of all majors are builds with TLS that contain `initdb` and `postgres` only; the other tools come from builds
//! of their own, of which there is none for 13 and 14. Client tools work with servers of their own major and older ones.

mod catalogue;
mod fetch;
mod find;

pub use fetch::cache_dir;
pub use find::{Found, find_any};

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Every supported major, oldest first.
pub const MAJORS: [u32; 6] = [13, 14, 15, 16, 17, 18];

/// A directory of PostgreSQL programs of one version.
#[derive(Clone, Debug)]
pub struct Build {
    /// The major version, such as 17.
    pub major: u32,
    /// The whole version, such as `17.10`.
    pub version: String,
    bin: PathBuf,
}

impl Build {
    /// The server of `major`: `initdb`, `pg_ctl` and `postgres`, with TLS. Fetched if it is not in the cache.
    ///
    /// # Errors
    /// There is no such build, or it cannot be fetched.
    pub fn of(major: u32) -> Result<Self> {
        let build = catalogue::SERVERS.iter().find(|build| build.major() == major);
        fetch::build(build.with_context(|| format!("no server build for PostgreSQL {major} is known"))?)
    }

    /// The build whose programs lie in `bin`: what `postgres --version` says.
    ///
    /// # Errors
    /// `bin` has no `postgres` that tells its version.
    pub fn at(bin: &Path) -> Result<Self> {
        let postgres = bin.join("postgres");
        let output = std::process::Command::new(&postgres).arg("--version").output();
        let output = output.with_context(|| format!("cannot run {}", postgres.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 19beta1"
        let version = text.split_whitespace().nth(2).unwrap_or_default().to_owned();
        let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
        match version[..digits].parse() {
            Ok(major) => Ok(Self { major, version, bin: bin.to_owned() }),
            Err(_) => bail!("{} does not say its version but {text:?}", postgres.display()),
        }
    }

    /// The program `name`, if this build has it.
    pub fn bin(&self, name: &str) -> Option<PathBuf> {
        Some(self.bin.join(name)).filter(|path| path.is_file())
    }

    /// The program `name`.
    ///
    /// # Errors
    /// This build does not have it.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        self.bin(name).with_context(|| format!("{} has no {name} ({})", self.version, self.bin.display()))
    }
}

/// Programs that are no part of the servers' builds.
pub struct Tools;

impl Tools {
    /// `pg_receivewal` for servers of `major`: of that major, for 13 and 14 of 15. All have gzip; 17 has lz4 and TLS,
    /// the others neither.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn receivewal_for(major: u32) -> Result<PathBuf> {
        Self::at_least(major)?.program("pg_receivewal")
    }

    /// A `pg_receivewal` with TLS, SCRAM and lz4 for servers of `major`: 17's, which does not stream from 18.
    ///
    /// # Errors
    /// `major` is above 17, or it cannot be fetched.
    pub fn receivewal_with_tls_for(major: u32) -> Result<PathBuf> {
        if major > catalogue::TOOLS_17.major() {
            bail!("there is no build of pg_receivewal {major} with TLS");
        }
        fetch::build(&catalogue::TOOLS_17)?.program("pg_receivewal")
    }

    /// `pg_waldump`, which reads the WAL of its own major only: there is none for 13 and 14, where only a recovering
    /// server can judge.
    ///
    /// # Errors
    /// There is one, and it cannot be fetched.
    pub fn waldump(major: u32) -> Result<Option<PathBuf>> {
        let tools = catalogue::TOOLS.iter().find(|build| build.major() == major);
        tools.map(|tools| fetch::build(tools)?.program("pg_waldump")).transpose()
    }

    /// `pg_basebackup` for servers of `major`.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn basebackup_for(major: u32) -> Result<PathBuf> {
        Self::at_least(major)?.program("pg_basebackup")
    }

    /// `psql`, for any server.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn psql() -> Result<PathBuf> {
        fetch::build(&catalogue::TOOLS_17)?.program("psql")
    }

    /// `pgbench`, for any server.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn pgbench() -> Result<PathBuf> {
        fetch::build(&catalogue::TOOLS_17)?.program("pgbench")
    }

    /// The one build with a server, TLS and all tools.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn complete() -> Result<Build> {
        fetch::build(&catalogue::TOOLS_17)
    }

    /// All tools of the oldest build that is not older than `major`.
    ///
    /// # Errors
    /// There is none, or it cannot be fetched.
    pub fn at_least(major: u32) -> Result<Build> {
        let tools = catalogue::TOOLS.iter().find(|build| build.major() >= major);
        fetch::build(tools.with_context(|| format!("no tools for PostgreSQL {major} are known"))?)
    }
}

/// Fetches every build there is, so that no test has to.
///
/// # Errors
/// One cannot be fetched.
pub fn fetch_all() -> Result<()> {
    catalogue::SERVERS.iter().chain(catalogue::TOOLS).try_for_each(|build| fetch::build(build).map(drop))
}
