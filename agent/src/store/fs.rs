//! The seam between the store and a file system: few operations, each of which can fail by name in a test.
//!
//! Names are relative to the directory that the implementation stands for. Nothing here retries or interprets.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

/// One directory on a disk.
pub trait FileSystem: Send + Sync {
    /// The names in the directory, in no order. Names that are not UTF-8 are left out: none of ours is.
    ///
    /// # Errors
    /// As the system reports it.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Whether files may be made in the directory, as far as permissions say; none is made.
    ///
    /// # Errors
    /// As the system reports it.
    fn check_writable(&self) -> io::Result<()>;

    /// The size of a regular file in bytes; `None` if nothing is there, or something else than a file.
    ///
    /// # Errors
    /// As the system reports it.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;

    /// Opens a file.
    ///
    /// # Errors
    /// As the system reports it.
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing what has the new name.
    ///
    /// # Errors
    /// As the system reports it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system reports it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes a directory with this mode; it is no error if it is there.
    ///
    /// # Errors
    /// As the system reports it.
    fn make_directory(&self, name: &str, mode: u32) -> io::Result<()>;

    /// Makes the entries of a directory (`.` for this one) durable.
    ///
    /// # Errors
    /// As the system reports it.
    fn sync_directory(&self, name: &str) -> io::Result<()>;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must be there.
    Read,
    /// It must be there.
    ReadWrite,
    /// It is made with exactly this mode, whatever the umask, if it is not there; it is never truncated.
    Create(u32),
}

/// An open file. Positions and lengths are bytes.
pub trait File: Send + Sync {
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// As the system reports it.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `parts`, one behind the other, from `offset`.
    ///
    /// # Errors
    /// As the system reports it; a part of the bytes may have been written.
    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Makes the file `len` bytes long with its space reserved; what it holds stays, what is new reads as zeros.
    ///
    /// # Errors
    /// `Unsupported` where the file system cannot reserve; else as the system reports it.
    fn reserve(&self, len: u64) -> io::Result<()>;

    /// Cuts the file off, or extends it with zeros that have no space reserved.
    ///
    /// # Errors
    /// As the system reports it.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// `fdatasync`: the content, and what is needed to read it again.
    ///
    /// # Errors
    /// As the system reports it. What was written since the last success may be lost, whatever a later call says.
    fn sync(&self) -> io::Result<()>;

    /// Lets the disk begin with what was written in this range, and does not wait for it: a later [`File::sync`] has less to
    /// do. Where the system cannot, nothing happens.
    ///
    /// # Errors
    /// What was written may be lost, and no later call needs to know: ext4 gives up pages that it has no place for, and tells
    /// only whoever asked for them to be written.
    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Gives back the memory in which the system keeps what is durable of this file: nobody is going to read it soon. A hint.
    fn forget_cached(&self);

    /// Takes an exclusive lock that lives as long as this file is open, without waiting: whether it was free.
    ///
    /// # Errors
    /// As the system reports it.
    fn try_lock(&self) -> io::Result<bool>;
}
