//! Finding a PostgreSQL that is already on the machine.

use super::{Build, catalogue, fetch};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// What a server with a base backup needs.
const NEEDED: [&str; 3] = ["initdb", "postgres", "pg_basebackup"];

/// A build, and where it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The build: server, `initdb` and `pg_basebackup` at least.
    pub build: Build,
    /// Where it is, to be told to the user.
    pub origin: String,
}

/// A complete PostgreSQL of a supported major or newer: on PATH, else the newest in the distributions' usual places,
/// else the fetched one.
///
/// # Errors
/// None is there and none can be fetched.
pub fn find_any() -> Result<Found> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for bin in std::env::split_paths(&path) {
        if let Some(build) = complete(&bin) {
            return Ok(Found { build, origin: format!("{} (on PATH)", bin.display()) });
        }
    }
    let installed = installed().into_iter().filter_map(|bin| Some((complete(&bin)?, bin)));
    if let Some((build, bin)) = installed.max_by_key(|(build, _)| build.major) {
        return Ok(Found { build, origin: bin.display().to_string() });
    }
    let build = fetch::build(&catalogue::TOOLS_17)?;
    Ok(Found { build, origin: format!("fetched into {}", fetch::cache_dir()?.display()) })
}

/// `bin` as a build, if it has all that is needed and is not too old.
fn complete(bin: &Path) -> Option<Build> {
    let has_all = NEEDED.iter().all(|name| bin.join(name).is_file());
    has_all.then(|| Build::at(bin).ok()).flatten().filter(|build| build.major >= super::MAJORS[0])
}

/// Directories of programs where packages of distributions put them.
fn installed() -> Vec<PathBuf> {
    // (directory, beginning of its entries' names, from there to the programs)
    let versioned = [
        ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
        ("/usr", "pgsql-", "bin"),                   // PGDG's RPMs
        ("/usr/libexec", "postgresql", ""),          // Alpine
        ("/opt/homebrew/opt", "postgresql@", "bin"), // macOS
        ("/usr/local/opt", "postgresql@", "bin"),    // macOS on Intel
        ("/Library/PostgreSQL", "", "bin"),          // macOS, EDB's installer
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ];
    let mut found = vec![PathBuf::from("/usr/local/pgsql/bin"), PathBuf::from("/usr/bin")];
    for (dir, prefix, bin) in versioned {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let entries = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        found.extend(entries.map(|entry| entry.path().join(bin)));
    }
    found
}
