//! The directory of a server (or of what else must not outlive its owner), and what a killed process leaves of it.
//!
//! A file in it is locked as long as its owner lives: a directory that nobody locks is an orphan, to be swept.

use crate::account::{self, Account};
use crate::process;
use anyhow::{Context, Result};
use rustix::process::Pid;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "walr-";
const OWNER: &str = "owner";

/// A temporary directory that the server's account owns and others may enter: the socket is in it.
#[derive(Debug)]
pub(crate) struct Home {
    dir: TempDir,
    _owner: File,
}

impl Home {
    /// A new one in `base`, an existing directory.
    pub(crate) fn new(base: &Path, account: Option<Account>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base);
        let dir = dir.with_context(|| format!("no temporary directory in {}", base.display()))?;
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        // Locked before it has its name: no sweep meets it unlocked.
        let new = dir.path().join("owner.new");
        let owner = File::create(&new)?;
        owner.lock()?;
        fs::rename(new, dir.path().join(OWNER))?;
        account::give(dir.path(), account)?;
        Ok(Self { dir, _owner: owner })
    }

    /// A new one on the same file system.
    pub(super) fn beside(&self, account: Option<Account>) -> Result<Self> {
        Self::new(self.base(), account)
    }

    /// Where this directory was made.
    pub(crate) fn base(&self) -> &Path {
        self.path().parent().unwrap_or(self.path())
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the directory in place for good.
    pub(super) fn keep(&mut self) {
        // If it stays, a later sweep may take it: no more than a user could do.
        let _ = fs::remove_file(self.path().join(OWNER));
        self.dir.disable_cleanup(true);
    }
}

/// Ends the servers whose owners were killed before they could do it, and removes their directories.
pub fn sweep() {
    sweep_below(&std::env::temp_dir());
}

/// [`sweep`] for directories that were made in `base`.
pub(crate) fn sweep_below(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        // Without this file the directory is somebody's who wanted to keep it.
        let Ok(owner) = File::open(entry.path().join(OWNER)) else { continue };
        if owner.try_lock().is_ok() {
            end_server(&entry.path().join("data"));
            // What cannot be removed is another user's.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn end_server(data_dir: &Path) {
    let pid = fs::read_to_string(data_dir.join("postmaster.pid")).ok();
    let Some(pid) = pid.and_then(|text| text.lines().next()?.parse().ok()).and_then(Pid::from_raw) else { return };
    // The number may be another process's by now.
    let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    if String::from_utf8_lossy(&command).contains(&*data_dir.to_string_lossy()) {
        process::kill_family(pid);
    }
}
