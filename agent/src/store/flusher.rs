//! The thread that waits for the disk, so that writing never has to.
//!
//! `remote_write` commits wait for a `write`, not for a flush: while an `fdatasync` is under way, what arrives must still
//! be written. The flusher owns nothing: it is handed open files, and reports back what became durable.

use super::fs::{File, FileSystem};
use std::{io, sync::Arc};

/// One flush: the files in the order of their bytes, then (where due) the directory.
pub(super) struct FlushTask {
    pub(super) files: Vec<(String, Arc<dyn File>)>,
    pub(super) directory: bool,
}

/// What failed: the operation, and the file's name (empty for the directory).
pub(super) type FlushError = (&'static str, String, io::Error);

impl FlushTask {
    pub(super) fn run(&self, fs: &dyn FileSystem) -> Result<(), FlushError> {
        for (name, file) in &self.files {
            file.sync().map_err(|error| ("fsync file", name.clone(), error))?;
        }
        if self.directory {
            fs.sync_directory(".").map_err(|error| ("fsync directory", String::new(), error))?;
        }
        Ok(())
    }
}
