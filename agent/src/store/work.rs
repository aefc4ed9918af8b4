//! What waits for the disk, so that writing never has to: flushes, and zeros for a spare segment.
//!
//! `remote_write` commits wait for a `write`, not for a flush: while an `fdatasync` is under way, what arrives must still
//! be written. A piece of work owns nothing but open files, decides nothing, and reports back as a [`Job`].

use super::{
    OnDurable,
    engine::Job,
    fs::{File, FileSystem},
    spare::Fill,
    writer::{Progress, StreamId},
};
use crate::wal::Lsn;
use prometheus::Histogram;
use std::{
    io,
    sync::{Arc, Weak},
};
use tokio::sync::watch;

/// One piece of work.
pub(super) enum Work {
    Flush(Flush),
    Fill(Fill),
}

/// The files in the order of their bytes, then (where due) the directory.
pub(super) struct Flush {
    pub(super) stream: StreamId,
    pub(super) files: Vec<Dirty>,
    pub(super) directory: bool,
    /// What is durable once all of it has been flushed.
    pub(super) upto: Lsn,
    /// Weak, so that whoever waits hears of a panic of the owner even while this hangs.
    pub(super) progress: Weak<watch::Sender<Progress>>,
    pub(super) on_durable: OnDurable,
    pub(super) took: Histogram,
}

/// A file of a flush.
pub(super) struct Dirty {
    pub(super) name: String,
    pub(super) file: Arc<dyn File>,
    /// Whether nothing more is written to it.
    pub(super) complete: bool,
}

/// What failed: the operation, and the file's name (empty for the directory).
pub(super) type FlushError = (&'static str, String, io::Error);

impl Work {
    pub(super) fn run(self, fs: &dyn FileSystem) -> Job {
        match self {
            Self::Flush(flush) => Job::Flushed { stream: flush.stream, result: flush.run(fs) },
            Self::Fill(fill) => fill.run(fs),
        }
    }
}

impl Flush {
    pub(super) fn run(&self, fs: &dyn FileSystem) -> Result<(), FlushError> {
        // Observed when dropped, also where it fails.
        let took = self.took.start_timer();
        for Dirty { name, file, .. } in &self.files {
            file.sync().map_err(|error| ("fsync file", name.clone(), error))?;
        }
        if self.directory {
            fs.sync_directory(".").map_err(|error| ("fsync directory", String::new(), error))?;
        }
        drop(took);
        // Told from here: commits wait for it, and whoever owns the directory just now may be waiting for a write.
        let Some(progress) = self.progress.upgrade() else { return Ok(()) };
        let mut news = false;
        progress.send_if_modified(|progress| {
            news = progress.raise_flushed(self.stream, self.upto);
            false
        });
        if news && !(self.on_durable)(self.upto) {
            progress.send_modify(|_| {});
        }
        for Dirty { file, .. } in self.files.iter().filter(|dirty| dirty.complete) {
            // The next segment fills the same memory, instead of all the memory that there is.
            file.forget_cached();
        }
        Ok(())
    }
}
