//! [`FileSystem`] on a real directory.

use super::{
    error::StoreError,
    fs::{File, FileSystem, Open},
};
use rustix::{
    fs::{Access, Advice, AtFlags, CWD, FallocateFlags, FlockOperation, accessat, fadvise, fallocate, flock},
    io::Errno,
};
use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, IoSlice},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// A directory of the operating system.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// The directory at `root`. It is never created.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        match fs::read_dir(root) {
            Ok(_) => Ok(Self { root: root.to_owned() }),
            Err(source) => Err(StoreError::Io { doing: "open directory", path: root.to_owned(), source }),
        }
    }
}

impl FileSystem for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn check_writable(&self) -> io::Result<()> {
        Ok(accessat(CWD, &self.root, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.root.join(name)) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn File>> {
        let path = self.root.join(name);
        let mut options = OpenOptions::new();
        let file = match how {
            Open::Read => options.read(true).open(path)?,
            Open::ReadWrite => options.read(true).write(true).open(path)?,
            Open::Create(mode) => {
                options.read(true).write(true).mode(mode);
                match options.create_new(true).open(&path) {
                    Ok(file) => {
                        // The umask may have taken the group's permission away.
                        file.set_permissions(Permissions::from_mode(mode))?;
                        file
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        options.create_new(false).open(path)?
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(name))
    }

    fn make_directory(&self, name: &str, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(mode).create(self.root.join(name))
    }

    fn sync_directory(&self, name: &str) -> io::Result<()> {
        fs::File::open(self.root.join(name))?.sync_all()
    }
}

struct DiskFile(fs::File);

impl File for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match rustix::io::pwritev(&self.0, parts, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        loop {
            match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(io::ErrorKind::Unsupported.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[expect(unsafe_code, reason = "no crate of the workspace wraps this call")]
    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return Ok(()) };
        // SAFETY: the descriptor is open as long as `self.0` lives, and the call takes no pointer.
        let done = unsafe { libc::sync_file_range(self.0.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
        if done == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // It cannot here, or not just now.
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ESPIPE | libc::ENOMEM | libc::EINTR) => Ok(()),
            _ => Err(error),
        }
    }

    fn forget_cached(&self) {
        // It is a hint: one that is not taken costs memory that the system takes back when it needs it.
        let _ = fadvise(&self.0, 0, None, Advice::DontNeed);
    }

    fn try_lock(&self) -> io::Result<bool> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
