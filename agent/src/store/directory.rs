//! The directory as a whole: its lock, the cluster it belongs to, its histories.
//!
//! A directory that `pg_receivewal` filled is adopted: once, the header of every segment in it must name the server's
//! cluster; from then on the identity record speaks for them, and no old segment is read again.

use super::{
    Claim,
    error::StoreError,
    fs::{File, FileSystem, Open},
    identity::Identity,
    inventory::Inventory,
};
use crate::wal::{Compression, FirstPage, HistoryFile, HistoryName, PageError, SegmentFile, SegmentSize};
use std::{
    cell::Cell,
    io::{self, IoSlice},
    path::PathBuf,
    sync::Arc,
};

const STATE: &str = ".wal-agent";
const LOCK: &str = ".wal-agent/lock";
const IDENTITY: &str = ".wal-agent/identity";
/// A file for the next segment, while it is being prepared.
pub(super) const SPARE: &str = ".wal-agent/spare";

/// A directory, and the lock on it once that is taken.
pub(super) struct Directory {
    pub(super) fs: Arc<dyn FileSystem>,
    /// For messages only.
    path: PathBuf,
    /// Held until this value goes.
    lock: Option<Arc<dyn File>>,
    /// The identity record is known to be durable.
    settled: bool,
    /// The file system has been found unable to reserve space, and that has been said.
    pub(super) cannot_reserve: Cell<bool>,
}

impl Directory {
    pub(super) fn new(fs: Arc<dyn FileSystem>, path: PathBuf) -> Self {
        Self { fs, path, lock: None, settled: false, cannot_reserve: Cell::new(false) }
    }

    /// Wraps a system error; an empty name stands for the directory itself.
    pub(super) fn io(&self, doing: &'static str, name: &str, source: io::Error) -> StoreError {
        StoreError::Io { doing, path: self.path_of(name), source }
    }

    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    /// Takes the lock if an agent has been here before; a directory that none has used is left as it is.
    pub(super) fn lock_if_used(&mut self) -> Result<(), StoreError> {
        match self.fs.len(LOCK).map_err(|error| self.io("stat file", LOCK, error))? {
            Some(_) => self.lock(),
            None => Ok(()),
        }
    }

    /// Whether this directory may hold the WAL of `claim`'s cluster, and what is in it. Nothing is changed: the server may
    /// still refuse to stream.
    pub(super) fn inspect(&mut self, claim: &Claim) -> Result<Inventory, StoreError> {
        self.lock_if_used()?;
        match self.recorded_identity()? {
            Some(found) => self.check_identity(found, claim.identity)?,
            None => self.check_segments(claim)?,
        }
        self.fs.check_writable().map_err(|error| self.io("write to directory", "", error))?;
        Inventory::take(self.fs.as_ref(), claim.identity.segment_size, |doing, name, error| self.io(doing, name, error))
    }

    /// Makes this directory, which was inspected, ours and `claim`'s cluster's.
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<(), StoreError> {
        self.fs.make_directory(STATE, 0o700).map_err(|error| self.io("create directory", STATE, error))?;
        self.lock()?;
        // Before the lock was ours, somebody else may have recorded another cluster.
        let recorded = self.recorded_identity()?;
        if let Some(found) = recorded {
            self.check_identity(found, claim.identity)?;
        }
        if recorded.is_some() && self.settled {
            return Ok(());
        }
        let sync = |name: &str| self.fs.sync_directory(name).map_err(|error| self.io("fsync directory", name, error));
        match recorded {
            // Whoever recorded it may have got no further.
            Some(_) => sync(STATE)?,
            None => self.write_durably(IDENTITY, STATE, claim.identity.to_string().as_bytes(), 0o600)?,
        }
        sync(".")?;
        self.settled = true;
        Ok(())
    }

    /// Compares a history with the one that is kept, if there is one; otherwise keeps it if `keep`. One that a crash has
    /// left half-written counts as not kept.
    pub(super) fn history(&self, history: &HistoryFile, keep: bool, mode: u32) -> Result<(), StoreError> {
        let name = HistoryName(history.timeline).to_string();
        match self.read(&name, history.content.len() + 1)? {
            Some(kept) if kept == history.content => Ok(()),
            Some(kept) if !is_torn(&kept, &history.content) => {
                Err(StoreError::HistoryConflict { path: self.path_of(&name) })
            }
            _ if keep => self.write_durably(&name, ".", &history.content, mode),
            _ => Ok(()),
        }
    }

    fn lock(&mut self) -> Result<(), StoreError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let io = |error| self.io("lock file", LOCK, error);
        let file = self.fs.open(LOCK, Open::Create(0o600)).map_err(io)?;
        if !file.try_lock().map_err(io)? {
            let mut holder = [0; 64];
            let read = file.read_at(&mut holder, 0).map_err(io)?;
            let holder = String::from_utf8_lossy(&holder[..read]).trim().to_owned();
            return Err(StoreError::InUse { path: self.path.clone(), holder: Some(holder).filter(|h| !h.is_empty()) });
        }
        let note = format!("process {}\n", std::process::id());
        // For a person's eyes only: a disk that has no room for it is no reason to do without the lock.
        let _ = file.set_len(0).and_then(|()| file.write_at(&mut [IoSlice::new(note.as_bytes())], 0));
        self.lock = Some(file);
        // A predecessor that crashed may have left one; if it cannot be removed now, whoever makes the next one tries again.
        let _ = self.fs.remove(SPARE);
        Ok(())
    }

    fn recorded_identity(&self) -> Result<Option<Identity>, StoreError> {
        let Some(record) = self.read(IDENTITY, Identity::MAX_LEN)? else { return Ok(None) };
        let identity = Identity::parse(&record);
        identity.map(Some).map_err(|why| StoreError::Identity { path: self.path_of(IDENTITY), why })
    }

    fn check_identity(&self, found: Identity, server: Identity) -> Result<(), StoreError> {
        let path = self.path.clone();
        if found.system != server.system {
            return Err(StoreError::ForeignCluster { path, found: found.system, server: server.system });
        }
        if found.segment_size != server.segment_size {
            let (found, server) = (found.segment_size, server.segment_size);
            return Err(StoreError::ForeignSegmentSize { path, found, server });
        }
        Ok(())
    }

    /// The one time that segments are read: before a directory without a record gets one.
    fn check_segments(&self, claim: &Claim) -> Result<(), StoreError> {
        // With the smallest segments most numbers are possible, so no name of another segment size slips through.
        let widest = SegmentSize::new(1 << 20).unwrap_or(SegmentSize::DEFAULT);
        for name in self.fs.list().map_err(|error| self.io("read directory", "", error))? {
            let Some(file) = SegmentFile::parse(&name, widest) else { continue };
            if file.compression != Compression::None {
                continue;
            }
            let Some(header) = self.read(&name, FirstPage::LEN)? else { continue };
            // A partial segment may not have received its first page yet.
            if file.partial && header.iter().all(|&byte| byte == 0) {
                continue;
            }
            let page = |source| StoreError::Page { path: self.path_of(&name), source };
            let first = match FirstPage::parse(&header) {
                // Neither can a file of that size be a segment of this cluster; it is skipped later, and said so.
                Err(PageError::Short) => continue,
                parsed => parsed.map_err(page)?,
            };
            self.check_identity(Identity { system: first.system, segment_size: first.segment_size }, claim.identity)?;
            if let Some(own) = SegmentFile::parse(&name, claim.identity.segment_size) {
                let Identity { system, segment_size } = claim.identity;
                first.check(system, segment_size, own.name.segment).map_err(page)?;
            }
        }
        Ok(())
    }

    /// Up to `limit` bytes from the beginning of a file, `None` if it is not there.
    fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let file = match self.fs.open(name, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io("open file", name, error)),
        };
        let mut bytes = vec![0; limit];
        let read = file.read_at(&mut bytes, 0).map_err(|error| self.io("read file", name, error))?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Content first, name second, and both durable: whoever sees the name sees the whole.
    fn write_durably(&self, name: &str, parent: &str, content: &[u8], mode: u32) -> Result<(), StoreError> {
        let temporary = format!("{name}.tmp");
        let file =
            self.fs.open(&temporary, Open::Create(mode)).map_err(|error| self.io("create file", &temporary, error))?;
        // What an earlier crash left under the temporary name may be longer.
        let written = file.set_len(0).and_then(|()| file.write_at(&mut [IoSlice::new(content)], 0));
        written.map_err(|error| self.io("write to file", &temporary, error))?;
        file.sync().map_err(|error| self.io("fsync file", &temporary, error))?;
        self.fs.rename(&temporary, name).map_err(|error| self.io("rename file", &temporary, error))?;
        self.fs.sync_directory(parent).map_err(|error| self.io("fsync directory", parent, error))
    }
}

/// Whether `kept` is what a crash may have left of `whole`: no byte of it, or a part that breaks off in the middle of a line.
/// Whole lines may be another server's shorter history.
fn is_torn(kept: &[u8], whole: &[u8]) -> bool {
    kept.iter().all(|&byte| byte == 0) || (whole.starts_with(kept) && !kept.ends_with(b"\n"))
}

#[cfg(test)]
mod tests;
