//! A disk whose flushes take as long as a scenario says: a real directory behind the agent's own file-system trait.
//!
//! Only `fdatasync` is slowed. Reading, writing and renaming stay as fast as they are.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wal_agent::store::{Disk, File, FileSystem, Open};

/// Longer than any test: a flush that takes this long hangs.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// The directory.
pub struct SlowDisk {
    disk: Disk,
    flushes: Flushes,
}

/// What its flushes take; it can be changed at any time.
#[derive(Clone, Debug, Default)]
pub struct Flushes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    each_takes: Duration,
    under_way: u32,
}

impl SlowDisk {
    /// The directory at `path`, as fast as it is until told otherwise.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { disk: Disk::open(path).map_err(io::Error::other)?, flushes: Flushes::default() })
    }

    /// What its flushes take.
    pub fn flushes(&self) -> Flushes {
        self.flushes.clone()
    }
}

impl Flushes {
    /// From now on each flush takes this much longer; one that is under way begins anew.
    pub fn take(&self, each: Duration) {
        self.state().each_takes = each;
        self.0.changed.notify_all();
    }

    /// From now on none returns.
    pub fn hang(&self) {
        self.take(FOR_EVER);
    }

    /// How many are under way.
    pub fn under_way(&self) -> u32 {
        self.state().under_way
    }

    fn pass(&self) {
        let mut state = self.state();
        state.under_way += 1;
        loop {
            let each_takes = state.each_takes;
            let waited = self.0.changed.wait_timeout_while(state, each_takes, |now| now.each_takes == each_takes);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = now;
            if timeout.timed_out() {
                break;
            }
        }
        state.under_way -= 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileSystem for SlowDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.disk.len(name)
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile { file: self.disk.open(name, how)?, flushes: self.flushes.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn check_writable(&self) -> io::Result<()> {
        self.disk.check_writable()
    }

    fn make_directory(&self, name: &str, mode: u32) -> io::Result<()> {
        self.disk.make_directory(name, mode)
    }

    fn sync_directory(&self, name: &str) -> io::Result<()> {
        self.disk.sync_directory(name)
    }
}

struct SlowFile {
    file: Arc<dyn File>,
    flushes: Flushes,
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_at(parts, offset)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.flushes.pass();
        self.file.sync()
    }

    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.start_write_back(offset, len)
    }

    fn forget_cached(&self) {
        self.file.forget_cached();
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[test]
    fn a_flush_takes_as_long_as_was_said_or_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let disk = SlowDisk::open(dir.path()).unwrap();
        let file = disk.open("x", Open::Create(0o600)).unwrap();
        let flushes = disk.flushes();
        flushes.take(Duration::from_millis(30));
        let start = Instant::now();
        file.sync().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(30));

        flushes.hang();
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| file.sync());
            while flushes.under_way() == 0 {
                std::thread::yield_now();
            }
            flushes.take(Duration::ZERO);
            flush.join().unwrap().unwrap();
        });
    }
}
