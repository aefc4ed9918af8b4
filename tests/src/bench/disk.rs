//! What the disk can do at all: the bytes of a catch-up, written once, without PostgreSQL and without a network.

use anyhow::{Result, anyhow};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;
use wal_agent::store::{Disk, File, FileSystem, Open};
use wal_agent::wal::SegmentSize;

/// Bytes of one write.
const CHUNK: usize = 1 << 20;

/// Writes `segments` files into `dir`, each with its space reserved, one sync of its content and one of its name: how long
/// that takes. The disk begins early, a file is written while the one before it is synced, and the cache is given back.
///
/// # Errors
/// The system's.
pub(super) fn write(dir: &Path, segments: u64, size: SegmentSize) -> Result<Duration> {
    let disk = Disk::open(dir)?;
    let chunk = noise();
    let start = Instant::now();
    thread::scope(|scope| {
        let (written, to_sync) = sync_channel::<Arc<dyn File>>(0);
        let syncing = scope.spawn(|| {
            to_sync.into_iter().try_for_each(|file| {
                file.sync()?;
                disk.sync_directory(".")?;
                file.forget_cached();
                Ok::<_, std::io::Error>(())
            })
        });
        for number in 0..segments {
            let file = disk.open(&format!("{number:024}"), Open::Create(0o600))?;
            file.reserve(size.bytes())?;
            for offset in (0..size.bytes()).step_by(CHUNK) {
                file.write_at(&mut [IoSlice::new(&chunk)], offset)?;
                file.start_write_back(offset, CHUNK as u64)?;
            }
            if written.send(file).is_err() {
                // It has ended early: it knows why.
                break;
            }
        }
        drop(written);
        Ok::<_, anyhow::Error>(syncing.join().map_err(|_| anyhow!("a thread panicked"))??)
    })?;
    Ok(start.elapsed())
}

/// Bytes that no file system can compress.
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(CHUNK / 8).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_written_as_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 2, SegmentSize::new(1 << 20).unwrap()).unwrap();
        let sizes = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        assert_eq!(sizes.collect::<Vec<_>>(), [1 << 20, 1 << 20]);
    }
}
